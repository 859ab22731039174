//! Publishing and rolling back, with the golden questions before: what was answered right must not be answered wrong after.

use super::golden::{self, Asked, GoldenReport, Name, Names};
use crate::config::KnowledgeConfig;
use crate::dialogue::Assistant;
use crate::domain::{Clock, Content, KbItem, KbVersion, Revision, RevisionId};
use crate::inference::LanguageModel;
use crate::retrieval::{Draft, DraftDocument, RetrievalError, Retriever};
use crate::storage::{Publication, StorageError, Store};
use std::sync::Arc;
use tokio::sync::Mutex;

/// How often the golden questions are asked anew because the knowledge base changed meanwhile.
const ATTEMPTS: usize = 3;

/// Who publishes, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishRequest {
    /// Who does it.
    pub by: String,
    /// What the list of versions says of it; empty for what it does.
    pub note: String,
    /// Whether it is done although golden questions get worse. Whether this person may is the caller's to know.
    pub force: bool,
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The version that it is in.
    pub kb_version: KbVersion,
    /// What the golden questions said; nothing was asked where there are none, or the settings say so.
    pub golden: GoldenReport,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Golden questions would be answered wrong that are answered right now.
    #[error("{} golden questions that are answered right now would be answered wrong; nothing was published", .0.worse.len())]
    GoldenWorse(GoldenReport),
    /// The store refused: a conflict, four eyes, a revision that cannot be published.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Without the models the golden questions cannot be asked.
    #[error("the golden questions cannot be asked, because no models are loaded; nothing was published")]
    NotTried,
    /// The knowledge base as it would be could not be tried.
    #[error(transparent)]
    Retrieval(#[from] RetrievalError),
}

/// Publishes and rolls back; one at a time in this process.
pub struct Publisher {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    settings: KnowledgeConfig,
    /// What changes are tried on.
    trial: Option<Arc<Assistant>>,
    turn: Mutex<()>,
}

/// What is to be done.
enum Work<'a> {
    Publish(&'a [RevisionId]),
    Rollback(KbVersion),
}

