//! What an error of PostgreSQL means to the caller.
//! Source: <https://www.postgresql.org/docs/15/errcodes-appendix.html>.

use crate::storage::StorageError;
use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;

/// `error` of the database `place` as the port knows it. Errors that are no `Database` stay as they are.
pub(super) fn explain(place: &str, error: StorageError) -> StorageError {
    match error {
        StorageError::Database(error) => explain_sqlx(place, error),
        other => other,
    }
}

fn explain_sqlx(place: &str, error: sqlx::Error) -> StorageError {
    match error {
        sqlx::Error::Migrate(error) => match *error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => explain_sqlx(place, error),
            MigrateError::VersionMismatch(_) | MigrateError::VersionMissing(_) | MigrateError::Dirty(_) => {
                damaged(place, error.to_string())
            }
            other => StorageError::Database(other.into()),
        },
        sqlx::Error::PoolTimedOut => unavailable(place, "no connection could be had in time"),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => unavailable(place, error.to_string()),
        sqlx::Error::Database(said) => explain_statement(place, said),
        other => StorageError::Database(other),
    }
}

fn explain_statement(place: &str, said: Box<dyn DatabaseError>) -> StorageError {
    let code = said.code().unwrap_or_default().into_owned();
    match code.as_str() {
        // disk_full
        "53100" => StorageError::Full,
        // lock_not_available, query_canceled (statement_timeout), serialization_failure, deadlock_detected
        "55P03" | "57014" | "40001" | "40P01" => StorageError::Busy,
        // A server that shuts down, starts or became a standby; too many connections; who may not sign in; no such database
        "57P01" | "57P02" | "57P03" | "57P05" | "25006" | "25P03" | "53300" | "3D000" => {
            unavailable(place, said.message())
        }
        // data_corrupted, index_corrupted
        "XX001" | "XX002" => damaged(place, said.message().to_owned()),
        // A NUL in a text; a value longer than a row of an index.
        "22021" | "22P05" | "54000" => StorageError::Invalid {
            table: "text",
            detail: said.message().to_owned(),
        },
        // Connections that broke, and who may not sign in.
        code if code.starts_with("08") || code.starts_with("28") => unavailable(place, said.message()),
        _ => StorageError::Database(sqlx::Error::Database(said)),
    }
}

pub(super) fn unavailable(place: &str, detail: impl Into<String>) -> StorageError {
    StorageError::Unavailable {
        place: place.to_owned(),
        detail: detail.into(),
    }
}

pub(super) fn damaged(place: &str, detail: String) -> StorageError {
    StorageError::Damaged {
        path: place.to_owned(),
        detail,
    }
}
