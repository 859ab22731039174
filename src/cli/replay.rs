//! `kefu replay`: gives a stored reply again, and says what is different.

use super::{Common, output};
use crate::app::{App, Need};
use crate::dialogue::{Difference, Replayed};
use crate::domain::MessageId;
use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Give a stored reply again, and say what is different: exit code 0 where the answer is the same, 1 where it is not
#[derive(Debug, Args)]
pub struct Replay {
    /// The reply's message id
    #[arg(value_name = "MESSAGE_ID")]
    message: String,
}

impl Replay {
    pub async fn run(self, common: &Common) -> anyhow::Result<ExitCode> {
        let id: MessageId = self.message.parse().context("a message's id is a UUID")?;
        let app = App::open(common.settings(None)?, &common.data, &common.models, Need::Answers).await?;
        let replayed = app.replayer()?.replay(id).await;
        app.close().await;
        let replayed = replayed?;
        if common.json {
            let mut json = serde_json::to_value(&replayed)?;
            json["masked"] = json!(true);
            output::print_json(&json);
        } else {
            print(&replayed);
        }
        Ok(if replayed.same {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn print(replayed: &Replayed) {
    println!("Question (as stored, masked): {}", replayed.question);
    if replayed.understood != replayed.question && !replayed.understood.is_empty() {
        println!("Understood: {}", replayed.understood);
    }
    if replayed.same {
        println!("The same answer:\n{}", replayed.now);
    } else {
        println!("Then:\n{}\n\nNow:\n{}", replayed.was, replayed.now);
    }
    for difference in &replayed.differences {
        println!("{}", in_words(difference));
    }
}

fn in_words(difference: &Difference) -> String {
    let route = |route: &Option<crate::domain::Route>| route.map_or("none", crate::domain::Route::name);
    let sure = |confidence: &Option<f32>| confidence.map_or("-".to_owned(), |sure| format!("{sure:.3}"));
    match difference {
        Difference::Route { was, now } => format!("route: {} then, {} now", route(was), route(now)),
        Difference::Text { at, was, now } => format!("words: from character {at} on: {was:?} then, {now:?} now"),
        Difference::Citations { was, now } => {
            format!("citations: {} then, {} now", was.join("; "), now.join("; "))
        }
        Difference::Flow { detail } => format!("flow: {detail}"),
        Difference::Confidence { was, now } => format!("confidence: {} then, {} now", sure(was), sure(now)),
        Difference::Found { no_longer, newly } => {
            format!("found: no longer {no_longer:?}, newly {newly:?}")
        }
        Difference::Understood { was, now } => format!("understood: {was:?} then, {now:?} now"),
        Difference::Environment { name, was, now } => format!("{name}: {} then, {} now", short(was), short(now)),
        Difference::KnowledgeVersion { was, now } => format!("knowledge base: version {was} then, {now} now"),
        Difference::Source { title, id, change } => format!("source {title:?} ({id}): {change}"),
        Difference::Remasked { message } => format!("message {message} was masked after it had been answered"),
        Difference::MissingHistory { messages } => {
            format!("{messages} messages that were taken into account are no longer kept")
        }
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    text.chars().take(80).collect()
}
