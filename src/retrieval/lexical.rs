//! The index of words of one layer: titles (counted double) and bodies, by tantivy, in memory. Texts are numbered by their
//! place. [`super::words::Words`] searches several of them as if they were one.

use super::RetrievalError;
use super::mask::Mask;
use super::terms;
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use tantivy::directory::{Directory, OwnedBytes, RamDirectory};
use tantivy::fastfield::AliveBitSet;
use tantivy::indexer::merge_filtered_segments;
use tantivy::schema::{FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{BitSet, DocSet, Index, IndexSettings, ReloadPolicy, Searcher, TERMINATED, TantivyDocument, Term};

/// Memory of the writer; more than it needs for the texts of any knowledge base that fits in memory.
const WRITER_BYTES: usize = 64 << 20;
/// Memory of the writer of a few texts: it is touched when the writer begins.
const SMALL_WRITER_BYTES: usize = 1 << 20;
/// Texts up to which they are a few.
const FEW: usize = 64;
/// Texts whose terms are found at a time.
const STEP: usize = 256;
/// Entries of a list that are read in the time in which one is looked up in it.
const ENTRIES_PER_LOOKUP: u64 = 16;

/// A text to be indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Titles or, for a FAQ, its wordings.
    pub(super) title: String,
    /// The text itself.
    pub(super) body: String,
}

/// The index of words.
pub(super) struct LexicalIndex {
    directory: RamDirectory,
    searcher: Option<Searcher>,
    fields: Fields,
    /// Terms in all titles and in all bodies.
    tokens: [u64; 2],
}

/// The fields of a text.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    pub(super) title: Field,
    pub(super) body: Field,
    title_tokens: Field,
    body_tokens: Field,
}

/// The texts of an index that are no longer there, and what they take from the index's figures.
#[derive(Clone, Debug, Default)]
pub(super) struct Gone {
    /// Which.
    pub(super) texts: Mask,
    /// Terms in their titles and in their bodies.
    tokens: [u64; 2],
}

fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    // Terms are found before: the tokenizer named here never runs.
    let indexing = TextFieldIndexing::default()
        .set_tokenizer("raw")
        .set_index_option(IndexRecordOption::WithFreqs);
    let text = TextOptions::default().set_indexing_options(indexing);
    let fields = Fields {
        title: schema.add_text_field("title", text.clone()),
        body: schema.add_text_field("body", text),
        title_tokens: schema.add_u64_field("title_tokens", FAST),
        body_tokens: schema.add_u64_field("body_tokens", FAST),
    };
    (schema.build(), fields)
}

impl LexicalIndex {
    /// Indexes `entries`; the row of each is its place. Cost: about 1 MB of text a second and thread.
    ///
    /// # Errors
    /// What tantivy says.
    pub(super) fn build(entries: &[Entry]) -> Result<Self, RetrievalError> {
        if entries.is_empty() {
            return Ok(Self::empty());
        }
        let (schema, fields) = schema();
        let directory = RamDirectory::create();
        let memory = if entries.len() > FEW {
            WRITER_BYTES
        } else {
            SMALL_WRITER_BYTES
        };
        // One segment: its documents are numbered in the order in which they come.
        let mut writer = Index::builder()
            .schema(schema)
            .single_segment_index_writer::<TantivyDocument>(directory.clone(), memory)?;
        for entries in entries.chunks(STEP) {
            let documents: Vec<TantivyDocument> = entries
                .par_iter()
                .map(|entry| {
                    let mut document = TantivyDocument::new();
                    let (title, body) = (tokens(&entry.title), tokens(&entry.body));
                    document.add_u64(fields.title_tokens, title.tokens.len() as u64);
                    document.add_u64(fields.body_tokens, body.tokens.len() as u64);
                    document.add_pre_tokenized_text(fields.title, title);
                    document.add_pre_tokenized_text(fields.body, body);
                    document
                })
                .collect();
            for document in documents {
                writer.add_document(document)?;
            }
        }
        Self::over(&writer.finalize()?, directory)
    }

    fn empty() -> Self {
        Self {
            directory: RamDirectory::create(),
            searcher: None,
            fields: schema().1,
            tokens: [0, 0],
        }
    }

    fn over(index: &Index, directory: RamDirectory) -> Result<Self, RetrievalError> {
        let (schema, fields) = schema();
        if index.schema() != schema {
            return Err(tantivy::TantivyError::SchemaError("another schema".to_owned()).into());
        }
        let searcher: Searcher = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?
            .searcher();
        if searcher.segment_readers().len() != 1 {
            return Err(tantivy::TantivyError::SchemaError("more than one segment".to_owned()).into());
        }
        let mut index = Self {
            searcher: Some(searcher),
            directory,
            fields,
            tokens: [0, 0],
        };
        index.tokens = index.tokens_of(0..index.texts() as u32)?;
        Ok(index)
    }

