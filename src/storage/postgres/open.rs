//! Connecting: who are we, is the server new enough, is the database ours, is its schema the one we know?

use super::faults::{damaged, unavailable};
use crate::storage::StorageError;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};
use std::str::FromStr;
use std::time::Duration;

/// How long a call waits for a connection; then the database counts as away.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait for others that publish, as the other adapter does; and the same for the server.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_TIMEOUT: &str = "5s";

/// The longest statement, in milliseconds. Ours take a few; walks over large tables a second.
const STATEMENT_TIMEOUT_MS: &str = "30000";

/// A transaction that nobody goes on with holds its locks no longer than this, in milliseconds.
const IDLE_TIMEOUT_MS: &str = "60000";

/// The lock of who looks at the schema and makes it current.
const OPENING: i32 = 100;

/// The oldest server this was tested with, as `server_version_num` has it.
const OLDEST_SERVER: i32 = 150_000;

/// What the query of the address may say. Others are refused: a slip of the pen would otherwise go unseen.
const PARAMETERS: [&str; 8] = [
    "host",
    "port",
    "dbname",
    "user",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
];

pub(super) static MIGRATOR: Migrator = sqlx::migrate!("src/storage/migrations/postgres");

/// How the database is reached.
#[derive(Clone)]
pub struct PostgresOptions {
    connect: PgConnectOptions,
    connections: u32,
    place: String,
}

impl PostgresOptions {
    /// Reads `url` (`postgres://user@host/database`, `postgres:///database?host=/run/postgresql`). `password` is sent where the
    /// server asks for one; at most `connections` are open at once, and one more that listens.
    ///
    /// # Errors
    /// `Address` for what is no such address, has an unknown parameter, or holds a password; the text never shows one.
    pub fn new(url: &str, password: Option<&str>, connections: u32) -> Result<Self, StorageError> {
        let refuse = |detail: String| Err(StorageError::Address { detail });
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"));
        let Some(rest) = rest else {
            return refuse("it must begin with postgres://".to_owned());
        };
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = before.split('/').next().unwrap_or_default();
        let secret = "a password stands in it: put it into a file or a variable (storage.password_file, password_env)";
        if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
            return refuse(secret.to_owned());
        }
        for name in query.split('&').filter(|pair| !pair.is_empty()) {
            let name = name.split('=').next().unwrap_or_default();
            if name == "password" {
                return refuse(secret.to_owned());
            }
            if !PARAMETERS.contains(&name) {
                return refuse(format!("unknown parameter; known are {}", PARAMETERS.join(", ")));
            }
        }
        let mut connect = PgConnectOptions::from_str(url).map_err(|error| StorageError::Address {
            detail: error.to_string(),
        })?;
        if let Some(password) = password {
            connect = connect.password(password);
        }
        let host = connect.get_socket().map_or_else(
            || format!("{}:{}", connect.get_host(), connect.get_port()),
            |socket| socket.display().to_string(),
        );
        let name = connect.get_database().unwrap_or(connect.get_username());
        let place = format!("PostgreSQL {name} at {host}");
        let connect = connect
            .application_name("kefu")
            .options([
                ("lock_timeout", LOCK_TIMEOUT),
                ("statement_timeout", STATEMENT_TIMEOUT_MS),
                ("idle_in_transaction_session_timeout", IDLE_TIMEOUT_MS),
                ("client_encoding", "UTF8"),
            ])
            .disable_statement_logging();
        Ok(Self {
            connect,
            connections: connections.max(2),
            place,
        })
    }

    /// Where it is, for people and errors.
    pub(super) fn place(&self) -> &str {
        &self.place
    }
}

/// A database that can be used.
pub(super) struct Opened {
    pub(super) pool: PgPool,
    /// One connection, for what is told.
    pub(super) listening: PgPool,
    pub(super) server: String,
}

