//! The golden questions: asked of the knowledge base as it is and as it would be, answered by quotation, and compared.

use crate::dialogue::{Ask, Assistant, DialogueError, ReplyEvent};
use crate::domain::{Clock, DocumentId, Expectation, FaqId, GoldenId, GoldenQuestion, Route, Viewer};
use crate::storage::{StorageError, Store};
use crate::understanding::normalise;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// Characters of an answer that a report shows.
const SHOWN_CHARS: usize = 300;

/// How often the log tells how far it is.
const LOG_EVERY: usize = 50;

/// What became of a golden question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Whether it is what was expected.
    pub right: bool,
    /// The route of the reply; `error` where there was none.
    pub route: &'static str,
    /// The beginning of the answer.
    pub answer: String,
    /// Sources and keys that it cites.
    pub cited: Vec<String>,
}

/// A question that was right before and would be wrong after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Worse {
    /// The question.
    pub question: String,
    /// What is answered now.
    pub before: Outcome,
    /// What would be answered.
    pub after: Outcome,
}

/// What the golden questions say of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GoldenReport {
    /// Questions asked.
    pub asked: usize,
    /// Of these, right before the change.
    pub right_before: usize,
    /// Of these, right after it.
    pub right_after: usize,
    /// Those that the change would break.
    pub worse: Vec<Worse>,
}

/// Documents' sources and FAQs' keys by id, of items that are not live or not yet.
pub(super) type Names = HashMap<Uuid, Name>;

/// What a citation names.
#[derive(Clone, Debug)]
pub(super) enum Name {
    Document(String),
    Faq(String),
}

/// One knowledge base to ask: an assistant that writes nothing, and the names of what is not in the store.
pub(super) struct Asked<'a> {
    pub(super) assistant: Arc<Assistant>,
    pub(super) names: &'a Names,
    pub(super) store: &'a dyn Store,
    pub(super) clock: &'a dyn Clock,
}

/// Asks all `questions` of both, one after another.
///
/// # Errors
/// What the store says. A reply that fails is a wrong one.
pub(super) async fn compare(
    questions: &[GoldenQuestion],
    before: &Asked<'_>,
    after: &Asked<'_>,
) -> Result<GoldenReport, StorageError> {
    let mut report = GoldenReport::default();
    for question in questions {
        let (now, then) = (before.outcome(question).await?, after.outcome(question).await?);
        report.asked += 1;
        report.right_before += usize::from(now.right);
        report.right_after += usize::from(then.right);
        if now.right && !then.right {
            report.worse.push(Worse {
                question: question.question.clone(),
                before: now,
                after: then,
            });
        }
        if report.asked % LOG_EVERY == 0 {
            tracing::info!(
                asked = report.asked,
                of = questions.len(),
                worse = report.worse.len(),
                "golden questions"
            );
        }
    }
    Ok(report)
}

impl Asked<'_> {
    async fn outcome(&self, question: &GoldenQuestion) -> Result<Outcome, StorageError> {
        let ask = Ask::new(question.question.clone(), Viewer::anybody(self.clock.now()));
        let reply = match self.assistant.reply(ask) {
            Ok(mut events) => {
                let mut reply = Reply::default();
                while let Some(event) = events.next().await {
                    reply.take(event);
                }
                reply
            }
            Err(error @ (DialogueError::Empty | DialogueError::TooLong { .. })) => Reply {
                answer: error.to_string(),
                ..Reply::default()
            },
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a golden question failed");
                Reply::default()
            }
        };
        let mut cited = Vec::new();
        for id in &reply.cited {
            if let Some(name) = self.name(*id).await? {
                cited.push(name);
            }
        }
        Ok(judge(&question.expect, &reply, &cited))
    }

    async fn name(&self, id: Uuid) -> Result<Option<Name>, StorageError> {
        if let Some(name) = self.names.get(&id) {
            return Ok(Some(name.clone()));
        }
        if let Some(document) = self.store.document_summary(DocumentId(id)).await? {
            return Ok(Some(Name::Document(document.source)));
        }
        Ok(self.store.faqs(&[FaqId(id)]).await?.pop().map(|faq| Name::Faq(faq.key)))
    }
}

