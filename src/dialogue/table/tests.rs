//! Invented tables with questions: the answer wanted, or none.

use super::{Source, answer};
use serde::Deserialize;
use std::collections::HashMap;

#[derive(Deserialize)]
struct Base {
    id: String,
    titles: Vec<String>,
    parts: Vec<String>,
    #[serde(default)]
    open_end: bool,
}

#[derive(Deserialize)]
struct Asked {
    table: String,
    question: String,
    /// What the sentence must say; `null`: no answer is wanted.
    says: Option<Vec<String>>,
    /// The rows shown, each by its first cell.
    #[serde(default)]
    rows: Vec<String>,
}

fn lines<'a, T: Deserialize<'a>>(text: &'a str) -> Vec<T> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn check(questions: &str) {
    let bases: Vec<Base> = lines(include_str!("../../../tests/fixtures/tables/tables.jsonl"));
    let bases: HashMap<&str, &Base> = bases.iter().map(|base| (base.id.as_str(), base)).collect();
    let mut wrong = Vec::new();
    for asked in lines::<Asked>(questions) {
        let base = bases[asked.table.as_str()];
        let parts: Vec<&str> = base.parts.iter().map(String::as_str).collect();
        let source = Source {
            titles: &base.titles,
            parts: &parts,
            open_end: base.open_end,
        };
        let got = answer(&asked.question, &source);
        let sentence = got.as_ref().map(|answer| answer.sentence.clone());
        let first_cell = |place: &super::Place| {
            let line = &parts[place.part][place.bytes.clone()];
            line.trim_matches('|').split('|').next().unwrap().trim().to_owned()
        };
        let rows: Vec<String> = got
            .iter()
            .flat_map(|answer| answer.rows.iter().map(first_cell))
            .collect();
        let right = match (&sentence, &asked.says) {
            (Some(sentence), Some(says)) => says.iter().all(|words| sentence.contains(words)),
            (None, None) => true,
            _ => false,
        };
        if !right || (!asked.rows.is_empty() && rows != asked.rows) {
            let (question, table) = (&asked.question, &asked.table);
            let (says, wanted) = (&asked.says, &asked.rows);
            wrong.push(format!(
                "{question} [{table}]\n   got    {sentence:?} {rows:?}\n   wanted {says:?} {wanted:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn questions_that_it_was_made_with() {
    check(include_str!(
        "../../../tests/fixtures/tables/questions-development.jsonl"
    ));
}

#[test]
fn questions_that_it_was_not_made_with() {
    check(include_str!("../../../tests/fixtures/tables/questions-held-out.jsonl"));
}

#[test]
fn questions_written_after_it_was_made() {
    check(include_str!("../../../tests/fixtures/tables/questions-unseen.jsonl"));
}
