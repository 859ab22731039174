//! What makes a revision live: the live tables, the revisions and the version change in one transaction.

use super::revisions::{self, Verdict};
use super::rows::{Fields, page_of, page_rows, read_cursor, to_integer};
use super::{KnowledgeChange, PostgresStore, audit, documents, faqs};
use crate::domain::{KbItem, KbVersion, Revision, RevisionId, RevisionState, RevisionSummary, Scope};
use crate::storage::{
    IMPORT_AUTHOR, MAX_PUBLISHED, NewDraft, Page, PageRequest, Publication, RevisionCounts, RevisionFilter,
    RevisionStore, RollbackStep, StorageError, VersionChange, VersionEntry,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;
use std::collections::HashSet;

#[async_trait]
impl RevisionStore for PostgresStore {
    async fn add_drafts(&self, drafts: &[NewDraft]) -> Result<Vec<RevisionSummary>, StorageError> {
        self.explained(async {
            drafts.iter().try_for_each(revisions::check)?;
            let mut transaction = self.change_knowledge().await?;
            let now = self.clock.now();
            let mut added = Vec::with_capacity(drafts.len());
            for draft in drafts {
                added.push(revisions::add_draft(&mut transaction, draft, now).await?);
            }
            let Some(first) = added.first() else {
                return Ok(added);
            };
            let names: Vec<&str> = added.iter().take(NAMED).map(|one| one.name.as_str()).collect();
            let detail = json!({"drafts": added.len(), "names": names});
            let what = ("knowledge.draft", format!("revision:{}", first.id));
            let line = audit::note(&mut transaction, now, &first.author, what, detail).await?;
            transaction.commit().await?;
            audit::tell(&line);
            Ok(added)
        })
        .await
    }

    async fn revision(&self, id: RevisionId) -> Result<Option<Revision>, StorageError> {
        self.explained(async { revisions::get(&mut *self.reader().await?, id).await })
            .await
    }

    async fn revisions(
        &self,
        filter: &RevisionFilter,
        page: &PageRequest,
    ) -> Result<Page<RevisionSummary>, StorageError> {
        self.explained(async { revisions::page(&mut *self.reader().await?, filter, page).await })
            .await
    }

    async fn published_revision(&self, item: KbItem) -> Result<Option<Revision>, StorageError> {
        self.explained(async { revisions::published(&mut *self.reader().await?, item).await })
            .await
    }

    async fn open_revision(&self, kind: &str, name: &str) -> Result<Option<RevisionSummary>, StorageError> {
        self.explained(async { revisions::open(&mut *self.reader().await?, kind, name).await })
            .await
    }

    async fn revision_counts(&self) -> Result<RevisionCounts, StorageError> {
        self.explained(async { revisions::counts(&mut *self.reader().await?).await })
            .await
    }

    async fn submit_revision(&self, id: RevisionId, by: &str) -> Result<RevisionSummary, StorageError> {
        self.explained(self.decide(id, by, Verdict::Submit)).await
    }

    async fn reject_revision(&self, id: RevisionId, by: &str, note: &str) -> Result<RevisionSummary, StorageError> {
        let now = self.clock.now();
        self.explained(self.decide(id, by, Verdict::Reject { by, note, now }))
            .await
    }

    async fn discard_revision(&self, id: RevisionId, by: &str) -> Result<(), StorageError> {
        self.explained(async {
            let mut transaction = self.change_knowledge().await?;
            let summary = revisions::discard(&mut transaction, id).await?;
            let what = ("knowledge.discard", format!("revision:{id}"));
            let detail = json!({"name": summary.name, "author": summary.author});
            let line = audit::note(&mut transaction, self.clock.now(), by, what, detail).await?;
            transaction.commit().await?;
            audit::tell(&line);
            Ok(())
        })
        .await
    }

    async fn publish(&self, ids: &[RevisionId], publication: &Publication) -> Result<KbVersion, StorageError> {
        self.explained(async {
            let mut transaction = self.change_knowledge().await?;
            check_expected(&mut transaction, publication).await?;
            let mut ready = ready(&mut transaction, ids, publication).await?;
            // What is removed makes room for another item of its name.
            ready.sort_by_key(|revision| !revision.summary.removes);
            let note = described(
                publication,
                "publish",
                ready.iter().map(|one| one.summary.name.as_str()),
            );
            let now = self.clock.now();
            let moment = begin(&mut transaction, &note, Act::of("knowledge.publish", publication), now).await?;
            for mut revision in ready {
                revision.summary.reviewer = Some(publication.by.clone());
                revision.summary.decided_at = Some(now);
                step(&mut transaction, &moment, revision, Stored::Before).await?;
            }
            moment.commit(transaction).await
        })
        .await
    }

    async fn rollback_plan(&self, version: KbVersion) -> Result<Vec<RollbackStep>, StorageError> {
        self.explained(async { plan(&mut *self.snapshot().await?, version).await })
            .await
    }

    async fn rollback(&self, version: KbVersion, publication: &Publication) -> Result<KbVersion, StorageError> {
        self.explained(async {
            let mut transaction = self.change_knowledge().await?;
            check_expected(&mut transaction, publication).await?;
            let mut steps = plan(&mut transaction, version).await?;
            if steps.is_empty() {
                return current_version(&mut transaction).await;
            }
            steps.sort_by_key(|step| !step.removes);
            let rollback = format!("rollback to {version}");
            let note = if publication.note.is_empty() {
                rollback
            } else {
                format!("{rollback}: {}", publication.note)
            };
            let act = Act::of("knowledge.rollback", publication);
            let moment = begin(&mut transaction, &note, act, self.clock.now()).await?;
            for RollbackStep { item, target, .. } in steps {
                match target {
                    Some(id) => {
                        let revision = revisions::needed(&mut transaction, id).await?;
                        make_live(&mut transaction, &moment, revision, Stored::Before).await?;
                    }
                    None => remove(&mut transaction, &moment, item).await?,
                }
            }
            moment.commit(transaction).await
        })
        .await
    }

    async fn prune_revisions(&self, keep: u32) -> Result<u64, StorageError> {
        self.explained(async {
            let mut transaction = self.change_knowledge().await?;
            let pruned = revisions::prune(&mut transaction, keep).await?;
            transaction.commit().await?;
            Ok(pruned)
        })
        .await
    }

    async fn version_page(&self, page: &PageRequest) -> Result<Page<VersionEntry>, StorageError> {
        self.explained(async { version_page(&mut *self.reader().await?, page).await })
            .await
    }

    async fn version(&self, version: KbVersion) -> Result<Option<VersionEntry>, StorageError> {
        self.explained(async {
            let sql = "SELECT version, note, author, created_at FROM kb_versions WHERE version = $1";
            let row = sqlx::query(sql)
                .bind(to_integer("kb_versions", version.0)?)
                .fetch_optional(&mut *self.reader().await?)
                .await?;
            row.as_ref().map(read_version).transpose()
        })
        .await
    }

    async fn version_changes(
        &self,
        version: KbVersion,
        page: &PageRequest,
    ) -> Result<Page<VersionChange>, StorageError> {
        self.explained(async { version_changes(&mut *self.reader().await?, version, page).await })
            .await
    }
}

impl PostgresStore {
    async fn decide(&self, id: RevisionId, by: &str, verdict: Verdict<'_>) -> Result<RevisionSummary, StorageError> {
        let action = match verdict {
            Verdict::Submit => "knowledge.submit",
            Verdict::Reject { .. } => "knowledge.reject",
        };
        let mut transaction = self.change_knowledge().await?;
        let decided = revisions::decide(&mut transaction, id, verdict).await?;
        let what = (action, format!("revision:{id}"));
        let detail = json!({"name": decided.name, "note": decided.note});
        let line = audit::note(&mut transaction, self.clock.now(), by, what, detail).await?;
        transaction.commit().await?;
        audit::tell(&line);
        Ok(decided)
    }
}

/// Names that a note or a line of the audit log lists.
const NAMED: usize = 3;

/// A version that is being made.
pub(super) struct Moment {
    pub(super) version: KbVersion,
    now: Timestamp,
    by: String,
    /// What the audit log says, at the end: its turn is the last one that is taken, and not held while much is published.
    action: Option<String>,
    note: String,
}

impl Moment {
    /// Writes the line of the audit log and commits; the version, which stands from then on.
    pub(super) async fn commit(self, mut transaction: KnowledgeChange) -> Result<KbVersion, StorageError> {
        let line = match &self.action {
            Some(action) => {
                let what = (action.as_str(), format!("version:{}", self.version));
                let detail = json!({"note": self.note});
                Some(audit::note(&mut transaction, self.now, &self.by, what, detail).await?)
            }
            None => None,
        };
        transaction.commit().await?;
        if let Some(line) = &line {
            audit::tell(line);
        }
        Ok(self.version)
    }
}

/// Who makes a version.
#[derive(Clone, Copy)]
pub(super) struct Act<'a> {
    by: &'a str,
    /// What the audit log says; `None` where the version alone tells of it.
    action: Option<&'a str>,
}

