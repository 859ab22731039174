//! Task flows of conversations.

use super::PostgresStore;
use super::rows::{Fields, to_integer};
use crate::domain::{ConversationId, MessageId};
use crate::storage::{FlowSession, FlowStore, FlowTurn, MAX_FLOW_BYTES, StorageError};
use async_trait::async_trait;
use jiff::Timestamp;

#[async_trait]
impl FlowStore for PostgresStore {
    async fn flow_session(&self, id: ConversationId) -> Result<Option<FlowSession>, StorageError> {
        let sql = "SELECT revision, state FROM flow_sessions WHERE conversation_id = $1";
        self.explained(async {
            let mut connection = self.reader().await?;
            let row = sqlx::query(sql).bind(id.0).fetch_optional(&mut *connection).await?;
            row.map(|row| {
                let fields = Fields::new(&row, "flow_sessions");
                Ok(FlowSession {
                    revision: fields.number("revision")?,
                    state: fields.text("state")?,
                })
            })
            .transpose()
        })
        .await
    }

    async fn put_flow_session(
        &self,
        id: ConversationId,
        before: u64,
        state: &str,
        turn: Option<&FlowTurn>,
        at: Timestamp,
    ) -> Result<(), StorageError> {
        // The conversation is looked for in the same statement, and so is the revision.
        let first = "INSERT INTO flow_sessions (conversation_id, revision, state, updated_at) \
                     SELECT id, 1, $2, $3 FROM conversations WHERE id = $1 ON CONFLICT DO NOTHING";
        let next = "UPDATE flow_sessions SET revision = revision + 1, state = $2, updated_at = $3 \
                    WHERE conversation_id = $1 AND revision = $4";
        self.explained(async {
            check("flow_sessions", state)?;
            let mut transaction = self.change().await?;
            let query = if before == 0 {
                sqlx::query(first)
            } else {
                sqlx::query(next)
            };
            let query = query.bind(id.0).bind(state.to_owned()).bind(at.as_microsecond());
            let query = if before == 0 {
                query
            } else {
                query.bind(to_integer("flow_sessions", before)?)
            };
            if query.execute(&mut *transaction).await?.rows_affected() == 0 {
                return Err(StorageError::Conflict {
                    item: format!("the flow of conversation {id}"),
                    detail: "it went on elsewhere meanwhile, or there is no such conversation; read it again"
                        .to_owned(),
                });
            }
            if let Some(turn) = turn {
                check("flow_turns", &turn.trace)?;
                let sql = "INSERT INTO flow_turns (message_id, conversation_id, trace, created_at) \
                           VALUES ($1, $2, $3, $4) ON CONFLICT (message_id) DO UPDATE SET trace = excluded.trace";
                sqlx::query(sql)
                    .bind(turn.message_id.0)
                    .bind(id.0)
                    .bind(turn.trace.clone())
                    .bind(at.as_microsecond())
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    async fn flow_turn(&self, message: MessageId) -> Result<Option<FlowTurn>, StorageError> {
        let sql = "SELECT trace FROM flow_turns WHERE message_id = $1";
        self.explained(async {
            let mut connection = self.reader().await?;
            let row = sqlx::query(sql)
                .bind(message.0)
                .fetch_optional(&mut *connection)
                .await?;
            row.map(|row| {
                Ok(FlowTurn {
                    message_id: message,
                    trace: Fields::new(&row, "flow_turns").text("trace")?,
                })
            })
            .transpose()
        })
        .await
    }
}

fn check(table: &'static str, json: &str) -> Result<(), StorageError> {
    let detail = if json.len() > MAX_FLOW_BYTES {
        format!("{} bytes are more than {MAX_FLOW_BYTES}", json.len())
    } else if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(json) {
        format!("no JSON: {error}")
    } else {
        return Ok(());
    };
    Err(StorageError::Invalid { table, detail })
}
