//! Approved questions from a table (CSV) or from one JSON object a line. A faulty line is reported with its number;
//! the others are still imported.

use super::scope::read_scope;
use super::{Decoded, decode};
use crate::domain::Scope;
use crate::retrieval::RetrievalError;
use serde_json::{Map, Value};

/// Characters of a question or of one of its wordings.
const MAX_QUESTION_CHARS: usize = 500;
/// Characters of an answer.
const MAX_ANSWER_CHARS: usize = 20_000;
/// Wordings of one question.
const MAX_VARIANTS: usize = 200;
/// Faults that are reported one by one.
const MAX_ERRORS: usize = 100;

/// One approved question as a file gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaqRow {
    /// The line it begins on, from 1.
    pub line: u64,
    /// The company's key, if the file gives one.
    pub id: Option<String>,
    /// The question in its standard wording.
    pub question: String,
    /// Other wordings, without the standard one and without repetition.
    pub variants: Vec<String>,
    /// The approved answer, as written.
    pub answer: String,
    /// A label; may be empty.
    pub category: String,
    /// Who may be told; `None` if the file says nothing of that.
    pub scope: Option<Scope>,
}

/// What is wrong with one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong, and what is expected.
    pub detail: String,
}

/// The content of a file of approved questions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedFaqs {
    /// The good lines.
    pub rows: Vec<FaqRow>,
    /// The first faults.
    pub errors: Vec<LineError>,
    /// How many faults there are in all.
    pub faults: usize,
}

impl ParsedFaqs {
    fn fault(&mut self, line: u64, detail: impl Into<String>) {
        self.faults += 1;
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(LineError {
                line,
                detail: detail.into(),
            });
        }
    }

    fn take(&mut self, row: Result<FaqRow, String>, line: u64) {
        match row {
            Ok(row) => self.rows.push(row),
            Err(detail) => self.fault(line, detail),
        }
    }
}

/// A column's names: in English, short, and in Chinese as spreadsheets of customer services have them.
struct Column {
    names: &'static [&'static str],
}

const ID: Column = Column {
    names: &["id", "key", "编号", "序号"],
};
const QUESTION: Column = Column {
    names: &["question", "q", "问题", "标准问题", "标准问"],
};
const VARIANTS: Column = Column {
    names: &["variants", "similar", "相似问法", "相似问", "扩展问"],
};
const ANSWER: Column = Column {
    names: &["answer", "a", "答案", "回答", "标准答案"],
};
const CATEGORY: Column = Column {
    names: &["category", "分类", "类别", "类目"],
};

/// When it begins to hold, when it holds no more, for whom, and where.
const SCOPE: [Column; 4] = [
    Column {
        names: &["effective_from", "生效日期", "生效时间"],
    },
    Column {
        names: &["expires_at", "失效日期", "失效时间"],
    },
    Column {
        names: &["audience", "audiences", "适用客户", "客群"],
    },
    Column {
        names: &["channel", "channels", "渠道"],
    },
];

impl Column {
    fn is(&self, name: &str) -> bool {
        self.names.contains(&name.trim().to_lowercase().as_str())
    }

    fn of<'a>(&self, object: &'a Map<String, Value>) -> Option<&'a Value> {
        object.iter().find(|(name, _)| self.is(name)).map(|(_, value)| value)
    }
}

