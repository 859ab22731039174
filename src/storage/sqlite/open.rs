//! Opening the file: is it ours, is it whole, is its schema the one we know?

use super::faults::{damaged, io_error};
use crate::storage::StorageError;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file within the data directory.
pub(super) const FILE_NAME: &str = "kefu.sqlite3";

/// Marks the file as ours ("kefu" in ASCII). Source: <https://www.sqlite.org/pragma.html#pragma_application_id>.
const APPLICATION_ID: i64 = 0x6b65_6675;

/// Versions before this one can corrupt a database when two connections reset its WAL at once.
/// Source: <https://www.sqlite.org/wal.html#walresetbug>.
const OLDEST_LIBRARY: (u32, u32, u32) = (3, 51, 3);

/// Source: <https://www.sqlite.org/fileformat.html#pages>.
const SMALLEST_PAGE_BYTES: u64 = 512;

/// Connections that read. Answers need few at a time; each is a thread.
const READERS: u32 = 4;

/// How long to wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Smaller files are checked at every start (some 100 ms), larger ones only after an unclean end.
const ALWAYS_CHECK_BYTES: u64 = 64 << 20;

/// The WAL is cut to this length after a large import.
const WAL_LIMIT_BYTES: &str = "67108864";

pub(super) static MIGRATOR: Migrator = sqlx::migrate!("src/storage/migrations/sqlite");

/// The WAL that belongs to the database.
pub(super) fn wal_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// What was found in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Nothing, or an older schema.
    Old,
    /// The schema this program knows.
    Current,
}

/// A database that can be used.
pub(super) struct Opened {
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
    pub(super) library: String,
}

/// Creates the directory and an empty file where there are none; the file's path, absolute.
/// Only the owner may read what is created.
pub(super) fn prepare(data_dir: &Path) -> Result<PathBuf, StorageError> {
    let failed = |source| io_error(data_dir, source);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(failed)?;
    let path = data_dir.canonicalize().map_err(failed)?.join(FILE_NAME);
    // Not opened when it exists: closing any handle of the file would drop the locks that SQLite holds on it in this
    // process (POSIX advisory locks). The WAL gets the file's mode from SQLite.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io_error(&path, error)),
    }
    Ok(path)
}

/// Opens and, where needed, migrates the database. One process at a time does this.
pub(super) async fn open(path: &Path) -> Result<Opened, StorageError> {
    let _turn = lock_directory(path).await?;
    check_length(path)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .synchronous(SqliteSynchronous::Full)
        .pragma("trusted_schema", "OFF")
        .pragma("secure_delete", "ON")
        .pragma("cell_size_check", "ON")
        .pragma("journal_size_limit", WAL_LIMIT_BYTES)
        .disable_statement_logging();

    let mut connection = options.connect().await?;
    let library = check_library(&mut connection).await?;
    let found = inspect(&mut connection, path).await?;
    connection.close().await?;

    // Before this the file may be another program's, and the journal mode is stored in the file.
    let writer = pool(1)
        .connect_with(options.clone().journal_mode(SqliteJournalMode::Wal))
        .await?;
    let mut connection = writer.acquire().await?;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut *connection)
        .await?;
    if mode != "wal" {
        let source = std::io::Error::new(
            ErrorKind::Unsupported,
            "the file system cannot share memory: use a local disk",
        );
        return Err(io_error(path, source));
    }
    migrate(&mut connection, found).await?;
    drop(connection);
    let readers = pool(READERS).connect_with(options.read_only(true)).await?;
    Ok(Opened {
        writer,
        readers,
        library,
    })
}

/// Connections that live as long as the store.
fn pool(size: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(size)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Two processes must not create the schema at once; the system ends the lock with the process.
async fn lock_directory(path: &Path) -> Result<File, StorageError> {
    const PAUSE: Duration = Duration::from_millis(20);
    let directory = path.parent().unwrap_or(path);
    let file = File::open(directory).map_err(|error| io_error(directory, error))?;
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if waited < BUSY_TIMEOUT => {}
            Err(TryLockError::WouldBlock) => return Err(StorageError::Busy),
            Err(TryLockError::Error(error)) => return Err(io_error(directory, error)),
        }
        tokio::time::sleep(PAUSE).await;
        waited += PAUSE;
    }
}

/// SQLite takes a file shorter than a page for an empty database, and would write over what is left of ours.
fn check_length(path: &Path) -> Result<(), StorageError> {
    let length = std::fs::metadata(path).map_err(|error| io_error(path, error))?.len();
    // With a journal beside it, it was cut off while it was created: SQLite undoes that.
    if (1..SMALLEST_PAGE_BYTES).contains(&length) && !beside(path, "-journal").exists() {
        return Err(damaged(path, format!("it has only {length} bytes")));
    }
    Ok(())
}

async fn check_library(connection: &mut SqliteConnection) -> Result<String, StorageError> {
    let found: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(connection)
        .await?;
    if library_version(&found).is_some_and(|version| version >= OLDEST_LIBRARY) {
        return Ok(found);
    }
    let (major, minor, patch) = OLDEST_LIBRARY;
    Err(StorageError::OldLibrary {
        found,
        needed: format!("{major}.{minor}.{patch}"),
    })
}

