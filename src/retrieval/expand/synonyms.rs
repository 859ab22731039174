//! The operator's synonyms: a file, one group of words that mean the same a line.

use crate::retrieval::terms::{Named, name_key, units};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

/// Bytes of the file at most.
const MAX_BYTES: u64 = 4 << 20;
/// Words of one group.
const MAX_GROUP: usize = 16;
/// Units (Chinese characters, words of other scripts) of one word.
const MAX_UNITS: usize = 12;
/// Groups of a question that are used.
const MAX_GROUPS: usize = 8;

/// A file of synonyms that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {detail}", path.display(), line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct SynonymsError {
    /// The file.
    pub path: PathBuf,
    /// Its line, from 1; `None` where the whole file is meant.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub detail: String,
}

/// Groups of words that mean the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synonyms {
    groups: Vec<Vec<String>>,
    /// For each word, by its key, the groups it is in.
    by_name: HashMap<String, Vec<usize>>,
}

impl Synonyms {
    /// Reads a file: one group a line, its words with commas (`,`, `，`, `、`) between; empty lines and what begins with `#` are
    /// passed over.
    ///
    /// # Errors
    /// [`SynonymsError`]: the file cannot be read, is larger than 4 MiB or no UTF-8; a line has one word alone, more than 16, or
    /// one that is a single letter or longer than 12 characters or words.
    pub fn read(path: &Path) -> Result<Self, SynonymsError> {
        let fail = |line, detail| SynonymsError {
            path: path.to_owned(),
            line,
            detail,
        };
        let bytes = std::fs::metadata(path)
            .map_err(|error| fail(None, error.to_string()))?
            .len();
        if bytes > MAX_BYTES {
            return Err(fail(
                None,
                format!("it has {bytes} bytes, at most {MAX_BYTES} are read"),
            ));
        }
        let text = std::fs::read_to_string(path).map_err(|error| fail(None, error.to_string()))?;
        Self::parse(&text).map_err(|(line, detail)| fail(Some(line), detail))
    }

    /// The groups of `text`, or which line cannot be used and why.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut synonyms = Self::default();
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if !(line.is_empty() || line.starts_with('#')) {
                synonyms.add(line).map_err(|detail| (number + 1, detail))?;
            }
        }
        Ok(synonyms)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let mut group: Vec<String> = Vec::new();
        let mut keys: Vec<String> = Vec::new();
        for word in line
            .split([',', '，', '、'])
            .map(str::trim)
            .filter(|word| !word.is_empty())
        {
            let units = units(word);
            if units.concat().chars().count() < 2 {
                return Err(format!(
                    "{word:?} is too short: it would be found in too many questions; remove it"
                ));
            }
            if units.len() > MAX_UNITS {
                return Err(format!(
                    "{word:?} is longer than {MAX_UNITS} characters or words; shorten it"
                ));
            }
            let key = name_key(&units);
            if !keys.contains(&key) {
                keys.push(key);
                group.push(word.to_owned());
            }
        }
        match group.len() {
            0 | 1 => return Err("a group needs two words with a comma between".to_owned()),
            2..=MAX_GROUP => {}
            _ => return Err(format!("a group has at most {MAX_GROUP} words; make two")),
        }
        for key in keys {
            self.by_name.entry(key).or_default().push(self.groups.len());
        }
        self.groups.push(group);
        Ok(())
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The words that mean the same as one in the text and are not in it.
    pub(in crate::retrieval) fn of(&self, text: &str) -> Vec<&str> {
        if self.is_empty() {
            return Vec::new();
        }
        let named = Named::new(text);
        let found = named.names(MAX_UNITS, |key| self.by_name.get(key));
        let present: Vec<String> = found.iter().map(|(range, _)| named.key(range.clone())).collect();
        let mut groups: Vec<usize> = found.iter().flat_map(|(_, groups)| groups.iter().copied()).collect();
        let mut seen = std::collections::HashSet::new();
        groups.retain(|group| seen.insert(*group));
        groups.truncate(MAX_GROUPS);
        let words = groups.into_iter().flat_map(|group| &self.groups[group]);
        words
            .filter(|word| !present.contains(&name_key(&units(word))))
            .map(String::as_str)
            .collect()
    }
}

