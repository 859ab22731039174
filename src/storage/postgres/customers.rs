//! Customers and their addresses.

use super::rows::{Fields, page_of, page_rows, read_cursor};
use super::{PostgresStore, Turn, audit, conversations};
use crate::domain::{
    Conversation, ConversationId, Customer, CustomerId, Identity, IdentityId, MessageId, PastMessage, Role,
};
use crate::storage::{AuditRecord, CustomerStore, MAX_PROFILE_BYTES, Page, PageRequest, StorageError, customer_secret};
use async_trait::async_trait;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

const TABLE: &str = "customers";

/// The whole customer that `$1` belongs to: `up` follows the pointers, `down` collects all that lead to their end. `UNION` ends a
/// circle, which there is none of. To be followed by a SELECT.
macro_rules! whole {
    ($select:literal) => {
        concat!(
            "WITH RECURSIVE up (id) AS (SELECT id FROM customers WHERE id = $1 \
             UNION SELECT c.merged_into FROM customers AS c JOIN up ON c.id = up.id WHERE c.merged_into IS NOT NULL), \
             down (id) AS (SELECT c.id FROM customers AS c JOIN up ON c.id = up.id WHERE c.merged_into IS NULL \
             UNION SELECT c.id FROM customers AS c JOIN down ON c.merged_into = down.id) ",
            $select
        )
    };
}

