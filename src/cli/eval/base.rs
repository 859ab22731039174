//! A knowledge base of given passages alone, imported as documents are.

use crate::app::{App, Need};
use crate::cli::Common;
use crate::config::Config;
use crate::domain::DocumentId;
use crate::storage::PageRequest;
use anyhow::Context;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// A passage of a set, or a FAQ as one.
#[derive(Clone, Debug, Deserialize)]
pub struct Passage {
    /// Its name.
    #[serde(alias = "faq_id")]
    pub passage_id: String,
    /// What it is about.
    #[serde(default, alias = "question")]
    pub title: String,
    /// Its words.
    #[serde(alias = "answer")]
    pub text: String,
}

/// The directory of such a base; removed in the end unless it was named.
pub struct Work {
    path: PathBuf,
    kept: bool,
}

impl Work {
    pub fn new(named: Option<&Path>) -> anyhow::Result<Self> {
        let path = if let Some(path) = named {
            path.to_owned()
        } else {
            let path = std::env::temp_dir().join(format!("kefu-eval-{}", std::process::id()));
            // What is there already is somebody else's: others may write to this directory.
            std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
            path
        };
        let kept = named.is_some();
        Ok(Self { path, kept })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.kept {
            std::fs::remove_dir_all(&self.path).ok();
        }
    }
}

/// The base, opened.
pub struct Base {
    /// The program over it.
    pub app: App,
    names: HashMap<DocumentId, String>,
}

impl Base {
    /// Imports the passages, each as a page of a site, into a base under `work`.
    pub async fn open(
        common: &Common,
        config: Config,
        passages: impl Iterator<Item = &Passage>,
        work: &Path,
        need: Need,
    ) -> anyhow::Result<Self> {
        let pages = work.join("passages");
        std::fs::create_dir_all(&pages).with_context(|| pages.display().to_string())?;
        let mut ids = Vec::new();
        for (place, passage) in passages.enumerate() {
            let path = pages.join(format!("{place}.html"));
            std::fs::write(&path, page(passage)).with_context(|| path.display().to_string())?;
            ids.push(passage.passage_id.as_str());
        }
        // What is measured here is no knowledge of the company.
        let app = App::open(config.with_embedded_database(), work, &common.models, need).await?;
        let imported = app.ingester().import(&[pages], &(), &CancellationToken::new()).await?;
        if imported.failures() > 0 {
            tracing::warn!(
                passages = imported.failures(),
                "not imported; questions for them find nothing"
            );
        }
        app.retriever.refresh().await?;
        let mut names = HashMap::new();
        let mut request = PageRequest::first(1000);
        loop {
            let page = app.store.documents(&request).await?;
            for document in page.items {
                let name = document
                    .source
                    .rsplit('/')
                    .next()
                    .and_then(|name| name.strip_suffix(".html"));
                let place = name.and_then(|name| name.parse::<usize>().ok());
                if let Some(id) = place.and_then(|place| ids.get(place)) {
                    names.insert(document.id, (*id).to_owned());
                }
            }
            match page.next {
                Some(cursor) => request.cursor = Some(cursor),
                None => return Ok(Self { app, names }),
            }
        }
    }

    /// The passage that a document is.
    pub fn name(&self, document: DocumentId) -> Option<&str> {
        self.names.get(&document).map(String::as_str)
    }
}

/// A passage as the page of a site.
fn page(passage: &Passage) -> String {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let paragraphs: Vec<String> = (passage.text.lines())
        .map(|line| format!("<p>{}</p>", escaped(line)))
        .collect();
    format!(
        "<!doctype html><meta charset=\"utf-8\"><title>{}</title>\n{}",
        escaped(&passage.title),
        paragraphs.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faq_is_a_passage_too() {
        let faq: Passage = serde_json::from_str(r#"{"faq_id": "a", "question": "q", "answer": "x < y"}"#).unwrap();
        assert_eq!(
            (faq.passage_id.as_str(), faq.title.as_str(), faq.text.as_str()),
            ("a", "q", "x < y")
        );
        assert!(page(&faq).contains("<title>q</title>") && page(&faq).contains("<p>x &lt; y</p>"));
    }
}
