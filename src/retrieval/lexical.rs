//! The index of words: BM25 over titles (counted double) and bodies, by tantivy, in memory. Rows are numbered as in the
//! vector index.

use super::RetrievalError;
use super::terms;
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use tantivy::collector::TopDocs;
use tantivy::directory::{Directory, RamDirectory};
use tantivy::query::{BooleanQuery, BoostQuery, Query, TermQuery};
use tantivy::schema::{FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{Index, ReloadPolicy, Searcher, TantivyDocument, Term};

/// How much more a word in a title counts than one in the body.
const TITLE_BOOST: f32 = 2.0;
/// Memory of the writer; more than it needs for the texts of any knowledge base that fits in memory.
const WRITER_BYTES: usize = 64 << 20;
/// Texts whose terms are found at a time.
const STEP: usize = 256;
/// Terms of a question that are searched; the rarest, where it has more.
const MAX_QUERY_TERMS: usize = 96;

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
}

#[derive(Clone, Copy)]
struct Fields {
    row: Field,
    title: Field,
    body: Field,
}

fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    // Terms are found before: the tokenizer named here never runs.
    let indexing = TextFieldIndexing::default()
        .set_tokenizer("raw")
        .set_index_option(IndexRecordOption::WithFreqs);
    let text = TextOptions::default().set_indexing_options(indexing);
    let fields = Fields {
        row: schema.add_u64_field("row", FAST),
        title: schema.add_text_field("title", text.clone()),
        body: schema.add_text_field("body", text),
    };
    (schema.build(), fields)
}

impl LexicalIndex {
    /// Indexes `entries`; the row of each is its place. Cost: about 1 MB of text a second and thread.
    ///
    /// # Errors
    /// What tantivy says.
    pub(super) fn build(entries: &[Entry]) -> Result<Self, RetrievalError> {
        let (schema, fields) = schema();
        let directory = RamDirectory::create();
        if entries.is_empty() {
            return Ok(Self {
                directory,
                searcher: None,
                fields,
            });
        }
        let mut writer = Index::builder()
            .schema(schema)
            .single_segment_index_writer::<TantivyDocument>(directory.clone(), WRITER_BYTES)?;
        for (step, entries) in entries.chunks(STEP).enumerate() {
            let documents: Vec<TantivyDocument> = entries
                .par_iter()
                .enumerate()
                .map(|(offset, entry)| {
                    let mut document = TantivyDocument::new();
                    document.add_u64(fields.row, (step * STEP + offset) as u64);
                    document.add_pre_tokenized_text(fields.title, tokens(&entry.title));
                    document.add_pre_tokenized_text(fields.body, tokens(&entry.body));
                    document
                })
                .collect();
            for document in documents {
                writer.add_document(document)?;
            }
        }
        let index = writer.finalize()?;
        Ok(Self {
            searcher: Some(searcher(&index)?),
            directory,
            fields,
        })
    }

