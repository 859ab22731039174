//! Questions that were asked in vain, and suggested FAQs.

use super::PostgresStore;
use super::rows::{Fields, page_of, page_rows, read_cursor, to_integer, to_json};
use crate::domain::{
    ConversationId, Decision, Gap, GapId, MessageId, Origin, Suggestion, SuggestionId, SuggestionState, Unresolved,
};
use crate::storage::{GapChange, LearningStore, Page, PageRequest, StorageError};
use async_trait::async_trait;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;
use uuid::Uuid;

/// Messages before the newest one that was looked at, among which some may have become visible later: what is stored at the same
/// time in two conversations is numbered in one order and committed in another. No transaction lasts as long as this many take.
const LATE: i64 = 100_000;

const UNRESOLVED: &str = "\
    WITH seen AS (SELECT coalesce((SELECT m.seq FROM messages AS m WHERE m.route IN ('refuse', 'clarify', 'handoff') \
                  AND EXISTS (SELECT 1 FROM gap_messages AS g WHERE g.message_id = m.id) ORDER BY m.seq DESC LIMIT 1), 0) - $2 \
                  AS seq), \
    found AS (SELECT seq FROM messages WHERE route IN ('refuse', 'clarify', 'handoff') AND seq > (SELECT seq FROM seen) \
              UNION SELECT m.seq FROM ratings AS r JOIN messages AS m ON m.id = r.message_id WHERE r.score <= 2) \
    SELECT a.id, a.created_at, (SELECT v.text FROM messages AS v WHERE v.conversation_id = a.conversation_id \
        AND v.role = 'visitor' AND v.seq < a.seq ORDER BY v.seq DESC LIMIT 1) AS question \
    FROM found JOIN messages AS a ON a.seq = found.seq \
    WHERE NOT EXISTS (SELECT 1 FROM gap_messages AS g WHERE g.message_id = a.id) ORDER BY a.seq LIMIT $1";

macro_rules! suggestion {
    ($rest:literal) => {
        concat!(
            "SELECT id, question, variants, answer, origin, conversation_id, \"similar\", state, created_at, decided_at, ",
            "decided_by, reason FROM suggestions ",
            $rest
        )
    };
}

#[async_trait]
impl LearningStore for PostgresStore {
    async fn unresolved(&self, limit: u32) -> Result<Vec<Unresolved>, StorageError> {
        self.explained(async {
            let mut connection = self.reader().await?;
            let rows = sqlx::query(UNRESOLVED)
                .bind(i64::from(limit))
                .bind(LATE)
                .fetch_all(&mut *connection)
                .await?;
            rows.iter()
                .map(|row| {
                    let fields = Fields::new(row, "messages");
                    Ok(Unresolved {
                        message_id: MessageId(fields.uuid("id")?),
                        question: fields.optional_text("question")?.unwrap_or_default(),
                        at: fields.time("created_at")?,
                    })
                })
                .collect()
        })
        .await
    }

    async fn count_gaps(&self, changes: &[GapChange]) -> Result<(), StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            for change in changes {
                count(&mut transaction, change).await?;
            }
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    async fn gaps(&self, open: bool, page: &PageRequest) -> Result<Page<Gap>, StorageError> {
        self.explained(async { gap_page(&mut *self.reader().await?, open, page).await })
            .await
    }

    async fn open_gaps(&self) -> Result<u64, StorageError> {
        self.how_many("SELECT count(*) AS n FROM gaps WHERE closed_at IS NULL")
            .await
    }