/// Reads a table with a header line; separated by commas, semicolons or tabs; in any encoding.
///
/// # Errors
/// `NotText`; [`RetrievalError::FaqHeader`] if there is no column for questions or for answers.
pub fn parse_csv(bytes: &[u8]) -> Result<ParsedFaqs, RetrievalError> {
    let Decoded { text, .. } = decode(bytes)?;
    let first = text.lines().next().unwrap_or_default();
    let delimiter = [b',', b'\t', b';']
        .into_iter()
        .find(|d| first.as_bytes().contains(d))
        .unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .has_headers(false)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let Some(Ok(header)) = records.next() else {
        return Err(RetrievalError::FaqHeader { missing: "question" });
    };
    let position = |column: &Column| header.iter().position(|name| column.is(name));
    let question = position(&QUESTION).ok_or(RetrievalError::FaqHeader { missing: "question" })?;
    let answer = position(&ANSWER).ok_or(RetrievalError::FaqHeader { missing: "answer" })?;
    let (id, variants, category) = (position(&ID), position(&VARIANTS), position(&CATEGORY));
    let scope = SCOPE.map(|column| position(&column));

    let mut parsed = ParsedFaqs::default();
    for record in records {
        match record {
            Ok(record) if record.iter().all(|field| field.trim().is_empty()) => {}
            Ok(record) => {
                let line = record.position().map_or(0, |position| first_line(&text, position));
                let field = |at: Option<usize>| at.and_then(|at| record.get(at)).unwrap_or_default();
                let row = if record.len() > header.len() {
                    Err(format!(
                        "{} fields, the header has {}: put fields that contain the separator in double quotes",
                        record.len(),
                        header.len()
                    ))
                } else {
                    row(
                        line,
                        field(id),
                        field(Some(question)),
                        field(variants).split('|'),
                        field(Some(answer)),
                        field(category),
                    )
                    .and_then(|row| {
                        if scope.iter().all(Option::is_none) {
                            return Ok(row);
                        }
                        let scope = read_scope(scope.map(&field))?;
                        Ok(FaqRow {
                            scope: Some(scope),
                            ..row
                        })
                    })
                };
                parsed.take(row, line);
            }
            Err(error) => {
                let line = error.position().map_or(0, |position| first_line(&text, position));
                parsed.fault(line, error.to_string());
            }
        }
    }
    Ok(parsed)
}

/// Whether a table's header names a column for questions or one for answers: it is meant as approved questions then,
/// though a column may be missing.
#[must_use]
pub fn is_faq_table(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first
        .split([',', '\t', ';'])
        .map(|name| name.trim().trim_matches('"'))
        .any(|name| QUESTION.is(name) || ANSWER.is(name))
}

/// The line of a record: its position is where the blank lines before it begin.
fn first_line(text: &str, position: &csv::Position) -> u64 {
    let rest = text.as_bytes().get(position.byte() as usize..).unwrap_or_default();
    let blank = rest
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .filter(|byte| **byte == b'\n')
        .count();
    position.line() + blank as u64
}

/// Reads one JSON object a line: `{"id", "question", "variants": [], "answer", "category"}`, also `q` and `a`; and, of whom it
/// is meant for, `effective_from`, `expires_at`, `audience` and `channel`.
///
/// # Errors
/// `NotText`.
pub fn parse_jsonl(bytes: &[u8]) -> Result<ParsedFaqs, RetrievalError> {
    let Decoded { text, .. } = decode(bytes)?;
    let mut parsed = ParsedFaqs::default();
    for (number, source) in (1..).zip(text.lines()) {
        if source.trim().is_empty() {
            continue;
        }
        let row = match serde_json::from_str::<Value>(source) {
            Ok(Value::Object(object)) => object_row(number, &object),
            Ok(_) => Err("a JSON object is needed, such as {\"question\": ..., \"answer\": ...}".to_owned()),
            Err(error) => Err(format!("malformed JSON: {error}")),
        };
        parsed.take(row, number);
    }
    Ok(parsed)
}

/// Whether a file is a set of test questions (with the field `answerable`) and no knowledge.
#[must_use]
pub fn is_question_set(bytes: &[u8]) -> bool {
    let first = bytes
        .split(|byte| *byte == b'\n')
        .find(|line| !line.trim_ascii().is_empty());
    first
        .and_then(|line| serde_json::from_slice::<Value>(line).ok())
        .is_some_and(|value| value.get("question").is_some() && value.get("answerable").is_some())
}

