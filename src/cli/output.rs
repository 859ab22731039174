//! How the program speaks: logs, JSON, and the machine's name.

use serde_json::{Value, json};
use std::io::IsTerminal;
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

/// Prints one JSON document.
pub fn print_json(value: &Value) {
    println!("{value:#}");
}

/// The machine, for every measurement: processor, cores, memory, system.
#[must_use]
pub fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, key: &str| {
        text.lines()
            .find_map(|line| {
                line.strip_prefix(key)?
                    .split_once(':')
                    .map(|(_, value)| value.trim().to_owned())
            })
            .unwrap_or_default()
    };
    let cpu = read("/proc/cpuinfo");
    let flags = field(&cpu, "flags");
    let extensions: Vec<&str> = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"]
        .into_iter()
        .filter(|name| flags.split_whitespace().any(|flag| flag == *name))
        .collect();
    json!({
        "processor": field(&cpu, "model name"),
        "cores": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "extensions": extensions,
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "kefu": env!("CARGO_PKG_VERSION"),
    })
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
    use super::{interval, percentile};

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
