//! The index on disk, for a fast start: `<kb_version>-<model>/` with the vectors, the lexical index, the rows' ids and
//! `manifest.json`. It is a cache. Every file's SHA-256 stands in the manifest and is checked before a byte of it is
//! used; whatever does not fit is as good as absent, and the index is built from the store again.

use super::index::Matrix;
use crate::domain::{KbVersion, PassageId, sha256_hex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Counts the changes of what stands in a snapshot, and of how texts become terms and vectors.
const FORMAT: u32 = 2;
const MANIFEST: &str = "manifest.json";
const MAX_MANIFEST_BYTES: u64 = 1 << 20;
const ABANDONED: Duration = Duration::from_hours(1);

/// The content of a snapshot.
pub(super) struct Snapshot {
    /// The version of the knowledge base.
    pub(super) version: KbVersion,
    /// What [`super::corpus::lineage`] said of it.
    pub(super) lineage: String,
    /// The passages in order of their rows.
    pub(super) passages: Vec<PassageId>,
    /// How many FAQs follow them.
    pub(super) faqs: usize,
    /// The vectors of the rows.
    pub(super) texts: Matrix,
    /// The vectors of the FAQs' wordings.
    pub(super) wordings: Matrix,
    /// The files of the lexical index.
    pub(super) lexical: Vec<(PathBuf, Vec<u8>)>,
    /// The vectors of the segments.
    pub(super) segments: Matrix,
    /// For each row how many segments it has.
    pub(super) segment_counts: Vec<u32>,
    /// The files of the index of the segments' words.
    pub(super) segment_words: Vec<(PathBuf, Vec<u8>)>,
}

#[derive(Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    kb_version: u64,
    lineage: String,
    model_sha256: String,
    dim: usize,
    faqs: usize,
    /// Name: bytes and SHA-256.
    files: BTreeMap<String, (u64, String)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    manifest: Manifest,
    /// SHA-256 of the manifest's JSON.
    sha256: String,
}

/// Where snapshots of one embedding model are kept.
pub(super) struct Snapshots {
    directory: PathBuf,
    model_sha256: String,
    dim: usize,
}

impl Snapshots {
    pub(super) fn new(directory: PathBuf, model_sha256: String, dim: usize) -> Self {
        Self {
            directory,
            model_sha256,
            dim,
        }
    }

    fn name(&self, version: KbVersion) -> String {
        let model: String = self
            .model_sha256
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(12)
            .collect();
        format!("{version}-{model}")
    }

    /// The snapshot of that version, if it is there and undamaged; else why not.
    pub(super) fn load(&self, version: KbVersion, lineage: &str) -> Result<Snapshot, String> {
        let directory = self.directory.join(self.name(version));
        let manifest = read_manifest(&directory.join(MANIFEST))?;
        if (manifest.format, manifest.kb_version, manifest.dim) != (FORMAT, version.0, self.dim)
            || manifest.model_sha256 != self.model_sha256
            || manifest.lineage != lineage
        {
            return Err("it is of another format, model or knowledge base".to_owned());
        }
        let (mut lexical, mut segment_words) = (Vec::new(), Vec::new());
        let (mut ids, mut texts, mut wordings, mut segments, mut counts) = (None, None, None, None, None);
        for (name, (bytes, sha256)) in &manifest.files {
            if name.contains(['/', '\\']) {
                return Err(format!("{name} is no name of a file"));
            }
            let content = read_file(&directory.join(name), *bytes)?;
            if sha256_hex(&content) != *sha256 {
                return Err(format!("{name} is damaged"));
            }
            match name.as_str() {
                "passages.ids" => ids = Some(content),
                "texts.f32" => texts = Some(content),
                "wordings.f32" => wordings = Some(content),
                "segments.f32" => segments = Some(content),
                "segments.counts" => counts = Some(content),
                _ => match (name.strip_prefix("lexical."), name.strip_prefix("segment_words.")) {
                    (Some(name), _) => lexical.push((PathBuf::from(name), content)),
                    (_, Some(name)) => segment_words.push((PathBuf::from(name), content)),
                    (None, None) => return Err(format!("{name} is unknown")),
                },
            }
        }
        let (Some(ids), Some(texts), Some(wordings), Some(segments), Some(counts)) =
            (ids, texts, wordings, segments, counts)
        else {
            return Err("files are missing".to_owned());
        };
        let passages: Vec<PassageId> = ids
            .as_chunks::<16>()
            .0
            .iter()
            .map(|id| PassageId(uuid::Uuid::from_bytes(*id)))
            .collect();
        let texts = self.matrix(&texts)?;
        if texts.rows() != passages.len() + manifest.faqs {
            return Err("vectors and rows differ in number".to_owned());
        }
        Ok(Snapshot {
            version,
            lineage: manifest.lineage,
            passages,
            faqs: manifest.faqs,
            texts,
            wordings: self.matrix(&wordings)?,
            lexical,
            segments: self.matrix(&segments)?,
            segment_counts: counts
                .as_chunks::<4>()
                .0
                .iter()
                .map(|count| u32::from_le_bytes(*count))
                .collect(),
            segment_words,
        })
    }

