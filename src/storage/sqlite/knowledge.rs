//! The knowledge base and its versions.

use super::rows::{Fields, id_bytes, to_integer};
use super::{SqliteStore, documents, embeddings, faqs};
use crate::domain::{Document, DocumentId, Faq, FaqId, KbItem, KbVersion, Passage, PassageId};
use crate::storage::{DocumentSummary, KnowledgeCounts, KnowledgeStore, Page, PageRequest, StorageError, VersionEntry};
use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::SqliteConnection;

#[async_trait]
impl KnowledgeStore for SqliteStore {
    async fn kb_version(&self) -> Result<KbVersion, StorageError> {
        self.explained(async { current_version(&mut *self.reader().await?).await })
            .await
    }

    async fn knowledge_counts(&self) -> Result<KnowledgeCounts, StorageError> {
        self.explained(async { counts(&mut *self.reader().await?).await }).await
    }

    async fn kb_versions(&self, limit: u32) -> Result<Vec<VersionEntry>, StorageError> {
        self.explained(async { versions(&mut *self.reader().await?, limit).await })
            .await
    }

    async fn kb_changes(&self, after: KbVersion, limit: u32) -> Result<Option<Vec<KbItem>>, StorageError> {
        self.explained(async { changes(&mut *self.snapshot().await?, after, limit).await })
            .await
    }

    async fn put_document(&self, document: &Document, passages: &[Passage]) -> Result<KbVersion, StorageError> {
        self.explained(async {
            documents::check(document, passages)?;
            let mut transaction = self.change().await?;
            let changed = documents::put(&mut transaction, document, passages).await?;
            let changed: Vec<KbItem> = changed.into_iter().map(KbItem::Document).collect();
            let note = format!("import {}", document.source);
            let version = next_version(&mut transaction, &note, &changed, self.clock.now()).await?;
            transaction.commit().await?;
            Ok(version)
        })
        .await
    }

    async fn document_by_source(&self, source: &str) -> Result<Option<DocumentSummary>, StorageError> {
        self.explained(async { documents::by_source(&mut *self.reader().await?, source).await })
            .await
    }

    async fn document_summary(&self, id: DocumentId) -> Result<Option<DocumentSummary>, StorageError> {
        self.explained(async { documents::summary(&mut *self.reader().await?, id).await })
            .await
    }

    async fn document(&self, id: DocumentId) -> Result<Option<Document>, StorageError> {
        self.explained(async { documents::get(&mut *self.reader().await?, id).await })
            .await
    }

    async fn documents(&self, page: &PageRequest) -> Result<Page<DocumentSummary>, StorageError> {
        self.explained(async { documents::page(&mut *self.reader().await?, page).await })
            .await
    }

    async fn remove_document(&self, id: DocumentId) -> Result<bool, StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            let Some(source) = documents::remove(&mut transaction, id).await? else {
                return Ok(false);
            };
            let changed = [KbItem::Document(id)];
            next_version(
                &mut transaction,
                &format!("remove {source}"),
                &changed,
                self.clock.now(),
            )
            .await?;
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn document_passages(&self, id: DocumentId) -> Result<Vec<Passage>, StorageError> {
        self.explained(async { documents::passages_of(&mut *self.reader().await?, id).await })
            .await
    }

    async fn passages(&self, ids: &[PassageId]) -> Result<Vec<Passage>, StorageError> {
        self.explained(async { documents::passages(&mut *self.snapshot().await?, ids).await })
            .await
    }

    async fn passages_after(&self, after: Option<PassageId>, limit: u32) -> Result<Vec<Passage>, StorageError> {
        self.explained(async { documents::passages_after(&mut *self.reader().await?, after, limit).await })
            .await
    }

