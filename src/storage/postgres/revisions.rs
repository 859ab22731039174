//! Rows of revisions: written, read, listed, and moved between the states before publication.

use super::rows::{Fields, page_of, page_rows, read_cursor, to_json};
use super::{documents, faqs};
use crate::domain::{
    Content, DocumentContent, DocumentId, FaqContent, FaqId, KbItem, KbVersion, Revision, RevisionId, RevisionState,
    RevisionSummary,
};
use crate::storage::{NewDraft, Page, PageRequest, RevisionCounts, RevisionFilter, StorageError};
use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

const TABLE: &str = "revisions";

macro_rules! summary {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, item_id, number, op, state, name, title, author, reviewer, note, created_at, decided_at, ",
            "base_revision, scope FROM revisions ",
            $rest
        )
    };
}

macro_rules! revision {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, item_id, number, op, state, name, title, author, reviewer, note, created_at, decided_at, ",
            "base_revision, scope, content FROM revisions ",
            $rest
        )
    };
}

/// What a live item had before revisions were kept.
const BASELINE_NOTE: &str = "as it was before revisions were kept";

/// The item of a row with the columns `kind` and `item_id`.
pub(super) fn read_item(fields: &Fields<'_>) -> Result<KbItem, StorageError> {
    let id = fields.uuid("item_id")?;
    match fields.text("kind")?.as_str() {
        "document" => Ok(KbItem::Document(DocumentId(id))),
        "faq" => Ok(KbItem::Faq(FaqId(id))),
        other => Err(fields.corrupt("kind", format_args!("unknown name {other:?}"))),
    }
}

fn read_summary(row: &PgRow) -> Result<RevisionSummary, StorageError> {
    let fields = Fields::new(row, TABLE);
    Ok(RevisionSummary {
        id: RevisionId(fields.uuid("id")?),
        item: read_item(&fields)?,
        number: fields.number("number")?,
        state: fields.named("state", RevisionState::from_name)?,
        removes: fields.text("op")? == "remove",
        name: fields.text("name")?,
        title: fields.text("title")?,
        scope: fields.json("scope")?,
        author: fields.text("author")?,
        reviewer: fields.optional_text("reviewer")?,
        note: fields.text("note")?,
        created_at: fields.time("created_at")?,
        decided_at: fields.optional_time("decided_at")?,
        base: fields.optional_uuid("base_revision")?.map(RevisionId),
    })
}

fn read_revision(row: &PgRow) -> Result<Revision, StorageError> {
    let summary = read_summary(row)?;
    let fields = Fields::new(row, TABLE);
    let content = match (summary.removes, summary.item) {
        (true, _) => None,
        (false, KbItem::Document(id)) => {
            let content: DocumentContent = fields.json("content")?;
            if content.passages_of(id).is_none() {
                return Err(fields.corrupt("content", "a passage lies outside the text"));
            }
            Some(Content::Document(content))
        }
        (false, KbItem::Faq(_)) => Some(Content::Faq(fields.json::<FaqContent>("content")?)),
    };
    Ok(Revision { summary, content })
}

/// Writes a revision as it stands, with the next number of its item.
pub(super) async fn insert(connection: &mut PgConnection, revision: &mut Revision) -> Result<(), StorageError> {
    let summary = &mut revision.summary;
    let sql = "SELECT coalesce(max(number), 0) + 1 AS number FROM revisions WHERE kind = $1 AND item_id = $2";
    let row = sqlx::query(sql)
        .bind(summary.item.kind())
        .bind(summary.item.uuid())
        .fetch_one(&mut *connection)
        .await?;
    summary.number = Fields::new(&row, TABLE).number("number")?;
    let content = match &revision.content {
        Some(Content::Document(content)) => Some(to_json(TABLE, content)?),
        Some(Content::Faq(content)) => Some(to_json(TABLE, content)?),
        None => None,
    };
    let sql = "INSERT INTO revisions (id, kind, item_id, number, op, state, name, title, author, reviewer, note, \
               created_at, decided_at, base_revision, scope, content) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
    sqlx::query(sql)
        .bind(summary.id.0)
        .bind(summary.item.kind())
        .bind(summary.item.uuid())
        .bind(i64::from(summary.number))
        .bind(if summary.removes { "remove" } else { "put" })
        .bind(summary.state.name())
        .bind(summary.name.clone())
        .bind(summary.title.clone())
        .bind(summary.author.clone())
        .bind(summary.reviewer.clone())
        .bind(summary.note.clone())
        .bind(summary.created_at.as_microsecond())
        .bind(summary.decided_at.map(Timestamp::as_microsecond))
        .bind(summary.base.map(|base| base.0))
        .bind(to_json(TABLE, &summary.scope)?)
        .bind(content)
        .execute(connection)
        .await?;
    Ok(())
}

