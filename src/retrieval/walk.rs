//! Which files an import reads, and what their documents are called.

use super::RetrievalError;
use std::path::{Component, Path, PathBuf};

/// Directories within directories.
const MAX_DEPTH: usize = 32;
/// Files of one import.
const MAX_FILES: usize = 100_000;

/// A file to import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Where it is.
    pub(super) path: PathBuf,
    /// What its document is called: the root's last component, then the path below the root, with `/` between.
    pub(super) source: String,
    /// Whether it was named itself, and not found in a directory.
    pub(super) named: bool,
}

/// All files at and below `root`, sorted. Hidden files and directories and `*.toml` are passed over, and so are links that lead
/// out of the root (or to a directory: a link can lead into a circle).
///
/// # Errors
/// `Io`; `NotAFile` for a device or a pipe; `TooMany`.
pub(super) fn files(root: &Path) -> Result<Vec<Found>, RetrievalError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| RetrievalError::Io { path, source }
    };
    let real = root.canonicalize().map_err(io(root))?;
    let name = real
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let kind = real.metadata().map_err(io(root))?;
    if kind.is_file() {
        return Ok(vec![Found {
            path: root.to_owned(),
            source: name,
            named: true,
        }]);
    }
    if !kind.is_dir() {
        return Err(RetrievalError::NotAFile { path: root.to_owned() });
    }
    let mut files = Vec::new();
    let mut waiting = vec![(real.clone(), 0)];
    while let Some((directory, depth)) = waiting.pop() {
        if depth > MAX_DEPTH {
            return Err(RetrievalError::TooMany {
                path: directory,
                limit: MAX_DEPTH,
                what: "levels of directories",
            });
        }
        for entry in std::fs::read_dir(&directory).map_err(io(&directory))? {
            let entry = entry.map_err(io(&directory))?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            // Task flows, settings and lists of synonyms are no knowledge; one that is named itself is told so.
            if path
                .extension()
                .is_some_and(|extension| extension == "toml" || extension == "list")
            {
                continue;
            }
            let kind = entry.file_type().map_err(io(&path))?;
            if kind.is_dir() {
                waiting.push((path, depth + 1));
            } else if kind.is_file() || (kind.is_symlink() && is_file_within(&path, &real)) {
                files.push(Found {
                    source: source_name(&name, &real, &path),
                    path,
                    named: false,
                });
                if files.len() > MAX_FILES {
                    return Err(RetrievalError::TooMany {
                        path: root.to_owned(),
                        limit: MAX_FILES,
                        what: "files",
                    });
                }
            }
        }
    }
    files.sort_by(|a, b| a.source.cmp(&b.source));
    Ok(files)
}

fn is_file_within(link: &Path, root: &Path) -> bool {
    link.canonicalize()
        .is_ok_and(|target| target.starts_with(root) && target.is_file())
}

fn source_name(root_name: &str, root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path);
    let parts = below.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part.to_string_lossy()),
        _ => None,
    });
    let mut source = root_name.to_owned();
    for part in parts {
        if !source.is_empty() {
            source.push('/');
        }
        source.push_str(&part);
    }
    source
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path) -> Vec<String> {
        files(root).unwrap().into_iter().map(|file| file.source).collect()
    }

    #[test]
    fn files_are_named_from_the_root_and_sorted() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("kb");
        std::fs::create_dir_all(root.join("docs/.git")).unwrap();
        for name in [
            "b.md",
            "flow.toml",
            "docs/a.md",
            "docs/.hidden.md",
            "docs/.git/x.md",
            "a.csv",
        ] {
            std::fs::write(root.join(name), "x").unwrap();
        }
        assert_eq!(names(&root), ["kb/a.csv", "kb/b.md", "kb/docs/a.md"]);
        assert_eq!(names(&root.join("docs/../docs")), ["docs/a.md"]);
        assert_eq!(names(&root.join("b.md")), ["b.md"]);
        assert!(matches!(files(&root.join("none")), Err(RetrievalError::Io { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn links_do_not_lead_out() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("kb");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(directory.path().join("secret.md"), "x").unwrap();
        std::fs::write(root.join("in.md"), "x").unwrap();
        symlink(directory.path().join("secret.md"), root.join("out.md")).unwrap();
        symlink(root.join("in.md"), root.join("alias.md")).unwrap();
        symlink(&root, root.join("sub/circle")).unwrap();
        assert_eq!(names(&root), ["kb/alias.md", "kb/in.md"]);
    }
}
