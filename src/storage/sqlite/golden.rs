//! Questions whose right answer is known.

use super::SqliteStore;
use super::rows::{Fields, id_bytes, to_json};
use crate::domain::{GoldenId, GoldenQuestion};
use crate::storage::publishing::MAX_GOLDEN;
use crate::storage::{GoldenStore, StorageError};
use async_trait::async_trait;

const TABLE: &str = "golden_questions";

#[async_trait]
impl GoldenStore for SqliteStore {
    async fn put_golden(&self, questions: &[GoldenQuestion]) -> Result<usize, StorageError> {
        self.explained(async {
            // A question that is there keeps its id; one that says the same is no change.
            let sql = "INSERT INTO golden_questions (id, question, expect, author, created_at) \
                       VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (question) DO UPDATE SET expect = excluded.expect, \
                       author = excluded.author, created_at = excluded.created_at WHERE expect <> excluded.expect";
            let mut transaction = self.change().await?;
            let mut changed = 0;
            for question in questions {
                let done = sqlx::query(sql)
                    .bind(id_bytes(question.id.0))
                    .bind(question.question.clone())
                    .bind(to_json(TABLE, &question.expect)?)
                    .bind(question.author.clone())
                    .bind(question.created_at.as_microsecond())
                    .execute(&mut *transaction)
                    .await?;
                changed += usize::try_from(done.rows_affected()).unwrap_or(usize::MAX);
            }
            let row = sqlx::query("SELECT count(*) AS questions FROM golden_questions")
                .fetch_one(&mut *transaction)
                .await?;
            let there: usize = Fields::new(&row, TABLE).number("questions")?;
            if there > MAX_GOLDEN {
                return Err(StorageError::Invalid {
                    table: TABLE,
                    detail: format!("{there} golden questions are more than {MAX_GOLDEN}: remove some first"),
                });
            }
            transaction.commit().await?;
            Ok(changed)
        })
        .await
    }

    async fn golden(&self) -> Result<Vec<GoldenQuestion>, StorageError> {
        self.explained(async {
            let sql = "SELECT id, question, expect, author, created_at FROM golden_questions ORDER BY id LIMIT ?1";
            let rows = sqlx::query(sql)
                .bind(i64::try_from(MAX_GOLDEN).unwrap_or(i64::MAX))
                .fetch_all(&mut *self.reader().await?)
                .await?;
            rows.iter()
                .map(|row| {
                    let fields = Fields::new(row, TABLE);
                    Ok(GoldenQuestion {
                        id: GoldenId(fields.uuid("id")?),
                        question: fields.text("question")?,
                        expect: fields.json("expect")?,
                        author: fields.text("author")?,
                        created_at: fields.time("created_at")?,
                    })
                })
                .collect()
        })
        .await
    }

    async fn remove_golden(&self, id: GoldenId) -> Result<bool, StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            let done = sqlx::query("DELETE FROM golden_questions WHERE id = ?1")
                .bind(id_bytes(id.0))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }
}
