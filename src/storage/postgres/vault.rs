//! Sealed values and wrapped keys.

use super::PostgresStore;
use super::rows::Fields;
use crate::domain::{ConversationId, MessageId, VaultId};
use crate::storage::{SealedValue, StorageError, VaultStore};
use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::postgres::PgRow;

#[async_trait]
impl VaultStore for PostgresStore {
    async fn vault_key(&self, conversation: ConversationId) -> Result<Option<Vec<u8>>, StorageError> {
        self.explained(async {
            let mut connection = self.reader().await?;
            let key = sqlx::query_scalar("SELECT wrapped FROM vault_keys WHERE conversation_id = $1")
                .bind(conversation.0)
                .fetch_optional(&mut *connection)
                .await?;
            Ok(key)
        })
        .await
    }

    async fn add_vault_key(
        &self,
        conversation: ConversationId,
        wrapped: &[u8],
        at: Timestamp,
    ) -> Result<Vec<u8>, StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            let sql = "INSERT INTO vault_keys (conversation_id, wrapped, created_at) VALUES ($1, $2, $3) \
                       ON CONFLICT (conversation_id) DO NOTHING";
            sqlx::query(sql)
                .bind(conversation.0)
                .bind(wrapped.to_vec())
                .bind(at.as_microsecond())
                .execute(&mut *transaction)
                .await?;
            let key = sqlx::query_scalar("SELECT wrapped FROM vault_keys WHERE conversation_id = $1")
                .bind(conversation.0)
                .fetch_one(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(key)
        })
        .await
    }

    async fn add_vault_values(&self, values: &[SealedValue]) -> Result<(), StorageError> {
        let sql = "INSERT INTO vault_values (id, conversation_id, message_id, kind, start_char, end_char, sealed) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        self.explained(async {
            let mut transaction = self.change().await?;
            for value in values {
                sqlx::query(sql)
                    .bind(value.id.0)
                    .bind(value.conversation_id.0)
                    .bind(value.message_id.0)
                    .bind(value.kind.clone())
                    .bind(i64::from(value.place.start))
                    .bind(i64::from(value.place.end))
                    .bind(value.sealed.clone())
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    async fn vault_values(&self, conversation: ConversationId, limit: u32) -> Result<Vec<SealedValue>, StorageError> {
        self.explained(async {
            let mut connection = self.reader().await?;
            sqlx::query("SELECT * FROM vault_values WHERE conversation_id = $1 ORDER BY id LIMIT $2")
                .bind(conversation.0)
                .bind(i64::from(limit))
                .fetch_all(&mut *connection)
                .await?
                .iter()
                .map(read)
                .collect()
        })
        .await
    }

    async fn vault_value(
        &self,
        conversation: ConversationId,
        id: VaultId,
    ) -> Result<Option<SealedValue>, StorageError> {
        self.explained(async {
            let mut connection = self.reader().await?;
            let row = sqlx::query("SELECT * FROM vault_values WHERE id = $1 AND conversation_id = $2")
                .bind(id.0)
                .bind(conversation.0)
                .fetch_optional(&mut *connection)
                .await?;
            row.as_ref().map(read).transpose()
        })
        .await
    }

    async fn erase_vault(&self, conversation: ConversationId) -> Result<bool, StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            let done = sqlx::query("DELETE FROM vault_keys WHERE conversation_id = $1")
                .bind(conversation.0)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }

    async fn vault_keys_after(
        &self,
        after: Option<ConversationId>,
        limit: u32,
    ) -> Result<Vec<(ConversationId, Vec<u8>)>, StorageError> {
        let sql = "SELECT conversation_id, wrapped FROM vault_keys WHERE $1::uuid IS NULL OR conversation_id > $1 \
                   ORDER BY conversation_id LIMIT $2";
        self.explained(async {
            let mut connection = self.reader().await?;
            let rows = sqlx::query(sql)
                .bind(after.map(|after| after.0))
                .bind(i64::from(limit))
                .fetch_all(&mut *connection)
                .await?;
            let key = |row: &PgRow| {
                let conversation = Fields::new(row, "vault_keys").uuid("conversation_id")?;
                Ok((
                    ConversationId(conversation),
                    Fields::new(row, "vault_keys").bytes("wrapped")?.to_vec(),
                ))
            };
            rows.iter().map(key).collect()
        })
        .await
    }

    async fn rewrap_vault_key(
        &self,
        conversation: ConversationId,
        old: &[u8],
        new: &[u8],
    ) -> Result<bool, StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            let done = sqlx::query("UPDATE vault_keys SET wrapped = $3 WHERE conversation_id = $1 AND wrapped = $2")
                .bind(conversation.0)
                .bind(old.to_vec())
                .bind(new.to_vec())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }

    async fn vault_secret(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.explained(async {
            let mut connection = self.reader().await?;
            let key = sqlx::query_scalar("SELECT wrapped FROM vault_secrets WHERE name = $1")
                .bind(name.to_owned())
                .fetch_optional(&mut *connection)
                .await?;
            Ok(key)
        })
        .await
    }

    async fn add_vault_secret(&self, name: &str, wrapped: &[u8], at: Timestamp) -> Result<Vec<u8>, StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            let sql = "INSERT INTO vault_secrets (name, wrapped, created_at) VALUES ($1, $2, $3) \
                       ON CONFLICT (name) DO NOTHING";
            sqlx::query(sql)
                .bind(name.to_owned())
                .bind(wrapped.to_vec())
                .bind(at.as_microsecond())
                .execute(&mut *transaction)
                .await?;
            let key = sqlx::query_scalar("SELECT wrapped FROM vault_secrets WHERE name = $1")
                .bind(name.to_owned())
                .fetch_one(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(key)
        })
        .await
    }

    async fn vault_secrets_after(&self, after: &str, limit: u32) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        let sql = "SELECT name, wrapped FROM vault_secrets WHERE name > $1 ORDER BY name LIMIT $2";
        self.explained(async {
            let mut connection = self.reader().await?;
            let rows = sqlx::query(sql)
                .bind(after.to_owned())
                .bind(i64::from(limit))
                .fetch_all(&mut *connection)
                .await?;
            let key = |row: &PgRow| {
                Ok((
                    Fields::new(row, "vault_secrets").text("name")?,
                    Fields::new(row, "vault_secrets").bytes("wrapped")?.to_vec(),
                ))
            };
            rows.iter().map(key).collect()
        })
        .await
    }

    async fn rewrap_vault_secret(&self, name: &str, old: &[u8], new: &[u8]) -> Result<bool, StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            let done = sqlx::query("UPDATE vault_secrets SET wrapped = $3 WHERE name = $1 AND wrapped = $2")
                .bind(name.to_owned())
                .bind(old.to_vec())
                .bind(new.to_vec())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }
}

fn read(row: &PgRow) -> Result<SealedValue, StorageError> {
    let fields = Fields::new(row, "vault_values");
    Ok(SealedValue {
        id: VaultId(fields.uuid("id")?),
        conversation_id: ConversationId(fields.uuid("conversation_id")?),
        message_id: MessageId(fields.uuid("message_id")?),
        kind: fields.text("kind")?,
        place: fields.number("start_char")?..fields.number("end_char")?,
        sealed: fields.bytes("sealed")?.to_vec(),
    })
}
