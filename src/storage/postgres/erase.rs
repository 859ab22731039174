//! Removing what is no longer kept. PostgreSQL leaves what was removed in its pages until they are vacuumed, which
//! [`EraseStore::settle`] asks for; and in its write-ahead log and its backups as long as those are kept.

use super::rows::{Fields, to_json};
use super::{PostgresStore, Turn, audit, customers};
use crate::domain::{ConversationId, CustomerId, Cutoffs, GapId, Removed};
use crate::storage::{AuditRecord, EraseStore, StorageError};
use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

/// Conversations that nobody spoke in since; those that wait for a person stay.
const OLD_CONVERSATIONS: &str = "FROM conversations WHERE updated_at < $1 AND status <> 'waiting'";

/// Everything that words of customers lie in.
const VACUUM: &str = "VACUUM (SKIP_LOCKED) conversations, messages, ratings, reply_records, flow_turns, flow_sessions, \
                      handoffs, gaps, suggestions, vault_keys, vault_values, vault_secrets, customers, identities, embeddings";

#[async_trait]
impl EraseStore for PostgresStore {
    async fn expired(&self, cutoffs: &Cutoffs) -> Result<Removed, StorageError> {
        let in_old = "SELECT count(*) FROM messages AS m JOIN conversations AS c ON c.id = m.conversation_id \
                      WHERE c.updated_at < $1 AND c.status <> 'waiting'";
        let old = "SELECT count(*) FROM messages WHERE created_at < $1";
        let keys = "SELECT count(*) FROM vault_keys WHERE conversation_id IN \
                    (SELECT id FROM conversations WHERE updated_at < $1 AND status <> 'waiting')";
        let traces = "SELECT (SELECT count(*) FROM reply_records WHERE created_at < $1) + \
                      (SELECT count(*) FROM flow_turns WHERE created_at < $1)";
        self.explained(async {
            let mut connection = self.reader().await?;
            let mut removed = Removed::default();
            if cutoffs.conversations.is_some() {
                let all = "SELECT count(*) FROM conversations WHERE updated_at < $1 AND status <> 'waiting'";
                removed.conversations = count(&mut connection, all, cutoffs.conversations).await?;
                removed.messages = count(&mut connection, in_old, cutoffs.conversations).await?;
                removed.vault_keys = count(&mut connection, keys, cutoffs.conversations).await?;
            }
            removed.messages = removed
                .messages
                .max(count(&mut connection, old, cutoffs.messages).await?);
            removed.traces = count(&mut connection, traces, cutoffs.traces).await?;
            Ok(removed)
        })
        .await
    }

    async fn expire(
        &self,
        cutoffs: &Cutoffs,
        limit: u32,
        record: &AuditRecord,
    ) -> Result<(Removed, Vec<String>), StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            let mut all = Removed::default();
            let mut texts = Vec::new();
            if let Some(before) = cutoffs.conversations {
                let sql = format!("SELECT id {OLD_CONVERSATIONS} ORDER BY updated_at, id LIMIT $2");
                let ids = ids_before(&mut transaction, &sql, before, limit).await?;
                let (removed, said) = remove_conversations(&mut transaction, &ids).await?;
                all = all.and(removed);
                texts.extend(said);
            }
            if let Some(before) = cutoffs.messages {
                let sql = "SELECT id FROM messages WHERE created_at < $1 ORDER BY created_at, seq LIMIT $2";
                let ids = ids_before(&mut transaction, sql, before, limit).await?;
                let (removed, said) = remove_messages(&mut transaction, &ids).await?;
                all = all.and(removed);
                texts.extend(said);
            }
            if let Some(before) = cutoffs.traces {
                all.traces += remove_traces(&mut transaction, before, limit).await?;
            }
            if !all.is_nothing() {
                let mut record = record.clone();
                record.detail["removed"] = serde_json::to_value(all).unwrap_or_default();
                audit::append(&mut transaction, &record).await?;
            }
            transaction.commit().await?;
            Ok((all, texts))
        })
        .await
    }

    async fn erase_conversations(&self, ids: &[ConversationId]) -> Result<(Removed, Vec<String>), StorageError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        self.explained(async {
            let mut transaction = self.change().await?;
            let removed = remove_conversations(&mut transaction, &ids).await?;
            transaction.commit().await?;
            Ok(removed)
        })
        .await
    }

    async fn erase_customer(&self, id: CustomerId, record: &AuditRecord) -> Result<bool, StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            Turn::Customers.take(&mut transaction).await?;
            if customers::has_conversations(&mut transaction, id).await? {
                return Err(StorageError::Conflict {
                    item: format!("customer {id}"),
                    detail: "it has conversations, which are removed first".to_owned(),
                });
            }
            if customers::erase(&mut transaction, id).await? == 0 {
                return Ok(false);
            }
            audit::append(&mut transaction, record).await?;
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn remove_embeddings(&self, keys: &[[u8; 32]]) -> Result<(), StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
            sqlx::query("DELETE FROM embeddings WHERE key = ANY($1)")
                .bind(keys)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    async fn settle(&self, _thorough: bool) -> Result<bool, StorageError> {
        self.explained(async {
            let mut connection = self.reader().await?;
            // Not within a transaction; what another node vacuums just now is passed over.
            sqlx::raw_sql(VACUUM).execute(&mut *connection).await?;
            Ok(true)
        })
        .await
    }
}

