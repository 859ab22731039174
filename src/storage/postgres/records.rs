//! How replies came to be.

use super::rows::{Fields, in_order, storable, to_json};
use super::{PostgresStore, conversations};
use crate::domain::{Environment, Message, MessageId, ReplyRecord};
use crate::storage::{RecordStore, StorageError};
use async_trait::async_trait;

const TABLE: &str = "reply_records";

const BY_ID: &str = "SELECT m.id, m.conversation_id, m.role, m.text, m.route, m.confidence, m.citations, m.kb_version, \
                     m.model, m.total_ms, m.stopped, m.created_at, m.remasked, r.score AS rating \
                     FROM messages AS m LEFT JOIN ratings AS r ON r.message_id = m.id WHERE m.id = ANY($1)";

#[async_trait]
impl RecordStore for PostgresStore {
    async fn add_reply(
        &self,
        message: &Message,
        record: &ReplyRecord,
        environment: &Environment,
    ) -> Result<(), StorageError> {
        // The message that was answered may have been masked again while the reply was on its way.
        let sql = "INSERT INTO reply_records (message_id, question_id, environment, record, created_at, understood) \
                   VALUES ($1, $2, $3, $4, $5, CASE WHEN EXISTS ( \
                   SELECT 1 FROM messages WHERE id = $2 AND remasked = 1) THEN '' ELSE $6 END) \
                   ON CONFLICT (message_id) DO NOTHING";
        self.explained(async {
            conversations::check(message)?;
            let mut transaction = self.change().await?;
            // This holds the conversation's row, as masking again does: one of them comes first.
            conversations::add(&mut transaction, message).await?;
            sqlx::query("INSERT INTO environments (sha256, json) VALUES ($1, $2) ON CONFLICT (sha256) DO NOTHING")
                .bind(environment.sha256.clone())
                .bind(environment.json.clone())
                .execute(&mut *transaction)
                .await?;
            sqlx::query(sql)
                .bind(message.id.0)
                .bind(record.question.0)
                .bind(environment.sha256.clone())
                .bind(to_json(TABLE, record)?)
                .bind(message.created_at.as_microsecond())
                .bind(storable(&record.basis.understood))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    async fn reply_record(&self, message: MessageId) -> Result<Option<(ReplyRecord, Environment)>, StorageError> {
        let sql = "SELECT r.record, r.understood, e.sha256, e.json FROM reply_records AS r \
                   JOIN environments AS e ON e.sha256 = r.environment WHERE r.message_id = $1";
        self.explained(async {
            let mut connection = self.reader().await?;
            let row = sqlx::query(sql)
                .bind(message.0)
                .fetch_optional(&mut *connection)
                .await?;
            row.map(|row| {
                let fields = Fields::new(&row, TABLE);
                let mut record: ReplyRecord = fields.json("record")?;
                record.basis.understood = fields.text("understood")?;
                let environment = Environment {
                    sha256: fields.text("sha256")?,
                    json: fields.text("json")?,
                };
                Ok((record, environment))
            })
            .transpose()
        })
        .await
    }

    async fn messages_by_id(&self, ids: &[MessageId]) -> Result<Vec<(Message, bool)>, StorageError> {
        let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
        self.explained(async {
            let mut connection = self.reader().await?;
            in_order(&mut connection, BY_ID, &ids, |row| {
                let message = conversations::read_message(row)?;
                let remasked = Fields::new(row, "messages").number::<u8>("remasked")? != 0;
                Ok((message.id.0, (message, remasked)))
            })
            .await
        })
        .await
    }
}
