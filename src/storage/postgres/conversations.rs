//! Conversations, their messages and ratings.

use super::PostgresStore;
use super::rows::{Fields, storable, to_integer, to_json};
use crate::domain::{
    Channel, Conversation, ConversationId, ConversationStatus, KbVersion, Message, MessageId, Role, Route,
};
use crate::storage::{ConversationStore, StorageError};
use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

#[async_trait]
impl ConversationStore for PostgresStore {
    async fn create_conversation(&self, conversation: &Conversation) -> Result<(), StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            create(&mut transaction, conversation).await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StorageError> {
        let sql = "SELECT id, channel, status, token_sha256, created_at, updated_at FROM conversations WHERE id = $1";
        self.explained(async {
            let mut connection = self.reader().await?;
            let row = sqlx::query(sql).bind(id.0).fetch_optional(&mut *connection).await?;
            row.as_ref().map(read_conversation).transpose()
        })
        .await
    }

    async fn set_conversation_status(
        &self,
        id: ConversationId,
        status: ConversationStatus,
        at: Timestamp,
    ) -> Result<bool, StorageError> {
        // Who asks for a person twice keeps the place in the queue.
        let sql = "UPDATE conversations SET status_at = CASE WHEN status = $2 THEN status_at ELSE $3 END, status = $2 WHERE id = $1";
        self.explained(async {
            let mut transaction = self.change().await?;
            let done = sqlx::query(sql)
                .bind(id.0)
                .bind(status.name())
                .bind(at.as_microsecond())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }

    async fn add_message(&self, message: &Message) -> Result<(), StorageError> {
        self.explained(async {
            check(message)?;
            let mut transaction = self.change().await?;
            add(&mut transaction, message).await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    async fn remask_message(&self, message: MessageId, text: &str) -> Result<bool, StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            // The conversation's row first, as whoever adds a reply to this message does: one of the two comes first.
            sqlx::query("SELECT 1 FROM conversations WHERE id = (SELECT conversation_id FROM messages WHERE id = $1) FOR UPDATE")
                .bind(message.0)
                .execute(&mut *transaction)
                .await?;
            let done = sqlx::query("UPDATE messages SET text = $2, remasked = 1 WHERE id = $1")
                .bind(message.0)
                .bind(storable(text))
                .execute(&mut *transaction)
                .await?;
            // What was understood and learnt of it has the words from before.
            for sql in [
                "UPDATE reply_records SET understood = '' WHERE question_id = $1",
                "DELETE FROM intent_examples WHERE message_id = $1",
            ] {
                sqlx::query(sql).bind(message.0).execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }

    async fn messages(&self, id: ConversationId, limit: u32) -> Result<Vec<Message>, StorageError> {
        let sql = "SELECT m.id, m.conversation_id, m.role, m.text, m.route, m.confidence, m.citations, m.kb_version, \
                   m.model, m.total_ms, m.stopped, m.created_at, r.score AS rating \
                   FROM messages AS m LEFT JOIN ratings AS r ON r.message_id = m.id \
                   WHERE m.conversation_id = $1 ORDER BY m.seq DESC LIMIT $2";
        self.explained(async {
            let mut connection = self.reader().await?;
            let query = sqlx::query(sql).bind(id.0).bind(i64::from(limit));
            query
                .fetch_all(&mut *connection)
                .await?
                .iter()
                .rev()
                .map(read_message)
                .collect()
        })
        .await
    }

    async fn rate_message(
        &self,
        id: ConversationId,
        message: MessageId,
        score: u8,
        comment: &str,
        at: Timestamp,
    ) -> Result<bool, StorageError> {
        // The message is looked for in the same statement: nobody rates in another's conversation.
        let sql = "INSERT INTO ratings (conversation_id, message_id, score, comment, created_at) \
                   SELECT conversation_id, id, $3, $4, $5 FROM messages \
                   WHERE id = $2 AND conversation_id = $1 AND role = 'assistant' \
                   ON CONFLICT (message_id) DO UPDATE SET \
                   score = excluded.score, comment = excluded.comment, created_at = excluded.created_at";
        self.explained(async {
            check_score(score)?;
            let mut transaction = self.change().await?;
            let done = sqlx::query(sql)
                .bind(id.0)
                .bind(message.0)
                .bind(i64::from(score))
                .bind(storable(comment))
                .bind(at.as_microsecond())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }

    async fn rate_conversation(
        &self,
        id: ConversationId,
        score: u8,
        comment: &str,
        at: Timestamp,
    ) -> Result<bool, StorageError> {
        let sql = "INSERT INTO ratings (conversation_id, message_id, score, comment, created_at) \
                   SELECT id, NULL, $2, $3, $4 FROM conversations WHERE id = $1 \
                   ON CONFLICT (conversation_id) WHERE message_id IS NULL DO UPDATE SET \
                   score = excluded.score, comment = excluded.comment, created_at = excluded.created_at";
        self.explained(async {
            check_score(score)?;
            let mut transaction = self.change().await?;
            let done = sqlx::query(sql)
                .bind(id.0)
                .bind(i64::from(score))
                .bind(storable(comment))
                .bind(at.as_microsecond())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }

    async fn waiting_position(&self, id: ConversationId) -> Result<u64, StorageError> {
        // The last part is null, and so every row counts, where `id` does not wait.
        let sql = "SELECT count(*) AS ahead FROM conversations WHERE status = 'waiting' AND coalesce( \
                   (status_at, id) < (SELECT status_at, id FROM conversations WHERE id = $1 AND status = 'waiting'), \
                   TRUE)";
        self.explained(async {
            let mut connection = self.reader().await?;
            let row = sqlx::query(sql).bind(id.0).fetch_one(&mut *connection).await?;
            Fields::new(&row, "conversations").number("ahead")
        })
        .await
    }
}

async fn create(connection: &mut PgConnection, conversation: &Conversation) -> Result<(), StorageError> {
    let sql = "INSERT INTO conversations (id, channel, status, token_sha256, created_at, updated_at, status_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $6)";
    sqlx::query(sql)
        .bind(conversation.id.0)
        .bind(conversation.channel.name())
        .bind(conversation.status.name())
        .bind(conversation.token_sha256.clone())
        .bind(conversation.created_at.as_microsecond())
        .bind(conversation.updated_at.as_microsecond())
        .execute(connection)
        .await?;
    Ok(())
}

/// NaN is no probability; the other database has none.
pub(super) fn check(message: &Message) -> Result<(), StorageError> {
    if let Some(score) = message.rating {
        check_score(score)?;
    }
    match message.confidence {
        Some(value) if !value.is_finite() => Err(StorageError::Invalid {
            table: "messages",
            detail: format!("confidence {value}"),
        }),
        _ => Ok(()),
    }
}

fn check_score(score: u8) -> Result<(), StorageError> {
    if (1..=5).contains(&score) {
        return Ok(());
    }
    Err(StorageError::Invalid {
        table: "ratings",
        detail: format!("score {score} is not within 1 to 5"),
    })
}

pub(super) async fn add(connection: &mut PgConnection, message: &Message) -> Result<(), StorageError> {
    // This holds the conversation's row: its messages are stored one after another, from whichever node.
    let touched = sqlx::query("UPDATE conversations SET updated_at = greatest(updated_at, $2) WHERE id = $1")
        .bind(message.conversation_id.0)
        .bind(message.created_at.as_microsecond())
        .execute(&mut *connection)
        .await?;
    if touched.rows_affected() == 0 {
        let detail = format!("there is no conversation {}", message.conversation_id);
        return Err(StorageError::Invalid {
            table: "messages",
            detail,
        });
    }
    let sql = "INSERT INTO messages (id, conversation_id, role, route, confidence, citations, kb_version, model, \
               total_ms, stopped, created_at, text) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
               ON CONFLICT (id) DO NOTHING";
    let added = sqlx::query(sql)
        .bind(message.id.0)
        .bind(message.conversation_id.0)
        .bind(message.role.name())
        .bind(message.route.map(Route::name))
        .bind(message.confidence.map(f64::from))
        .bind(to_json("messages", &message.citations)?)
        .bind(
            message
                .kb_version
                .map(|version| to_integer("messages", version.0))
                .transpose()?,
        )
        .bind(message.model.clone())
        .bind(
            message
                .total_ms
                .map(|total| to_integer("messages", total))
                .transpose()?,
        )
        .bind(i64::from(message.stopped))
        .bind(message.created_at.as_microsecond())
        .bind(storable(&message.text))
        .execute(&mut *connection)
        .await?;
    if let (Some(score), 1) = (message.rating, added.rows_affected()) {
        let sql = "INSERT INTO ratings (conversation_id, message_id, score, comment, created_at) \
                   VALUES ($1, $2, $3, '', $4)";
        sqlx::query(sql)
            .bind(message.conversation_id.0)
            .bind(message.id.0)
            .bind(i64::from(score))
            .bind(message.created_at.as_microsecond())
            .execute(connection)
            .await?;
    }
    Ok(())
}

pub(super) fn read_conversation(row: &PgRow) -> Result<Conversation, StorageError> {
    let fields = Fields::new(row, "conversations");
    Ok(Conversation {
        id: ConversationId(fields.uuid("id")?),
        channel: fields.named("channel", Channel::from_name)?,
        status: fields.named("status", ConversationStatus::from_name)?,
        token_sha256: fields.text("token_sha256")?,
        created_at: fields.time("created_at")?,
        updated_at: fields.time("updated_at")?,
    })
}

pub(super) fn read_message(row: &PgRow) -> Result<Message, StorageError> {
    let fields = Fields::new(row, "messages");
    Ok(Message {
        id: MessageId(fields.uuid("id")?),
        conversation_id: ConversationId(fields.uuid("conversation_id")?),
        role: fields.named("role", Role::from_name)?,
        text: fields.text("text")?,
        route: fields.optional_named("route", Route::from_name)?,
        confidence: fields.optional_real("confidence")?.map(|value| value as f32),
        citations: fields.json("citations")?,
        kb_version: fields.optional_number("kb_version")?.map(KbVersion),
        model: fields.optional_text("model")?,
        total_ms: fields.optional_number("total_ms")?,
        stopped: fields.number::<u8>("stopped")? != 0,
        rating: fields.optional_number("rating")?,
        created_at: fields.time("created_at")?,
    })
}