fn library_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('.').map(str::parse);
    match (parts.next()?, parts.next()?, parts.next()?) {
        (Ok(major), Ok(minor), Ok(patch)) => Some((major, minor, patch)),
        _ => None,
    }
}

/// Looks at the file without changing it.
async fn inspect(connection: &mut SqliteConnection, path: &Path) -> Result<Found, StorageError> {
    let application: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut *connection)
        .await?;
    let entries: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut *connection)
        .await?;
    if application == 0 && entries == 0 {
        return Ok(Found::Old);
    }
    if application != APPLICATION_ID {
        return Err(damaged(
            path,
            format!("it belongs to another program (application id {application:#x})"),
        ));
    }
    let found = schema_version(connection).await?;
    let known = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
    if found > known {
        return Err(StorageError::Newer { found, known });
    }
    check_whole(connection, path).await?;
    Ok(if found == known { Found::Current } else { Found::Old })
}

/// Whether the file is cut off or its pages contradict each other.
async fn check_whole(connection: &mut SqliteConnection, path: &Path) -> Result<(), StorageError> {
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |data| data.len());
    let bytes = length(path);
    // The WAL is removed at a clean end. It is there after a crash, and while another process runs.
    let at_rest = length(&wal_of(path)) == 0 && !beside(path, "-journal").exists();
    let page: i64 = sqlx::query_scalar("PRAGMA page_size")
        .fetch_one(&mut *connection)
        .await?;
    // SQLite reads what is missing of the last page as zeros.
    if at_rest && u64::try_from(page).is_ok_and(|page| !bytes.is_multiple_of(page)) {
        return Err(damaged(
            path,
            format!("it was cut off: {bytes} bytes are no whole number of pages"),
        ));
    }
    if bytes <= ALWAYS_CHECK_BYTES || !at_rest {
        let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&mut *connection)
            .await?;
        if verdict != "ok" {
            return Err(damaged(path, verdict));
        }
    }
    Ok(())
}

/// The greatest migration applied; 0 where there is none.
async fn schema_version(connection: &mut SqliteConnection) -> Result<i64, StorageError> {
    let table = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'";
    let tables: i64 = sqlx::query_scalar(table).fetch_one(&mut *connection).await?;
    if tables == 0 {
        return Ok(0);
    }
    let newest = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
    Ok(sqlx::query_scalar(newest).fetch_one(&mut *connection).await?)
}

/// Makes the schema current and compares the checksums of what was applied before.
async fn migrate(connection: &mut SqliteConnection, found: Found) -> Result<(), StorageError> {
    if found == Found::Current {
        // Nothing is written, so there is no need to wait for another process that writes.
        MIGRATOR
            .run_direct(None, connection, false)
            .await
            .map_err(sqlx::Error::from)?;
        return Ok(());
    }
    // All or nothing, the mark included.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mark = AssertSqlSafe(format!("PRAGMA application_id = {APPLICATION_ID}"));
    sqlx::raw_sql(mark).execute(&mut *transaction).await?;
    MIGRATOR
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(sqlx::Error::from)?;
    transaction.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{MIGRATOR, OLDEST_LIBRARY, library_version};

    #[test]
    fn old_libraries_are_told_from_new_ones() {
        assert!(library_version("3.51.3") >= Some(OLDEST_LIBRARY));
        assert!(library_version("3.100.0") > Some(OLDEST_LIBRARY));
        assert!(library_version("3.51.2") < Some(OLDEST_LIBRARY));
        assert!(library_version("3.9.99") < Some(OLDEST_LIBRARY));
        assert_eq!(library_version("three"), None);
    }

    /// The checksums of all migrations that were ever applied somewhere: a new migration adds a line, no line changes.
    #[test]
    fn applied_migrations_are_never_edited() {
        let checksums: Vec<_> = MIGRATOR
            .iter()
            .map(|migration| {
                (
                    migration.version,
                    migration.checksum.first_chunk().copied().map(u128::from_be_bytes),
                )
            })
            .collect();
        let applied = [
            (1, Some(0x9ee5_ec4e_9862_c203_93fb_6ae8_52f3_bab9)),
            (2, Some(0x577d_6a9f_12e8_3600_695c_234e_214e_f8d9)),
            (3, Some(0x2972_be42_0dff_334f_4adc_ca08_e541_0098)),
            (4, Some(0x8c36_0e65_d08a_39c0_293a_c6c2_5c5e_9d01)),
            (5, Some(0x462a_7bfd_4c79_5c04_4116_9458_f1b8_e665)),
            (7, Some(0x624c_e068_7f25_cc40_ccdf_cb7b_bfa7_0409)),
            (8, Some(0x1812_8923_8b96_aa24_4afa_b22f_0213_cfa8)),
            (9, Some(0xa56e_fbd1_7f87_6c77_31f7_db8b_73ba_cc64)),
            (10, Some(0x7fb8_f240_9912_b516_db48_9c90_8c0a_df1f)),
            (11, Some(0x006e_6762_5b4f_b868_fa75_7711_90c0_0b22)),
            (12, Some(0x9fc9_7bd5_195f_fa73_7c82_88e8_2557_822c)),
            (13, Some(0xc5cb_a2b8_22d5_668e_2c9f_8f02_9533_c5cf)),
        ];
        assert_eq!(checksums, applied);
    }
}