impl<'a> Act<'a> {
    /// An import.
    pub(super) const IMPORT: Self = Self {
        by: IMPORT_AUTHOR,
        action: None,
    };

    fn of(action: &'a str, publication: &'a Publication) -> Self {
        Self {
            by: &publication.by,
            action: Some(action),
        }
    }
}

/// Whether a revision's row was there before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    Before,
    Now,
}

/// Counts one change; part of the transaction that makes it.
pub(super) async fn begin(
    connection: &mut PgConnection,
    note: &str,
    Act { by, action }: Act<'_>,
    now: Timestamp,
) -> Result<Moment, StorageError> {
    let sql = "INSERT INTO kb_versions (version, note, author, created_at) \
               SELECT coalesce(max(version), 0) + 1, $1, $2, $3 FROM kb_versions RETURNING version";
    let row = sqlx::query(sql)
        .bind(note.to_owned())
        .bind(by.to_owned())
        .bind(now.as_microsecond())
        .fetch_one(&mut *connection)
        .await?;
    let version = KbVersion(Fields::new(&row, "kb_versions").number("version")?);
    Ok(Moment {
        version,
        now,
        by: by.to_owned(),
        action: action.map(str::to_owned),
        note: note.to_owned(),
    })
}

/// What a change by an import says, as a revision that is published at once.
pub(super) fn imported(moment: &Moment, draft: &NewDraft) -> Revision {
    let title = draft
        .content
        .as_ref()
        .map_or_else(String::new, |content| content.title().to_owned());
    let mut revision = revisions::fresh(draft, title, RevisionState::Published, moment.now);
    revision.summary.decided_at = Some(moment.now);
    revision
}