    /// How many texts there are.
    pub(super) fn texts(&self) -> usize {
        self.searcher
            .as_ref()
            .map_or(0, |searcher| searcher.num_docs() as usize)
    }

    /// Its searcher over its one segment; `None` where there is no text.
    pub(super) fn searcher(&self) -> Option<&Searcher> {
        self.searcher.as_ref()
    }

    /// Its fields: the same for all indexes.
    pub(super) fn fields(&self) -> Fields {
        self.fields
    }

    /// The terms of all texts, those that are gone too, each once for each field it is in.
    ///
    /// Cost: a walk through the dictionary.
    ///
    /// # Errors
    /// What tantivy says.
    pub(super) fn terms(&self) -> Result<Vec<String>, RetrievalError> {
        let mut terms = Vec::new();
        let Some(searcher) = &self.searcher else {
            return Ok(terms);
        };
        for field in [self.fields.title, self.fields.body] {
            let list = searcher.segment_reader(0).inverted_index(field)?;
            let mut stream = list.terms().stream().map_err(tantivy::TantivyError::from)?;
            while stream.advance() {
                terms.extend(std::str::from_utf8(stream.key()).map(str::to_owned));
            }
        }
        Ok(terms)
    }

    fn tokens_of(&self, texts: impl Iterator<Item = u32>) -> Result<[u64; 2], RetrievalError> {
        let Some(searcher) = &self.searcher else {
            return Ok([0, 0]);
        };
        let columns = searcher.segment_reader(0).fast_fields();
        let (titles, bodies) = (columns.u64("title_tokens")?, columns.u64("body_tokens")?);
        Ok(texts.fold([0, 0], |[title, body], text| {
            [
                title + titles.first(text).unwrap_or_default(),
                body + bodies.first(text).unwrap_or_default(),
            ]
        }))
    }

    /// What the index is without these texts.
    ///
    /// # Errors
    /// What tantivy says.
    pub(super) fn gone(&self, texts: Mask) -> Result<Gone, RetrievalError> {
        let tokens = self.tokens_of(texts.iter())?;
        Ok(Gone { texts, tokens })
    }

    /// Terms in all titles (or all bodies) but those of the texts that are gone.
    pub(super) fn living_tokens(&self, field: Field, gone: &Gone) -> u64 {
        let place = usize::from(field == self.fields.body);
        self.tokens[place].saturating_sub(gone.tokens[place])
    }

    /// How many texts that are not gone have the term.
    ///
    /// Cost: a look into the dictionary; where texts are gone, the term's list of texts is read.
    ///
    /// # Errors
    /// What tantivy says.
    pub(super) fn living_frequency(&self, term: &Term, gone: &Gone) -> tantivy::Result<u64> {
        let Some(searcher) = &self.searcher else { return Ok(0) };
        if gone.texts.count() == 0 {
            return searcher.doc_freq(term);
        }
        let list = searcher.segment_reader(0).inverted_index(term.field())?;
        let Some(mut list) = list.read_postings(term, IndexRecordOption::Basic)? else {
            return Ok(0);
        };
        let all = u64::from(list.doc_freq());
        let mut dead = 0;
        if gone.texts.count() as u64 * ENTRIES_PER_LOOKUP < all {
            for text in gone.texts.iter() {
                if list.doc() > text {
                    continue;
                }
                match list.seek(text) {
                    TERMINATED => break,
                    found => dead += u64::from(found == text),
                }
            }
        } else {
            while list.doc() != TERMINATED {
                dead += u64::from(gone.texts.contains(list.doc()));
                list.advance();
            }
        }
        Ok(all - dead)
    }

    /// One index of the texts of all `parts` that are not gone, one part after the other. Nothing is cut into terms again.
    ///
    /// # Errors
    /// What tantivy says.
    pub(super) fn merge(parts: &[(&Self, &Gone)]) -> Result<Self, RetrievalError> {
        let (mut segments, mut filters) = (Vec::new(), Vec::new());
        for (index, gone) in parts {
            let Some(searcher) = &index.searcher else { continue };
            if gone.texts.count() == index.texts() {
                continue;
            }
            segments.extend(searcher.index().searchable_segments()?);
            filters.push((gone.texts.count() > 0).then(|| alive(&gone.texts, index.texts())));
        }
        if segments.is_empty() {
            return Ok(Self::empty());
        }
        let directory = RamDirectory::create();
        let index = merge_filtered_segments(&segments, IndexSettings::default(), filters, directory.clone())?;
        Self::over(&index, directory)
    }

