//! `kefu ask`: one question, no server needed.

use super::{Common, output};
use crate::app::{App, Need};
use crate::dialogue::{Ask as Question, ReplyEvent};
use anyhow::bail;
use clap::Args;
use futures::StreamExt;
use serde_json::json;
use std::io::Write;

/// Ask one question of the knowledge base
#[derive(Debug, Args)]
pub struct Ask {
    /// The question, in Chinese or English
    question: String,
    /// Print words as they come
    #[arg(long)]
    stream: bool,
}

impl Ask {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let app = App::open(common.settings(None)?, &common.data, &common.models, Need::Answers).await?;
        let mut events = app.assistant.reply(Question::new(self.question, app.viewer()))?;
        let (mut answer, mut route, mut citations) = (String::new(), None, Vec::new());
        while let Some(event) = events.next().await {
            match event {
                ReplyEvent::Route {
                    route: by, confidence, ..
                } => route = Some((by, confidence)),
                ReplyEvent::Citation(citation) => citations.push(citation),
                ReplyEvent::Token { text } => {
                    if self.stream && !common.json {
                        print!("{text}");
                        std::io::stdout().flush()?;
                    }
                    answer.push_str(&text);
                }
                ReplyEvent::Done(done) if common.json => output::print_json(&json!({
                    "answer": answer,
                    "route": route.map(|(route, _)| route),
                    "confidence": route.map(|(_, confidence)| confidence),
                    "citations": citations,
                    "timings_ms": done.timings,
                    "usage": done.usage,
                    "model": done.model,
                    "kb_version": done.kb_version,
                })),
                ReplyEvent::Done(done) => {
                    println!("{}", if self.stream { "" } else { answer.as_str() });
                    for citation in &citations {
                        println!(
                            "\n[{}] {}\n    {}",
                            citation.n,
                            citation.title,
                            citation.quote.replace('\n', "\n    ")
                        );
                    }
                    let how = route.map_or("?", |(route, _)| route.name());
                    eprintln!("\n({how}, {} ms)", done.timings.total);
                }
                ReplyEvent::Error { code, message } => bail!("{message} ({code})"),
                ReplyEvent::Queue { .. } | ReplyEvent::Handoff { .. } => {}
            }
        }
        app.close().await;
        Ok(())
    }
}
