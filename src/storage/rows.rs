//! Values in and out of rows, whichever database holds them. Nothing that is read is trusted: a row that makes no sense is a
//! [`StorageError::Corrupt`], never a panic.

use super::{Page, StorageError};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Display;
use uuid::Uuid;

/// Rows of one page at most.
const MAX_PAGE: u32 = 1000;

/// A row of some database, read column by column. NULL is `None`; another type than the asked one is an error.
pub(super) trait Columns: Sync {
    fn uuid(&self, column: &str) -> sqlx::Result<Option<Uuid>>;
    fn text(&self, column: &str) -> sqlx::Result<Option<&str>>;
    fn bytes(&self, column: &str) -> sqlx::Result<Option<&[u8]>>;
    fn integer(&self, column: &str) -> sqlx::Result<Option<i64>>;
    fn real(&self, column: &str) -> sqlx::Result<Option<f64>>;
}

/// One row of `table`.
pub(super) struct Fields<'r> {
    row: &'r dyn Columns,
    table: &'static str,
}

impl<'r> Fields<'r> {
    pub(super) fn new(row: &'r dyn Columns, table: &'static str) -> Self {
        Self { row, table }
    }

    /// That `column` cannot be understood.
    pub(super) fn corrupt(&self, column: &str, why: impl Display) -> StorageError {
        StorageError::Corrupt {
            table: self.table,
            detail: format!("column {column}: {why}"),
        }
    }

    fn read<T>(&self, column: &str, value: sqlx::Result<Option<T>>) -> Result<Option<T>, StorageError> {
        value.map_err(|error| self.corrupt(column, error))
    }

    fn there<T>(&self, column: &str, value: sqlx::Result<Option<T>>) -> Result<T, StorageError> {
        self.read(column, value)?
            .ok_or_else(|| self.corrupt(column, "it is null"))
    }

    pub(super) fn uuid(&self, column: &str) -> Result<Uuid, StorageError> {
        self.there(column, self.row.uuid(column))
    }

    pub(super) fn optional_uuid(&self, column: &str) -> Result<Option<Uuid>, StorageError> {
        self.read(column, self.row.uuid(column))
    }

    pub(super) fn text(&self, column: &str) -> Result<String, StorageError> {
        self.there(column, self.row.text(column)).map(str::to_owned)
    }

    pub(super) fn optional_text(&self, column: &str) -> Result<Option<String>, StorageError> {
        Ok(self.read(column, self.row.text(column))?.map(str::to_owned))
    }

    pub(super) fn bytes(&self, column: &str) -> Result<&'r [u8], StorageError> {
        self.there(column, self.row.bytes(column))
    }

    pub(super) fn optional_bytes(&self, column: &str) -> Result<Option<&'r [u8]>, StorageError> {
        self.read(column, self.row.bytes(column))
    }

    pub(super) fn optional_real(&self, column: &str) -> Result<Option<f64>, StorageError> {
        self.read(column, self.row.real(column))
    }

    /// An integer within the range of `T`.
    pub(super) fn number<T: TryFrom<i64, Error: Display>>(&self, column: &str) -> Result<T, StorageError> {
        let value = self.there(column, self.row.integer(column))?;
        T::try_from(value).map_err(|error| self.corrupt(column, format_args!("{value}: {error}")))
    }

    pub(super) fn optional_number<T: TryFrom<i64, Error: Display>>(
        &self,
        column: &str,
    ) -> Result<Option<T>, StorageError> {
        self.read(column, self.row.integer(column))?
            .map(|value| T::try_from(value).map_err(|error| self.corrupt(column, format_args!("{value}: {error}"))))
            .transpose()
    }

    pub(super) fn time(&self, column: &str) -> Result<Timestamp, StorageError> {
        let value = self.there(column, self.row.integer(column))?;
        Timestamp::from_microsecond(value).map_err(|error| self.corrupt(column, error))
    }

    pub(super) fn optional_time(&self, column: &str) -> Result<Option<Timestamp>, StorageError> {
        self.read(column, self.row.integer(column))?
            .map(|value| Timestamp::from_microsecond(value).map_err(|error| self.corrupt(column, error)))
            .transpose()
    }

    /// A name of a closed set.
    pub(super) fn named<T>(&self, column: &str, from_name: fn(&str) -> Option<T>) -> Result<T, StorageError> {
        let name = self.there(column, self.row.text(column))?;
        from_name(name).ok_or_else(|| self.corrupt(column, format_args!("unknown name {name:?}")))
    }

    pub(super) fn optional_named<T>(
        &self,
        column: &str,
        from_name: fn(&str) -> Option<T>,
    ) -> Result<Option<T>, StorageError> {
        self.read(column, self.row.text(column))?
            .map(|name| from_name(name).ok_or_else(|| self.corrupt(column, format_args!("unknown name {name:?}"))))
            .transpose()
    }

    pub(super) fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StorageError> {
        let text = self.there(column, self.row.text(column))?;
        serde_json::from_str(text).map_err(|error| self.corrupt(column, error))
    }
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
