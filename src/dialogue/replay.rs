//! Gives a stored reply again, and says exactly what is different: in the answer, and in what it rests on.
//!
//! Words are replayed as they are stored, that is masked; what was masked only after it had been answered is said.

use super::{Ask, Assistant, DialogueError, FlowDriver, ReplyEvent};
use crate::domain::{
    Basis, Citation, ConversationId, Environment, FaqId, KbVersion, Message, MessageId, PassageId, ReplyRecord, Role,
    Route, Turn, Viewer,
};
use crate::retrieval::cited_passage;
use crate::storage::{Store, VaultError};
use futures::StreamExt;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// What is shown of a text around its first difference, in characters.
const AROUND: usize = 24;

/// Scores that differ by less are the same: another processor adds in another order.
const SAME_SCORE: f32 = 1e-4;

/// One thing that is different now.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Difference {
    /// It is answered in another way.
    Route {
        /// Then.
        was: Option<Route>,
        /// Now.
        now: Option<Route>,
    },
    /// The words are others.
    Text {
        /// The first character that differs, from 0.
        at: usize,
        /// Around it, then.
        was: String,
        /// Around it, now.
        now: String,
    },
    /// Other sources are cited, or other parts of them.
    Citations {
        /// Then: titles with the places quoted.
        was: Vec<String>,
        /// Now.
        now: Vec<String>,
    },
    /// A step of a task flow has other effects.
    Flow {
        /// Which and how.
        detail: String,
    },
    /// How sure it is.
    Confidence {
        /// Then.
        was: Option<f32>,
        /// Now.
        now: Option<f32>,
    },
    /// Other passages and FAQs are found.
    Found {
        /// Found then and not now.
        no_longer: Vec<Uuid>,
        /// Found now and not then.
        newly: Vec<Uuid>,
    },
    /// The question is understood in another way.
    Understood {
        /// Then.
        was: String,
        /// Now.
        now: String,
    },
    /// A model or a setting is another one.
    Environment {
        /// Its name, `dialogue.answer_confidence` for one.
        name: String,
        /// Then.
        was: Value,
        /// Now.
        now: Value,
    },
    /// The knowledge base has another version.
    KnowledgeVersion {
        /// Then.
        was: KbVersion,
        /// Now.
        now: KbVersion,
    },
    /// What was cited was changed or removed since.
    Source {
        /// Its title then.
        title: String,
        /// The passage or FAQ.
        id: Uuid,
        /// `changed` or `gone`.
        change: &'static str,
    },
    /// Words were masked after they had been answered: what is replayed is not what was read.
    Remasked {
        /// The message.
        message: MessageId,
    },
    /// What was said before is no longer kept.
    MissingHistory {
        /// How many messages.
        messages: usize,
    },
}

impl Difference {
    /// Whether the customer would notice: the answer itself differs, not only what it rests on.
    #[must_use]
    pub fn is_of_the_answer(&self) -> bool {
        matches!(
            self,
            Self::Route { .. } | Self::Text { .. } | Self::Citations { .. } | Self::Flow { .. }
        )
    }
}

/// A reply that was given again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replayed {
    /// The reply.
    pub message_id: MessageId,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// Whether the answer is the same: route, words, and what is cited.
    pub same: bool,
    /// What was asked, masked.
    pub question: String,
    /// The question as it is understood now, masked.
    pub understood: String,
    /// The words then.
    pub was: String,
    /// The words now.
    pub now: String,
    /// What differs, the answer first.
    pub differences: Vec<Difference>,
    /// What was kept of how the reply came to be.
    pub basis: Basis,
}

