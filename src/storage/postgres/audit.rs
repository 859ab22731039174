//! The audit log.

use super::rows::{Fields, page_of, page_rows, read_cursor, to_integer};
use super::{PostgresStore, Turn};
use crate::storage::{AuditCheck, AuditEntry, AuditRecord, AuditStore, AuditVerdict, Page, PageRequest, StorageError};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

const TABLE: &str = "audit";

/// Lines that are checked at once.
const CHECK_ROWS: i64 = 1000;

/// Adds a line within the caller's transaction, which holds the turn of the audit log from here on.
pub(super) async fn append(connection: &mut PgConnection, record: &AuditRecord) -> Result<AuditEntry, StorageError> {
    Turn::Audit.take(connection).await?;
    let last = sqlx::query("SELECT * FROM audit ORDER BY seq DESC LIMIT 1")
        .fetch_optional(&mut *connection)
        .await?;
    let (seq, head) = match last.as_ref().map(read).transpose()? {
        Some(last) => (last.seq, last.hash),
        None => (0, [0; 32]),
    };
    let entry = AuditEntry::after(seq, head, record);
    let sql = "INSERT INTO audit (seq, at, actor, action, object, detail, prev_hash, hash) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    sqlx::query(sql)
        .bind(to_integer(TABLE, entry.seq)?)
        .bind(entry.at.as_microsecond())
        .bind(entry.actor.clone())
        .bind(entry.action.clone())
        .bind(entry.object.clone())
        .bind(entry.detail.clone())
        .bind(entry.prev_hash.to_vec())
        .bind(entry.hash.to_vec())
        .execute(connection)
        .await?;
    Ok(entry)
}

/// Adds the line of a change of the knowledge base, within the caller's transaction.
pub(super) async fn note(
    connection: &mut PgConnection,
    at: Timestamp,
    actor: &str,
    (action, object): (&str, String),
    detail: Value,
) -> Result<AuditEntry, StorageError> {
    let record = AuditRecord {
        at,
        actor: actor.to_owned(),
        action: action.to_owned(),
        object,
        detail,
    };
    append(connection, &record).await
}

/// Lets the process's own log hold the line too: whoever changes the table does not change what was collected elsewhere.
pub(super) fn tell(entry: &AuditEntry) {
    tracing::info!(
        audit.seq = entry.seq,
        audit.action = entry.action,
        audit.hash = crate::domain::hexadecimal(&entry.hash),
        "audit"
    );
}

#[async_trait]
impl AuditStore for PostgresStore {
    async fn append_audit(&self, record: &AuditRecord) -> Result<AuditEntry, StorageError> {
        let entry = self
            .explained(async {
                let mut transaction = self.change().await?;
                let entry = append(&mut transaction, record).await?;
                transaction.commit().await?;
                Ok(entry)
            })
            .await?;
        tell(&entry);
        Ok(entry)
    }

    async fn audit_page(&self, page: &PageRequest) -> Result<Page<AuditEntry>, StorageError> {
        let before = match read_cursor(TABLE, page.cursor.as_deref())? {
            None => i64::MAX,
            Some(text) => text.parse().map_err(|_| StorageError::Invalid {
                table: TABLE,
                detail: "the cursor is none that a list gave; begin without one".to_owned(),
            })?,
        };
        let rows = page_rows(page.limit);
        let items = self
            .explained(async {
                let mut connection = self.reader().await?;
                sqlx::query("SELECT * FROM audit WHERE seq < $1 ORDER BY seq DESC LIMIT $2")
                    .bind(before)
                    .bind(rows)
                    .fetch_all(&mut *connection)
                    .await?
                    .iter()
                    .map(|row| read(row).map(|entry| (entry.seq.to_string(), entry)))
                    .collect::<Result<Vec<_>, _>>()
            })
            .await?;
        let page = page_of(items, rows, |(key, _)| key);
        Ok(Page {
            items: page.items.into_iter().map(|(_, entry)| entry).collect(),
            next: page.next,
        })
    }

    async fn verify_audit(&self) -> Result<AuditVerdict, StorageError> {
        self.explained(async {
            // One state for the whole walk; lines added meanwhile are not part of it.
            let mut snapshot = self.snapshot().await?;
            let mut check = AuditCheck::new();
            let mut after = i64::MIN;
            loop {
                let rows = sqlx::query("SELECT * FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2")
                    .bind(after)
                    .bind(CHECK_ROWS)
                    .fetch_all(&mut *snapshot)
                    .await?;
                for row in &rows {
                    let entry = read(row)?;
                    check.take(&entry);
                    after = to_integer(TABLE, entry.seq)?;
                }
                if rows.len() < usize::try_from(CHECK_ROWS).unwrap_or(usize::MAX) {
                    return Ok(check.verdict());
                }
            }
        })
        .await
    }
}

fn read(row: &PgRow) -> Result<AuditEntry, StorageError> {
    let fields = Fields::new(row, TABLE);
    let hash = |column| {
        <[u8; 32]>::try_from(fields.bytes(column)?).map_err(|_| fields.corrupt(column, "it is not 32 bytes long"))
    };
    Ok(AuditEntry {
        seq: fields.number("seq")?,
        at: fields.time("at")?,
        actor: fields.text("actor")?,
        action: fields.text("action")?,
        object: fields.text("object")?,
        detail: fields.text("detail")?,
        prev_hash: hash("prev_hash")?,
        hash: hash("hash")?,
    })
}
