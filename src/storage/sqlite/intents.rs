//! Examples of what customers want, and heads trained on them.

use super::rows::{Fields, id_bytes, page_of, page_rows, read_cursor, to_integer};
use super::{SqliteStore, audit};
use crate::domain::{ExampleId, ExampleOrigin, IntentCount, IntentExample, MessageId, TrainedHead};
use crate::storage::{IntentStore, KEPT_HEADS, MAX_EXAMPLES, Page, PageRequest, StorageError};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;

const TABLE: &str = "intent_examples";

#[async_trait]
impl IntentStore for SqliteStore {
    async fn put_examples(&self, examples: &[IntentExample]) -> Result<usize, StorageError> {
        self.explained(async {
            // What was given by itself stays when the message goes that says the same, and stays what it was whatever is said of a
            // message: who may say that is not who decides what is learnt.
            let sql = "INSERT INTO intent_examples (id, text, intent, origin, message_id, author, created_at) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (text) DO UPDATE SET intent = excluded.intent, \
                       origin = excluded.origin, author = excluded.author, created_at = excluded.created_at, \
                       message_id = CASE WHEN excluded.message_id IS NULL THEN NULL ELSE intent_examples.message_id END \
                       WHERE CASE WHEN excluded.message_id IS NULL THEN intent_examples.intent <> excluded.intent OR intent_examples.message_id IS NOT NULL \
                       ELSE intent_examples.intent <> excluded.intent AND intent_examples.message_id IS NOT NULL END";
            let mut transaction = self.change().await?;
            let mut changed = 0;
            for example in examples {
                let done = sqlx::query(sql)
                    .bind(id_bytes(example.id.0))
                    .bind(example.text.clone())
                    .bind(example.intent.clone())
                    .bind(example.origin.name())
                    .bind(example.message.map(|message| id_bytes(message.0)))
                    .bind(example.author.clone())
                    .bind(example.created_at.as_microsecond())
                    .execute(&mut *transaction)
                    .await?;
                changed += usize::try_from(done.rows_affected()).unwrap_or(usize::MAX);
            }
            let row = sqlx::query("SELECT count(*) AS n FROM intent_examples")
                .fetch_one(&mut *transaction)
                .await?;
            let there: usize = Fields::new(&row, TABLE).number("n")?;
            if there > MAX_EXAMPLES {
                return Err(StorageError::Invalid {
                    table: TABLE,
                    detail: format!("{there} examples are more than {MAX_EXAMPLES}: remove some first"),
                });
            }
            let Some(first) = examples.first().filter(|_| changed > 0) else {
                return Ok(0);
            };
            let what = ("intents.examples", first.intent.clone());
            let detail = json!({"changed": changed, "examples": there, "origin": first.origin.name()});
            let line = audit::note(&mut transaction, self.clock.now(), &first.author, what, detail).await?;
            transaction.commit().await?;
            audit::tell(&line);
            Ok(changed)
        })
        .await
    }

    async fn examples(&self, intent: Option<&str>, page: &PageRequest) -> Result<Page<IntentExample>, StorageError> {
        self.explained(async {
            let rows = page_rows(page.limit);
            let after = read_cursor(TABLE, page.cursor.as_deref())?;
            let after = after.map(|cursor| cursor.parse::<ExampleId>()).transpose();
            let after = after.map_err(|_| StorageError::Invalid {
                table: TABLE,
                detail: "the cursor is none that a list gave; begin without one".to_owned(),
            })?;
            let sql = "SELECT id, text, intent, origin, message_id, author, created_at FROM intent_examples \
                       WHERE (?2 IS NULL OR intent = ?2) AND (?3 IS NULL OR id > ?3) ORDER BY id LIMIT ?1";
            let items = sqlx::query(sql)
                .bind(rows)
                .bind(intent.map(str::to_owned))
                .bind(after.map(|after| id_bytes(after.0)))
                .fetch_all(&mut *self.reader().await?)
                .await?;
            let items = items.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            let keyed = items.into_iter().map(|item| (item.id.to_string(), item)).collect();
            let page = page_of(keyed, rows, |(key, _): &(String, IntentExample)| key);
            Ok(Page {
                items: page.items.into_iter().map(|(_, item)| item).collect(),
                next: page.next,
            })
        })
        .await
    }

