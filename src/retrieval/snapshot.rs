//! The base of the index on disk, for a fast start: `<kb_version>-<model>/` with the vectors, the lexical index, what the
//! rows stand for and `manifest.json`. It is a cache. Every file's SHA-256 stands in the manifest and is checked before a
//! byte of it is used; whatever does not fit is as good as absent, and the index is built from the store again. What
//! changed after its version is not in it: a start follows the changes since.

use super::RetrievalError;
use super::corpus::{Edition, Row, Rows};
use super::graph::Facts;
use super::index::Matrix;
use super::layer::Layer;
use crate::domain::{DocumentId, Faq, KbVersion, PassageId, hexadecimal, sha256_hex};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// Counts the changes of what stands in a snapshot, and of how texts become terms and vectors.
const FORMAT: u32 = 4;
const MANIFEST: &str = "manifest.json";
const MAX_MANIFEST_BYTES: u64 = 1 << 20;
const ABANDONED: Duration = Duration::from_hours(1);
/// Numbers in a file of vectors: more files are read by more threads at once.
const FILE_NUMBERS: usize = 8 << 20;
/// Bytes read or written at a time.
const STEP: usize = 1 << 18;
/// Bytes a row takes: two identifiers and the place of its scope. A FAQ has no document.
const ROW_BYTES: usize = 36;

/// The content of a snapshot.
pub(super) struct Snapshot {
    /// Which version of which knowledge base.
    pub(super) edition: Edition,
    /// What the rows stand for.
    pub(super) rows: Rows,
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

impl Layer {
    /// The layer as it is saved. Vectors are shared.
    ///
    /// # Errors
    /// What tantivy says.
    pub(super) fn snapshot(&self, edition: &Edition) -> Result<Snapshot, RetrievalError> {
        Ok(Snapshot {
            edition: edition.clone(),
            rows: self.rows.clone(),
            texts: self.texts.flat.matrix().clone(),
            wordings: self.wordings.flat.matrix().clone(),
            lexical: self.lexical.files()?,
            segments: self.segments.flat.matrix().clone(),
            segment_counts: self.segment_starts.windows(2).map(|ends| ends[1] - ends[0]).collect(),
            segment_words: self.segment_words.files()?,
        })
    }
}

#[derive(Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    kb_version: u64,
    lineage: String,
    model_sha256: String,
    dim: usize,
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

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    fn name(&self, version: KbVersion) -> String {
        format!("{version}-{}", self.model())
    }

    fn model(&self) -> String {
        let letters = self.model_sha256.chars().filter(char::is_ascii_alphanumeric);
        letters.take(12).collect()
    }

    /// The versions up to `present` that there are snapshots of, newest first.
    pub(super) fn versions(&self, present: KbVersion) -> Vec<KbVersion> {
        let model = self.model();
        let names = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let of = |entry: fs::DirEntry| {
            let name = entry.file_name();
            let (version, of) = name.to_str()?.split_once('-')?;
            (of == model).then(|| version.parse().ok().map(KbVersion))?
        };
        let mut versions: Vec<KbVersion> = names.filter_map(of).filter(|version| *version <= present).collect();
        versions.sort_by(|a, b| b.cmp(a));
        versions
    }

    /// The snapshot of that edition, or why there is none that can be used.
    pub(super) fn load(&self, edition: &Edition) -> Result<Snapshot, String> {
        let directory = self.directory.join(self.name(edition.version));
        let manifest = read_manifest(&directory.join(MANIFEST))?;
        let ours = manifest.format == FORMAT
            && manifest.kb_version == edition.version.0
            && manifest.lineage == edition.lineage
            && manifest.model_sha256 == self.model_sha256
            && manifest.dim == self.dim;
        if !ours {
            return Err("the snapshot is of another program, model or knowledge base".to_owned());
        }
        for name in manifest.files.keys() {
            let known = ["rows", "faqs.json", "scopes.json", "facts.json", "segments.counts"].contains(&name.as_str())
                || ["texts-", "wordings-", "segments-", "lexical.", "segment_words."]
                    .iter()
                    .any(|prefix| name.starts_with(prefix));
            if !known || name.contains(['/', '\\']) {
                return Err(format!("{name} is unknown"));
            }
        }
        let files = Files {
            directory: &directory,
            manifest: &manifest,
        };
        // Nobody asks yet: all cores read.
        let vectors = || -> Result<_, String> {
            let texts = files.matrix("texts-", self.dim)?;
            let wordings = files.matrix("wordings-", self.dim)?;
            Ok((texts, wordings, files.matrix("segments-", self.dim)?))
        };
        let others = || -> Result<_, String> {
            let counts = files.bytes("segments.counts")?;
            let (counts, rest) = counts.as_chunks::<4>();
            if !rest.is_empty() {
                return Err("segments.counts is cut off".to_owned());
            }
            let counts = counts.iter().map(|count| u32::from_le_bytes(*count)).collect();
            Ok((
                files.rows()?,
                counts,
                files.index("lexical.")?,
                files.index("segment_words.")?,
            ))
        };
        let (vectors, others) = rayon::join(vectors, others);
        let (texts, wordings, segments) = vectors?;
        let (rows, segment_counts, lexical, segment_words) = others?;
        Ok(Snapshot {
            edition: edition.clone(),
            rows,
            texts,
            wordings,
            lexical,
            segments,
            segment_counts,
            segment_words,
        })
    }

