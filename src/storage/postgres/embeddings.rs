//! Vectors that were computed before.

use super::rows::Fields;
use crate::storage::StorageError;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;
use std::collections::{BTreeMap, HashMap};

/// Vectors that one statement stores or reads.
const ROWS_AT_ONCE: usize = 1000;

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
    connection: &mut PgConnection,
    model: &str,
    rows: &[([u8; 32], Vec<f32>)],
) -> Result<(), StorageError> {
    let sql = "INSERT INTO embeddings (model_sha256, key, dimension, vector) \
               SELECT $1, key, octet_length(vector) / 4, vector FROM unnest($2::bytea[], $3::bytea[]) AS new (key, vector) \
               ON CONFLICT (model_sha256, key) DO UPDATE SET dimension = excluded.dimension, vector = excluded.vector";
    // In order of key: two nodes that store the same vectors wait for each other, and not in a circle. The last one of a key counts.
    let rows: BTreeMap<&[u8; 32], &Vec<f32>> = rows.iter().map(|(key, vector)| (key, vector)).collect();
    let rows: Vec<_> = rows.into_iter().collect();
    for rows in rows.chunks(ROWS_AT_ONCE) {
        let keys: Vec<Vec<u8>> = rows.iter().map(|(key, _)| key.to_vec()).collect();
        let vectors: Vec<Vec<u8>> = rows
            .iter()
            .map(|(_, vector)| vector.iter().flat_map(|value| value.to_le_bytes()).collect())
            .collect();
        sqlx::query(sql)
            .bind(model.to_owned())
            .bind(keys)
            .bind(vectors)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

pub(super) async fn get(
    connection: &mut PgConnection,
    model: &str,
    keys: &[[u8; 32]],
) -> Result<Vec<Option<Vec<f32>>>, StorageError> {
    let sql = "SELECT key, dimension, vector FROM embeddings WHERE model_sha256 = $1 AND key = ANY($2)";
    let mut found = HashMap::with_capacity(keys.len());
    for keys in keys.chunks(ROWS_AT_ONCE) {
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
        let query = sqlx::query(sql).bind(model.to_owned()).bind(keys);
        for row in query.fetch_all(&mut *connection).await? {
            let (key, vector) = read(&row)?;
            found.insert(key, vector);
        }
    }
    Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
}

fn read(row: &PgRow) -> Result<([u8; 32], Vec<f32>), StorageError> {
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