/// Why a reply cannot be given again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// There is no such message.
    #[error("there is no message {0}")]
    Missing(MessageId),
    /// It is no reply of the assistant.
    #[error("message {id} was written by the {role}, and only replies of the assistant are replayed", role = role.name())]
    NoReply {
        /// The message.
        id: MessageId,
        /// Who wrote it.
        role: Role,
    },
    /// How it came to be is not kept.
    #[error(
        "how message {0} came to be is not kept: it is older than [retention] traces_days, or than the program's records"
    )]
    NoRecord(MessageId),
    /// Its question is gone.
    #[error("the message that {0} answered is no longer kept")]
    NoQuestion(MessageId),
    /// A flow gave it, and no flows are there.
    #[error("a task flow gave message {0}: name the directory of flows in [dialogue] flows")]
    NoFlows(MessageId),
    /// The search, a model, or the database failed.
    #[error(transparent)]
    Dialogue(#[from] DialogueError),
    /// It could not be answered again.
    #[error("it could not be answered again ({0})")]
    Failed(&'static str),
}

impl From<crate::storage::StorageError> for ReplayError {
    fn from(error: crate::storage::StorageError) -> Self {
        Self::Dialogue(error.into())
    }
}

/// Gives replies again.
pub struct Replayer {
    assistant: Arc<Assistant>,
    store: Arc<dyn Store>,
    flows: Option<Arc<FlowDriver>>,
}

impl Replayer {
    /// Over the present knowledge base, models and settings.
    #[must_use]
    pub fn new(assistant: Arc<Assistant>, store: Arc<dyn Store>, flows: Option<Arc<FlowDriver>>) -> Self {
        Self {
            assistant,
            store,
            flows,
        }
    }

    /// Gives a reply again. Nothing is stored, and no inner system is called.
    ///
    /// # Errors
    /// Why it cannot be given again.
    pub async fn replay(&self, id: MessageId) -> Result<Replayed, ReplayError> {
        let (message, _) = self
            .store
            .messages_by_id(&[id])
            .await?
            .pop()
            .ok_or(ReplayError::Missing(id))?;
        if message.role != Role::Assistant {
            return Err(ReplayError::NoReply { id, role: message.role });
        }
        let (record, environment) = self.store.reply_record(id).await?.ok_or(ReplayError::NoRecord(id))?;
        let (question, remasked) = self
            .store
            .messages_by_id(&[record.question])
            .await?
            .pop()
            .ok_or(ReplayError::NoQuestion(id))?;
        let history = self.store.messages_by_id(&record.history).await?;
        let mut differences = environments(&environment, self.assistant.environment());
        differences.extend(remasked.then_some(Difference::Remasked { message: question.id }));
        let later = history.iter().filter(|(_, remasked)| *remasked);
        differences.extend(later.map(|(message, _)| Difference::Remasked { message: message.id }));
        if history.len() < record.history.len() {
            differences.push(Difference::MissingHistory {
                messages: record.history.len() - history.len(),
            });
        }
        differences.extend(self.knowledge(&message).await?);
        let given = if message.route == Some(Route::Flow) {
            self.again_by_flow(&message).await?
        } else {
            self.again(&message, &question, history, &record).await?
        };
        differences.extend(given.differences_from(&message, &record));
        differences.sort_by_key(|difference| !difference.is_of_the_answer());
        Ok(Replayed {
            message_id: id,
            conversation_id: message.conversation_id,
            same: !differences.iter().any(Difference::is_of_the_answer),
            question: question.text,
            understood: given.basis.understood,
            was: message.text,
            now: given.text,
            differences,
            basis: record.basis,
        })
    }

    /// Has the assistant answer again.
    async fn again(
        &self,
        message: &Message,
        question: &Message,
        history: Vec<(Message, bool)>,
        record: &ReplyRecord,
    ) -> Result<Given, ReplayError> {
        let turn = |(message, _): (Message, bool)| Turn {
            role: message.role,
            text: message.text,
        };
        let ask = Ask {
            question: question.text.clone(),
            history: history.into_iter().map(turn).collect(),
            top_k: None,
            visitor: Some(message.conversation_id.to_string()),
            past_routes: record.past_routes.clone(),
            viewer: Viewer {
                now: record.asked_at,
                audiences: record.audiences.clone(),
                channel: record.channel.clone(),
            },
        };
        let mut events = self.assistant.reply(ask)?;
        let mut given = Given::default();
        while let Some(event) = events.next().await {
            match event {
                ReplyEvent::Route { route, confidence, .. } => {
                    given.route = Some(route);
                    given.confidence = Some(confidence);
                }
                ReplyEvent::Citation(citation) => given.citations.push(citation),
                ReplyEvent::Token { text } => given.text.push_str(&text),
                ReplyEvent::Done(done) => {
                    given.basis = *done.basis;
                    return Ok(given);
                }
                ReplyEvent::Error { code, .. } => return Err(ReplayError::Failed(code)),
                ReplyEvent::Queue { .. } | ReplyEvent::Handoff { .. } => {}
            }
        }
        Err(ReplayError::Failed("stopped"))
    }

    /// Has the machine of a flow take the same inputs again. What inner systems answered is part of these.
    async fn again_by_flow(&self, message: &Message) -> Result<Given, ReplayError> {
        let flows = self.flows.as_ref().ok_or(ReplayError::NoFlows(message.id))?;
        let found = match flows.replay(message.conversation_id, message.id).await {
            Ok(Some(found)) => found.iter().map(ToString::to_string).collect(),
            Ok(None) => return Err(ReplayError::NoRecord(message.id)),
            Err(DialogueError::Vault(VaultError::Sealed)) => {
                vec!["what the flow held cannot be opened: its key was erased".to_owned()]
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Given {
            route: message.route,
            confidence: message.confidence,
            citations: message.citations.clone(),
            text: message.text.clone(),
            flow: found,
            ..Given::default()
        })
    }

    /// Whether the knowledge base moved on, and what became of what was cited.
    async fn knowledge(&self, message: &Message) -> Result<Vec<Difference>, ReplayError> {
        let now = self.assistant.retriever().kb_version();
        let mut differences = Vec::new();
        if let Some(was) = message.kb_version.filter(|was| *was != now) {
            differences.push(Difference::KnowledgeVersion { was, now });
        }
        let mut seen = BTreeSet::new();
        for citation in &message.citations {
            let id = citation.passage_id.0;
            let is_faq = citation.document_id == id;
            let text = if is_faq {
                let mut found = self.store.faqs(&[FaqId(id)]).await?;
                found.pop().map(|faq| faq.answer)
            } else {
                let found = cited_passage(self.store.as_ref(), PassageId(id)).await?;
                found.map(|passage| passage.text)
            };
            let change = match text {
                None => Some("gone"),
                Some(text) if !text.contains(&citation.quote) => Some("changed"),
                Some(_) => None,
            };
            if let Some(change) = change.filter(|_| seen.insert(id)) {
                differences.push(Difference::Source {
                    title: citation.title.clone(),
                    id,
                    change,
                });
            }
        }
        Ok(differences)
    }
}

/// A reply as it is given now.
#[derive(Debug, Default)]
struct Given {
    route: Option<Route>,
    confidence: Option<f32>,
    citations: Vec<Citation>,
    text: String,
    basis: Basis,
    flow: Vec<String>,
}

impl Given {
    fn differences_from(&self, was: &Message, record: &ReplyRecord) -> Vec<Difference> {
        let mut found: Vec<Difference> = Vec::new();
        found.extend(
            self.flow
                .iter()
                .map(|detail| Difference::Flow { detail: detail.clone() }),
        );
        if self.route != was.route {
            found.push(Difference::Route {
                was: was.route,
                now: self.route,
            });
        }
        found.extend(text_difference(&was.text, &self.text, was.stopped));
        let places = |citations: &[Citation]| -> Vec<String> {
            let place = |c: &Citation| format!("[{}] {} {}..{} {}", c.n, c.title, c.start, c.end, c.passage_id);
            citations.iter().map(place).collect()
        };
        let (cited, cites) = (places(&was.citations), places(&self.citations));
        // What was stopped may lack the last ones.
        let same = if was.stopped {
            cites.starts_with(&cited)
        } else {
            cites == cited
        };
        if !same {
            found.push(Difference::Citations { was: cited, now: cites });
        }
        if was.route == Some(Route::Flow) {
            return found;
        }
        let moved = |a: Option<f32>, b: Option<f32>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() > SAME_SCORE,
            (a, b) => a != b,
        };
        if moved(was.confidence, self.confidence) {
            found.push(Difference::Confidence {
                was: was.confidence,
                now: self.confidence,
            });
        }
        let basis = &record.basis;
        let ids =
            |basis: &Basis| -> BTreeSet<Uuid> { basis.hits.iter().chain(&basis.faqs).map(|hit| hit.id).collect() };
        let (then, now) = (ids(basis), ids(&self.basis));
        // A stopped reply was stored before it was known what it rests on.
        if then != now && !(was.stopped && then.is_empty()) {
            found.push(Difference::Found {
                no_longer: then.difference(&now).copied().collect(),
                newly: now.difference(&then).copied().collect(),
            });
        }
        if !basis.understood.is_empty() && basis.understood != self.basis.understood {
            found.push(Difference::Understood {
                was: basis.understood.clone(),
                now: self.basis.understood.clone(),
            });
        }
        found
    }
}

/// Where two texts differ first. Of a reply that was stopped only its beginning was stored.
fn text_difference(was: &str, now: &str, stopped: bool) -> Option<Difference> {
    if was == now || (stopped && now.starts_with(was)) {
        return None;
    }
    let at = was.chars().zip(now.chars()).take_while(|(was, now)| was == now).count();
    let around = |text: &str| -> String {
        let skipped = at.saturating_sub(AROUND / 2);
        text.chars().skip(skipped).take(AROUND + AROUND / 2).collect()
    };
    Some(Difference::Text {
        at,
        was: around(was),
        now: around(now),
    })
}

/// What is another model or setting.
fn environments(was: &Environment, now: &Environment) -> Vec<Difference> {
    if was.sha256 == now.sha256 {
        return Vec::new();
    }
    let leaves = |environment: &Environment| {
        let mut leaves = BTreeMap::new();
        let json = serde_json::from_str(&environment.json).unwrap_or_default();
        flatten("", &json, &mut leaves);
        leaves
    };
    let (was, now) = (leaves(was), leaves(now));
    let names: BTreeSet<&String> = was.keys().chain(now.keys()).collect();
    let value = |leaves: &BTreeMap<String, Value>, name: &str| leaves.get(name).cloned().unwrap_or_default();
    names
        .into_iter()
        .filter(|name| was.get(*name) != now.get(*name))
        .map(|name| Difference::Environment {
            name: name.clone(),
            was: value(&was, name),
            now: value(&now, name),
        })
        .collect()
}

fn flatten(name: &str, value: &Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let name = if name.is_empty() {
                    key.clone()
                } else {
                    format!("{name}.{key}")
                };
                flatten(&name, value, leaves);
            }
        }
        value => {
            leaves.insert(name.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sha256_hex;

    fn environment(json: &str) -> Environment {
        Environment {
            sha256: sha256_hex(json.as_bytes()),
            json: json.to_owned(),
        }
    }

    #[test]
    fn settings_that_moved_are_named() {
        let was = environment(r#"{"model":null,"dialogue":{"top_k":4,"agreement":0.7},"reader":"a"}"#);
        let now = environment(r#"{"model":{"name":"m"},"dialogue":{"top_k":4,"agreement":0.8},"reader":"a"}"#);
        assert!(environments(&was, &was).is_empty());
        let names: Vec<String> = environments(&was, &now)
            .into_iter()
            .map(|difference| match difference {
                Difference::Environment { name, was, now } => format!("{name} {was} {now}"),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            names,
            [
                "dialogue.agreement 0.7 0.8",
                "model null null",
                r#"model.name null "m""#
            ]
        );
    }

    #[test]
    fn the_first_different_character_is_shown_with_what_is_around() {
        assert_eq!(text_difference("年费每年200元", "年费每年200元", false), None);
        let Some(Difference::Text { at, was, now }) = text_difference("年费每年200元", "年费每年300元", false)
        else {
            panic!()
        };
        assert_eq!((at, was.as_str(), now.as_str()), (4, "年费每年200元", "年费每年300元"));
        assert_eq!(text_difference("年费", "年费每年", true), None);
        assert!(text_difference("年费", "年费每年", false).is_some());
    }

    #[test]
    fn only_what_the_customer_sees_makes_an_answer_another_one() {
        let version = Difference::KnowledgeVersion {
            was: KbVersion(1),
            now: KbVersion(2),
        };
        assert!(!version.is_of_the_answer());
        assert!(Difference::Route { was: None, now: None }.is_of_the_answer());
    }
}