/// A revision that is not stored yet.
pub(super) fn fresh(draft: &NewDraft, title: String, state: RevisionState, now: Timestamp) -> Revision {
    Revision {
        summary: RevisionSummary {
            id: RevisionId::new(),
            item: draft.item,
            number: 0,
            state,
            removes: draft.content.is_none(),
            name: draft.name.clone(),
            title,
            scope: draft.scope.clone(),
            author: draft.author.clone(),
            reviewer: None,
            note: draft.note.clone(),
            created_at: now,
            decided_at: None,
            base: None,
        },
        content: draft.content.clone(),
    }
}

/// The revision that is live or that removed the item. A live item without one gets it now, with what it says.
pub(super) async fn current(
    connection: &mut PgConnection,
    item: KbItem,
) -> Result<Option<RevisionSummary>, StorageError> {
    let row = sqlx::query(summary!("WHERE kind = $1 AND item_id = $2 AND state = 'published'"))
        .bind(item.kind())
        .bind(item.uuid())
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(row) = row {
        return read_summary(&row).map(Some);
    }
    let (name, scope, imported_at, content) = match item {
        KbItem::Document(id) => {
            let Some(document) = documents::get(connection, id).await? else {
                return Ok(None);
            };
            let passages = documents::passages_of(connection, id).await?;
            let content = Content::Document(DocumentContent::of(&document, &passages));
            (document.source, document.scope, document.imported_at, content)
        }
        KbItem::Faq(id) => {
            let Some(faq) = faqs::by_ids(connection, &[id]).await?.pop() else {
                return Ok(None);
            };
            let content = Content::Faq(FaqContent::of(&faq));
            (faq.key, faq.scope, faq.imported_at, content)
        }
    };
    let title = content.title().to_owned();
    let draft = NewDraft {
        item,
        name,
        scope,
        content: Some(content),
        author: String::new(),
        note: BASELINE_NOTE.to_owned(),
    };
    let mut revision = fresh(&draft, title, RevisionState::Published, imported_at);
    // Lists are in order of id: it comes before all that is written now.
    let seconds = u64::try_from(imported_at.as_second()).unwrap_or(0);
    let nanoseconds = u32::try_from(imported_at.subsec_nanosecond()).unwrap_or(0);
    let moment = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanoseconds);
    revision.summary.id = RevisionId(Uuid::new_v7(moment));
    revision.summary.decided_at = Some(imported_at);
    insert(connection, &mut revision).await?;
    Ok(Some(revision.summary))
}

/// Whether a draft says something that could be stored, before anything is done.
pub(super) fn check(draft: &NewDraft) -> Result<(), StorageError> {
    let refuse = |detail: &str| {
        Err(StorageError::Invalid {
            table: TABLE,
            detail: format!("{}: {detail}", draft.name),
        })
    };
    if draft.name.is_empty() {
        return refuse("it has no name");
    }
    match (draft.item, &draft.content) {
        (_, None) | (KbItem::Faq(_), Some(Content::Faq(_))) => Ok(()),
        (KbItem::Document(id), Some(Content::Document(content))) => match content.passages_of(id) {
            Some(_) => Ok(()),
            None => refuse("a passage lies outside the text"),
        },
        _ => refuse("the content is of another kind than the item"),
    }
}