/// The part of a reply that is judged.
#[derive(Default)]
struct Reply {
    route: Option<Route>,
    answer: String,
    cited: Vec<Uuid>,
    failed: bool,
}

impl Reply {
    fn take(&mut self, event: ReplyEvent) {
        match event {
            ReplyEvent::Route { route, .. } => self.route = Some(route),
            ReplyEvent::Citation(citation) => {
                if !self.cited.contains(&citation.document_id) {
                    self.cited.push(citation.document_id);
                }
            }
            ReplyEvent::Token { text } => self.answer.push_str(&text),
            ReplyEvent::Error { .. } => self.failed = true,
            ReplyEvent::Queue { .. } | ReplyEvent::Handoff { .. } | ReplyEvent::Done(_) => {}
        }
    }
}

fn judge(expect: &Expectation, reply: &Reply, cited: &[Name]) -> Outcome {
    let refused = matches!(reply.route, Some(Route::Refuse | Route::Clarify | Route::Handoff));
    let answered = reply.route.is_some() && !refused && !reply.failed;
    let names_source = expect.source.is_none() && expect.faq_key.is_none()
        || cited.iter().any(|name| match name {
            Name::Document(source) => expect.names_document(source),
            Name::Faq(key) => expect.names_faq(key),
        });
    let flat = squeezed(&reply.answer);
    let contains = expect.contains.iter().all(|words| flat.contains(&squeezed(words)));
    let right = if expect.refuse {
        refused && !reply.failed
    } else {
        answered && names_source && contains
    };
    let mut answer = reply.answer.clone();
    if let Some((end, _)) = answer.char_indices().nth(SHOWN_CHARS) {
        answer.truncate(end);
        answer.push('…');
    }
    Outcome {
        right,
        route: reply.route.filter(|_| !reply.failed).map_or("error", Route::name),
        answer,
        cited: cited
            .iter()
            .map(|name| match name {
                Name::Document(name) | Name::Faq(name) => name.clone(),
            })
            .collect(),
    }
}

/// Without white space and separators of thousands, in lower case: the same amount in two spellings is the same.
fn squeezed(text: &str) -> String {
    normalise(text)
        .chars()
        .filter(|c| !c.is_whitespace() && *c != ',')
        .flat_map(char::to_lowercase)
        .collect()
}

/// A line of a file of golden questions: in the form of this program's own, or of a set of test questions
/// (`{"question", "answerable", "sources": ["faq:KEY", "doc:PATH"], "answers": [..]}`).
#[derive(Deserialize)]
struct Line {
    question: String,
    expect: Option<Expectation>,
    #[serde(flatten)]
    inline: Inline,
    answerable: Option<bool>,
    #[serde(default)]
    sources: Vec<String>,
    #[serde(default)]
    answers: Vec<String>,
    #[serde(default)]
    history: Vec<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Inline {
    source: Option<String>,
    faq_key: Option<String>,
    contains: Vec<String>,
    refuse: bool,
}

/// Reads golden questions, one JSON object a line: `{"question", "expect": {"source", "faq_key", "contains", "refuse"}}`, or the
/// same without `expect`. A set of test questions is taken as far as it can be: of several sources the first document
/// and the first FAQ, of which one is enough; of the answers only one that stands alone; questions that depend on what was said before
/// are left out. Returns the questions, and how many lines were left out.
///
/// # Errors
/// The first line that is wrong, with its number.
pub fn read_golden(text: &str, author: &str, clock: &dyn Clock) -> Result<(Vec<GoldenQuestion>, usize), String> {
    let (mut questions, mut left_out) = (Vec::new(), 0);
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |what: &dyn std::fmt::Display| format!("line {}: {what}", number + 1);
        let line: Line = serde_json::from_str(line).map_err(|error| wrong(&error))?;
        if !line.history.is_empty() {
            left_out += 1;
            continue;
        }
        let expect = match (line.expect, line.answerable) {
            (Some(expect), _) => expect,
            (None, Some(answerable)) => mapped(answerable, &line.sources, line.answers),
            (None, None) => Expectation {
                source: line.inline.source,
                faq_key: line.inline.faq_key,
                contains: line.inline.contains,
                refuse: line.inline.refuse,
            },
        };
        if let Some(fault) = expect.fault() {
            return Err(wrong(&fault));
        }
        let question = line.question.trim();
        if question.is_empty() {
            return Err(wrong(&"the question is empty"));
        }
        questions.push(GoldenQuestion {
            id: GoldenId::new(),
            question: question.to_owned(),
            expect,
            author: author.to_owned(),
            created_at: clock.now(),
        });
    }
    Ok((questions, left_out))
}