/// Makes `revision` live; whatever else has its name is removed.
pub(super) async fn make_live(
    connection: &mut PgConnection,
    moment: &Moment,
    revision: Revision,
    stored: Stored,
) -> Result<(), StorageError> {
    if !revision.summary.removes
        && let Some(other) = other_of_name(connection, &revision.summary).await?
    {
        remove(connection, moment, other).await?;
    }
    step(connection, moment, revision, stored).await
}

/// Removes a live item, with a revision that says so.
pub(super) async fn remove(connection: &mut PgConnection, moment: &Moment, item: KbItem) -> Result<(), StorageError> {
    let Some(live) = revisions::current(connection, item).await? else {
        return Ok(());
    };
    let draft = NewDraft {
        item,
        name: live.name,
        scope: Scope::default(),
        content: None,
        author: moment.by.clone(),
        note: String::new(),
    };
    let mut revision = imported(moment, &draft);
    revision.summary.title = live.title;
    step(connection, moment, revision, Stored::Now).await
}

/// One item: what was live is retired, the live tables say what `revision` says, and the version notes both.
async fn step(
    connection: &mut PgConnection,
    moment: &Moment,
    mut revision: Revision,
    stored: Stored,
) -> Result<(), StorageError> {
    let item = revision.summary.item;
    let old = revisions::current(connection, item).await?.map(|live| live.id);
    match item {
        KbItem::Document(id) => match revision.document() {
            Some((document, passages)) => documents::put(connection, &document, &passages).await?,
            None => drop(documents::remove(connection, id).await?),
        },
        KbItem::Faq(id) => match revision.faq() {
            Some(faq) => faqs::put(connection, &faq).await?,
            None => drop(faqs::remove(connection, id).await?),
        },
    }
    if let Some(old) = old {
        revisions::retire(connection, old, moment.version).await?;
    }
    match stored {
        Stored::Before => revisions::publish(connection, &revision.summary).await?,
        Stored::Now => {
            revision.summary.base = old;
            revisions::insert(connection, &mut revision).await?;
        }
    }
    // An item that changes twice in one version was before what it was before the first change.
    let sql = "INSERT INTO kb_changes (version, kind, item_id, old_revision, new_revision) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (version, kind, item_id) DO UPDATE SET new_revision = excluded.new_revision";
    sqlx::query(sql)
        .bind(moment.version.0.cast_signed())
        .bind(item.kind())
        .bind(item.uuid())
        .bind(old.map(|old| old.0))
        .bind(revision.summary.id.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// The live item that has the name of this revision, if it is another one.
async fn other_of_name(
    connection: &mut PgConnection,
    summary: &RevisionSummary,
) -> Result<Option<KbItem>, StorageError> {
    let other = match summary.item {
        KbItem::Document(_) => documents::by_source(connection, &summary.name)
            .await?
            .map(|document| KbItem::Document(document.id)),
        KbItem::Faq(_) => faqs::by_key(connection, &summary.name)
            .await?
            .map(|faq| KbItem::Faq(faq.id)),
    };
    Ok(other.filter(|other| *other != summary.item))
}

async fn check_expected(connection: &mut PgConnection, publication: &Publication) -> Result<(), StorageError> {
    let Some(expected) = publication.expected else {
        return Ok(());
    };
    let present = current_version(connection).await?;
    if present == expected {
        return Ok(());
    }
    Err(StorageError::Conflict {
        item: format!("version {expected}"),
        detail: format!("the knowledge base is at version {present} by now; look again and repeat"),
    })
}

/// The revisions of `ids`, all of which may be published.
async fn ready(
    connection: &mut PgConnection,
    ids: &[RevisionId],
    publication: &Publication,
) -> Result<Vec<Revision>, StorageError> {
    let invalid = |detail: String| {
        Err(StorageError::Invalid {
            table: "revisions",
            detail,
        })
    };
    let mut seen = HashSet::new();
    let wanted: Vec<RevisionId> = ids.iter().copied().filter(|id| seen.insert(*id)).collect();
    if wanted.is_empty() {
        return invalid("no revision was named".to_owned());
    }
    if wanted.len() > MAX_PUBLISHED {
        return invalid(format!(
            "{} revisions are more than the {MAX_PUBLISHED} that can be published at once",
            wanted.len()
        ));
    }
    let (mut ready, mut items, mut names) = (Vec::with_capacity(wanted.len()), HashSet::new(), HashSet::new());
    let conflict = |name: &str, detail: &str| {
        Err(StorageError::Conflict {
            item: name.to_owned(),
            detail: detail.to_owned(),
        })
    };
    for id in wanted {
        let revision = revisions::needed(connection, id).await?;
        let summary = &revision.summary;
        if !summary.state.is_open() {
            return Err(StorageError::WrongState {
                item: summary.name.clone(),
                state: summary.state,
                wanted: "only a draft, or what is in review, can be published",
            });
        }
        if publication.four_eyes && summary.author == publication.by {
            return Err(StorageError::FourEyes {
                item: summary.name.clone(),
                author: summary.author.clone(),
            });
        }
        let live = revisions::current(connection, summary.item).await?.map(|live| live.id);
        if live != summary.base {
            return conflict(
                &summary.name,
                "another revision was published since this draft was made; make the change again on what is live now",
            );
        }
        let name = (summary.item.kind(), summary.name.clone());
        if !items.insert(summary.item) || (!summary.removes && !names.insert(name)) {
            return conflict(
                &summary.name,
                "two revisions of it cannot be published at once; choose one",
            );
        }
        ready.push(revision);
    }
    for revision in &ready {
        if !revision.summary.removes
            && let Some(other) = other_of_name(connection, &revision.summary).await?
            && !items.contains(&other)
        {
            return conflict(
                &revision.summary.name,
                "another document or FAQ of this name is live; change that one, or remove it",
            );
        }
    }
    Ok(ready)
}

/// The note of a version, of `names` where none was given.
fn described<'a>(publication: &Publication, verb: &str, names: impl ExactSizeIterator<Item = &'a str>) -> String {
    if !publication.note.is_empty() {
        return publication.note.clone();
    }
    let all = names.len();
    let named: Vec<&str> = names.take(NAMED).collect();
    let more = if all > NAMED {
        format!(" and {} more", all - NAMED)
    } else {
        String::new()
    };
    format!("{verb} {}{more}", named.join(", "))
}

/// For each item that changed after `version`: the revision that was live then, where it is another one than now.
async fn plan(connection: &mut PgConnection, version: KbVersion) -> Result<Vec<RollbackStep>, StorageError> {
    let unknown = |detail: String| Err(StorageError::UnknownHistory { version, detail });
    let number = to_integer("kb_versions", version.0)?;
    let sql = "SELECT (SELECT count(*) FROM kb_versions WHERE version = $1) AS there, \
               (SELECT count(*) FROM kb_versions WHERE version > $1) AS later, \
               (SELECT count(DISTINCT version) FROM kb_changes WHERE version > $1) AS known, \
               (SELECT count(*) FROM kb_changes WHERE version > $1 AND new_revision IS NULL) AS blank";
    let row = sqlx::query(sql).bind(number).fetch_one(&mut *connection).await?;
    let fields = Fields::new(&row, "kb_changes");
    if fields.number::<u64>("there")? == 0 {
        return Err(StorageError::Missing {
            what: "version",
            name: version.to_string(),
        });
    }
    if fields.number::<u64>("later")? != fields.number::<u64>("known")? || fields.number::<u64>("blank")? > 0 {
        return unknown("some later changes were made before revisions were kept; choose a later version".to_owned());
    }
    // The first change after the version tells what was live in it.
    let sql = "WITH first AS (SELECT kind, item_id, min(version) AS version FROM kb_changes WHERE version > $1 \
               GROUP BY kind, item_id) \
               SELECT first.kind, first.item_id, changes.old_revision, old.op AS op, live.id AS live, \
               live.op AS live_op, coalesce(live.name, '') AS name FROM first \
               JOIN kb_changes AS changes ON changes.version = first.version AND changes.kind = first.kind \
               AND changes.item_id = first.item_id \
               LEFT JOIN revisions AS old ON old.id = changes.old_revision \
               LEFT JOIN revisions AS live ON live.kind = first.kind AND live.item_id = first.item_id \
               AND live.state = 'published'";
    let rows = sqlx::query(sql).bind(number).fetch_all(connection).await?;
    let mut steps = Vec::new();
    for row in &rows {
        let fields = Fields::new(row, "kb_changes");
        let item = revisions::read_item(&fields)?;
        let name = fields.text("name")?;
        let target = fields.optional_uuid("old_revision")?.map(RevisionId);
        let live = fields.optional_uuid("live")?.map(RevisionId);
        let gone = fields.optional_text("live_op")?.as_deref() != Some("put");
        let removes = match (target, fields.optional_text("op")?) {
            (None, _) => true,
            (Some(_), Some(op)) => op == "remove",
            (Some(_), None) => {
                return unknown(format!(
                    "what {name} said in it is no longer kept (knowledge.keep_revisions); choose a later version"
                ));
            }
        };
        // Gone then and now is the same, whichever revision says so.
        if target != live && !(removes && gone) {
            steps.push(RollbackStep {
                item,
                name,
                target,
                removes,
            });
        }
    }
    Ok(steps)
}

pub(super) async fn current_version(connection: &mut PgConnection) -> Result<KbVersion, StorageError> {
    let row = sqlx::query("SELECT coalesce(max(version), 0) AS version FROM kb_versions")
        .fetch_one(connection)
        .await?;
    Fields::new(&row, "kb_versions").number("version").map(KbVersion)
}

pub(super) fn read_version(row: &PgRow) -> Result<VersionEntry, StorageError> {
    let fields = Fields::new(row, "kb_versions");
    Ok(VersionEntry {
        version: KbVersion(fields.number("version")?),
        note: fields.text("note")?,
        author: fields.text("author")?,
        created_at: fields.time("created_at")?,
    })
}

async fn version_page(connection: &mut PgConnection, page: &PageRequest) -> Result<Page<VersionEntry>, StorageError> {
    let rows = page_rows(page.limit);
    let before = match read_cursor("kb_versions", page.cursor.as_deref())? {
        None => i64::MAX,
        Some(before) => before.parse().map_err(|_| StorageError::Invalid {
            table: "kb_versions",
            detail: "the cursor is none that a list gave; begin without one".to_owned(),
        })?,
    };
    let sql = "SELECT version, note, author, created_at FROM kb_versions WHERE version < $1 \
               ORDER BY version DESC LIMIT $2";
    let items = sqlx::query(sql)
        .bind(before)
        .bind(rows)
        .fetch_all(connection)
        .await?
        .iter()
        .map(|row| read_version(row).map(|entry| (entry.version.to_string(), entry)))
        .collect::<Result<Vec<_>, _>>()?;
    let Page { items, next } = page_of(items, rows, |(key, _)| key);
    Ok(Page {
        items: items.into_iter().map(|(_, entry)| entry).collect(),
        next,
    })
}

async fn version_changes(
    connection: &mut PgConnection,
    version: KbVersion,
    page: &PageRequest,
) -> Result<Page<VersionChange>, StorageError> {
    let rows = page_rows(page.limit);
    let after = read_cursor("kb_changes", page.cursor.as_deref())?.unwrap_or_default();
    let sql = "SELECT changes.kind, changes.item_id, changes.old_revision, changes.new_revision, \
               coalesce(new.name, '') AS name, coalesce(new.title, '') AS title, \
               coalesce(new.op, 'put') AS op, changes.kind || ' ' || changes.item_id AS place \
               FROM kb_changes AS changes LEFT JOIN revisions AS new ON new.id = changes.new_revision \
               WHERE changes.version = $1 AND changes.kind || ' ' || changes.item_id > $2 \
               ORDER BY changes.kind || ' ' || changes.item_id LIMIT $3";
    let items = sqlx::query(sql)
        .bind(to_integer("kb_versions", version.0)?)
        .bind(after)
        .bind(rows)
        .fetch_all(connection)
        .await?
        .iter()
        .map(|row| {
            let fields = Fields::new(row, "kb_changes");
            let change = VersionChange {
                item: revisions::read_item(&fields)?,
                name: fields.text("name")?,
                title: fields.text("title")?,
                old: fields.optional_uuid("old_revision")?.map(RevisionId),
                new: fields.optional_uuid("new_revision")?.map(RevisionId),
                removed: fields.text("op")? == "remove",
            };
            Ok((fields.text("place")?, change))
        })
        .collect::<Result<Vec<_>, StorageError>>()?;
    let Page { items, next } = page_of(items, rows, |(place, _)| place);
    Ok(Page {
        items: items.into_iter().map(|(_, change)| change).collect(),
        next,
    })
}