/// Stores a draft, based on what is live; replaces its author's earlier one.
pub(super) async fn add_draft(
    connection: &mut PgConnection,
    draft: &NewDraft,
    now: Timestamp,
) -> Result<RevisionSummary, StorageError> {
    let live = current(connection, draft.item).await?;
    let title = match (&draft.content, &live) {
        (Some(content), _) => content.title().to_owned(),
        (None, Some(live)) if !live.removes => live.title.clone(),
        (None, _) => {
            return Err(StorageError::Missing {
                what: "document or FAQ",
                name: draft.name.clone(),
            });
        }
    };
    if let Some(live) = live.as_ref().filter(|live| live.name != draft.name) {
        return Err(StorageError::Invalid {
            table: TABLE,
            detail: format!(
                "{} cannot be renamed {}: add a new one and remove it",
                live.name, draft.name
            ),
        });
    }
    sqlx::query("DELETE FROM revisions WHERE kind = $1 AND item_id = $2 AND state = 'draft' AND author = $3")
        .bind(draft.item.kind())
        .bind(draft.item.uuid())
        .bind(draft.author.clone())
        .execute(&mut *connection)
        .await?;
    let mut revision = fresh(draft, title, RevisionState::Draft, now);
    revision.summary.base = live.map(|live| live.id);
    insert(connection, &mut revision).await?;
    Ok(revision.summary)
}

pub(super) async fn get(connection: &mut PgConnection, id: RevisionId) -> Result<Option<Revision>, StorageError> {
    let row = sqlx::query(revision!("WHERE id = $1"))
        .bind(id.0)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read_revision).transpose()
}

pub(super) async fn published(connection: &mut PgConnection, item: KbItem) -> Result<Option<Revision>, StorageError> {
    let row = sqlx::query(revision!("WHERE kind = $1 AND item_id = $2 AND state = 'published'"))
        .bind(item.kind())
        .bind(item.uuid())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read_revision).transpose()
}

pub(super) async fn open(
    connection: &mut PgConnection,
    kind: &str,
    name: &str,
) -> Result<Option<RevisionSummary>, StorageError> {
    let sql = summary!(
        "WHERE kind = $1 AND name = $2 AND state IN ('draft', 'review') ORDER BY created_at DESC, id DESC LIMIT 1"
    );
    let row = sqlx::query(sql)
        .bind(kind.to_owned())
        .bind(name.to_owned())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read_summary).transpose()
}

pub(super) async fn page(
    connection: &mut PgConnection,
    filter: &RevisionFilter,
    page: &PageRequest,
) -> Result<Page<RevisionSummary>, StorageError> {
    let rows = page_rows(page.limit);
    let mut query = QueryBuilder::<Postgres>::new(summary!("WHERE true"));
    if !filter.states.is_empty() {
        query.push(" AND state IN (");
        let mut list = query.separated(", ");
        for state in &filter.states {
            list.push_bind(state.name());
        }
        query.push(")");
    }
    if let Some(item) = filter.item {
        query.push(" AND kind = ").push_bind(item.kind());
        query.push(" AND item_id = ").push_bind(item.uuid());
    }
    if let Some(before) = read_cursor(TABLE, page.cursor.as_deref())? {
        let before: RevisionId = before.parse().map_err(|_| StorageError::Invalid {
            table: TABLE,
            detail: "the cursor is none that a list gave; begin without one".to_owned(),
        })?;
        query.push(" AND id < ").push_bind(before.0);
    }
    query.push(" ORDER BY id DESC LIMIT ").push_bind(rows);
    let items = query
        .build()
        .fetch_all(connection)
        .await?
        .iter()
        .map(|row| read_summary(row).map(|summary| (summary.id.to_string(), summary)))
        .collect::<Result<Vec<_>, _>>()?;
    let Page { items, next } = page_of(items, rows, |(id, _)| id);
    Ok(Page {
        items: items.into_iter().map(|(_, summary)| summary).collect(),
        next,
    })
}

pub(super) async fn counts(connection: &mut PgConnection) -> Result<RevisionCounts, StorageError> {
    let sql = "SELECT count(*) FILTER (WHERE state = 'draft') AS drafts, \
               count(*) FILTER (WHERE state = 'review') AS in_review FROM revisions WHERE state IN ('draft', 'review')";
    let row = sqlx::query(sql).fetch_one(connection).await?;
    let fields = Fields::new(&row, TABLE);
    Ok(RevisionCounts {
        drafts: fields.number("drafts")?,
        in_review: fields.number("in_review")?,
    })
}