/// A file of synonyms that is followed.
pub(in crate::retrieval) struct SynonymsFile {
    /// `None` where there is none.
    path: Option<PathBuf>,
    state: RwLock<Read>,
}

/// What was read last.
struct Read {
    /// Of which file: when it was changed, and its bytes. `None` where it could not be looked at.
    stamp: Option<(SystemTime, u64)>,
    synonyms: Arc<Synonyms>,
}

impl SynonymsFile {
    /// Reads the file at `path`; an empty path is no file.
    ///
    /// # Errors
    /// See [`Synonyms::read`].
    pub(in crate::retrieval) fn open(path: &Path) -> Result<Self, SynonymsError> {
        let path = (!path.as_os_str().is_empty()).then(|| path.to_owned());
        let mut read = Read {
            stamp: None,
            synonyms: Arc::default(),
        };
        if let Some(path) = &path {
            // Before it is read: what changes meanwhile is read again.
            read.stamp = stamp(path);
            read.synonyms = Arc::new(Synonyms::read(path)?);
        }
        Ok(Self {
            path,
            state: RwLock::new(read),
        })
    }

    /// What was read last.
    pub(in crate::retrieval) fn current(&self) -> Arc<Synonyms> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.synonyms.clone()
    }

    /// Reads the file again if it has changed. One that cannot be used is said once, and what was read before stays.
    pub(in crate::retrieval) fn refresh(&self) {
        let Some(path) = &self.path else { return };
        let now = stamp(path);
        if now == self.state.read().unwrap_or_else(PoisonError::into_inner).stamp {
            return;
        }
        let read = Synonyms::read(path);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.stamp = now;
        match read {
            Ok(synonyms) => {
                tracing::info!(groups = synonyms.len(), "synonyms read again");
                state.synonyms = Arc::new(synonyms);
            }
            Err(error) => tracing::warn!(%error, "the synonyms stay as they were"),
        }
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.modified().ok()?, file.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_others_of_a_group_are_given() {
        let synonyms =
            Synonyms::parse("# fees\n\n年费, 年度费用，annual fee\n年费、会员费\n手机银行, 掌上银行\n").unwrap();
        assert_eq!(synonyms.len(), 3);
        assert_eq!(synonyms.of("金卡年费多少"), ["年度费用", "annual fee", "会员费"]);
        assert_eq!(synonyms.of("What is the annual fee?"), ["年费", "年度费用"]);
        assert_eq!(synonyms.of("掌上銀行怎麼登入"), ["手机银行"]);
        assert_eq!(synonyms.of("年费就是年度费用"), ["annual fee", "会员费"]);
        assert!(synonyms.of("今年费了很大劲").is_empty());
        assert!(synonyms.of("annual report").is_empty() && synonyms.of("").is_empty());
    }

    #[test]
    fn a_line_that_cannot_be_used_is_named() {
        for (text, line) in [
            ("年费", 1),
            ("a, 年费", 1),
            ("\n年费, 卡", 2),
            ("# x\n一二三四五六七八九十一二三, 年费", 2),
        ] {
            assert_eq!(Synonyms::parse(text).unwrap_err().0, line, "{text}");
        }
        let many = (0..17).map(|n| format!("word{n}")).collect::<Vec<_>>().join(",");
        assert!(Synonyms::parse(&many).is_err());
        assert!(Synonyms::parse("\u{feff}").unwrap().is_empty());
        let error = Synonyms::read(Path::new("/nowhere/synonyms.txt")).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/synonyms.txt: "), "{error}");
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_bad_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("synonyms.txt");
        std::fs::write(&path, "年费, 会员费\n").unwrap();
        let file = SynonymsFile::open(&path).unwrap();
        assert_eq!(file.current().of("年费"), ["会员费"]);
        std::fs::write(&path, "年费, 年度费用\n# longer\n").unwrap();
        file.refresh();
        assert_eq!(file.current().of("年费"), ["年度费用"]);
        std::fs::write(&path, "年费\n").unwrap();
        file.refresh();
        assert_eq!(file.current().of("年费"), ["年度费用"]);
        std::fs::remove_file(&path).unwrap();
        file.refresh();
        assert_eq!(file.current().of("年费"), ["年度费用"]);
        assert!(SynonymsFile::open(&path).is_err());
        assert!(SynonymsFile::open(Path::new("")).unwrap().current().is_empty());
    }
}