    /// Writes a snapshot: into a directory of its own, to the disk, then under its name, all or nothing. Removes the
    /// snapshots of other versions and models.
    pub(super) fn save(&self, snapshot: &Snapshot) -> io::Result<()> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(&self.directory)?;
        let name = self.name(snapshot.edition.version);
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
            kb_version: snapshot.edition.version.0,
            lineage: snapshot.edition.lineage.clone(),
            model_sha256: self.model_sha256.clone(),
            dim: self.dim,
            files: BTreeMap::new(),
        };
        let mut write = |name: String, bytes: &mut dyn Iterator<Item = &[u8]>| {
            let written = write_file(&directory.join(&name), bytes)?;
            manifest.files.insert(name, written);
            io::Result::Ok(())
        };
        let mut write_whole = |name: &str, bytes: &[u8]| write(name.to_owned(), &mut std::iter::once(bytes));
        write_whole("rows", &rows_to_bytes(&snapshot.rows))?;
        let faqs: Vec<&Faq> = snapshot.rows.faqs.iter().map(AsRef::as_ref).collect();
        write_whole("faqs.json", &serde_json::to_vec(&faqs)?)?;
        let facts: Vec<&Facts> = snapshot.rows.facts.iter().map(AsRef::as_ref).collect();
        write_whole("facts.json", &serde_json::to_vec(&facts)?)?;
        write_whole("scopes.json", &serde_json::to_vec(&snapshot.rows.scopes)?)?;
        let counts = snapshot.segment_counts.iter().flat_map(|count| count.to_le_bytes());
        write_whole("segments.counts", &counts.collect::<Vec<u8>>())?;
        for (prefix, files) in [
            ("lexical", &snapshot.lexical),
            ("segment_words", &snapshot.segment_words),
        ] {
            for (path, bytes) in files {
                write_whole(&format!("{prefix}.{}", path.display()), bytes)?;
            }
        }
        let matrices = [
            ("texts", &snapshot.texts),
            ("wordings", &snapshot.wordings),
            ("segments", &snapshot.segments),
        ];
        for (name, matrix) in matrices {
            for (number, part) in matrix.as_slice().chunks(FILE_NUMBERS).enumerate() {
                let bytes: Vec<u8> = part.iter().flat_map(|x| x.to_le_bytes()).collect();
                write_whole(&format!("{name}-{number:05}.f32"), &bytes)?;
            }
        }
        let json = serde_json::to_string(&manifest)?;
        let signed = Signed {
            sha256: sha256_hex(json.as_bytes()),
            manifest,
        };
        let signed = serde_json::to_string(&signed)?;
        write_file(&directory.join(MANIFEST), &mut std::iter::once(signed.as_bytes()))?;
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

/// Writes a file to the disk; its bytes and SHA-256.
fn write_file(path: &Path, parts: &mut dyn Iterator<Item = &[u8]>) -> io::Result<(u64, String)> {
    let mut file = File::create_new(path)?;
    let (mut hash, mut length) = (Sha256::new(), 0);
    for part in parts.flat_map(|part| part.chunks(STEP)) {
        hash.update(part);
        file.write_all(part)?;
        length += part.len() as u64;
    }
    file.sync_all()?;
    Ok((length, hexadecimal(&hash.finalize())))
}

/// The files of a snapshot, each checked as it is read.
struct Files<'a> {
    directory: &'a Path,
    manifest: &'a Manifest,
}