    async fn close_gap(&self, id: GapId, decision: &Decision) -> Result<bool, StorageError> {
        let sql = "UPDATE gaps SET closed_at = $2, closed_by = $3, reason = $4 WHERE id = $1 AND closed_at IS NULL";
        self.explained(async {
            let mut transaction = self.change().await?;
            let done = sqlx::query(sql)
                .bind(id.0)
                .bind(decision.at.as_microsecond())
                .bind(decision.by.clone())
                .bind(decision.reason.clone())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }

    async fn answered_by_people(&self, limit: u32) -> Result<Vec<ConversationId>, StorageError> {
        let sql = "SELECT id FROM conversations AS c WHERE status = 'closed' \
                   AND EXISTS (SELECT 1 FROM messages AS m WHERE m.conversation_id = c.id AND m.role = 'agent') \
                   AND NOT EXISTS (SELECT 1 FROM suggested_conversations AS s WHERE s.conversation_id = c.id) \
                   ORDER BY id LIMIT $1";
        self.explained(async {
            let mut connection = self.reader().await?;
            let rows = sqlx::query(sql)
                .bind(i64::from(limit))
                .fetch_all(&mut *connection)
                .await?;
            rows.iter()
                .map(|row| Fields::new(row, "conversations").uuid("id").map(ConversationId))
                .collect()
        })
        .await
    }

    async fn add_suggestion(&self, suggestion: &Suggestion) -> Result<bool, StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            let added = add(&mut transaction, suggestion).await?;
            if let Some(id) = suggestion.conversation_id {
                mark(&mut transaction, id).await?;
            }
            transaction.commit().await?;
            Ok(added)
        })
        .await
    }

    async fn nothing_to_suggest(&self, id: ConversationId) -> Result<(), StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            mark(&mut transaction, id).await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    async fn suggestions(&self, state: SuggestionState, page: &PageRequest) -> Result<Page<Suggestion>, StorageError> {
        self.explained(async {
            let rows = page_rows(page.limit);
            let query = match read_cursor("suggestions", page.cursor.as_deref())? {
                None => sqlx::query(suggestion!("WHERE state = $2 ORDER BY id DESC LIMIT $1"))
                    .bind(rows)
                    .bind(state.name()),
                Some(after) => sqlx::query(suggestion!("WHERE state = $2 AND id < $3 ORDER BY id DESC LIMIT $1"))
                    .bind(rows)
                    .bind(state.name())
                    .bind(cursor_id("suggestions", &after)?),
            };
            let mut connection = self.reader().await?;
            let items = query.fetch_all(&mut *connection).await?;
            let items = items.iter().map(read_suggestion).collect::<Result<Vec<_>, _>>()?;
            let keyed = items.into_iter().map(|item| (item.id.0.to_string(), item)).collect();
            Ok(without_keys(page_of(keyed, rows, |(key, _)| key)))
        })
        .await
    }

    async fn open_suggestions(&self) -> Result<u64, StorageError> {
        self.how_many("SELECT count(*) AS n FROM suggestions WHERE state = 'open'")
            .await
    }

    async fn suggestion(&self, id: SuggestionId) -> Result<Option<Suggestion>, StorageError> {
        self.explained(async {
            let mut connection = self.reader().await?;
            let row = sqlx::query(suggestion!("WHERE id = $1"))
                .bind(id.0)
                .fetch_optional(&mut *connection)
                .await?;
            row.as_ref().map(read_suggestion).transpose()
        })
        .await
    }

    async fn decide_suggestion(
        &self,
        id: SuggestionId,
        state: SuggestionState,
        decision: &Decision,
    ) -> Result<bool, StorageError> {
        let sql = "UPDATE suggestions SET state = $2, decided_at = $3, decided_by = $4, reason = $5 \
                   WHERE id = $1 AND state = 'open'";
        self.explained(async {
            let mut transaction = self.change().await?;
            let done = sqlx::query(sql)
                .bind(id.0)
                .bind(state.name())
                .bind(decision.at.as_microsecond())
                .bind(decision.by.clone())
                .bind(decision.reason.clone())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }
}

impl PostgresStore {
    async fn how_many(&self, sql: &'static str) -> Result<u64, StorageError> {
        self.explained(async {
            let mut connection = self.reader().await?;
            let row = sqlx::query(sql).fetch_one(&mut *connection).await?;
            Fields::new(&row, "gaps").number("n")
        })
        .await
    }
}

async fn count(connection: &mut PgConnection, change: &GapChange) -> Result<(), StorageError> {
    let (gap, messages) = match change {
        GapChange::Nothing { message } => {
            name(connection, *message, None).await?;
            return Ok(());
        }
        GapChange::New { gap, messages } => {
            let sql =
                "INSERT INTO gaps (id, question, examples, count, first_at, last_at) VALUES ($1, $2, $3, $4, $5, $6)";
            sqlx::query(sql)
                .bind(gap.id.0)
                .bind(gap.question.clone())
                .bind(to_json("gaps", &gap.examples)?)
                .bind(to_integer("gaps", gap.count)?)
                .bind(gap.first_at.as_microsecond())
                .bind(gap.last_at.as_microsecond())
                .execute(&mut *connection)
                .await?;
            (gap.id, messages)
        }
        GapChange::Again { id, messages, .. } => (*id, messages),
    };
    let mut counted = 0_u64;
    for message in messages {
        counted += name(connection, *message, Some(gap)).await?;
    }
    if let GapChange::Again {
        id, examples, last_at, ..
    } = change
    {
        let sql = "UPDATE gaps SET count = count + $2, examples = $3, last_at = greatest(last_at, $4) WHERE id = $1";
        sqlx::query(sql)
            .bind(id.0)
            .bind(to_integer("gaps", counted)?)
            .bind(to_json("gaps", examples)?)
            .bind(last_at.as_microsecond())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Notes that a reply was looked at; 1 if it was not before.
async fn name(connection: &mut PgConnection, message: MessageId, gap: Option<GapId>) -> Result<u64, StorageError> {
    // A message that was erased meanwhile has nothing left to count.
    let sql = "INSERT INTO gap_messages (message_id, gap_id) SELECT id, $2 FROM messages WHERE id = $1 \
               ON CONFLICT DO NOTHING";
    let done = sqlx::query(sql)
        .bind(message.0)
        .bind(gap.map(|gap| gap.0))
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

async fn mark(connection: &mut PgConnection, id: ConversationId) -> Result<(), StorageError> {
    let sql = "INSERT INTO suggested_conversations (conversation_id) SELECT id FROM conversations WHERE id = $1 \
         ON CONFLICT DO NOTHING";
    sqlx::query(sql).bind(id.0).execute(connection).await?;
    Ok(())
}

async fn add(connection: &mut PgConnection, suggestion: &Suggestion) -> Result<bool, StorageError> {
    let sql = "INSERT INTO suggestions (id, question, variants, answer, origin, conversation_id, \"similar\", state, \
               created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 'open', $8) ON CONFLICT (conversation_id) DO NOTHING";
    let done = sqlx::query(sql)
        .bind(suggestion.id.0)
        .bind(suggestion.question.clone())
        .bind(to_json("suggestions", &suggestion.variants)?)
        .bind(suggestion.answer.clone())
        .bind(suggestion.origin.name())
        .bind(suggestion.conversation_id.map(|id| id.0))
        .bind(to_json("suggestions", &suggestion.similar)?)
        .bind(suggestion.created_at.as_microsecond())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Gaps are listed by a number and their id: the cursor is both.
async fn gap_page(connection: &mut PgConnection, open: bool, page: &PageRequest) -> Result<Page<Gap>, StorageError> {
    const COLUMNS: &str =
        "SELECT id, question, examples, count, first_at, last_at, closed_at, closed_by, reason FROM gaps";
    let rows = page_rows(page.limit);
    let sql = match (open, page.cursor.is_some()) {
        (true, false) => format!("{COLUMNS} WHERE closed_at IS NULL ORDER BY count DESC, id LIMIT $1"),
        (true, true) => format!(
            "{COLUMNS} WHERE closed_at IS NULL AND (count < $2 OR (count = $2 AND id > $3)) ORDER BY count DESC, id LIMIT $1"
        ),
        (false, false) => format!("{COLUMNS} WHERE closed_at IS NOT NULL ORDER BY closed_at DESC, id LIMIT $1"),
        (false, true) => format!(
            "{COLUMNS} WHERE closed_at IS NOT NULL AND (closed_at < $2 OR (closed_at = $2 AND id > $3)) \
             ORDER BY closed_at DESC, id LIMIT $1"
        ),
    };
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(rows);
    if let Some(cursor) = read_cursor("gaps", page.cursor.as_deref())? {
        let (number, id) = cursor.split_once(' ').ok_or_else(|| bad_cursor("gaps"))?;
        let number: i64 = number.parse().map_err(|_| bad_cursor("gaps"))?;
        query = query.bind(number).bind(cursor_id("gaps", id)?);
    }
    let items = query.fetch_all(connection).await?;
    let items = items.iter().map(read_gap).collect::<Result<Vec<_>, _>>()?;
    let key = |gap: &Gap| {
        let closed = gap.closed.as_ref().map(|closed| closed.at.as_microsecond());
        format!("{} {}", closed.unwrap_or(gap.count.cast_signed()), gap.id)
    };
    let keyed = items.into_iter().map(|gap| (key(&gap), gap)).collect();
    Ok(without_keys(page_of(keyed, rows, |(key, _)| key)))
}

fn without_keys<T>(page: Page<(String, T)>) -> Page<T> {
    Page {
        items: page.items.into_iter().map(|(_, item)| item).collect(),
        next: page.next,
    }
}

fn bad_cursor(table: &'static str) -> StorageError {
    StorageError::Invalid {
        table,
        detail: "the cursor is none that a list gave; begin without one".to_owned(),
    }
}

fn cursor_id(table: &'static str, text: &str) -> Result<Uuid, StorageError> {
    text.parse().map_err(|_| bad_cursor(table))
}

fn read_decision(fields: &Fields<'_>, at: &str, by: &str) -> Result<Option<Decision>, StorageError> {
    let Some(at) = fields.optional_time(at)? else {
        return Ok(None);
    };
    Ok(Some(Decision {
        at,
        by: fields.optional_text(by)?.unwrap_or_default(),
        reason: fields.optional_text("reason")?.unwrap_or_default(),
    }))
}

fn read_gap(row: &PgRow) -> Result<Gap, StorageError> {
    let fields = Fields::new(row, "gaps");
    Ok(Gap {
        id: GapId(fields.uuid("id")?),
        question: fields.text("question")?,
        examples: fields.json("examples")?,
        count: fields.number("count")?,
        first_at: fields.time("first_at")?,
        last_at: fields.time("last_at")?,
        closed: read_decision(&fields, "closed_at", "closed_by")?,
    })
}

fn read_suggestion(row: &PgRow) -> Result<Suggestion, StorageError> {
    let fields = Fields::new(row, "suggestions");
    Ok(Suggestion {
        id: SuggestionId(fields.uuid("id")?),
        question: fields.text("question")?,
        variants: fields.json("variants")?,
        answer: fields.text("answer")?,
        origin: fields.named("origin", Origin::from_name)?,
        conversation_id: fields.optional_uuid("conversation_id")?.map(ConversationId),
        similar: fields.json("similar")?,
        state: fields.named("state", SuggestionState::from_name)?,
        created_at: fields.time("created_at")?,
        decided: read_decision(&fields, "decided_at", "decided_by")?,
    })
}