    /// Bytes it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.directory.total_mem_usage()
    }

    /// The index whose files are `files`, as [`Self::files`] gave them.
    ///
    /// # Errors
    /// What tantivy says; the files must be verified before.
    pub(super) fn open(files: Vec<(PathBuf, Vec<u8>)>) -> Result<Self, RetrievalError> {
        if files.is_empty() {
            return Ok(Self::empty());
        }
        let directory = RamDirectory::create();
        for (path, bytes) in files {
            directory
                .atomic_write(&path, &bytes)
                .map_err(|source| RetrievalError::Io { path, source })?;
        }
        Self::over(&Index::open(directory.clone())?, directory)
    }

    /// The index as files, sorted by name.
    ///
    /// # Errors
    /// What tantivy says.
    pub(super) fn files(&self) -> Result<Vec<(PathBuf, Vec<u8>)>, RetrievalError> {
        let Some(searcher) = &self.searcher else {
            return Ok(Vec::new());
        };
        let mut paths: Vec<PathBuf> = searcher
            .index()
            .load_metas()?
            .list_segment_files()
            .into_iter()
            .collect();
        paths.push(PathBuf::from("meta.json"));
        paths.sort();
        let mut files = Vec::new();
        for path in paths {
            if !self.directory.exists(&path).map_err(tantivy::TantivyError::from)? {
                continue;
            }
            let io = |source| RetrievalError::Io {
                path: path.clone(),
                source,
            };
            let file = self
                .directory
                .open_read(Path::new(&path))
                .map_err(tantivy::TantivyError::from)?;
            let bytes = file.read_bytes().map_err(io)?.as_slice().to_vec();
            files.push((path, bytes));
        }
        Ok(files)
    }
}

fn alive(gone: &Mask, texts: usize) -> AliveBitSet {
    let mut alive = BitSet::with_max_value_and_full(texts as u32);
    for text in gone.iter() {
        alive.remove(text);
    }
    let mut bytes = Vec::new();
    // Writing to memory does not fail.
    let _ = alive.serialize(&mut bytes);
    AliveBitSet::open(OwnedBytes::new(bytes))
}

fn tokens(text: &str) -> PreTokenizedString {
    let tokens = terms::index_terms(text)
        .into_iter()
        .enumerate()
        .map(|(position, text)| Token {
            position,
            text,
            position_length: 1,
            ..Token::default()
        })
        .collect();
    PreTokenizedString {
        text: String::new(),
        tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(title: &str, body: &str) -> Entry {
        Entry {
            title: title.to_owned(),
            body: body.to_owned(),
        }
    }

    #[test]
    fn merging_leaves_out_what_is_gone_and_counts_exactly() {
        let one = LexicalIndex::build(&[entry("信用卡", "挂失"), entry("", "挂失 退货 退货")]).unwrap();
        let two = LexicalIndex::build(&[entry("退货", "运费")]).unwrap();
        let mut mask = Mask::new(2);
        mask.insert(0);
        let gone = one.gone(mask).unwrap();
        let none = Gone::default();
        let merged = LexicalIndex::merge(&[(&one, &gone), (&two, &none)]).unwrap();
        assert_eq!(merged.texts(), 2);
        let term = |field, text| Term::from_field_text(field, text);
        let Fields { title, body, .. } = one.fields();
        for (field, text, expected) in [
            (body, "挂失", 1),
            (body, "退货", 1),
            (title, "信用", 0),
            (title, "退货", 1),
        ] {
            assert_eq!(merged.living_frequency(&term(field, text), &none).unwrap(), expected);
            let parts = one.living_frequency(&term(field, text), &gone).unwrap()
                + two.living_frequency(&term(field, text), &none).unwrap();
            assert_eq!(parts, expected, "{text}");
        }
        for field in [title, body] {
            let parts = one.living_tokens(field, &gone) + two.living_tokens(field, &none);
            assert_eq!(merged.living_tokens(field, &none), parts);
        }
        assert_eq!(merged.living_tokens(body, &none), 4);
        assert_eq!(LexicalIndex::merge(&[]).unwrap().texts(), 0);
    }

    #[test]
    fn files_open_to_the_same_index() {
        let built = LexicalIndex::build(&[entry("信用卡", "挂失"), entry("", "退货")]).unwrap();
        let opened = LexicalIndex::open(built.files().unwrap()).unwrap();
        assert_eq!((opened.texts(), opened.tokens), (built.texts(), built.tokens));
        let empty = LexicalIndex::build(&[]).unwrap();
        assert!(empty.files().unwrap().is_empty());
        assert_eq!(LexicalIndex::open(Vec::new()).unwrap().texts(), 0);
    }
}