impl Files<'_> {
    fn bytes(&self, name: &str) -> Result<Vec<u8>, String> {
        let (bytes, sha256) = self.manifest.files.get(name).ok_or(format!("{name} is missing"))?;
        let content = read_file(&self.directory.join(name), *bytes)?;
        if sha256_hex(&content) != *sha256 {
            return Err(format!("{name} is damaged"));
        }
        Ok(content)
    }

    fn starting_with<'b>(&'b self, prefix: &'b str) -> impl Iterator<Item = (&'b str, u64, &'b str)> {
        let files = self.manifest.files.iter();
        files
            .filter(move |(name, _)| name.starts_with(prefix))
            .map(|(name, (bytes, sha256))| (name.as_str(), *bytes, sha256.as_str()))
    }

    fn index(&self, prefix: &str) -> Result<Vec<(PathBuf, Vec<u8>)>, String> {
        let names: Vec<&str> = self.starting_with(prefix).map(|(name, ..)| name).collect();
        let read = |name: &&str| Ok((PathBuf::from(&name[prefix.len()..]), self.bytes(name)?));
        names.par_iter().map(read).collect()
    }

    fn rows(&self) -> Result<Rows, String> {
        let faqs: Vec<Faq> = serde_json::from_slice(&self.bytes("faqs.json")?).map_err(|e| e.to_string())?;
        let faqs = faqs.into_iter().map(Arc::new).collect();
        let scopes = serde_json::from_slice(&self.bytes("scopes.json")?).map_err(|e| e.to_string())?;
        let facts: Vec<Facts> = serde_json::from_slice(&self.bytes("facts.json")?).map_err(|e| e.to_string())?;
        let mut rows = rows_from_bytes(&self.bytes("rows")?, faqs, scopes)?;
        rows.facts = facts.into_iter().map(Arc::new).collect();
        Ok(rows)
    }

    /// The vectors in all files of that name, each file by a thread of its own straight to its place.
    fn matrix(&self, prefix: &str, dim: usize) -> Result<Matrix, String> {
        let files: Vec<_> = self.starting_with(prefix).collect();
        let bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        let is_whole = files.iter().all(|(_, bytes, _)| bytes % 4 == 0) && bytes.is_multiple_of(4 * dim.max(1) as u64);
        // What the manifest says is believed only as far as the files are there.
        let there = |(name, bytes, _): &(&str, u64, &str)| {
            fs::metadata(self.directory.join(name)).is_ok_and(|file| file.len() == *bytes)
        };
        if !is_whole || !files.iter().all(there) {
            return Err("vectors are cut off".to_owned());
        }
        let mut data = vec![0.0_f32; (bytes / 4) as usize];
        let mut parts = Vec::with_capacity(files.len());
        let mut rest = data.as_mut_slice();
        for (name, bytes, sha256) in files {
            let (part, after) = rest.split_at_mut((bytes / 4) as usize);
            parts.push((name, sha256, part));
            rest = after;
        }
        parts.into_par_iter().try_for_each(|(name, sha256, part)| {
            let path = self.directory.join(name);
            let found = read_numbers(&path, part).map_err(|error| format!("{}: {error}", path.display()))?;
            if found == sha256 {
                Ok(())
            } else {
                Err(format!("{name} is damaged"))
            }
        })?;
        Ok(Matrix::new(dim, data))
    }
}

/// Fills `numbers` from a file; the SHA-256 of what was read.
fn read_numbers(path: &Path, numbers: &mut [f32]) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut bytes = vec![0; STEP];
    for numbers in numbers.chunks_mut(STEP / 4) {
        let bytes = &mut bytes[..numbers.len() * 4];
        file.read_exact(bytes)?;
        hash.update(&*bytes);
        for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *number = f32::from_le_bytes(*bytes);
        }
    }
    Ok(hexadecimal(&hash.finalize()))
}

fn rows_to_bytes(rows: &Rows) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.rows.len() * ROW_BYTES);
    for (row, scope) in rows.rows.iter().zip(&rows.scope_of) {
        let (id, document) = match row {
            Row::Passage(id, document) => (id.0, document.0),
            Row::Faq(faq) => (rows.faqs[*faq as usize].id.0, Uuid::nil()),
        };
        bytes.extend(id.into_bytes());
        bytes.extend(document.into_bytes());
        bytes.extend(scope.to_le_bytes());
    }
    bytes
}

fn rows_from_bytes(bytes: &[u8], faqs: Vec<Arc<Faq>>, scopes: Vec<crate::domain::Scope>) -> Result<Rows, String> {
    let (bytes, rest) = bytes.as_chunks::<ROW_BYTES>();
    if !rest.is_empty() {
        return Err("rows are cut off".to_owned());
    }
    let (mut rows, mut scope_of, mut next_faq) = (Vec::with_capacity(bytes.len()), Vec::with_capacity(bytes.len()), 0);
    for row in bytes {
        let uuid = |at: usize| {
            let bytes = row[at..at + 16].first_chunk::<16>();
            Uuid::from_bytes(bytes.copied().unwrap_or_default())
        };
        let (id, document) = (uuid(0), uuid(16));
        rows.push(if document.is_nil() {
            next_faq += 1;
            Row::Faq(next_faq - 1)
        } else {
            Row::Passage(PassageId(id), DocumentId(document))
        });
        scope_of.push(u32::from_le_bytes([row[32], row[33], row[34], row[35]]));
    }
    Ok(Rows::of(rows, faqs, scopes, scope_of))
}
