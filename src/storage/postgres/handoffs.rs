//! What people who take over are told, and who waits for them.

use super::rows::{Fields, page_of, page_rows, read_cursor, to_json};
use super::{PostgresStore, conversations};
use crate::domain::{Conversation, ConversationId, Handoff, HandoffId};
use crate::storage::{HandoffStore, Page, PageRequest, StorageError};
use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

const TABLE: &str = "handoffs";

#[async_trait]
impl HandoffStore for PostgresStore {
    async fn add_handoff(&self, handoff: &Handoff) -> Result<(), StorageError> {
        let sql = "INSERT INTO handoffs (id, conversation_id, at, summary) VALUES ($1, $2, $3, $4)";
        self.explained(async {
            let mut transaction = self.change().await?;
            sqlx::query(sql)
                .bind(handoff.id.0)
                .bind(handoff.conversation_id.0)
                .bind(handoff.at.as_microsecond())
                .bind(to_json(TABLE, &handoff.summary)?)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    async fn handoff(&self, conversation: ConversationId) -> Result<Option<Handoff>, StorageError> {
        let sql = "SELECT id, at, summary FROM handoffs WHERE conversation_id = $1 ORDER BY id DESC LIMIT 1";
        self.explained(async {
            let mut connection = self.reader().await?;
            let row = sqlx::query(sql)
                .bind(conversation.0)
                .fetch_optional(&mut *connection)
                .await?;
            row.map(|row| {
                let fields = Fields::new(&row, TABLE);
                Ok(Handoff {
                    id: HandoffId(fields.uuid("id")?),
                    conversation_id: conversation,
                    at: fields.time("at")?,
                    summary: fields.json("summary")?,
                })
            })
            .transpose()
        })
        .await
    }

    async fn waiting(&self, page: &PageRequest) -> Result<Page<(Conversation, Timestamp)>, StorageError> {
        let sql = "SELECT id, channel, status, token_sha256, created_at, updated_at, status_at FROM conversations \
                   WHERE status = 'waiting' AND (status_at > $1 OR (status_at = $1 AND id > $2)) ORDER BY status_at, id LIMIT $3";
        let wrong = || StorageError::Invalid {
            table: "conversations",
            detail: "the cursor is none that a list gave; begin without one".to_owned(),
        };
        self.explained(async {
            let rows = page_rows(page.limit);
            let (since, id) = match read_cursor("conversations", page.cursor.as_deref())? {
                None => (i64::MIN, Uuid::nil()),
                Some(cursor) => {
                    let (since, id) = cursor.split_once(' ').ok_or_else(wrong)?;
                    let id: ConversationId = id.parse().map_err(|_| wrong())?;
                    (since.parse().map_err(|_| wrong())?, id.0)
                }
            };
            let mut connection = self.reader().await?;
            let found = sqlx::query(sql)
                .bind(since)
                .bind(id)
                .bind(rows)
                .fetch_all(&mut *connection)
                .await?;
            let items: Vec<_> = found
                .iter()
                .map(|row| {
                    let conversation = conversations::read_conversation(row)?;
                    let since = Fields::new(row, "conversations").time("status_at")?;
                    let key = format!("{} {}", since.as_microsecond(), conversation.id);
                    Ok(((conversation, since), key))
                })
                .collect::<Result<_, StorageError>>()?;
            let page = page_of(items, rows, |(_, key)| key.as_str());
            Ok(Page {
                items: page.items.into_iter().map(|(item, _)| item).collect(),
                next: page.next,
            })
        })
        .await
    }
}
