//! Accounts and sessions.

use super::rows::{Fields, page_of, page_rows, read_cursor, to_integer};
use super::{PostgresStore, audit};
use crate::domain::{Hidden, StaffRole, UserId};
use crate::storage::{
    AuditRecord, Page, PageRequest, Session, SessionStore, StorageError, User, UserChange, UserStore, name_key,
};
use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

const USERS: &str = "users";
const SESSIONS: &str = "sessions";

macro_rules! user {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, name_key, display_name, role, password_hash, totp_secret, created_at, disabled_at, \
             password_changed_at, must_change FROM users ",
            $rest
        )
    };
}

#[async_trait]
impl UserStore for PostgresStore {
    async fn add_user(&self, user: &User, record: &AuditRecord) -> Result<bool, StorageError> {
        let sql = "INSERT INTO users (id, name, name_key, display_name, role, password_hash, totp_secret, created_at, \
                   disabled_at, password_changed_at, must_change) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (name_key) DO NOTHING";
        let entry = self
            .explained(async {
                let mut transaction = self.change().await?;
                let done = sqlx::query(sql)
                    .bind(user.id.0)
                    .bind(user.name.clone())
                    .bind(name_key(&user.name))
                    .bind(user.display_name.clone())
                    .bind(user.role.name())
                    .bind(user.password_hash.0.clone())
                    .bind(user.totp_secret.as_ref().map(|secret| secret.0.clone()))
                    .bind(user.created_at.as_microsecond())
                    .bind(user.disabled_at.map(Timestamp::as_microsecond))
                    .bind(user.password_changed_at.as_microsecond())
                    .bind(i64::from(user.must_change))
                    .execute(&mut *transaction)
                    .await?;
                if done.rows_affected() == 0 {
                    return Ok(None);
                }
                let entry = audit::append(&mut transaction, record).await?;
                transaction.commit().await?;
                Ok(Some(entry))
            })
            .await?;
        Ok(entry.inspect(audit::tell).is_some())
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<User>, StorageError> {
        self.explained(async {
            let mut connection = self.reader().await?;
            let row = sqlx::query(user!("WHERE name_key = $1"))
                .bind(name_key(name))
                .fetch_optional(&mut *connection)
                .await?;
            row.as_ref().map(|row| read_user(row, "id")).transpose()
        })
        .await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StorageError> {
        self.explained(async {
            let mut connection = self.reader().await?;
            let row = sqlx::query(user!("WHERE id = $1"))
                .bind(id.0)
                .fetch_optional(&mut *connection)
                .await?;
            row.as_ref().map(|row| read_user(row, "id")).transpose()
        })
        .await
    }

    async fn users(&self, page: &PageRequest) -> Result<Page<User>, StorageError> {
        let rows = page_rows(page.limit);
        let after = read_cursor(USERS, page.cursor.as_deref())?.unwrap_or_default();
        let items = self
            .explained(async {
                let mut connection = self.reader().await?;
                sqlx::query(user!("WHERE name_key > $1 ORDER BY name_key LIMIT $2"))
                    .bind(after)
                    .bind(rows)
                    .fetch_all(&mut *connection)
                    .await?
                    .iter()
                    .map(|row| read_user(row, "id").map(|user| (name_key(&user.name), user)))
                    .collect::<Result<Vec<_>, StorageError>>()
            })
            .await?;
        let page = page_of(items, rows, |(key, _)| key);
        Ok(Page {
            items: page.items.into_iter().map(|(_, user)| user).collect(),
            next: page.next,
        })
    }

    async fn change_user(&self, id: UserId, change: &UserChange, record: &AuditRecord) -> Result<bool, StorageError> {
        let entry = self
            .explained(async {
                let mut transaction = self.change().await?;
                if !apply(&mut transaction, id, change, record.at).await? {
                    return Ok(None);
                }
                if *change != UserChange::Enable {
                    sqlx::query("DELETE FROM sessions WHERE user_id = $1")
                        .bind(id.0)
                        .execute(&mut *transaction)
                        .await?;
                }
                let entry = audit::append(&mut transaction, record).await?;
                transaction.commit().await?;
                Ok(Some(entry))
            })
            .await?;
        Ok(entry.inspect(audit::tell).is_some())
    }

    async fn use_totp_step(&self, id: UserId, step: u64) -> Result<bool, StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            let sql = "UPDATE users SET totp_step = $2 WHERE id = $1 AND (totp_step IS NULL OR totp_step < $2)";
            let done = sqlx::query(sql)
                .bind(id.0)
                .bind(to_integer(USERS, step)?)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }

    async fn active_users(&self, role: StaffRole) -> Result<u64, StorageError> {
        self.explained(async {
            let mut connection = self.reader().await?;
            let row = sqlx::query("SELECT count(*) AS n FROM users WHERE role = $1 AND disabled_at IS NULL")
                .bind(role.name())
                .fetch_one(&mut *connection)
                .await?;
            Fields::new(&row, USERS).number("n")
        })
        .await
    }
}

/// Changes the row; `false` if there is none.
async fn apply(
    connection: &mut PgConnection,
    id: UserId,
    change: &UserChange,
    at: Timestamp,
) -> Result<bool, StorageError> {
    let at = at.as_microsecond();
    let query = match change {
        UserChange::Password { hash, must_change } => {
            sqlx::query("UPDATE users SET password_hash = $2, must_change = $3, password_changed_at = $4 WHERE id = $1")
                .bind(id.0)
                .bind(hash.0.clone())
                .bind(i64::from(*must_change))
                .bind(at)
        }
        UserChange::Disable => sqlx::query("UPDATE users SET disabled_at = coalesce(disabled_at, $2) WHERE id = $1")
            .bind(id.0)
            .bind(at),
        UserChange::Enable => sqlx::query("UPDATE users SET disabled_at = NULL WHERE id = $1").bind(id.0),
        UserChange::Role(role) => sqlx::query("UPDATE users SET role = $2 WHERE id = $1")
            .bind(id.0)
            .bind(role.name()),
        UserChange::Totp(secret) => sqlx::query("UPDATE users SET totp_secret = $2, totp_step = NULL WHERE id = $1")
            .bind(id.0)
            .bind(secret.as_ref().map(|secret| secret.0.clone())),
    };
    Ok(query.execute(connection).await?.rows_affected() > 0)
}

#[async_trait]
impl SessionStore for PostgresStore {
    async fn begin_session(
        &self,
        session: &Session,
        password_changed_at: Timestamp,
        keep: u32,
        record: &AuditRecord,
    ) -> Result<bool, StorageError> {
        // The person's row is held: who is shut out at this moment comes before or after, and loses the session either way.
        let insert = "INSERT INTO sessions (token_sha256, user_id, created_at, last_seen_at) \
                      SELECT $1, id, $3, $4 FROM users \
                      WHERE id = $2 AND disabled_at IS NULL AND password_changed_at = $5 FOR UPDATE";
        let surplus = "DELETE FROM sessions WHERE user_id = $1 AND token_sha256 NOT IN \
                       (SELECT token_sha256 FROM sessions WHERE user_id = $1 \
                        ORDER BY created_at DESC, last_seen_at DESC LIMIT $2)";
        let entry = self
            .explained(async {
                let mut transaction = self.change().await?;
                let done = sqlx::query(insert)
                    .bind(session.token_sha256.to_vec())
                    .bind(session.user.0)
                    .bind(session.created_at.as_microsecond())
                    .bind(session.last_seen_at.as_microsecond())
                    .bind(password_changed_at.as_microsecond())
                    .execute(&mut *transaction)
                    .await?;
                if done.rows_affected() == 0 {
                    return Ok(None);
                }
                sqlx::query(surplus)
                    .bind(session.user.0)
                    .bind(i64::from(keep))
                    .execute(&mut *transaction)
                    .await?;
                let entry = audit::append(&mut transaction, record).await?;
                transaction.commit().await?;
                Ok(Some(entry))
            })
            .await?;
        Ok(entry.inspect(audit::tell).is_some())
    }