fn object_row(line: u64, object: &Map<String, Value>) -> Result<FaqRow, String> {
    let text = |column: &Column| match column.of(object) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(_) => Err(format!("\"{}\" must be a text", column.names[0])),
    };
    let variants: Vec<String> = match VARIANTS.of(object) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => text.split('|').map(str::to_owned).collect(),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| {
                item.as_str()
                    .map(str::to_owned)
                    .ok_or("\"variants\" must be a list of texts")
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err("\"variants\" must be a list of texts".to_owned()),
    };
    let mut row = row(
        line,
        &text(&ID)?,
        &text(&QUESTION)?,
        variants.iter().map(String::as_str),
        &text(&ANSWER)?,
        &text(&CATEGORY)?,
    )?;
    if SCOPE.iter().any(|column| column.of(object).is_some()) {
        let mut fields = [const { String::new() }; 4];
        for (field, column) in fields.iter_mut().zip(&SCOPE) {
            *field = match column.of(object) {
                Some(Value::Array(items)) => {
                    let names: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                    names
                        .ok_or_else(|| format!("\"{}\" must be a list of texts", column.names[0]))?
                        .join("|")
                }
                _ => text(column)?,
            };
        }
        row.scope = Some(read_scope(fields.each_ref().map(String::as_str))?);
    }
    Ok(row)
}

/// A FAQ that a person wrote, held to the limits of a file's rows.
///
/// # Errors
/// What is wrong with it, and what is expected.
pub fn faq_row<'a>(
    key: &str,
    question: &str,
    variants: impl Iterator<Item = &'a str>,
    answer: &str,
    category: &str,
) -> Result<FaqRow, String> {
    row(0, key, question, variants, answer, category)
}

