//! What an error of SQLite means to the caller. Source: <https://www.sqlite.org/rescode.html>.

use crate::storage::StorageError;
use sqlx::migrate::MigrateError;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READ_ONLY: i32 = 8;
const IO_ERROR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANNOT_OPEN: i32 = 14;
const NOT_A_DATABASE: i32 = 26;

/// `error` as the port knows it. Errors that are no `Database` stay as they are.
pub(super) async fn explain(path: &Path, error: StorageError) -> StorageError {
    match error {
        StorageError::Database(error) => explain_sqlx(path, error).await,
        other => other,
    }
}

async fn explain_sqlx(path: &Path, error: sqlx::Error) -> StorageError {
    if let sqlx::Error::Migrate(error) = error {
        return explain_migration(path, *error).await;
    }
    explain_statement(path, error).await
}

async fn explain_migration(path: &Path, error: MigrateError) -> StorageError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => explain_statement(path, error).await,
        MigrateError::VersionMismatch(_) | MigrateError::VersionMissing(_) | MigrateError::Dirty(_) => {
            damaged(path, error.to_string())
        }
        other => StorageError::Database(other.into()),
    }
}

async fn explain_statement(path: &Path, error: sqlx::Error) -> StorageError {
    let code = match error {
        sqlx::Error::PoolTimedOut => return StorageError::Busy,
        sqlx::Error::Io(source) => return io_error(path, source),
        ref error => error.as_database_error().and_then(sqlx::error::DatabaseError::code),
    };
    // The low byte is the kind, the others say more.
    let kind = code.and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff);
    match kind {
        Some(FULL) => StorageError::Full,
        Some(BUSY | LOCKED) => StorageError::Busy,
        Some(CORRUPT | NOT_A_DATABASE) => damaged(path, error.to_string()),
        // A quota, a limit on file sizes and a full disk under the shared memory all come as I/O errors.
        Some(IO_ERROR | CANNOT_OPEN) if no_space_left(path).await => StorageError::Full,
        Some(CANNOT_OPEN | READ_ONLY) => io_error(path, io::Error::new(ErrorKind::PermissionDenied, error)),
        _ => StorageError::Database(error),
    }
}

pub(super) fn damaged(path: &Path, detail: String) -> StorageError {
    StorageError::Damaged {
        path: path.display().to_string(),
        detail,
    }
}

pub(super) fn io_error(path: &Path, source: io::Error) -> StorageError {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => StorageError::Full,
        _ => StorageError::Io {
            path: path.display().to_string(),
            source,
        },
    }
}

/// Whether the files of the database cannot grow: SQLite does not say why a write failed, so another file is tried.
async fn no_space_left(path: &Path) -> bool {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        let probe = path.with_extension(format!("probe-{}", std::process::id()));
        let result = grow(&path, &probe);
        let _ = std::fs::remove_file(&probe);
        matches!(
            result.map_err(|error| error.kind()),
            Err(ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
        )
    })
    .await
    .unwrap_or(false)
}

fn grow(path: &Path, probe: &Path) -> io::Result<()> {
    const STEP: u64 = 1 << 20;
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |data| data.len());
    let longest = length(path).max(length(&super::open::wal_of(path)));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(probe)?;
    // First as long as the database would become (sparse: a limit on file sizes), then real blocks.
    file.set_len(longest + STEP)?;
    file.write_all(&vec![0; 1 << 16])?;
    file.sync_all()
}
