//! Rows of SQLite. An identifier is stored as its 16 bytes.

pub(super) use crate::storage::rows::{Fields, page_of, page_rows, read_cursor, to_integer, to_json};

use crate::storage::StorageError;
use crate::storage::rows::Columns;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use std::collections::HashMap;
use uuid::Uuid;

/// Values of one `IN (...)` list. SQLite allows 32 766 variables; a short statement is prepared faster.
pub(super) const LIST_CHUNK: usize = 500;

impl Columns for SqliteRow {
    fn uuid(&self, column: &str) -> sqlx::Result<Option<Uuid>> {
        let bytes: Option<&[u8]> = self.try_get(column)?;
        bytes
            .map(Uuid::from_slice)
            .transpose()
            .map_err(|error| sqlx::Error::Decode(error.into()))
    }

    fn text(&self, column: &str) -> sqlx::Result<Option<&str>> {
        self.try_get(column)
    }

    fn bytes(&self, column: &str) -> sqlx::Result<Option<&[u8]>> {
        self.try_get(column)
    }

    fn integer(&self, column: &str) -> sqlx::Result<Option<i64>> {
        self.try_get(column)
    }

    fn real(&self, column: &str) -> sqlx::Result<Option<f64>> {
        self.try_get(column)
    }
}

/// An identifier as it is stored.
pub(super) fn id_bytes(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

/// The rows with these ids in the order of `ids`; `select` ends before the list of ids. Rows that are gone are left
/// out.
pub(super) async fn in_order<T: Clone>(
    connection: &mut SqliteConnection,
    select: &'static str,
    ids: &[Uuid],
    read: fn(&SqliteRow) -> Result<(Uuid, T), StorageError>,
) -> Result<Vec<T>, StorageError> {
    let mut found = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(LIST_CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(select);
        query.push("(");
        let mut list = query.separated(", ");
        for id in chunk {
            list.push_bind(id_bytes(*id));
        }
        query.push(")");
        // Each length of the list is a statement of its own: they would push the others out of the cache.
        for row in query.build().persistent(false).fetch_all(&mut *connection).await? {
            let (id, value) = read(&row)?;
            found.insert(id, value);
        }
    }
    Ok(ids.iter().filter_map(|id| found.get(id).cloned()).collect())
}