    async fn labelled_texts(&self) -> Result<Vec<(String, String)>, StorageError> {
        self.explained(async {
            let rows = sqlx::query("SELECT text, intent FROM intent_examples ORDER BY text LIMIT ?1")
                .bind(to_integer(TABLE, MAX_EXAMPLES)?)
                .fetch_all(&mut *self.reader().await?)
                .await?;
            rows.iter()
                .map(|row| {
                    let fields = Fields::new(row, TABLE);
                    Ok((fields.text("text")?, fields.text("intent")?))
                })
                .collect()
        })
        .await
    }

    async fn intents(&self) -> Result<Vec<IntentCount>, StorageError> {
        self.explained(async {
            let sql = "SELECT intent, sum(CASE origin WHEN 'given' THEN 1 ELSE 0 END) AS given, \
                       sum(CASE origin WHEN 'corrected' THEN 1 ELSE 0 END) AS corrected \
                       FROM intent_examples GROUP BY intent ORDER BY intent";
            let rows = sqlx::query(sql).fetch_all(&mut *self.reader().await?).await?;
            rows.iter()
                .map(|row| {
                    let fields = Fields::new(row, TABLE);
                    Ok(IntentCount {
                        intent: fields.text("intent")?,
                        given: fields.number("given")?,
                        corrected: fields.number("corrected")?,
                    })
                })
                .collect()
        })
        .await
    }

    async fn remove_example(&self, id: ExampleId, by: &str) -> Result<bool, StorageError> {
        self.explained(async {
            let mut transaction = self.change().await?;
            let row = sqlx::query("DELETE FROM intent_examples WHERE id = ?1 RETURNING intent")
                .bind(id_bytes(id.0))
                .fetch_optional(&mut *transaction)
                .await?;
            let Some(row) = row else { return Ok(false) };
            let intent = Fields::new(&row, TABLE).text("intent")?;
            let what = ("intents.remove_example", intent);
            let line = audit::note(&mut transaction, self.clock.now(), by, what, json!({})).await?;
            transaction.commit().await?;
            audit::tell(&line);
            Ok(true)
        })
        .await
    }

    async fn put_head(
        &self,
        task: &str,
        head: &[u8],
        by: &str,
        at: Timestamp,
        detail: Value,
    ) -> Result<u64, StorageError> {
        self.explained(async {
            let sql = "INSERT INTO heads (task, head, author, created_at) VALUES (?1, ?2, ?3, ?4) RETURNING version";
            let mut transaction = self.change().await?;
            let row = sqlx::query(sql)
                .bind(task.to_owned())
                .bind(head.to_vec())
                .bind(by.to_owned())
                .bind(at.as_microsecond())
                .fetch_one(&mut *transaction)
                .await?;
            let version: u64 = Fields::new(&row, "heads").number("version")?;
            let old = "DELETE FROM heads WHERE task = ?1 AND version NOT IN \
                       (SELECT version FROM heads WHERE task = ?1 ORDER BY version DESC LIMIT ?2)";
            sqlx::query(old)
                .bind(task.to_owned())
                .bind(i64::from(KEPT_HEADS))
                .execute(&mut *transaction)
                .await?;
            let what = ("heads.train", format!("{task} {version}"));
            let line = audit::note(&mut transaction, self.clock.now(), by, what, detail).await?;
            transaction.commit().await?;
            audit::tell(&line);
            Ok(version)
        })
        .await
    }

    async fn newer_head(&self, task: &str, after: u64) -> Result<Option<TrainedHead>, StorageError> {
        self.explained(async {
            let sql = "SELECT version, head, author, created_at FROM heads WHERE task = ?1 AND version > ?2 \
                       ORDER BY version DESC LIMIT 1";
            let row = sqlx::query(sql)
                .bind(task.to_owned())
                .bind(to_integer("heads", after)?)
                .fetch_optional(&mut *self.reader().await?)
                .await?;
            row.map(|row| {
                let fields = Fields::new(&row, "heads");
                Ok(TrainedHead {
                    version: fields.number("version")?,
                    head: fields.bytes("head")?.to_vec(),
                    author: fields.text("author")?,
                    created_at: fields.time("created_at")?,
                })
            })
            .transpose()
        })
        .await
    }
}

fn read(row: &SqliteRow) -> Result<IntentExample, StorageError> {
    let fields = Fields::new(row, TABLE);
    Ok(IntentExample {
        id: ExampleId(fields.uuid("id")?),
        text: fields.text("text")?,
        intent: fields.text("intent")?,
        origin: fields.named("origin", ExampleOrigin::from_name)?,
        message: fields.optional_uuid("message_id")?.map(MessageId),
        author: fields.text("author")?,
        created_at: fields.time("created_at")?,
    })
}
