//! Rows of PostgreSQL. An identifier is a `uuid`, a whole number a `bigint`.

pub(super) use crate::storage::rows::{Fields, page_of, page_rows, read_cursor, to_integer, to_json};

use crate::storage::StorageError;
use crate::storage::rows::Columns;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use std::borrow::Cow;
use std::collections::HashMap;
use uuid::Uuid;

impl Columns for PgRow {
    fn uuid(&self, column: &str) -> sqlx::Result<Option<Uuid>> {
        self.try_get(column)
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

/// What somebody wrote, as PostgreSQL can keep it: NUL, which no text has and it refuses, becomes U+FFFD. Places counted in
/// characters stay right.
pub(super) fn storable(text: &str) -> String {
    let text = if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    };
    text.into_owned()
}

/// The rows with these ids in the order of `ids`; `select` ends before the list of ids. Rows that are gone are left
/// out.
pub(super) async fn in_order<T: Clone>(
    connection: &mut PgConnection,
    select: &'static str,
    ids: &[Uuid],
    read: fn(&PgRow) -> Result<(Uuid, T), StorageError>,
) -> Result<Vec<T>, StorageError> {
    let mut found = HashMap::with_capacity(ids.len());
    for row in sqlx::query(select).bind(ids).fetch_all(connection).await? {
        let (id, value) = read(&row)?;
        found.insert(id, value);
    }
    Ok(ids.iter().filter_map(|id| found.get(id).cloned()).collect())
}