    async fn session(&self, token_sha256: &[u8; 32]) -> Result<Option<(Session, User)>, StorageError> {
        let sql = "SELECT sessions.token_sha256, sessions.user_id, sessions.created_at AS began_at, \
                   sessions.last_seen_at, users.* FROM sessions JOIN users ON users.id = sessions.user_id \
                   WHERE sessions.token_sha256 = $1";
        self.explained(async {
            let mut connection = self.reader().await?;
            let row = sqlx::query(sql)
                .bind(token_sha256.to_vec())
                .fetch_optional(&mut *connection)
                .await?;
            let Some(row) = row else { return Ok(None) };
            let fields = Fields::new(&row, SESSIONS);
            let session = Session {
                token_sha256: *token_sha256,
                user: UserId(fields.uuid("user_id")?),
                created_at: fields.time("began_at")?,
                last_seen_at: fields.time("last_seen_at")?,
            };
            Ok(Some((session, read_user(&row, "user_id")?)))
        })
        .await
    }

    async fn touch_session(&self, token_sha256: &[u8; 32], at: Timestamp) -> Result<(), StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            sqlx::query("UPDATE sessions SET last_seen_at = greatest(last_seen_at, $2) WHERE token_sha256 = $1")
                .bind(token_sha256.to_vec())
                .bind(at.as_microsecond())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    async fn end_session(&self, token_sha256: &[u8; 32], record: &AuditRecord) -> Result<bool, StorageError> {
        let entry = self
            .explained(async {
                let mut transaction = self.change().await?;
                let done = sqlx::query("DELETE FROM sessions WHERE token_sha256 = $1")
                    .bind(token_sha256.to_vec())
                    .execute(&mut *transaction)
                    .await?;
                if done.rows_affected() == 0 {
                    return Ok(None);
                }
                let entry = audit::append(&mut transaction, record).await?;
                transaction.commit().await?;
                Ok(Some(entry))
            })
            .await?;
        Ok(entry.inspect(audit::tell).is_some())
    }

    async fn expire_sessions(&self, idle: Timestamp, old: Timestamp) -> Result<u64, StorageError> {
        // Each node does this; what another one has in hand is left to it.
        let expired = "DELETE FROM sessions WHERE token_sha256 IN (SELECT token_sha256 FROM sessions \
                       WHERE last_seen_at < $1 OR created_at < $2 FOR UPDATE SKIP LOCKED)";
        self.explained(async {
            let mut transaction = self.change().await?;
            let done = sqlx::query(expired)
                .bind(idle.as_microsecond())
                .bind(old.as_microsecond())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(done.rows_affected())
        })
        .await
    }
}

fn read_user(row: &PgRow, id: &str) -> Result<User, StorageError> {
    let fields = Fields::new(row, USERS);
    Ok(User {
        id: UserId(fields.uuid(id)?),
        name: fields.text("name")?,
        display_name: fields.text("display_name")?,
        role: fields.named("role", StaffRole::from_name)?,
        password_hash: Hidden(fields.text("password_hash")?),
        totp_secret: fields
            .optional_bytes("totp_secret")?
            .map(|bytes| Hidden(bytes.to_vec())),
        created_at: fields.time("created_at")?,
        disabled_at: fields.optional_time("disabled_at")?,
        password_changed_at: fields.time("password_changed_at")?,
        must_change: fields.number::<u8>("must_change")? != 0,
    })
}
