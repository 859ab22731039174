//! Approved questions with their answers.

use super::rows::{Fields, in_order, page_of, page_rows, read_cursor, to_json};
use crate::domain::{Faq, FaqId};
use crate::storage::{Page, PageRequest, StorageError};
use sqlx::PgConnection;
use sqlx::postgres::PgRow;
use uuid::Uuid;

macro_rules! faq {
    ($rest:literal) => {
        concat!(
            "SELECT id, key, question, variants, answer, category, source, imported_at, scope FROM faqs ",
            $rest
        )
    };
}

/// Stores a FAQ, in place of the one of the same key.
pub(super) async fn put(connection: &mut PgConnection, faq: &Faq) -> Result<(), StorageError> {
    let sql = "INSERT INTO faqs (id, key, question, variants, answer, category, source, imported_at, scope) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (key) DO UPDATE SET \
               question = excluded.question, variants = excluded.variants, answer = excluded.answer, \
               category = excluded.category, source = excluded.source, imported_at = excluded.imported_at, \
               scope = excluded.scope";
    sqlx::query(sql)
        .bind(faq.id.0)
        .bind(faq.key.clone())
        .bind(faq.question.clone())
        .bind(to_json("faqs", &faq.variants)?)
        .bind(faq.answer.clone())
        .bind(faq.category.clone())
        .bind(faq.source.clone())
        .bind(faq.imported_at.as_microsecond())
        .bind(to_json("faqs", &faq.scope)?)
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether both say the same; the id is the present one's, and the time of an import changes nothing.
pub(super) fn same(present: &Faq, new: &Faq) -> bool {
    present
        == &Faq {
            id: present.id,
            imported_at: present.imported_at,
            ..new.clone()
        }
}

/// The key of the FAQ removed.
pub(super) async fn remove(connection: &mut PgConnection, id: FaqId) -> Result<Option<String>, StorageError> {
    let row = sqlx::query("DELETE FROM faqs WHERE id = $1 RETURNING key")
        .bind(id.0)
        .fetch_optional(connection)
        .await?;
    row.map(|row| Fields::new(&row, "faqs").text("key")).transpose()
}

pub(super) async fn by_key(connection: &mut PgConnection, key: &str) -> Result<Option<Faq>, StorageError> {
    let row = sqlx::query(faq!("WHERE key = $1"))
        .bind(key.to_owned())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn by_ids(connection: &mut PgConnection, ids: &[FaqId]) -> Result<Vec<Faq>, StorageError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    in_order(connection, faq!("WHERE id = ANY($1)"), &ids, |row| {
        let faq = read(row)?;
        Ok((faq.id.0, faq))
    })
    .await
}

pub(super) async fn page(connection: &mut PgConnection, page: &PageRequest) -> Result<Page<Faq>, StorageError> {
    let rows = page_rows(page.limit);
    let query = match read_cursor("faqs", page.cursor.as_deref())? {
        None => sqlx::query(faq!("ORDER BY key LIMIT $1")).bind(rows),
        Some(after) => sqlx::query(faq!("WHERE key > $2 ORDER BY key LIMIT $1"))
            .bind(rows)
            .bind(after),
    };
    let items = query
        .fetch_all(connection)
        .await?
        .iter()
        .map(read)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(page_of(items, rows, |faq| &faq.key))
}

pub(super) async fn find(
    connection: &mut PgConnection,
    words: &str,
    page: &PageRequest,
) -> Result<Page<Faq>, StorageError> {
    let rows = page_rows(page.limit);
    let after = read_cursor("faqs", page.cursor.as_deref())?.unwrap_or_default();
    let sql = faq!(
        "WHERE key > $2 AND strpos(lower(concat_ws(chr(10), key, question, variants, answer, category) COLLATE \"C\"), \
         lower($3 COLLATE \"C\")) > 0 ORDER BY key LIMIT $1"
    );
    let items = sqlx::query(sql)
        .bind(rows)
        .bind(after)
        .bind(words.to_owned())
        .fetch_all(connection)
        .await?
        .iter()
        .map(read)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(page_of(items, rows, |faq| &faq.key))
}

fn read(row: &PgRow) -> Result<Faq, StorageError> {
    let fields = Fields::new(row, "faqs");
    Ok(Faq {
        id: FaqId(fields.uuid("id")?),
        key: fields.text("key")?,
        question: fields.text("question")?,
        variants: fields.json("variants")?,
        answer: fields.text("answer")?,
        category: fields.text("category")?,
        source: fields.text("source")?,
        imported_at: fields.time("imported_at")?,
        scope: fields.json("scope")?,
    })
}
