//! Models by hand, for machines without a network: import and export.

use super::{Entry, LOCAL, Manifest, ManifestError, ManifestFile, ModelKind, hash, io, sha256_of};
use crate::inference::gguf::Gguf;
use std::path::Path;

/// Tokens of context that are assumed of a model whose file does not tell.
const UNTOLD_CONTEXT: u64 = 4096;

impl Manifest {
    /// Brings a file into the models directory. A known model is recognised by its hash; any other GGUF file needs a
    /// `name`, and is entered with its own hash. Returns the model's name.
    ///
    /// # Errors
    /// `NotAModel` for a file that is no known model and no readable GGUF, or has no name; `Io`.
    pub fn import(&self, models: &Path, file: &Path, name: Option<&str>) -> Result<String, ManifestError> {
        let (sha256, size) = sha256_of(file).map_err(io(file))?;
        std::fs::create_dir_all(models).map_err(io(models))?;
        if let Some(entry) = self.entries.iter().find(|entry| entry.sha256 == sha256) {
            place(file, &entry.path(models), &sha256)?;
            return Ok(entry.name.clone());
        }
        let refused = |detail: String| ManifestError::NotAModel {
            path: file.to_owned(),
            detail,
        };
        let gguf = Gguf::open(file).map_err(|error| refused(error.to_string()))?;
        let Some(name) = name else {
            return Err(refused(
                "it is none of the manifest's models; give it a name with --name NAME".to_owned(),
            ));
        };
        let plain = !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if !plain || name.starts_with('.') {
            return Err(refused(
                "a name is made of letters, digits, '-', '_' and '.'".to_owned(),
            ));
        }
        if self.entries.iter().any(|entry| entry.name == name) {
            return Err(refused(format!(
                "there is a model {name} already, with another hash; choose another name"
            )));
        }
        let architecture = gguf
            .metadata()
            .str("general.architecture")
            .unwrap_or("unknown")
            .to_owned();
        let context = gguf
            .metadata()
            .u64(&format!("{architecture}.context_length"))
            .unwrap_or(UNTOLD_CONTEXT);
        let licence = gguf
            .metadata()
            .str("general.license")
            .unwrap_or("not stated in the file")
            .to_owned();
        let entry = Entry {
            name: name.to_owned(),
            kind: ModelKind::Language,
            architecture,
            licence,
            context_tokens: usize::try_from(context).unwrap_or(usize::MAX),
            file: format!("{name}.gguf"),
            size,
            sha256: sha256.clone(),
            note: format!(
                "imported from {}",
                file.file_name().unwrap_or_default().to_string_lossy()
            ),
            sources: Vec::new(),
        };
        place(file, &entry.path(models), &sha256)?;
        let mut local = ManifestFile {
            model: Self::local(models)?,
        };
        local.model.push(entry);
        let path = models.join(LOCAL);
        let text = toml::to_string(&local).map_err(|error| refused(error.to_string()))?;
        std::fs::write(&path, text).map_err(io(&path))?;
        Ok(name.to_owned())
    }

    /// Copies a verified model to `to`.
    ///
    /// # Errors
    /// `Unknown`, `Missing`, `WrongHash`, `Io`.
    pub fn export(&self, models: &Path, name: &str, to: &Path) -> Result<(), ManifestError> {
        self.verify(models, name)?;
        let from = self.get(name)?.path(models);
        copy(&from, to)
    }
}

/// Copies a file to its place among the models, unless it lies there already.
fn place(file: &Path, path: &Path, sha256: &str) -> Result<(), ManifestError> {
    let same = std::fs::canonicalize(file).ok() == std::fs::canonicalize(path).ok() && path.exists();
    if !same {
        copy(file, path)?;
    }
    hash::stamp(path, sha256);
    Ok(())
}

/// Copies beside the target first, so that what stands there is whole.
fn copy(from: &Path, to: &Path) -> Result<(), ManifestError> {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let fresh = to.with_file_name(name);
    let copied = std::fs::copy(from, &fresh).and_then(|_| std::fs::File::open(&fresh)?.sync_all());
    if let Err(error) = copied.and_then(|()| std::fs::rename(&fresh, to)) {
        let _ = std::fs::remove_file(&fresh);
        return Err(io(to)(error));
    }
    Ok(())
}
