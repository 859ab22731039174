//! Vectors that were computed before.

use super::rows::{Fields, LIST_CHUNK, to_integer};
use crate::storage::StorageError;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use std::collections::HashMap;

/// Whether each vector can be searched: not empty, no infinity, no NaN.
pub(super) fn check(rows: &[([u8; 32], Vec<f32>)]) -> Result<(), StorageError> {
    let bad = rows
        .iter()
        .position(|(_, vector)| vector.is_empty() || !vector.iter().all(|value| value.is_finite()));
    bad.map_or(Ok(()), |row| {
        let detail = format!("vector {row} is empty or holds a number that is not finite");
        Err(StorageError::Invalid {
            table: "embeddings",
            detail,
        })
    })
}

pub(super) async fn put(
    connection: &mut SqliteConnection,
    model: &str,
    rows: &[([u8; 32], Vec<f32>)],
) -> Result<(), StorageError> {
    let sql = "INSERT INTO embeddings (model_sha256, key, dimension, vector) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (model_sha256, key) DO UPDATE SET dimension = excluded.dimension, vector = excluded.vector";
    for (key, vector) in rows {
        let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
        sqlx::query(sql)
            .bind(model.to_owned())
            .bind(key.to_vec())
            .bind(to_integer("embeddings", vector.len())?)
            .bind(bytes)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

pub(super) async fn get(
    connection: &mut SqliteConnection,
    model: &str,
    keys: &[[u8; 32]],
) -> Result<Vec<Option<Vec<f32>>>, StorageError> {
    let mut found = HashMap::with_capacity(keys.len());
    for chunk in keys.chunks(LIST_CHUNK) {
        let mut query =
            QueryBuilder::<Sqlite>::new("SELECT key, dimension, vector FROM embeddings WHERE model_sha256 = ");
        query.push_bind(model.to_owned()).push(" AND key IN (");
        let mut list = query.separated(", ");
        for key in chunk {
            list.push_bind(key.to_vec());
        }
        query.push(")");
        for row in query.build().persistent(false).fetch_all(&mut *connection).await? {
            let (key, vector) = read(&row)?;
            found.insert(key, vector);
        }
    }
    Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
}

fn read(row: &SqliteRow) -> Result<([u8; 32], Vec<f32>), StorageError> {
    let fields = Fields::new(row, "embeddings");
    let key = fields
        .bytes("key")?
        .try_into()
        .map_err(|error| fields.corrupt("key", error))?;
    let (values, rest) = fields.bytes("vector")?.as_chunks::<4>();
    if !rest.is_empty() || values.len() != fields.number::<usize>("dimension")? {
        return Err(fields.corrupt("vector", "its length is not its dimension"));
    }
    let vector: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    if !vector.iter().all(|value| value.is_finite()) {
        return Err(fields.corrupt("vector", "a number is not finite"));
    }
    Ok((key, vector))
}
