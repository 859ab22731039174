//! `kefu chat`: a conversation in the terminal.

use super::Common;
use crate::app::{App, Need};
use crate::dialogue::{Ask, ReplyEvent};
use crate::domain::{Role, Turn};
use clap::Args;
use futures::StreamExt;
use std::io::{BufRead, Write};

/// Talk in the terminal; an empty line or Ctrl-D ends it
#[derive(Debug, Args)]
pub struct Chat {}

impl Chat {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let app = App::open(common.settings(None)?, &common.data, &common.models, Need::Answers).await?;
        let (mut history, mut past_routes) = (Vec::new(), Vec::new());
        loop {
            print!("> ");
            std::io::stdout().flush()?;
            let mut line = String::new();
            if std::io::stdin().lock().read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            let question = line.trim().to_owned();
            let ask = Ask {
                history: history.clone(),
                past_routes: past_routes.clone(),
                ..Ask::new(question.clone(), app.viewer())
            };
            let mut events = match app.assistant.reply(ask) {
                Ok(events) => events,
                Err(error) => {
                    eprintln!("{error}");
                    continue;
                }
            };
            let mut answer = String::new();
            let mut sources = Vec::new();
            while let Some(event) = events.next().await {
                match event {
                    ReplyEvent::Route { route, .. } => past_routes.push(route),
                    ReplyEvent::Citation(citation) => sources.push(format!("[{}] {}", citation.n, citation.title)),
                    ReplyEvent::Token { text } => {
                        print!("{text}");
                        std::io::stdout().flush()?;
                        answer.push_str(&text);
                    }
                    ReplyEvent::Error { message, .. } => eprintln!("{message}"),
                    ReplyEvent::Done(_) | ReplyEvent::Queue { .. } | ReplyEvent::Handoff { .. } => {}
                }
            }
            println!("\n{}", sources.join("\n"));
            history.push(Turn {
                role: Role::Visitor,
                text: question,
            });
            history.push(Turn {
                role: Role::Assistant,
                text: answer,
            });
        }
        app.close().await;
        Ok(())
    }
}
