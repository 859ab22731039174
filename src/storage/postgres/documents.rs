//! Documents and the passages they were cut into.

use super::rows::{Fields, in_order, page_of, page_rows, read_cursor, to_integer, to_json};
use crate::domain::{Document, DocumentFormat, DocumentId, Passage, PassageId};
use crate::storage::{DocumentSummary, Page, PageRequest, StorageError};
use sqlx::PgConnection;
use sqlx::postgres::PgRow;
use uuid::Uuid;

macro_rules! summary {
    ($rest:literal) => {
        concat!(
            "SELECT id, source, title, format, sha256, imported_at, scope, octet_length(text)::bigint AS bytes, ",
            "(SELECT count(*) FROM passages WHERE document_id = documents.id) AS passages FROM documents ",
            $rest
        )
    };
}

macro_rules! passage {
    ($rest:literal) => {
        concat!(
            "SELECT id, document_id, ordinal, title_path, page, start_byte, end_byte, text FROM passages ",
            $rest
        )
    };
}

/// Passages that one statement stores.
const ROWS_AT_ONCE: usize = 1000;

/// Whether the passages are parts of the document: what is cited later must be what the source says.
pub(super) fn check(document: &Document, passages: &[Passage]) -> Result<(), StorageError> {
    let refuse = |passage: &Passage, why: &str| {
        let detail = format!("passage {} of document {}: {why}", passage.ordinal, document.source);
        Err(StorageError::Invalid {
            table: "passages",
            detail,
        })
    };
    for passage in passages {
        if passage.document_id != document.id {
            return refuse(passage, "it belongs to another document");
        }
        if document.text.get(passage.start..passage.end) != Some(passage.text.as_str()) {
            return refuse(passage, "its text is not what stands in the document at its place");
        }
    }
    Ok(())
}

/// Replaces the document of this id; the old passages go with it. No other document has its source.
pub(super) async fn put(
    connection: &mut PgConnection,
    document: &Document,
    passages: &[Passage],
) -> Result<(), StorageError> {
    remove(connection, document.id).await?;
    let sql = "INSERT INTO documents (id, source, title, format, sha256, imported_at, scope, text) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    sqlx::query(sql)
        .bind(document.id.0)
        .bind(document.source.clone())
        .bind(document.title.clone())
        .bind(document.format.name())
        .bind(document.sha256.clone())
        .bind(document.imported_at.as_microsecond())
        .bind(to_json("documents", &document.scope)?)
        .bind(document.text.clone())
        .execute(&mut *connection)
        .await?;
    let sql = "INSERT INTO passages (id, document_id, ordinal, title_path, page, start_byte, end_byte, text) \
               SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], \
               $7::bigint[], $8::text[])";
    for passages in passages.chunks(ROWS_AT_ONCE) {
        let titles = passages.iter().map(|passage| to_json("passages", &passage.title_path));
        let starts = passages.iter().map(|passage| to_integer("passages", passage.start));
        let ends = passages.iter().map(|passage| to_integer("passages", passage.end));
        let pages: Vec<Option<i64>> = passages.iter().map(|passage| passage.page.map(i64::from)).collect();
        sqlx::query(sql)
            .bind(passages.iter().map(|passage| passage.id.0).collect::<Vec<_>>())
            .bind(passages.iter().map(|passage| passage.document_id.0).collect::<Vec<_>>())
            .bind(
                passages
                    .iter()
                    .map(|passage| i64::from(passage.ordinal))
                    .collect::<Vec<_>>(),
            )
            .bind(titles.collect::<Result<Vec<_>, _>>()?)
            .bind(pages)
            .bind(starts.collect::<Result<Vec<_>, _>>()?)
            .bind(ends.collect::<Result<Vec<_>, _>>()?)
            .bind(passages.iter().map(|passage| passage.text.clone()).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The source of the document removed.
pub(super) async fn remove(connection: &mut PgConnection, id: DocumentId) -> Result<Option<String>, StorageError> {
    let row = sqlx::query("DELETE FROM documents WHERE id = $1 RETURNING source")
        .bind(id.0)
        .fetch_optional(connection)
        .await?;
    row.map(|row| Fields::new(&row, "documents").text("source")).transpose()
}

pub(super) async fn by_source(
    connection: &mut PgConnection,
    source: &str,
) -> Result<Option<DocumentSummary>, StorageError> {
    let row = sqlx::query(summary!("WHERE source = $1"))
        .bind(source.to_owned())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read_summary).transpose()
}

pub(super) async fn summary(
    connection: &mut PgConnection,
    id: DocumentId,
) -> Result<Option<DocumentSummary>, StorageError> {
    let row = sqlx::query(summary!("WHERE id = $1"))
        .bind(id.0)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read_summary).transpose()
}

pub(super) async fn get(connection: &mut PgConnection, id: DocumentId) -> Result<Option<Document>, StorageError> {
    let sql = "SELECT id, source, title, format, sha256, imported_at, scope, text FROM documents WHERE id = $1";
    let row = sqlx::query(sql).bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(read_document).transpose()
}

pub(super) async fn page(
    connection: &mut PgConnection,
    page: &PageRequest,
) -> Result<Page<DocumentSummary>, StorageError> {
    let rows = page_rows(page.limit);
    let query = match read_cursor("documents", page.cursor.as_deref())? {
        None => sqlx::query(summary!("ORDER BY source LIMIT $1")).bind(rows),
        Some(after) => sqlx::query(summary!("WHERE source > $2 ORDER BY source LIMIT $1"))
            .bind(rows)
            .bind(after),
    };
    let items = query
        .fetch_all(connection)
        .await?
        .iter()
        .map(read_summary)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(page_of(items, rows, |document| &document.source))
}

pub(super) async fn passages_of(connection: &mut PgConnection, id: DocumentId) -> Result<Vec<Passage>, StorageError> {
    let rows = sqlx::query(passage!("WHERE document_id = $1 ORDER BY ordinal"))
        .bind(id.0)
        .fetch_all(connection)
        .await?;
    rows.iter().map(read_passage).collect()
}

pub(super) async fn passages_beside(
    connection: &mut PgConnection,
    passage: &Passage,
) -> Result<Vec<Passage>, StorageError> {
    let at = i64::from(passage.ordinal);
    let rows = sqlx::query(passage!(
        "WHERE document_id = $1 AND ordinal IN ($2, $3) ORDER BY ordinal"
    ))
    .bind(passage.document_id.0)
    .bind(at - 1)
    .bind(at + 1)
    .fetch_all(connection)
    .await?;
    rows.iter().map(read_passage).collect()
}

pub(super) async fn passages(connection: &mut PgConnection, ids: &[PassageId]) -> Result<Vec<Passage>, StorageError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    in_order(connection, passage!("WHERE id = ANY($1)"), &ids, |row| {
        let passage = read_passage(row)?;
        Ok((passage.id.0, passage))
    })
    .await
}