    /// The index whose files are `files`, as [`Self::files`] gave them.
    ///
    /// # Errors
    /// What tantivy says; the files must be verified before.
    pub(super) fn open(files: Vec<(PathBuf, Vec<u8>)>) -> Result<Self, RetrievalError> {
        let directory = RamDirectory::create();
        let (schema, fields) = schema();
        if files.is_empty() {
            return Ok(Self {
                directory,
                searcher: None,
                fields,
            });
        }
        for (path, bytes) in files {
            directory
                .atomic_write(&path, &bytes)
                .map_err(|source| RetrievalError::Io { path, source })?;
        }
        let index = Index::open(directory.clone())?;
        if index.schema() != schema {
            return Err(tantivy::TantivyError::SchemaError("another schema".to_owned()).into());
        }
        Ok(Self {
            searcher: Some(searcher(&index)?),
            directory,
            fields,
        })
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

    /// The `limit` best rows with their BM25 scores, best first, equal ones in order of their row.
    ///
    /// # Errors
    /// What tantivy says.
    pub(super) fn search(&self, text: &str, limit: usize) -> Result<Vec<(u32, f32)>, RetrievalError> {
        let Some(searcher) = self.searcher.as_ref().filter(|_| limit > 0) else {
            return Ok(Vec::new());
        };
        let mut terms: Vec<(u64, String)> = Vec::new();
        for term in terms::query_terms(text) {
            let frequency = self.frequency(&term)?;
            if frequency > 0 {
                terms.push((frequency, term));
            }
        }
        terms.sort();
        terms.truncate(MAX_QUERY_TERMS);
        let mut clauses: Vec<Box<dyn Query>> = Vec::with_capacity(terms.len() * 2);
        for (_, term) in &terms {
            let of = |field| {
                Box::new(TermQuery::new(
                    Term::from_field_text(field, term),
                    IndexRecordOption::WithFreqs,
                ))
            };
            clauses.push(Box::new(BoostQuery::new(of(self.fields.title), TITLE_BOOST)));
            clauses.push(of(self.fields.body));
        }
        if clauses.is_empty() {
            return Ok(Vec::new());
        }
        let found = searcher.search(
            &BooleanQuery::union(clauses),
            &TopDocs::with_limit(limit).order_by_score(),
        )?;
        let mut rows = Vec::with_capacity(found.len());
        for (score, address) in found {
            let column = searcher.segment_reader(address.segment_ord).fast_fields().u64("row")?;
            if let Some(row) = column.first(address.doc_id) {
                rows.push((row as u32, score));
            }
        }
        rows.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        Ok(rows)
    }

    /// How rare a word is: ln(1 + (N - n + 0.5) / (n + 0.5)) for a word in n of N texts (the weight in BM25). A word
    /// that no text was cut into counts as the rarest of its pairs of characters that occur.
    ///
    /// # Errors
    /// What tantivy says.
    pub(super) fn rarity(&self, word: &str) -> Result<f32, RetrievalError> {
        let Some(searcher) = &self.searcher else { return Ok(1.0) };
        let mut frequency = self.frequency(word)?;
        let ends: Vec<usize> = word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
        if frequency == 0 && ends.len() > 3 && word.chars().all(crate::domain::is_han) {
            let mut rarest = u64::MAX;
            for pair in ends.windows(3) {
                let pair = self.frequency(&word[pair[0]..pair[2]])?;
                rarest = if pair > 0 { rarest.min(pair) } else { rarest };
            }
            frequency = if rarest == u64::MAX { 0 } else { rarest };
        }
        let (all, with) = (searcher.num_docs() as f32, frequency as f32);
        Ok(((all - with).max(0.0) + 0.5).mul_add(1.0 / (with + 0.5), 1.0).ln())
    }

    /// In how many texts a term occurs, in title or body, whichever is more.
    fn frequency(&self, term: &str) -> Result<u64, RetrievalError> {
        let Some(searcher) = &self.searcher else { return Ok(0) };
        let of = |field| searcher.doc_freq(&Term::from_field_text(field, term));
        Ok(of(self.fields.title)?.max(of(self.fields.body)?))
    }
}

fn searcher(index: &Index) -> Result<Searcher, RetrievalError> {
    Ok(index
        .reader_builder()
        .reload_policy(ReloadPolicy::Manual)
        .try_into()?
        .searcher())
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

    fn entries() -> Vec<Entry> {
        [
            ("信用卡 挂失", "信用卡遗失后请立即致电客服热线办理挂失。"),
            ("信用卡 年费", "普卡免年费，金卡每年 200 元，刷满六次免次年年费。"),
            ("退货政策", "签收后七天内可以退货，运费由买家承担。"),
            ("Return policy", "Items can be returned within 7 days of delivery."),
        ]
        .map(|(title, body)| Entry {
            title: title.to_owned(),
            body: body.to_owned(),
        })
        .to_vec()
    }

    fn best(index: &LexicalIndex, query: &str) -> Option<u32> {
        index.search(query, 3).unwrap().first().map(|(row, _)| *row)
    }

    #[test]
    fn words_find_their_text_in_both_languages() {
        let index = LexicalIndex::build(&entries()).unwrap();
        assert_eq!(best(&index, "卡丢了，怎么办理挂失呢"), Some(0));
        assert_eq!(best(&index, "年费多少"), Some(1));
        assert_eq!(best(&index, "七天退货"), Some(2));
        assert_eq!(best(&index, "returning an item: policies?"), Some(3));
        assert_eq!(best(&index, "天气"), None);
        assert_eq!(best(&index, "，"), None);
    }

    #[test]
    fn rare_words_weigh_more() {
        let index = LexicalIndex::build(&entries()).unwrap();
        let rarity = |word| index.rarity(word).unwrap();
        assert!(rarity("信用卡") < rarity("挂失"));
        assert!(rarity("挂失") < rarity("天气"));
        // Never a word of its own here, but its characters occur.
        assert!(rarity("信用卡年费") < rarity("天气预报"));
    }

    #[test]
    fn files_open_to_the_same_index() {
        let built = LexicalIndex::build(&entries()).unwrap();
        let opened = LexicalIndex::open(built.files().unwrap()).unwrap();
        for query in ["信用卡", "退货运费", "policy"] {
            assert_eq!(built.search(query, 4).unwrap(), opened.search(query, 4).unwrap());
        }
        let empty = LexicalIndex::build(&[]).unwrap();
        assert!(empty.files().unwrap().is_empty());
        assert!(
            LexicalIndex::open(Vec::new())
                .unwrap()
                .search("x", 3)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_very_long_question_is_searched_by_its_rarest_words() {
        let index = LexicalIndex::build(&entries()).unwrap();
        let query = format!("{} 挂失", "信用卡办理业务流程".repeat(400));
        assert_eq!(best(&index, &query), Some(0));
    }
}