impl Publisher {
    /// A publisher into `store` without models: it publishes as long as there are no golden questions to ask.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, settings: KnowledgeConfig) -> Self {
        Self {
            store,
            clock,
            settings,
            trial: None,
            turn: Mutex::new(()),
        }
    }

    /// Tries changes on what `assistant` searches, with answers that quote.
    #[must_use]
    pub fn with_trial(mut self, assistant: Arc<Assistant>) -> Self {
        self.trial = Some(assistant);
        self
    }

    /// Whether golden questions are to be asked, which needs the models.
    ///
    /// # Errors
    /// What the store says.
    pub async fn is_gated(&self) -> Result<bool, StorageError> {
        Ok(self.settings.golden_gate && !self.store.golden().await?.is_empty())
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &KnowledgeConfig {
        &self.settings
    }

    /// Publishes these revisions as one version, if the golden questions allow it.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was changed then.
    pub async fn publish(&self, ids: &[RevisionId], request: &PublishRequest) -> Result<Published, PublishError> {
        self.work(&Work::Publish(ids), request).await
    }

    /// Restores what was live in `version`, as a new version, if the golden questions allow it.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was changed then.
    pub async fn rollback(&self, version: KbVersion, request: &PublishRequest) -> Result<Published, PublishError> {
        self.work(&Work::Rollback(version), request).await
    }

    /// The knowledge base as it would be with these revisions published.
    ///
    /// # Errors
    /// `Missing` for a revision that is not there; what the search says.
    pub async fn preview(&self, ids: &[RevisionId]) -> Result<Retriever, PublishError> {
        let mut revisions = Vec::with_capacity(ids.len());
        for id in ids {
            revisions.push(self.needed(*id).await?);
        }
        let retriever = self.trial.as_ref().ok_or(PublishError::NotTried)?.retriever();
        retriever.refresh().await?;
        Ok(retriever.preview(draft_of(&revisions).0).await?)
    }

    /// An assistant over another index than the live one.
    ///
    /// # Errors
    /// `NotTried` without models.
    pub fn assistant_over(
        &self,
        retriever: Arc<Retriever>,
        model: Option<Arc<dyn LanguageModel>>,
    ) -> Result<Assistant, PublishError> {
        let trial = self.trial.as_ref().ok_or(PublishError::NotTried)?;
        Ok(trial.over(retriever, model))
    }

    async fn needed(&self, id: RevisionId) -> Result<Revision, StorageError> {
        let found = self.store.revision(id).await?;
        found.ok_or_else(|| StorageError::Missing {
            what: "revision",
            name: id.to_string(),
        })
    }

    async fn work(&self, work: &Work<'_>, request: &PublishRequest) -> Result<Published, PublishError> {
        let _turn = self.turn.lock().await;
        for attempt in 1.. {
            let version = self.store.kb_version().await?;
            let golden = self.gate(work, request).await?;
            let mut note = request.note.clone();
            if !golden.worse.is_empty() {
                let forced = format!("(forced: {} golden questions worse)", golden.worse.len());
                note = if note.is_empty() {
                    forced
                } else {
                    format!("{note} {forced}")
                };
            }
            let publication = Publication {
                by: request.by.clone(),
                note,
                four_eyes: self.settings.four_eyes,
                expected: Some(version),
            };
            let done = match work {
                Work::Publish(ids) => self.store.publish(ids, &publication).await,
                Work::Rollback(to) => self.store.rollback(*to, &publication).await,
            };
            match done {
                Ok(kb_version) => {
                    self.after(kb_version).await;
                    return Ok(Published { kb_version, golden });
                }
                // Somebody else published while the questions were asked: they are asked again.
                Err(StorageError::Conflict { .. })
                    if attempt < ATTEMPTS && self.store.kb_version().await? != version => {}
                Err(error) => return Err(error.into()),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// What is done once a version stands: the index follows at once, and old revisions go. Neither can undo it.
    async fn after(&self, version: KbVersion) {
        tracing::info!(kb_version = %version, "published");
        if let Some(trial) = &self.trial
            && let Err(error) = trial.retriever().refresh().await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the index will follow later");
        }
        if let Err(error) = self.store.prune_revisions(self.settings.keep_revisions).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "old revisions stay for now");
        }
    }

    /// Asks the golden questions before and after.
    async fn gate(&self, work: &Work<'_>, request: &PublishRequest) -> Result<GoldenReport, PublishError> {
        let revisions = self.checked(work, request).await?;
        let questions = if self.settings.golden_gate {
            self.store.golden().await?
        } else {
            Vec::new()
        };
        if questions.is_empty() || revisions.is_empty() {
            return Ok(GoldenReport::default());
        }
        let (draft, names) = draft_of(&revisions);
        let trial = self.trial.as_ref().ok_or(PublishError::NotTried)?;
        trial.retriever().refresh().await?;
        let preview = Arc::new(trial.retriever().preview(draft).await?);
        let quoting = |retriever: &Arc<Retriever>| Arc::new(trial.over(Arc::clone(retriever), None));
        let none = Names::new();
        let asked = |assistant, names| Asked {
            assistant,
            names,
            store: self.store.as_ref(),
            clock: self.clock.as_ref(),
        };
        let before = asked(quoting(trial.retriever()), &none);
        let after = asked(quoting(&preview), &names);
        let report = golden::compare(&questions, &before, &after).await?;
        if report.worse.is_empty() || request.force {
            Ok(report)
        } else {
            Err(PublishError::GoldenWorse(report))
        }
    }

    /// What would become live. What the store would refuse in the end is refused here, before questions are asked.
    async fn checked(&self, work: &Work<'_>, request: &PublishRequest) -> Result<Vec<Revision>, StorageError> {
        let mut revisions = Vec::new();
        match work {
            Work::Publish(ids) => {
                for id in *ids {
                    let revision = self.needed(*id).await?;
                    if self.settings.four_eyes && revision.summary.author == request.by {
                        return Err(StorageError::FourEyes {
                            item: revision.summary.name,
                            author: request.by.clone(),
                        });
                    }
                    revisions.push(revision);
                }
            }
            Work::Rollback(to) => {
                for step in self.store.rollback_plan(*to).await? {
                    match step.target {
                        Some(id) => revisions.push(self.needed(id).await?),
                        // What came later goes: its present revision, turned round.
                        None => {
                            if let Some(mut live) = self.store.published_revision(step.item).await? {
                                live.content = None;
                                live.summary.removes = true;
                                revisions.push(live);
                            }
                        }
                    }
                }
            }
        }
        Ok(revisions)
    }
}

/// The change that `revisions` would make, and the names of what it brings.
fn draft_of(revisions: &[Revision]) -> (Draft, Names) {
    let (mut draft, mut names) = (Draft::default(), Names::new());
    for revision in revisions {
        let summary = &revision.summary;
        let name = match summary.item {
            KbItem::Document(_) => Name::Document(summary.name.clone()),
            KbItem::Faq(_) => Name::Faq(summary.name.clone()),
        };
        names.insert(summary.item.uuid(), name);
        match (summary.item, &revision.content) {
            (KbItem::Document(id), Some(Content::Document(content))) => draft.documents.push(DraftDocument {
                id,
                scope: summary.scope.clone(),
                passages: content.passages_of(id).unwrap_or_default(),
            }),
            (KbItem::Faq(id), Some(Content::Faq(content))) => {
                draft.faqs.push(content.faq(id, &summary.name, &summary.scope));
            }
            (item, _) => draft.removed.push(item),
        }
    }
    (draft, names)
}