    fn matrix(&self, bytes: &[u8]) -> Result<Matrix, String> {
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() || numbers.len() % self.dim.max(1) != 0 {
            return Err("vectors are cut off".to_owned());
        }
        Ok(Matrix::new(
            self.dim,
            numbers.iter().map(|number| f32::from_le_bytes(*number)).collect(),
        ))
    }

    /// Writes a snapshot: into a directory of its own, to the disk, then under its name, all or nothing. Removes the
    /// snapshots of other versions and models.
    pub(super) fn save(&self, snapshot: &Snapshot) -> io::Result<()> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(&self.directory)?;
        let name = self.name(snapshot.version);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temporary = self.directory.join(format!(".new-{}-{number}", std::process::id()));
        let written = self.write(snapshot, &temporary).and_then(|()| {
            let target = self.directory.join(&name);
            // A damaged one of the same name is replaced. (A good one would have been loaded, or another process has
            // just made it: then this one is the same.)
            if target.exists() {
                fs::remove_dir_all(&target)?;
            }
            fs::rename(&temporary, &target)?;
            File::open(&self.directory)?.sync_all()
        });
        if written.is_err() {
            // The disk is full, perhaps: leave nothing behind. What the removal says does not matter then.
            let _ = fs::remove_dir_all(&temporary);
        }
        written.map(|()| self.remove_others(&name))
    }

    fn write(&self, snapshot: &Snapshot, directory: &Path) -> io::Result<()> {
        fs::create_dir(directory)?;
        let mut manifest = Manifest {
            format: FORMAT,
            kb_version: snapshot.version.0,
            lineage: snapshot.lineage.clone(),
            model_sha256: self.model_sha256.clone(),
            dim: self.dim,
            faqs: snapshot.faqs,
            files: BTreeMap::new(),
        };
        let mut write = |name: String, bytes: &[u8]| {
            write_file(&directory.join(&name), bytes)?;
            manifest.files.insert(name, (bytes.len() as u64, sha256_hex(bytes)));
            io::Result::Ok(())
        };
        let ids: Vec<u8> = snapshot.passages.iter().flat_map(|id| id.0.into_bytes()).collect();
        write("passages.ids".to_owned(), &ids)?;
        let counts: Vec<u8> = snapshot
            .segment_counts
            .iter()
            .flat_map(|count| count.to_le_bytes())
            .collect();
        write("segments.counts".to_owned(), &counts)?;
        let matrices = [
            ("texts.f32", &snapshot.texts),
            ("wordings.f32", &snapshot.wordings),
            ("segments.f32", &snapshot.segments),
        ];
        for (name, matrix) in matrices {
            let bytes: Vec<u8> = matrix.as_slice().iter().flat_map(|x| x.to_le_bytes()).collect();
            write(name.to_owned(), &bytes)?;
        }
        for (path, bytes) in &snapshot.lexical {
            write(format!("lexical.{}", path.display()), bytes)?;
        }
        for (path, bytes) in &snapshot.segment_words {
            write(format!("segment_words.{}", path.display()), bytes)?;
        }
        let json = serde_json::to_string(&manifest)?;
        let signed = Signed {
            sha256: sha256_hex(json.as_bytes()),
            manifest,
        };
        write_file(&directory.join(MANIFEST), serde_json::to_string(&signed)?.as_bytes())?;
        File::open(directory)?.sync_all()
    }

    /// Removes all but the snapshot `kept`. A directory that cannot be removed is left for the next time.
    fn remove_others(&self, kept: &str) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_snapshot = name
                .split_once('-')
                .is_some_and(|(version, _)| version.parse::<u64>().is_ok());
            // Another process may be writing one: only what it must have abandoned is removed.
            let is_abandoned = name.starts_with(".new-")
                && entry
                    .metadata()
                    .and_then(|metadata| metadata.modified())
                    .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > ABANDONED));
            if name != kept && (is_snapshot || is_abandoned) && fs::remove_dir_all(entry.path()).is_err() {
                tracing::warn!(directory = %entry.path().display(), "an old index could not be removed");
            }
        }
    }
}

fn read_manifest(path: &Path) -> Result<Manifest, String> {
    let bytes = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if bytes > MAX_MANIFEST_BYTES {
        return Err("the manifest is too large".to_owned());
    }
    let text = read_file(path, bytes)?;
    let signed: Signed = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let json = serde_json::to_string(&signed.manifest).map_err(|error| error.to_string())?;
    let whole = serde_json::to_string(&signed).map_err(|error| error.to_string())?;
    if sha256_hex(json.as_bytes()) != signed.sha256 || whole.as_bytes() != text {
        return Err("the manifest is damaged".to_owned());
    }
    Ok(signed.manifest)
}

fn read_file(path: &Path, bytes: u64) -> Result<Vec<u8>, String> {
    let read = || {
        let file = File::open(path)?;
        if file.metadata()?.len() != bytes {
            return Err(io::Error::other("it has another length"));
        }
        let mut content = Vec::with_capacity(bytes as usize);
        file.take(bytes).read_to_end(&mut content)?;
        Ok(content)
    };
    read().map_err(|error| format!("{}: {error}", path.display()))
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
