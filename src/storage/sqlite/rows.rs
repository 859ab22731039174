//! Values in and out of rows. Nothing that is read is trusted: a row that makes no sense is a
//! [`StorageError::Corrupt`], never a panic.

use crate::storage::{Page, StorageError};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, QueryBuilder, Row, Sqlite, SqliteConnection, Type};
use std::collections::HashMap;
use std::fmt::Display;
use uuid::Uuid;

/// Values of one `IN (...)` list. SQLite allows 32 766 variables; a short statement is prepared faster.
pub(super) const LIST_CHUNK: usize = 500;

/// Rows of one page at most.
const MAX_PAGE: u32 = 1000;

/// One row of `table`, read column by column.
pub(super) struct Fields<'r> {
    pub(super) row: &'r SqliteRow,
    pub(super) table: &'static str,
}

impl<'r> Fields<'r> {
    pub(super) fn new(row: &'r SqliteRow, table: &'static str) -> Self {
        Self { row, table }
    }

    /// That `column` cannot be understood.
    pub(super) fn corrupt(&self, column: &str, why: impl Display) -> StorageError {
        StorageError::Corrupt {
            table: self.table,
            detail: format!("column {column}: {why}"),
        }
    }

    fn get<T: Decode<'r, Sqlite> + Type<Sqlite>>(&self, column: &str) -> Result<T, StorageError> {
        self.row.try_get(column).map_err(|error| self.corrupt(column, error))
    }

    pub(super) fn uuid(&self, column: &str) -> Result<Uuid, StorageError> {
        let bytes: &[u8] = self.get(column)?;
        Uuid::from_slice(bytes).map_err(|error| self.corrupt(column, error))
    }

    pub(super) fn optional_uuid(&self, column: &str) -> Result<Option<Uuid>, StorageError> {
        let bytes: Option<&[u8]> = self.get(column)?;
        bytes
            .map(|bytes| Uuid::from_slice(bytes).map_err(|error| self.corrupt(column, error)))
            .transpose()
    }

    pub(super) fn text(&self, column: &str) -> Result<String, StorageError> {
        self.get(column)
    }

    pub(super) fn optional_text(&self, column: &str) -> Result<Option<String>, StorageError> {
        self.get(column)
    }

    pub(super) fn bytes(&self, column: &str) -> Result<&'r [u8], StorageError> {
        self.get(column)
    }

    pub(super) fn optional_bytes(&self, column: &str) -> Result<Option<&'r [u8]>, StorageError> {
        self.get(column)
    }

    pub(super) fn optional_real(&self, column: &str) -> Result<Option<f64>, StorageError> {
        self.get(column)
    }

    /// An integer within the range of `T`.
    pub(super) fn number<T: TryFrom<i64, Error: Display>>(&self, column: &str) -> Result<T, StorageError> {
        let value: i64 = self.get(column)?;
        T::try_from(value).map_err(|error| self.corrupt(column, format_args!("{value}: {error}")))
    }

    pub(super) fn optional_number<T: TryFrom<i64, Error: Display>>(
        &self,
        column: &str,
    ) -> Result<Option<T>, StorageError> {
        let value: Option<i64> = self.get(column)?;
        value
            .map(|value| T::try_from(value).map_err(|error| self.corrupt(column, format_args!("{value}: {error}"))))
            .transpose()
    }

    pub(super) fn time(&self, column: &str) -> Result<Timestamp, StorageError> {
        Timestamp::from_microsecond(self.get(column)?).map_err(|error| self.corrupt(column, error))
    }

    pub(super) fn optional_time(&self, column: &str) -> Result<Option<Timestamp>, StorageError> {
        let value: Option<i64> = self.get(column)?;
        value
            .map(|value| Timestamp::from_microsecond(value).map_err(|error| self.corrupt(column, error)))
            .transpose()
    }

    /// A name of a closed set.
    pub(super) fn named<T>(&self, column: &str, from_name: fn(&str) -> Option<T>) -> Result<T, StorageError> {
        let name: &str = self.get(column)?;
        from_name(name).ok_or_else(|| self.corrupt(column, format_args!("unknown name {name:?}")))
    }

    pub(super) fn optional_named<T>(
        &self,
        column: &str,
        from_name: fn(&str) -> Option<T>,
    ) -> Result<Option<T>, StorageError> {
        let name: Option<&str> = self.get(column)?;
        name.map(|name| from_name(name).ok_or_else(|| self.corrupt(column, format_args!("unknown name {name:?}"))))
            .transpose()
    }

    pub(super) fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StorageError> {
        let text: &str = self.get(column)?;
        serde_json::from_str(text).map_err(|error| self.corrupt(column, error))
    }
}

/// An identifier as it is stored.
pub(super) fn id_bytes(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

/// A list as it is stored.
pub(super) fn to_json<T: Serialize>(table: &'static str, value: &T) -> Result<String, StorageError> {
    serde_json::to_string(value).map_err(|error| StorageError::Invalid {
        table,
        detail: error.to_string(),
    })
}

/// A count as it is stored.
pub(super) fn to_integer<T: TryInto<i64, Error: Display> + Copy + Display>(
    table: &'static str,
    value: T,
) -> Result<i64, StorageError> {
    value.try_into().map_err(|error| StorageError::Invalid {
        table,
        detail: format!("number {value}: {error}"),
    })
}

/// How many rows of a page are fetched: one more than asked for, to know whether another page follows.
pub(super) fn page_rows(limit: u32) -> i64 {
    i64::from(limit.clamp(1, MAX_PAGE)) + 1
}

/// The key after which a page begins.
pub(super) fn read_cursor(table: &'static str, cursor: Option<&str>) -> Result<Option<String>, StorageError> {
    let Some(cursor) = cursor else { return Ok(None) };
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .map(Some)
        .ok_or(StorageError::Invalid {
            table,
            detail: "the cursor is none that a list gave; begin without one".to_owned(),
        })
}

/// The page made of `items`, fetched with the limit of [`page_rows`].
pub(super) fn page_of<T>(mut items: Vec<T>, rows: i64, key: impl Fn(&T) -> &str) -> Page<T> {
    let wanted = usize::try_from(rows - 1).unwrap_or(usize::MAX);
    let more = items.len() > wanted;
    items.truncate(wanted);
    let next = items
        .last()
        .filter(|_| more)
        .map(|last| URL_SAFE_NO_PAD.encode(key(last)));
    Page { items, next }
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
