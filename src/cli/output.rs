//! How the program speaks: logs, JSON, and the machine's name.

use anyhow::bail;
use serde_json::{Value, json};
use std::fmt::Arguments;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error: JSON lines where a service manager reads them, plain words on a terminal.
/// `KEFU_LOG` sets the filter (for example `kefu=debug`).
pub fn start_logging(serving: bool) {
    let default = if serving { "kefu=info,warn" } else { "kefu=warn,error" };
    let filter = EnvFilter::try_from_env("KEFU_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() || !serving {
        builder.with_target(false).init();
    } else {
        builder.json().flatten_event(true).init();
    }
}

/// Why something could not be printed.
static UNPRINTED: OnceLock<std::io::Error> = OnceLock::new();

/// Prints to standard output, where the standard macros would end the program in the midst of its work. Whoever closes the pipe
/// (`kefu kb list | head`) has read enough; anything else ([`printed`]) makes the command fail at its end.
pub fn print(words: Arguments<'_>) {
    if let Err(error) = std::io::stdout().write_fmt(words)
        && error.kind() != ErrorKind::BrokenPipe
    {
        let _ = UNPRINTED.set(error);
    }
}

/// Whether all that was printed is where it should be.
///
/// # Errors
/// Why it is not.
pub fn printed() -> anyhow::Result<()> {
    match (UNPRINTED.get(), std::io::stdout().flush()) {
        (None, Ok(())) => Ok(()),
        (None, Err(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        (Some(error), _) => bail!("standard output: {error}"),
        (None, Err(error)) => bail!("standard output: {error}"),
    }
}

/// Prints one JSON document.
pub fn print_json(value: &Value) {
    println!("{value:#}");
}

/// Instructions that the speed depends on, as `/proc/cpuinfo` names them.
const EXTENSIONS: [&str; 11] = [
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
];

/// The machine, for every measurement: processor, cores, memory, system.
#[must_use]
pub fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (processor, extensions) = processor(&read("/proc/cpuinfo"));
    json!({
        "processor": processor,
        "cores": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "extensions": extensions,
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "kefu": env!("CARGO_PKG_VERSION"),
    })
}

/// The first line of a system's table with this name; empty if there is none.
fn field(text: &str, key: &str) -> String {
    text.lines()
        .find_map(|line| {
            line.strip_prefix(key)?
                .split_once(':')
                .map(|(_, value)| value.trim().to_owned())
        })
        .unwrap_or_default()
}

/// The name of the processor and those of [`EXTENSIONS`] that it has, from `/proc/cpuinfo`.
fn processor(table: &str) -> (String, Vec<&'static str>) {
    let name = match field(table, "model name") {
        // On aarch64 there are numbers alone: of whom it is from, and which one.
        name if name.is_empty() => format!(
            "implementer {} part {}",
            field(table, "CPU implementer"),
            field(table, "CPU part")
        ),
        name => name,
    };
    let flags = field(table, "flags") + " " + &field(table, "Features");
    let has = |name: &&str| flags.split_whitespace().any(|flag| flag == *name);
    (name, EXTENSIONS.into_iter().filter(has).collect())
}

/// The percentile `p` (0 to 1) of `values` by the nearest rank; 0 for none.
#[must_use]
pub fn percentile(values: &mut [f64], p: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    values.sort_by(f64::total_cmp);
    let rank = (p * values.len() as f64).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

/// The 95 % interval of a share by Wilson's method (Wilson 1927), as `[low, high]`.
#[must_use]
pub fn interval(hits: usize, n: usize) -> [f64; 2] {
    if n == 0 {
        return [0.0, 1.0];
    }
    let (n, p, z) = (n as f64, hits as f64 / n as f64, 1.96_f64);
    let middle = p + z * z / (2.0 * n);
    let spread = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    [
        ((middle - spread) / scale).max(0.0),
        ((middle + spread) / scale).min(1.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::{interval, percentile, processor};

    #[test]
    fn processors_are_named_on_both_architectures() {
        let table = "processor\t: 0\nmodel name\t: Some Xeon\nflags\t\t: fpu avx2 avx512f bmi1\n";
        assert_eq!(processor(table), ("Some Xeon".into(), vec!["avx2", "avx512f"]));
        let table = "processor\t: 0\nFeatures\t: fp asimd fphp asimddp\nCPU implementer\t: 0x48\nCPU part\t: 0xd01\n";
        let name = "implementer 0x48 part 0xd01".to_owned();
        assert_eq!(processor(table), (name, vec!["asimd", "asimddp"]));
    }

    #[test]
    fn percentiles_and_intervals() {
        let mut values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(
            (percentile(&mut values, 0.5), percentile(&mut values, 0.99)),
            (50.0, 99.0)
        );
        let [low, high] = interval(95, 100);
        assert!(
            (low - 0.888).abs() < 0.002 && (high - 0.978).abs() < 0.002,
            "{low} {high}"
        );
    }
}