fn row<'a>(
    line: u64,
    id: &str,
    question: &str,
    variants: impl Iterator<Item = &'a str>,
    answer: &str,
    category: &str,
) -> Result<FaqRow, String> {
    let (id, question, answer) = (id.trim(), question.trim(), answer.trim());
    for (name, text, limit) in [
        ("id", id, 200),
        ("question", question, MAX_QUESTION_CHARS),
        ("answer", answer, MAX_ANSWER_CHARS),
    ] {
        if text.chars().nth(limit).is_some() {
            return Err(format!("the {name} is longer than {limit} characters"));
        }
        if text.is_empty() && name != "id" {
            return Err(format!("the {name} is empty"));
        }
    }
    let mut kept: Vec<String> = Vec::new();
    for variant in variants.map(str::trim).filter(|variant| !variant.is_empty()) {
        if variant.chars().nth(MAX_QUESTION_CHARS).is_some() {
            return Err(format!("a variant is longer than {MAX_QUESTION_CHARS} characters"));
        }
        if variant != question && !kept.iter().any(|other| other == variant) {
            kept.push(variant.to_owned());
        }
    }
    if kept.len() > MAX_VARIANTS {
        return Err(format!("more than {MAX_VARIANTS} variants"));
    }
    Ok(FaqRow {
        line,
        id: (!id.is_empty()).then(|| id.to_owned()),
        question: question.to_owned(),
        variants: kept,
        answer: answer.to_owned(),
        category: category.trim().to_owned(),
        scope: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_with_faulty_lines() {
        let table = "id,question,variants,answer,category,lang\n\
            c1,年费多少,年费是多少|年费多少|,\"普卡免年费，\n金卡 200 元。\",信用卡,zh\n\
            c2,,x,y,,\n\
            ,怎么挂失,,致电 95500,,\n\n\
            c4,a,b,c,d,e,f\n";
        let parsed = parse_csv(table.as_bytes()).unwrap();
        assert_eq!(parsed.rows.len(), 2);
        assert_eq!(parsed.rows[0].variants, ["年费是多少"]);
        assert_eq!(parsed.rows[0].answer, "普卡免年费，\n金卡 200 元。");
        assert_eq!((parsed.rows[1].id.as_deref(), parsed.rows[1].line), (None, 5));
        let faults: Vec<(u64, &str)> = parsed.errors.iter().map(|e| (e.line, e.detail.as_str())).collect();
        assert_eq!(faults[0], (4, "the question is empty"));
        assert_eq!(faults[1].0, 7);
        assert_eq!(parsed.faults, 2);
    }

    #[test]
    fn chinese_headers_in_any_encoding() {
        let table = "分类;问题;相似问法;答案\n信用卡;怎么挂失;如何挂失|卡丢了怎么办;请致电客服热线办理挂失\n";
        let spreadsheet = encoding_rs::GBK.encode(table).0;
        for bytes in [table.as_bytes(), &spreadsheet] {
            let rows = parse_csv(bytes).unwrap().rows;
            assert_eq!(rows[0].variants, ["如何挂失", "卡丢了怎么办"]);
            assert_eq!(rows[0].category, "信用卡");
        }
        let missing = parse_csv("问题,备注\na,b\n".as_bytes()).unwrap_err();
        assert!(matches!(missing, RetrievalError::FaqHeader { missing: "answer" }));
    }

    #[test]
    fn one_object_a_line() {
        let lines = "{\"id\": 7, \"q\": \"How to return?\", \"a\": \"Within 7 days.\", \"variants\": [\"return policy\"]}\n\
            {\"question\": \n\n[1]\n{\"question\": \"x\", \"answer\": 3, \"variants\": [1]}\n{\"q\":\"k\",\"a\":\"v\"}";
        let parsed = parse_jsonl(lines.as_bytes()).unwrap();
        assert_eq!(parsed.rows.iter().map(|row| row.line).collect::<Vec<_>>(), [1, 6]);
        assert_eq!(parsed.rows[0].id.as_deref(), Some("7"));
        assert_eq!(
            parsed.errors.iter().map(|error| error.line).collect::<Vec<_>>(),
            [2, 4, 5]
        );
    }

    #[test]
    fn rows_say_whom_they_are_meant_for() {
        let table = "question,answer,effective_from,expires_at,audience,channel\n\
            a,b,2026-12-01T00:00:00Z,,vip;staff, web | phone \n\
            c,d,,,,\n\
            e,f,1.12.2026,,,\n\
            g,h,2026-12-02T00:00:00Z,2026-12-01T00:00:00Z,,\n";
        let parsed = parse_csv(table.as_bytes()).unwrap();
        let scope = parsed.rows[0].scope.clone().unwrap();
        assert_eq!(scope.effective_from, Some("2026-12-01T00:00:00Z".parse().unwrap()));
        assert_eq!(
            (scope.audiences, scope.channels),
            (vec!["vip".into(), "staff".into()], vec!["web".into(), "phone".into()])
        );
        assert_eq!(
            parsed.rows[1].scope,
            Some(Scope::default()),
            "the column is there: it limits nothing"
        );
        assert_eq!(parsed.errors.iter().map(|fault| fault.line).collect::<Vec<_>>(), [4, 5]);
        assert!(parsed.errors[0].detail.contains("2026-12-01") && parsed.errors[1].detail.contains("before"));
        let lines = "{\"q\":\"a\",\"a\":\"b\",\"audience\":[\"vip\"],\"expires_at\":\"2026-12-01\"}\n\
            {\"q\":\"c\",\"a\":\"d\"}\n{\"q\":\"e\",\"a\":\"f\",\"channel\":[1]}";
        let parsed = parse_jsonl(lines.as_bytes()).unwrap();
        assert_eq!(parsed.rows[0].scope.as_ref().unwrap().audiences, ["vip"]);
        assert_eq!((&parsed.rows[1].scope, parsed.errors[0].line), (&None, 3));
    }

    #[test]
    fn test_questions_are_told_from_knowledge() {
        assert!(is_question_set(b"\n{\"question\": \"x\", \"answerable\": false}\n"));
        assert!(!is_question_set(b"{\"question\": \"x\", \"answer\": \"y\"}"));
        assert!(!is_question_set(b"\xff\xfe"));
    }
}
