//! The knowledge base and its versions.

use super::publishing::{self, Act, Stored};
use super::rows::{Fields, to_integer};
use super::{SqliteStore, documents, embeddings, faqs, revisions};
use crate::domain::{
    Content, Document, DocumentContent, DocumentId, Faq, FaqContent, FaqId, KbItem, KbVersion, Passage, PassageId,
};
use crate::storage::{
    DocumentSummary, IMPORT_AUTHOR, KnowledgeCounts, KnowledgeStore, NewDraft, Page, PageRequest, StorageError,
    VersionEntry,
};
use async_trait::async_trait;
use sqlx::SqliteConnection;

#[async_trait]
impl KnowledgeStore for SqliteStore {
    async fn kb_version(&self) -> Result<KbVersion, StorageError> {
        self.explained(async { publishing::current_version(&mut *self.reader().await?).await })
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
            let draft = NewDraft {
                item: KbItem::Document(document.id),
                name: document.source.clone(),
                scope: document.scope.clone(),
                content: Some(Content::Document(DocumentContent::of(document, passages))),
                author: IMPORT_AUTHOR.to_owned(),
                note: String::new(),
            };
            let mut transaction = self.change().await?;
            let note = format!("import {}", document.source);
            let moment = publishing::begin(&mut transaction, &note, Act::IMPORT, self.clock.now()).await?;
            let revision = publishing::imported(&moment, &draft);
            publishing::make_live(&mut transaction, &moment, revision, Stored::Now).await?;
            transaction.commit().await?;
            Ok(moment.version)
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
            let Some(document) = documents::summary(&mut transaction, id).await? else {
                return Ok(false);
            };
            let note = format!("remove {}", document.source);
            let moment = publishing::begin(&mut transaction, &note, Act::IMPORT, self.clock.now()).await?;
            publishing::remove(&mut transaction, &moment, KbItem::Document(id)).await?;
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn document_passages(&self, id: DocumentId) -> Result<Vec<Passage>, StorageError> {
        self.explained(async { documents::passages_of(&mut *self.reader().await?, id).await })
            .await
    }

    async fn passages_beside(&self, passage: &Passage) -> Result<Vec<Passage>, StorageError> {
        self.explained(async { documents::passages_beside(&mut *self.reader().await?, passage).await })
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
            let (mut moment, mut changed) = (None, 0);
            for faq in faqs {
                let present = faqs::by_key(&mut transaction, &faq.key).await?;
                if present.as_ref().is_some_and(|present| faqs::same(present, faq)) {
                    continue;
                }
                let moment = match &moment {
                    Some(moment) => moment,
                    None => {
                        moment.insert(publishing::begin(&mut transaction, note, Act::IMPORT, self.clock.now()).await?)
                    }
                };
                let draft = NewDraft {
                    item: KbItem::Faq(present.map_or(faq.id, |present| present.id)),
                    name: faq.key.clone(),
                    scope: faq.scope.clone(),
                    content: Some(Content::Faq(FaqContent::of(faq))),
                    author: IMPORT_AUTHOR.to_owned(),
                    note: String::new(),
                };
                let revision = publishing::imported(moment, &draft);
                publishing::make_live(&mut transaction, moment, revision, Stored::Now).await?;
                changed += 1;
            }
            if changed > 0 {
                transaction.commit().await?;
            }
            Ok(changed)
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

    async fn find_faqs(&self, words: &str, page: &PageRequest) -> Result<Page<Faq>, StorageError> {
        self.explained(async { faqs::find(&mut *self.reader().await?, words, page).await })
            .await
    }

    async fn faq_by_key(&self, key: &str) -> Result<Option<Faq>, StorageError> {
        self.explained(async { faqs::by_key(&mut *self.reader().await?, key).await })
            .await
    }

    async fn remove_faq(&self, id: FaqId) -> Result<bool, StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            let Some(faq) = faqs::by_ids(&mut transaction, &[id]).await?.pop() else {
                return Ok(false);
            };
            let note = format!("remove FAQ {}", faq.key);
            let moment = publishing::begin(&mut transaction, &note, Act::IMPORT, self.clock.now()).await?;
            publishing::remove(&mut transaction, &moment, KbItem::Faq(id)).await?;
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
        .map(|row| revisions::read_item(&Fields::new(row, "kb_changes")))
        .collect::<Result<Vec<_>, _>>()
        .map(Some)
}

async fn versions(connection: &mut SqliteConnection, limit: u32) -> Result<Vec<VersionEntry>, StorageError> {
    let sql = "SELECT version, note, author, created_at FROM kb_versions ORDER BY version DESC LIMIT ?1";
    let rows = sqlx::query(sql).bind(i64::from(limit)).fetch_all(connection).await?;
    rows.iter().map(publishing::read_version).collect()
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