    async fn put_faqs(&self, faqs: &[Faq], note: &str) -> Result<usize, StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            let changed = faqs::put(&mut transaction, faqs).await?;
            let changed: Vec<KbItem> = changed.into_iter().map(KbItem::Faq).collect();
            if !changed.is_empty() {
                next_version(&mut transaction, note, &changed, self.clock.now()).await?;
                transaction.commit().await?;
            }
            Ok(changed.len())
        })
        .await
    }

    async fn faqs(&self, ids: &[FaqId]) -> Result<Vec<Faq>, StorageError> {
        self.explained(async { faqs::by_ids(&mut *self.snapshot().await?, ids).await })
            .await
    }

    async fn faq_page(&self, page: &PageRequest) -> Result<Page<Faq>, StorageError> {
        self.explained(async { faqs::page(&mut *self.reader().await?, page).await })
            .await
    }

    async fn faq_by_key(&self, key: &str) -> Result<Option<Faq>, StorageError> {
        self.explained(async { faqs::by_key(&mut *self.reader().await?, key).await })
            .await
    }

    async fn remove_faq(&self, id: FaqId) -> Result<bool, StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            let Some(key) = faqs::remove(&mut transaction, id).await? else {
                return Ok(false);
            };
            let changed = [KbItem::Faq(id)];
            next_version(
                &mut transaction,
                &format!("remove FAQ {key}"),
                &changed,
                self.clock.now(),
            )
            .await?;
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn embeddings(&self, model_sha256: &str, keys: &[[u8; 32]]) -> Result<Vec<Option<Vec<f32>>>, StorageError> {
        self.explained(async { embeddings::get(&mut *self.snapshot().await?, model_sha256, keys).await })
            .await
    }

    async fn put_embeddings(&self, model_sha256: &str, rows: &[([u8; 32], Vec<f32>)]) -> Result<(), StorageError> {
        self.explained(async {
            embeddings::check(rows)?;
            let mut transaction = self.change().await?;
            embeddings::put(&mut transaction, model_sha256, rows).await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }
}

async fn current_version(connection: &mut SqliteConnection) -> Result<KbVersion, StorageError> {
    let row = sqlx::query("SELECT coalesce(max(version), 0) AS version FROM kb_versions")
        .fetch_one(connection)
        .await?;
    Fields::new(&row, "kb_versions").number("version").map(KbVersion)
}

/// Counts one change; part of the transaction that makes it.
async fn next_version(
    connection: &mut SqliteConnection,
    note: &str,
    changed: &[KbItem],
    now: Timestamp,
) -> Result<KbVersion, StorageError> {
    let sql = "INSERT INTO kb_versions (version, note, created_at) \
               SELECT coalesce(max(version), 0) + 1, ?1, ?2 FROM kb_versions RETURNING version";
    let row = sqlx::query(sql)
        .bind(note.to_owned())
        .bind(now.as_microsecond())
        .fetch_one(&mut *connection)
        .await?;
    let version: i64 = Fields::new(&row, "kb_versions").number("version")?;
    for item in changed {
        let (kind, id) = match item {
            KbItem::Document(id) => ("document", id.0),
            KbItem::Faq(id) => ("faq", id.0),
        };
        // Twice in one list is once.
        sqlx::query("INSERT OR IGNORE INTO kb_changes (version, kind, item_id) VALUES (?1, ?2, ?3)")
            .bind(version)
            .bind(kind)
            .bind(id_bytes(id))
            .execute(&mut *connection)
            .await?;
    }
    Ok(KbVersion(version.cast_unsigned()))
}

async fn changes(
    connection: &mut SqliteConnection,
    after: KbVersion,
    limit: u32,
) -> Result<Option<Vec<KbItem>>, StorageError> {
    let after = to_integer("kb_versions", after.0)?;
    let sql = "SELECT (SELECT count(*) FROM kb_versions WHERE version > ?1) AS versions, \
               (SELECT count(DISTINCT version) FROM kb_changes WHERE version > ?1) AS known";
    let row = sqlx::query(sql).bind(after).fetch_one(&mut *connection).await?;
    let fields = Fields::new(&row, "kb_changes");
    if fields.number::<u64>("versions")? != fields.number::<u64>("known")? {
        return Ok(None);
    }
    let sql = "SELECT DISTINCT kind, item_id FROM kb_changes WHERE version > ?1 LIMIT ?2";
    let rows = sqlx::query(sql)
        .bind(after)
        .bind(i64::from(limit) + 1)
        .fetch_all(connection)
        .await?;
    if rows.len() > limit as usize {
        return Ok(None);
    }
    rows.iter()
        .map(|row| {
            let fields = Fields::new(row, "kb_changes");
            let id = fields.uuid("item_id")?;
            Ok(match fields.text("kind")?.as_str() {
                "document" => KbItem::Document(DocumentId(id)),
                "faq" => KbItem::Faq(FaqId(id)),
                other => return Err(fields.corrupt("kind", format_args!("unknown name {other:?}"))),
            })
        })
        .collect::<Result<Vec<_>, _>>()
        .map(Some)
}

async fn versions(connection: &mut SqliteConnection, limit: u32) -> Result<Vec<VersionEntry>, StorageError> {
    let sql = "SELECT version, note, created_at FROM kb_versions ORDER BY version DESC LIMIT ?1";
    let rows = sqlx::query(sql).bind(i64::from(limit)).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let fields = Fields::new(row, "kb_versions");
            Ok(VersionEntry {
                version: KbVersion(fields.number("version")?),
                note: fields.text("note")?,
                created_at: fields.time("created_at")?,
            })
        })
        .collect()
}

async fn counts(connection: &mut SqliteConnection) -> Result<KnowledgeCounts, StorageError> {
    let sql = "SELECT (SELECT count(*) FROM documents) AS documents, (SELECT count(*) FROM passages) AS passages, \
               (SELECT count(*) FROM faqs) AS faqs";
    let row = sqlx::query(sql).fetch_one(connection).await?;
    let fields = Fields::new(&row, "documents");
    Ok(KnowledgeCounts {
        documents: fields.number("documents")?,
        passages: fields.number("passages")?,
        faqs: fields.number("faqs")?,
    })
}
