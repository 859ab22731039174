//! Questions whose right answer is known.

use super::rows::{Fields, to_json};
use super::{PostgresStore, audit};
use crate::domain::{GoldenId, GoldenQuestion};
use crate::storage::{GoldenStore, MAX_GOLDEN, StorageError};
use async_trait::async_trait;
use serde_json::json;

const TABLE: &str = "golden_questions";

#[async_trait]
impl GoldenStore for PostgresStore {
    async fn put_golden(&self, questions: &[GoldenQuestion]) -> Result<usize, StorageError> {
        self.explained(async {
            // A question that is there keeps its id; one that says the same is no change.
            let sql = "INSERT INTO golden_questions (id, question, expect, author, created_at) \
                       VALUES ($1, $2, $3, $4, $5) ON CONFLICT (md5(question)) DO UPDATE SET expect = excluded.expect, \
                       author = excluded.author, created_at = excluded.created_at WHERE golden_questions.expect <> excluded.expect";
            let mut transaction = self.change_knowledge().await?;
            let mut changed = 0;
            for question in questions {
                let done = sqlx::query(sql)
                    .bind(question.id.0)
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
            let Some(first) = questions.first().filter(|_| changed > 0) else {
                return Ok(0);
            };
            let what = ("golden.put", first.question.clone());
            let detail = json!({"changed": changed, "questions": there});
            let line = audit::note(&mut transaction, self.clock.now(), &first.author, what, detail).await?;
            transaction.commit().await?;
            audit::tell(&line);
            Ok(changed)
        })
        .await
    }

    async fn golden(&self) -> Result<Vec<GoldenQuestion>, StorageError> {
        self.explained(async {
            let sql = "SELECT id, question, expect, author, created_at FROM golden_questions ORDER BY id LIMIT $1";
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

    async fn remove_golden(&self, id: GoldenId, by: &str) -> Result<bool, StorageError> {
        self.explained(async {
            let mut transaction = self.change_knowledge().await?;
            let row = sqlx::query("DELETE FROM golden_questions WHERE id = $1 RETURNING question")
                .bind(id.0)
                .fetch_optional(&mut *transaction)
                .await?;
            let Some(row) = row else { return Ok(false) };
            let question = Fields::new(&row, TABLE).text("question")?;
            let what = ("golden.remove", question);
            let line = audit::note(&mut transaction, self.clock.now(), by, what, json!({})).await?;
            transaction.commit().await?;
            audit::tell(&line);
            Ok(true)
        })
        .await
    }
}