pub(super) async fn passages_after(
    connection: &mut PgConnection,
    after: Option<PassageId>,
    limit: u32,
) -> Result<Vec<Passage>, StorageError> {
    let query = match after {
        None => sqlx::query(passage!("ORDER BY id LIMIT $1")).bind(i64::from(limit)),
        Some(after) => sqlx::query(passage!("WHERE id > $2 ORDER BY id LIMIT $1"))
            .bind(i64::from(limit))
            .bind(after.0),
    };
    query.fetch_all(connection).await?.iter().map(read_passage).collect()
}

fn read_summary(row: &PgRow) -> Result<DocumentSummary, StorageError> {
    let fields = Fields::new(row, "documents");
    Ok(DocumentSummary {
        id: DocumentId(fields.uuid("id")?),
        source: fields.text("source")?,
        title: fields.text("title")?,
        format: fields.named("format", DocumentFormat::from_name)?,
        sha256: fields.text("sha256")?,
        bytes: fields.number("bytes")?,
        passages: fields.number("passages")?,
        imported_at: fields.time("imported_at")?,
        scope: fields.json("scope")?,
    })
}

fn read_document(row: &PgRow) -> Result<Document, StorageError> {
    let fields = Fields::new(row, "documents");
    Ok(Document {
        id: DocumentId(fields.uuid("id")?),
        source: fields.text("source")?,
        title: fields.text("title")?,
        format: fields.named("format", DocumentFormat::from_name)?,
        sha256: fields.text("sha256")?,
        text: fields.text("text")?,
        imported_at: fields.time("imported_at")?,
        scope: fields.json("scope")?,
    })
}

fn read_passage(row: &PgRow) -> Result<Passage, StorageError> {
    let fields = Fields::new(row, "passages");
    let passage = Passage {
        id: PassageId(fields.uuid("id")?),
        document_id: DocumentId(fields.uuid("document_id")?),
        ordinal: fields.number("ordinal")?,
        title_path: fields.json("title_path")?,
        page: fields.optional_number("page")?,
        text: fields.text("text")?,
        start: fields.number("start_byte")?,
        end: fields.number("end_byte")?,
    };
    if passage.end.checked_sub(passage.start) != Some(passage.text.len()) {
        return Err(fields.corrupt("end_byte", "the place is not as long as the text"));
    }
    Ok(passage)
}
