//! API keys.

use super::PostgresStore;
use super::rows::Fields;
use crate::domain::ApiKeyId;
use crate::storage::{ApiKey, KeyStore, StorageError};
use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::postgres::PgRow;

#[async_trait]
impl KeyStore for PostgresStore {
    async fn add_key(&self, key: &ApiKey) -> Result<(), StorageError> {
        let sql = "INSERT INTO api_keys (id, name, sha256, created_at, revoked_at) VALUES ($1, $2, $3, $4, $5)";
        self.explained(async {
            let mut transaction = self.change().await?;
            sqlx::query(sql)
                .bind(key.id.0)
                .bind(key.name.clone())
                .bind(key.sha256.clone())
                .bind(key.created_at.as_microsecond())
                .bind(key.revoked_at.map(Timestamp::as_microsecond))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    async fn active_key(&self, sha256: &str) -> Result<Option<ApiKey>, StorageError> {
        let sql = "SELECT id, name, sha256, created_at, revoked_at FROM api_keys \
                   WHERE sha256 = $1 AND revoked_at IS NULL";
        self.explained(async {
            let mut connection = self.reader().await?;
            let row = sqlx::query(sql)
                .bind(sha256.to_owned())
                .fetch_optional(&mut *connection)
                .await?;
            row.as_ref().map(read).transpose()
        })
        .await
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, StorageError> {
        let sql = "SELECT id, name, sha256, created_at, revoked_at FROM api_keys ORDER BY created_at, id";
        self.explained(async {
            let mut connection = self.reader().await?;
            sqlx::query(sql)
                .fetch_all(&mut *connection)
                .await?
                .iter()
                .map(read)
                .collect()
        })
        .await
    }

    async fn revoke_key(&self, id: ApiKeyId, at: Timestamp) -> Result<bool, StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            let done = sqlx::query("UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
                .bind(id.0)
                .bind(at.as_microsecond())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }
}

fn read(row: &PgRow) -> Result<ApiKey, StorageError> {
    let fields = Fields::new(row, "api_keys");
    Ok(ApiKey {
        id: ApiKeyId(fields.uuid("id")?),
        name: fields.text("name")?,
        sha256: fields.text("sha256")?,
        created_at: fields.time("created_at")?,
        revoked_at: fields.optional_time("revoked_at")?,
    })
}