fn mapped(answerable: bool, sources: &[String], mut answers: Vec<String>) -> Expectation {
    if !answerable {
        return Expectation {
            refuse: true,
            ..Expectation::default()
        };
    }
    let first = |prefix: &str| {
        let mut found = sources.iter().filter_map(|source| source.strip_prefix(prefix));
        found.next().map(str::to_owned)
    };
    // Of several answers a right one has any; what is kept here must all be there.
    if answers.len() != 1 {
        answers.clear();
    }
    Expectation {
        source: first("doc:"),
        faq_key: first("faq:"),
        contains: answers,
        refuse: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ManualClock;
    use jiff::Timestamp;

    fn read(text: &str) -> Result<(Vec<GoldenQuestion>, usize), String> {
        read_golden(text, "ann", &ManualClock::new(Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn questions_are_read_in_both_forms() {
        let text = "{\"question\":\"年费\",\"expect\":{\"faq_key\":\"fee\"}}\n\n{\"question\":\"b\",\"contains\":[\"x\"]}\n\
            {\"id\":\"q1\",\"question\":\"c\",\"answerable\":true,\"sources\":[\"faq:a\",\"faq:b\",\"doc:docs/x.md\"],\"answers\":[\"1\",\"2\"],\"kind\":\"faq\"}\n\
            {\"question\":\"d\",\"answerable\":false,\"sources\":[]}\n\
            {\"question\":\"e\",\"answerable\":true,\"sources\":[\"faq:a\"],\"history\":[{\"role\":\"user\",\"content\":\"x\"}]}\n";
        let (questions, left_out) = read(text).unwrap();
        assert_eq!((questions.len(), left_out), (4, 1));
        assert_eq!(questions[0].expect.faq_key.as_deref(), Some("fee"));
        assert_eq!(questions[1].expect.contains, ["x"]);
        let third = &questions[2].expect;
        assert_eq!(
            (third.faq_key.as_deref(), third.source.as_deref()),
            (Some("a"), Some("docs/x.md"))
        );
        assert!(third.contains.is_empty() && questions[3].expect.refuse);
        for (text, says) in [
            ("\n{\"question\":\"a\"}", "line 2: say what"),
            ("{\"question\":\" \",\"refuse\":true}", "empty"),
            ("{\"question\":\"a\",\"expect\":{\"key\":1}}", "unknown field"),
            ("x", "line 1"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_reply_is_judged_by_source_words_and_route() {
        let reply = |route, answer: &str| Reply {
            route: Some(route),
            answer: answer.to_owned(),
            ..Reply::default()
        };
        let cited = [Name::Document("kb/fees.md".to_owned())];
        let right = |expect: &str, reply: &Reply| judge(&serde_json::from_str(expect).unwrap(), reply, &cited).right;
        let answer = reply(Route::Passages, "年费 1,200 元。");
        assert!(right("{\"source\":\"fees.md\",\"contains\":[\"1200元\"]}", &answer));
        assert!(!right("{\"source\":\"other.md\"}", &answer) && !right("{\"contains\":[\"1300\"]}", &answer));
        assert!(
            right("{\"faq_key\":\"x\",\"source\":\"fees.md\"}", &answer),
            "one of the two is enough"
        );
        assert!(!right("{\"refuse\":true}", &answer));
        let shown = reply(Route::Clarify, "");
        assert!(right("{\"refuse\":true}", &shown) && !right("{\"source\":\"fees.md\"}", &shown));
        let failed = Reply {
            failed: true,
            ..reply(Route::Refuse, "")
        };
        let outcome = judge(&serde_json::from_str("{\"refuse\":true}").unwrap(), &failed, &[]);
        assert_eq!((outcome.right, outcome.route), (false, "error"));
    }
}