#[async_trait]
impl CustomerStore for PostgresStore {
    async fn add_identity(
        &self,
        customer: &Customer,
        identity: &Identity,
        record: &AuditRecord,
    ) -> Result<Identity, StorageError> {
        let new = "INSERT INTO customers (id, shown, sealed, merged_into, created_at, updated_at) \
                   VALUES ($1, $2, $3, NULL, $4, $4) ON CONFLICT (id) DO NOTHING";
        let sql = "INSERT INTO identities (id, customer_id, channel, lookup, shown, sealed, created_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        self.explained(async {
            check_sealed(&customer.sealed)?;
            check_sealed(&identity.sealed)?;
            let mut transaction = self.change().await?;
            Turn::Customers.take(&mut transaction).await?;
            if let Some(known) = find(&mut transaction, &identity.channel, &identity.lookup).await? {
                return Ok(known);
            }
            sqlx::query(new)
                .bind(customer.id.0)
                .bind(customer.shown.clone())
                .bind(customer.sealed.clone())
                .bind(customer.created_at.as_microsecond())
                .execute(&mut *transaction)
                .await?;
            sqlx::query(sql)
                .bind(identity.id.0)
                .bind(identity.customer_id.0)
                .bind(identity.channel.clone())
                .bind(identity.lookup.to_vec())
                .bind(identity.shown.clone())
                .bind(identity.sealed.clone())
                .bind(identity.created_at.as_microsecond())
                .execute(&mut *transaction)
                .await?;
            audit::append(&mut transaction, record).await?;
            transaction.commit().await?;
            Ok(identity.clone())
        })
        .await
    }

    async fn find_identity(&self, channel: &str, lookup: &[u8; 32]) -> Result<Option<Identity>, StorageError> {
        self.explained(async { find(&mut *self.reader().await?, channel, lookup).await })
            .await
    }

    async fn customer(&self, id: CustomerId) -> Result<Option<Customer>, StorageError> {
        self.explained(async {
            let mut connection = self.reader().await?;
            let row = sqlx::query("SELECT * FROM customers WHERE id = $1")
                .bind(id.0)
                .fetch_optional(&mut *connection)
                .await?;
            row.as_ref().map(read_customer).transpose()
        })
        .await
    }

    async fn customers(&self, page: &PageRequest) -> Result<Page<Customer>, StorageError> {
        let sql =
            "SELECT * FROM customers WHERE merged_into IS NULL AND ($1::uuid IS NULL OR id > $1) ORDER BY id LIMIT $2";
        self.explained(async {
            let rows = page_rows(page.limit);
            let after = match read_cursor(TABLE, page.cursor.as_deref())? {
                None => None,
                Some(cursor) => {
                    let id: CustomerId = cursor.parse().map_err(|_| StorageError::Invalid {
                        table: TABLE,
                        detail: "the cursor is none that a list gave; begin without one".to_owned(),
                    })?;
                    Some(id.0)
                }
            };
            let mut connection = self.reader().await?;
            let found = sqlx::query(sql)
                .bind(after)
                .bind(rows)
                .fetch_all(&mut *connection)
                .await?;
            let items: Vec<(Customer, String)> = found
                .iter()
                .map(|row| read_customer(row).map(|customer| (customer.id.to_string(), customer)))
                .map(|read| read.map(|(key, customer)| (customer, key)))
                .collect::<Result<_, _>>()?;
            let page = page_of(items, rows, |(_, key)| key.as_str());
            Ok(Page {
                items: page.items.into_iter().map(|(customer, _)| customer).collect(),
                next: page.next,
            })
        })
        .await
    }

    async fn whole_customer(&self, id: CustomerId) -> Result<Vec<Customer>, StorageError> {
        let sql = whole!(
            "SELECT * FROM customers WHERE id IN (SELECT id FROM down) ORDER BY merged_into IS NOT NULL, id LIMIT 1000"
        );
        self.explained(async {
            let mut connection = self.reader().await?;
            let rows = sqlx::query(sql).bind(id.0).fetch_all(&mut *connection).await?;
            rows.iter().map(read_customer).collect()
        })
        .await
    }

    async fn identities(&self, id: CustomerId) -> Result<Vec<Identity>, StorageError> {
        self.explained(async {
            let mut connection = self.reader().await?;
            let rows = sqlx::query("SELECT * FROM identities WHERE customer_id = $1 ORDER BY id LIMIT 1000")
                .bind(id.0)
                .fetch_all(&mut *connection)
                .await?;
            rows.iter().map(read_identity).collect()
        })
        .await
    }

    async fn set_profile(
        &self,
        id: CustomerId,
        shown: &str,
        sealed: &str,
        record: &AuditRecord,
    ) -> Result<bool, StorageError> {
        self.explained(async {
            check_sealed(sealed)?;
            let mut transaction = self.change().await?;
            let done = sqlx::query("UPDATE customers SET shown = $2, sealed = $3, updated_at = $4 WHERE id = $1")
                .bind(id.0)
                .bind(shown.to_owned())
                .bind(sealed.to_owned())
                .bind(record.at.as_microsecond())
                .execute(&mut *transaction)
                .await?;
            if done.rows_affected() == 0 {
                return Ok(false);
            }
            audit::append(&mut transaction, record).await?;
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn merge_customer(
        &self,
        id: CustomerId,
        into: Option<CustomerId>,
        record: &AuditRecord,
    ) -> Result<bool, StorageError> {
        let circle = whole!("SELECT count(*) FROM down WHERE id = $2");
        self.explained(async {
            let mut transaction = self.change().await?;
            Turn::Customers.take(&mut transaction).await?;
            let row = sqlx::query("SELECT * FROM customers WHERE id = $1")
                .bind(id.0)
                .fetch_optional(&mut *transaction)
                .await?;
            let Some(customer) = row.as_ref().map(read_customer).transpose()? else {
                return Ok(false);
            };
            let conflict = |detail: &str| StorageError::Conflict {
                item: format!("customer {id}"),
                detail: detail.to_owned(),
            };
            match (into, customer.merged_into) {
                (Some(_), Some(_)) => return Err(conflict("it was merged into another one already: undo that first")),
                (None, None) => return Err(conflict("it was merged into no other one")),
                (Some(into), None) => {
                    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM customers WHERE id = $1")
                        .bind(into.0)
                        .fetch_one(&mut *transaction)
                        .await?;
                    if there == 0 {
                        return Ok(false);
                    }
                    let leads_back: i64 = sqlx::query_scalar(circle)
                        .bind(id.0)
                        .bind(into.0)
                        .fetch_one(&mut *transaction)
                        .await?;
                    if leads_back > 0 {
                        return Err(conflict("both are one customer already"));
                    }
                }
                (None, Some(_)) => {}
            }
            sqlx::query("UPDATE customers SET merged_into = $2, updated_at = $3 WHERE id = $1")
                .bind(id.0)
                .bind(into.map(|into| into.0))
                .bind(record.at.as_microsecond())
                .execute(&mut *transaction)
                .await?;
            audit::append(&mut transaction, record).await?;
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn set_conversation_customer(
        &self,
        id: ConversationId,
        customer: Option<CustomerId>,
        record: &AuditRecord,
    ) -> Result<bool, StorageError> {
        // A customer that is gone by now is nobody.
        let sql = "UPDATE conversations SET customer_id = (SELECT id FROM customers WHERE id = $2) WHERE id = $1 \
                   AND ($2::uuid IS NULL OR EXISTS (SELECT 1 FROM customers WHERE id = $2))";
        self.explained(async {
            let mut transaction = self.change().await?;
            let done = sqlx::query(sql)
                .bind(id.0)
                .bind(customer.map(|customer| customer.0))
                .execute(&mut *transaction)
                .await?;
            if done.rows_affected() == 0 {
                return Ok(false);
            }
            audit::append(&mut transaction, record).await?;
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn conversation_customer(&self, id: ConversationId) -> Result<Option<CustomerId>, StorageError> {
        self.explained(async {
            let mut connection = self.reader().await?;
            let row = sqlx::query("SELECT customer_id FROM conversations WHERE id = $1")
                .bind(id.0)
                .fetch_optional(&mut *connection)
                .await?;
            let id = row.map(|row| Fields::new(&row, "conversations").optional_uuid("customer_id"));
            Ok(id.transpose()?.flatten().map(CustomerId))
        })
        .await
    }

    async fn conversations_of(&self, id: CustomerId, limit: u32) -> Result<Vec<Conversation>, StorageError> {
        let sql = "SELECT id, channel, status, token_sha256, created_at, updated_at FROM conversations \
                   WHERE customer_id = $1 ORDER BY id DESC LIMIT $2";
        self.explained(async {
            let mut connection = self.reader().await?;
            let rows = sqlx::query(sql)
                .bind(id.0)
                .bind(i64::from(limit))
                .fetch_all(&mut *connection)
                .await?;
            rows.iter().map(conversations::read_conversation).collect()
        })
        .await
    }

    async fn past_messages(
        &self,
        id: CustomerId,
        except: ConversationId,
        limit: u32,
    ) -> Result<Vec<PastMessage>, StorageError> {
        let sql = whole!(
            "SELECT m.id, m.conversation_id, m.role, m.text, m.created_at FROM messages AS m \
             JOIN conversations AS c ON c.id = m.conversation_id \
             WHERE c.customer_id IN (SELECT id FROM down) AND c.id <> $2 ORDER BY m.seq DESC LIMIT $3"
        );
        self.explained(async {
            let mut connection = self.reader().await?;
            let rows = sqlx::query(sql)
                .bind(id.0)
                .bind(except.0)
                .bind(i64::from(limit))
                .fetch_all(&mut *connection)
                .await?;
            rows.iter()
                .rev()
                .map(|row| {
                    let fields = Fields::new(row, "messages");
                    Ok(PastMessage {
                        id: MessageId(fields.uuid("id")?),
                        conversation_id: ConversationId(fields.uuid("conversation_id")?),
                        role: fields.named("role", Role::from_name)?,
                        text: fields.text("text")?,
                        at: fields.time("created_at")?,
                    })
                })
                .collect()
        })
        .await
    }
}

/// Conversations of the whole customer; one is enough to know of.
pub(super) async fn has_conversations(connection: &mut PgConnection, id: CustomerId) -> Result<bool, StorageError> {
    let sql = whole!("SELECT count(*) FROM conversations WHERE customer_id IN (SELECT id FROM down)");
    let count: i64 = sqlx::query_scalar(sql).bind(id.0).fetch_one(connection).await?;
    Ok(count > 0)
}

/// Removes the whole customer with identities and keys; how many customers.
pub(super) async fn erase(connection: &mut PgConnection, id: CustomerId) -> Result<u64, StorageError> {
    let ids = whole!("SELECT id FROM down");
    let rows = sqlx::query(ids).bind(id.0).fetch_all(&mut *connection).await?;
    // Which points to which is looked at when all are gone: the reference is a deferred one.
    for row in &rows {
        let id = CustomerId(Fields::new(row, TABLE).uuid("id")?);
        sqlx::query("DELETE FROM vault_secrets WHERE name = $1")
            .bind(customer_secret(id))
            .execute(&mut *connection)
            .await?;
        // The identities go with it.
        sqlx::query("DELETE FROM customers WHERE id = $1")
            .bind(id.0)
            .execute(&mut *connection)
            .await?;
    }
    Ok(rows.len() as u64)
}

async fn find(
    connection: &mut PgConnection,
    channel: &str,
    lookup: &[u8; 32],
) -> Result<Option<Identity>, StorageError> {
    let row = sqlx::query("SELECT * FROM identities WHERE channel = $1 AND lookup = $2")
        .bind(channel.to_owned())
        .bind(lookup.to_vec())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read_identity).transpose()
}

fn check_sealed(sealed: &str) -> Result<(), StorageError> {
    if sealed.len() <= MAX_PROFILE_BYTES {
        return Ok(());
    }
    Err(StorageError::Invalid {
        table: TABLE,
        detail: format!("{} bytes are more than {MAX_PROFILE_BYTES}", sealed.len()),
    })
}

fn read_customer(row: &PgRow) -> Result<Customer, StorageError> {
    let fields = Fields::new(row, TABLE);
    Ok(Customer {
        id: CustomerId(fields.uuid("id")?),
        shown: fields.text("shown")?,
        sealed: fields.text("sealed")?,
        merged_into: fields.optional_uuid("merged_into")?.map(CustomerId),
        created_at: fields.time("created_at")?,
        updated_at: fields.time("updated_at")?,
    })
}

fn read_identity(row: &PgRow) -> Result<Identity, StorageError> {
    let fields = Fields::new(row, "identities");
    let lookup = fields.bytes("lookup")?.try_into();
    Ok(Identity {
        id: IdentityId(fields.uuid("id")?),
        customer_id: CustomerId(fields.uuid("customer_id")?),
        channel: fields.text("channel")?,
        lookup: lookup.map_err(|error| fields.corrupt("lookup", error))?,
        shown: fields.text("shown")?,
        sealed: fields.text("sealed")?,
        created_at: fields.time("created_at")?,
    })
}