/// The revision's present state, for a change of it.
pub(super) async fn needed(connection: &mut PgConnection, id: RevisionId) -> Result<Revision, StorageError> {
    get(connection, id).await?.ok_or_else(|| StorageError::Missing {
        what: "revision",
        name: id.to_string(),
    })
}

/// Gives a draft to review, or says no to an open revision.
pub(super) async fn decide(
    connection: &mut PgConnection,
    id: RevisionId,
    verdict: Verdict<'_>,
) -> Result<RevisionSummary, StorageError> {
    let mut summary = needed(connection, id).await?.summary;
    let (allowed, wanted) = match verdict {
        Verdict::Submit => (
            summary.state == RevisionState::Draft,
            "only a draft can be given to review",
        ),
        Verdict::Reject { .. } => (
            summary.state.is_open(),
            "only a draft, or what is in review, can be rejected",
        ),
    };
    if !allowed {
        return Err(StorageError::WrongState {
            item: summary.name,
            state: summary.state,
            wanted,
        });
    }
    match verdict {
        Verdict::Submit => summary.state = RevisionState::Review,
        Verdict::Reject { by, note, now } => {
            summary.state = RevisionState::Rejected;
            summary.reviewer = Some(by.to_owned());
            summary.decided_at = Some(now);
            if !note.is_empty() {
                note.clone_into(&mut summary.note);
            }
        }
    }
    sqlx::query("UPDATE revisions SET state = $2, reviewer = $3, decided_at = $4, note = $5 WHERE id = $1")
        .bind(id.0)
        .bind(summary.state.name())
        .bind(summary.reviewer.clone())
        .bind(summary.decided_at.map(Timestamp::as_microsecond))
        .bind(summary.note.clone())
        .execute(connection)
        .await?;
    Ok(summary)
}

/// What is said of a revision before it is published.
#[derive(Clone, Copy)]
pub(super) enum Verdict<'a> {
    Submit,
    Reject { by: &'a str, note: &'a str, now: Timestamp },
}

pub(super) async fn discard(connection: &mut PgConnection, id: RevisionId) -> Result<RevisionSummary, StorageError> {
    let summary = needed(connection, id).await?.summary;
    if matches!(summary.state, RevisionState::Published | RevisionState::Retired) {
        return Err(StorageError::WrongState {
            item: summary.name,
            state: summary.state,
            wanted: "what was ever published is kept; remove the item, or roll back",
        });
    }
    sqlx::query("DELETE FROM revisions WHERE id = $1")
        .bind(id.0)
        .execute(connection)
        .await?;
    Ok(summary)
}

/// What was live is no longer.
pub(super) async fn retire(
    connection: &mut PgConnection,
    id: RevisionId,
    version: KbVersion,
) -> Result<(), StorageError> {
    sqlx::query("UPDATE revisions SET state = 'retired', retired_in = $2 WHERE id = $1")
        .bind(id.0)
        .bind(version.0.cast_signed())
        .execute(connection)
        .await?;
    Ok(())
}

/// A stored revision is live (again).
pub(super) async fn publish(connection: &mut PgConnection, summary: &RevisionSummary) -> Result<(), StorageError> {
    let sql =
        "UPDATE revisions SET state = 'published', retired_in = NULL, reviewer = $2, decided_at = $3 WHERE id = $1";
    sqlx::query(sql)
        .bind(summary.id.0)
        .bind(summary.reviewer.clone())
        .bind(summary.decided_at.map(Timestamp::as_microsecond))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn prune(connection: &mut PgConnection, keep: u32) -> Result<u64, StorageError> {
    let sql = "DELETE FROM revisions WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER ( \
               PARTITION BY kind, item_id, state ORDER BY retired_in DESC NULLS LAST, number DESC) AS place \
               FROM revisions WHERE state IN ('retired', 'rejected')) AS ranked WHERE place > $1)";
    let done = sqlx::query(sql).bind(i64::from(keep)).execute(connection).await?;
    Ok(done.rows_affected())
}