/// Connects and, where needed, migrates the database. One node at a time does this.
pub(super) async fn open(options: &PostgresOptions) -> Result<Opened, StorageError> {
    let mut connect = options.connect.clone();
    let first = tokio::time::timeout(PATIENCE, PgConnection::connect_with(&connect));
    let mut first = match first.await {
        Ok(connection) => connection?,
        Err(_) => return Err(unavailable(&options.place, "it does not answer")),
    };
    let server = check_server(&mut first, &options.place).await?;
    // Ends with the connection.
    sqlx::query("SELECT pg_advisory_lock($1, $2)")
        .bind(super::LOCKS)
        .bind(OPENING)
        .execute(&mut first)
        .await?;
    check_ours(&mut first, &options.place).await?;
    MIGRATOR.run(&mut first).await.map_err(sqlx::Error::from)?;
    // What is acknowledged must be on the disk. A server set to wait for standbys too stays so.
    if setting(&mut first, "synchronous_commit").await? == "off" {
        connect = connect.options([("synchronous_commit", "on")]);
    }
    if setting(&mut first, "fsync").await? == "off" {
        tracing::warn!("PostgreSQL runs with fsync = off: a power failure may damage the database");
    }
    first.close().await?;
    let pool = pool(options.connections)
        .min_connections(1)
        .connect_with(connect.clone())
        .await?;
    Ok(Opened {
        pool,
        listening: pool_of_one().connect_lazy_with(connect.application_name("kefu listens")),
        server,
    })
}

/// A connection is tried before it is used: after a restart of the server no call meets one that is gone.
fn pool(size: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(true)
}

fn pool_of_one() -> PgPoolOptions {
    pool(1).idle_timeout(None).max_lifetime(None)
}

async fn setting(connection: &mut PgConnection, name: &'static str) -> Result<String, StorageError> {
    Ok(sqlx::query_scalar("SELECT current_setting($1)")
        .bind(name)
        .fetch_one(connection)
        .await?)
}

async fn check_server(connection: &mut PgConnection, place: &str) -> Result<String, StorageError> {
    let number: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
        .fetch_one(&mut *connection)
        .await?;
    let found = setting(connection, "server_version").await?;
    if number < OLDEST_SERVER {
        return Err(unavailable(
            place,
            format!("the server is PostgreSQL {found}: 15 or newer is needed"),
        ));
    }
    let encoding = setting(connection, "server_encoding").await?;
    if encoding != "UTF8" {
        let detail = format!("its encoding is {encoding}: create it with ENCODING 'UTF8' TEMPLATE template0");
        return Err(damaged(place, detail));
    }
    Ok(found)
}

/// Looks at the database without changing it.
async fn check_ours(connection: &mut PgConnection, place: &str) -> Result<(), StorageError> {
    let tables = "SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = current_schema()";
    let tables: i64 = sqlx::query_scalar(tables).fetch_one(&mut *connection).await?;
    if tables == 0 {
        return Ok(());
    }
    let marked: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    let ours: bool = sqlx::query_scalar("SELECT to_regclass('kb_versions') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    // A migration that was cut off leaves the list of migrations alone.
    if !marked || (!ours && tables > 1) {
        return Err(damaged(
            place,
            format!("its schema has {tables} tables of another program: give kefu a database of its own"),
        ));
    }
    let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await?;
    let known = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
    if found > known {
        return Err(StorageError::Newer { found, known });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{MIGRATOR, PostgresOptions};
    use crate::storage::StorageError;

    fn refusal(url: &str) -> String {
        match PostgresOptions::new(url, None, 4) {
            Err(StorageError::Address { detail }) => detail,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("{url} was taken"),
        }
    }

    #[test]
    fn an_address_names_a_place_and_no_secret() {
        let place = |url| PostgresOptions::new(url, Some("s3cret"), 4).unwrap().place;
        assert_eq!(
            place("postgres://kefu@db.bank:5433/kefu"),
            "PostgreSQL kefu at db.bank:5433"
        );
        assert_eq!(
            place("postgresql:///service?host=/run/postgresql&user=kefu"),
            "PostgreSQL service at /run/postgresql"
        );
        for url in ["postgres://kefu:s3cret@db/kefu", "postgres://db/kefu?password=s3cret"] {
            let detail = refusal(url);
            assert!(
                detail.contains("password_file") && !detail.contains("s3cret"),
                "{detail}"
            );
        }
        assert!(!refusal("postgres://db/kefu?pasword=s3cret").contains("s3cret"));
        assert!(refusal("mysql://db/kefu").contains("postgres://"));
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
            (1, Some(0x4e55_3a14_1b62_0e1c_e15d_4ec0_0cb2_eb83)),
            (2, Some(0x8014_de64_de2b_a092_e6ef_3b6d_fa72_0ee0)),
            (3, Some(0xa493_e499_c820_c5bd_c82a_e6e7_ef2d_7410)),
        ];
        assert_eq!(checksums, applied);
    }
}