async fn count(
    connection: &mut PgConnection,
    sql: &'static str,
    before: Option<Timestamp>,
) -> Result<u64, StorageError> {
    let Some(before) = before else { return Ok(0) };
    let count: i64 = sqlx::query_scalar(sql)
        .bind(before.as_microsecond())
        .fetch_one(connection)
        .await?;
    Ok(count.unsigned_abs())
}

async fn ids_before(
    connection: &mut PgConnection,
    sql: &str,
    before: Timestamp,
    limit: u32,
) -> Result<Vec<Uuid>, StorageError> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()))
        .bind(before.as_microsecond())
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

async fn remove_traces(connection: &mut PgConnection, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
    let records = "DELETE FROM reply_records WHERE message_id IN \
                   (SELECT message_id FROM reply_records WHERE created_at < $1 ORDER BY created_at LIMIT $2)";
    let turns = "DELETE FROM flow_turns WHERE message_id IN \
                 (SELECT message_id FROM flow_turns WHERE created_at < $1 ORDER BY created_at LIMIT $2)";
    let mut removed = 0;
    for sql in [records, turns] {
        let done = sqlx::query(sql)
            .bind(before.as_microsecond())
            .bind(i64::from(limit))
            .execute(&mut *connection)
            .await?;
        removed += done.rows_affected();
    }
    let unused = "DELETE FROM environments WHERE NOT EXISTS \
                  (SELECT 1 FROM reply_records WHERE environment = environments.sha256)";
    sqlx::query(unused).execute(connection).await?;
    Ok(removed)
}

/// Removes conversations; their messages, ratings, flows and keys go with them.
async fn remove_conversations(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> Result<(Removed, Vec<String>), StorageError> {
    let mut all = Removed::default();
    let mut texts = Vec::new();
    for id in ids {
        let rows = sqlx::query("SELECT id FROM messages WHERE conversation_id = $1 ORDER BY seq")
            .bind(*id)
            .fetch_all(&mut *connection)
            .await?;
        let messages: Vec<Uuid> = rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?;
        let (removed, said) = remove_messages(connection, &messages).await?;
        all = all.and(removed);
        texts.extend(said);
        for (sql, is_example) in [
            ("DELETE FROM suggestions WHERE conversation_id = $1", true),
            ("DELETE FROM vault_keys WHERE conversation_id = $1", false),
        ] {
            let done = sqlx::query(sql).bind(*id).execute(&mut *connection).await?;
            if is_example {
                all.examples += done.rows_affected();
            } else {
                all.vault_keys += done.rows_affected();
            }
        }
        let done = sqlx::query("DELETE FROM conversations WHERE id = $1")
            .bind(*id)
            .execute(&mut *connection)
            .await?;
        all.conversations += done.rows_affected();
    }
    Ok((all, texts))
}

/// Removes messages with what was learnt from them; their ratings and records go with them. Returns what customers said in them.
async fn remove_messages(connection: &mut PgConnection, ids: &[Uuid]) -> Result<(Removed, Vec<String>), StorageError> {
    let mut removed = Removed::default();
    let mut texts = Vec::new();
    for id in ids {
        let row = sqlx::query("SELECT conversation_id, role, text FROM messages WHERE id = $1")
            .bind(*id)
            .fetch_optional(&mut *connection)
            .await?;
        let Some(row) = row else { continue };
        let fields = Fields::new(&row, "messages");
        if fields.text("role")? == "visitor" {
            let text = fields.text("text")?;
            removed.examples += forget_words(connection, fields.uuid("conversation_id")?, &text).await?;
            texts.push(text);
        }
        for sql in [
            "DELETE FROM vault_values WHERE message_id = $1",
            "DELETE FROM flow_turns WHERE message_id = $1",
            "DELETE FROM messages WHERE id = $1",
        ] {
            sqlx::query(sql).bind(*id).execute(&mut *connection).await?;
        }
        removed.messages += 1;
    }
    Ok((removed, texts))
}

/// Takes what a customer said out of the gaps that replies of this conversation left open. A gap that has no other wording goes.
/// How often it was asked stays: that is a number, and nobody's.
async fn forget_words(connection: &mut PgConnection, conversation: Uuid, said: &str) -> Result<u64, StorageError> {
    let sql = "SELECT DISTINCT g.id, g.question, g.examples FROM messages AS a \
               JOIN gap_messages AS gm ON gm.message_id = a.id JOIN gaps AS g ON g.id = gm.gap_id \
               WHERE a.conversation_id = $1";
    let said = said.trim();
    if said.is_empty() {
        return Ok(0);
    }
    let rows = sqlx::query(sql).bind(conversation).fetch_all(&mut *connection).await?;
    let mut forgotten = 0;
    for row in &rows {
        let fields = Fields::new(row, "gaps");
        let id = GapId(fields.uuid("id")?);
        let mut wordings = vec![fields.text("question")?];
        wordings.extend(fields.json::<Vec<String>>("examples")?);
        let before = wordings.len();
        // A gap keeps the beginning of a long question.
        wordings.retain(|kept| !said.starts_with(kept.as_str()));
        if wordings.len() == before {
            continue;
        }
        forgotten += (before - wordings.len()) as u64;
        if wordings.is_empty() {
            sqlx::query("DELETE FROM gaps WHERE id = $1")
                .bind(id.0)
                .execute(&mut *connection)
                .await?;
            continue;
        }
        let question = wordings.remove(0);
        sqlx::query("UPDATE gaps SET question = $2, examples = $3 WHERE id = $1")
            .bind(id.0)
            .bind(question)
            .bind(to_json("gaps", &wordings)?)
            .execute(&mut *connection)
            .await?;
    }
    Ok(forgotten)
}
