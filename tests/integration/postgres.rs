//! A PostgreSQL server of the tests' own, on a socket in a temporary directory. One serves all tests, each in a database of its own; a
//! test that stops its server starts another.

use kefu::domain::ManualClock;
use kefu::storage::{PostgresOptions, PostgresStore, StorageError};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A patience that only a hanging server exhausts.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Ends the server at a line of input. Where the input ends without one, so did the test's process: nothing is left of the server then.
const GUARD: &str = "directory=$1; shift; \"$@\" & server=$!; read -r _ || over=1; kill -QUIT $server; wait $server; \
                     [ -z \"$over\" ] || rm -rf \"$directory\"";

/// The databases made so far.
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A server.
pub struct Postgres {
    directory: tempfile::TempDir,
    running: Option<(Child, ChildStdin)>,
}

/// The server of all tests.
pub async fn shared() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    let server = tokio::task::spawn_blocking(|| SHARED.get_or_init(Postgres::start))
        .await
        .unwrap();
    server.answers().await;
    server
}

impl Postgres {
    /// Makes a server with no databases of ours. It may not answer at once.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        if is_root() {
            run(Command::new("chown").arg(user()).arg(directory.path()));
        }
        let data = directory.path().join("data");
        let mut init = unprivileged("initdb");
        init.args([
            "--username=kefu",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        run(init.arg("--pgdata").arg(&data));
        let mut server = Self {
            directory,
            running: None,
        };
        server.run();
        server
    }

    /// Runs it (again).
    pub fn run(&mut self) {
        assert!(self.running.is_none());
        let log = std::fs::File::create(self.directory.path().join("log")).unwrap();
        let inner = unprivileged("postgres");
        let mut command = Command::new("sh");
        command
            .args(["-c", GUARD, "sh"])
            .arg(self.directory.path())
            .arg(inner.get_program());
        command
            .args(inner.get_args())
            .arg("-D")
            .arg(self.directory.path().join("data"));
        command.arg("-k").arg(self.directory.path());
        // A crash of the server loses nothing without fsync: what it wrote is the system's.
        command.args([
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
            "-c",
            "max_connections=200",
        ]);
        let mut child = command
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let guard = child.stdin.take().unwrap();
        self.running = Some((child, guard));
    }

    /// Ends it as `pg_ctl stop -m immediate` does: every session is cut off, nothing is finished.
    pub fn kill(&mut self) {
        let (mut child, mut guard) = self.running.take().unwrap();
        guard.write_all(b"\n").unwrap();
        child.wait().unwrap();
    }

    /// Waits until it answers.
    pub async fn answers(&self) {
        let tried = async {
            while self.connect("postgres").await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, tried).await.is_err() {
            let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            panic!("PostgreSQL does not answer: {log}");
        }
    }

    /// An empty database; the end of the statement that makes it may say how.
    pub async fn database(&self, how: &str) -> String {
        let name = format!("t{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let mut connection = self.connect("postgres").await.unwrap();
        let make = format!("CREATE DATABASE {name} TEMPLATE template0 {how}");
        sqlx::raw_sql(AssertSqlSafe(make))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        name
    }

    /// Past the store, as a hand might.
    pub async fn connect(&self, database: &str) -> sqlx::Result<PgConnection> {
        let options: PgConnectOptions = self.url(database).parse()?;
        options.connect().await
    }

    /// From now on this person must say a password.
    pub async fn guard(&self, person: &str) {
        let file = self.directory.path().join("data/pg_hba.conf");
        let rules = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("local all {person} scram-sha-256\n{rules}")).unwrap();
        let mut connection = self.connect("postgres").await.unwrap();
        let read: bool = sqlx::query_scalar("SELECT pg_reload_conf()")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert!(read);
        // The rules are read by the server soon, not at once.
        let known = "SELECT count(*) FROM pg_hba_file_rules WHERE $1 = ANY(user_name)";
        let _: i64 = sqlx::query_scalar(known)
            .bind(person)
            .fetch_one(&mut connection)
            .await
            .unwrap();
    }

    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres:///{database}?host={}&user=kefu",
            self.directory.path().display()
        )
    }

    pub fn options(&self, database: &str) -> PostgresOptions {
        PostgresOptions::new(&self.url(database), None, 8).unwrap()
    }

    /// A node on the database.
    pub async fn open(&self, database: &str) -> Result<PostgresStore, StorageError> {
        let clock = Arc::new(ManualClock::new(super::store_contract::at(0)));
        PostgresStore::open(&self.options(database), clock).await
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.kill();
        }
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// PostgreSQL does not run as root.
fn user() -> &'static str {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    if users.lines().any(|line| line.starts_with("postgres:")) {
        "postgres"
    } else {
        "nobody"
    }
}

/// A program of the server, without root's rights.
fn unprivileged(name: &str) -> Command {
    let program = program(name);
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args([
            format!("--reuid={}", user()),
            "--regid=nogroup".to_owned(),
            "--clear-groups".to_owned(),
        ]);
        command.arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

/// Debian keeps the server's programs apart from PATH.
fn program(name: &str) -> PathBuf {
    let debian = (15..=18)
        .rev()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|file: &PathBuf| Path::is_file(file))
        .unwrap_or_else(|| {
            panic!("PostgreSQL 15 ({name}) is not installed: run scripts/test.sh, or apt-get install postgresql-15")
        })
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
