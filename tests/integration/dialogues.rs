//! Scripted conversations (`tests/dialogues`) through the real assistant: embedding model, reader, flows, masking, no language model. What
//! the specification wants stands in the scripts; what the program does stands in `tests/dialogues/snapshots`, with a mark where the
//! two differ. A change is shown line by line; `UPDATE_SNAPSHOTS=1` accepts it.
#![allow(clippy::unwrap_used)]

use crate::http::inner::Inner;
use futures::StreamExt;
use jiff::Timestamp;
use kefu::app::EmbedderSimilarity;
use kefu::config::{Config, Overrides, load};
use kefu::dialogue::flow::machine::step;
use kefu::dialogue::flow::tools::{tools_of, zone};
use kefu::dialogue::flow::{self, Flow, Similarity};
use kefu::dialogue::{Assistant, Confidence, Conversations, FlowDriver, FlowParts, ReplyEvent};
use kefu::domain::{Channel, Clock, ConversationId, ManualClock, MessageId, Role};
use kefu::inference::{CrossReader, E5Embedder, Embedder};
use kefu::retrieval::{Ingester, Retriever};
use kefu::storage::{SqliteStore, Store, Vault};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The telephone that codes are sent to.
const PHONE: &str = "13800138000";
/// Conversations at once.
const AT_ONCE: usize = 4;

/// A line of a script.
enum Line {
    Say { text: String, routes: Vec<String> },
    Slots(BTreeMap<String, String>),
}

fn parse(script: &str) -> Vec<Line> {
    script
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            if let Some(slots) = line.strip_prefix("slots ") {
                let pairs = slots.split_whitespace().map(|pair| pair.split_once('=').unwrap());
                return Line::Slots(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
            }
            let (text, routes) = line.rsplit_once(" => ").unwrap_or_else(|| panic!("no route: {line}"));
            Line::Say {
                text: text.to_owned(),
                routes: routes.trim().split('|').map(str::to_owned).collect(),
            }
        })
        .collect()
}

/// What all conversations share.
struct World {
    config: Config,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    assistant: Arc<Assistant>,
    similarity: Arc<dyn Similarity>,
    vault: Arc<Vault>,
    flows: Vec<Flow>,
    _directory: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let models = std::env::var_os("KEFU_TEST_MODELS").map_or_else(|| root.join("models"), PathBuf::from);
        let path = models.join("e5-small-q4.bin");
        assert!(
            path.is_file(),
            "{} is missing: run scripts/test.sh, which fetches the models",
            path.display()
        );
        let config = load(&Overrides::default()).unwrap();
        let embedder = E5Embedder::load(&path, "multilingual-e5-small", "", &config.inference).unwrap();
        let reader = CrossReader::built_in(&embedder, &config.inference).unwrap();
        let embedder: Arc<dyn Embedder> = Arc::new(embedder);
        let directory = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::from_second(1_780_000_000).unwrap()));
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(directory.path(), clock.clone()).await.unwrap());
        let base = [root.join("kb/faq"), root.join("kb/docs/cards")];
        let report = Ingester::new(store.clone(), embedder.clone(), clock.clone(), config.retrieval.clone())
            .import(&base, &(), &CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(report.failures(), 0, "{report:?}");
        let index = directory.path().join("index");
        let retriever = Retriever::open(store.clone(), embedder.clone(), index, config.retrieval.clone())
            .await
            .unwrap();
        let assistant = Assistant::new(
            Arc::new(retriever),
            Arc::new(reader),
            None,
            Confidence::built_in().unwrap(),
            config.dialogue.clone(),
        );
        Self {
            store,
            clock,
            assistant: Arc::new(assistant),
            similarity: Arc::new(EmbedderSimilarity(embedder)),
            vault: Arc::new(Vault::open(&directory.path().join("vault.key")).unwrap()),
            flows: flow::load(&root.join("kb/flows")).unwrap(),
            config,
            _directory: directory,
        }
    }

    /// Plays a script; what happened, line by line.
    async fn play(&self, name: &str, script: &str) -> String {
        let (inner, address) = Inner::start().await;
        let offset = self.config.dialogue.utc_offset_minutes;
        let parts = FlowParts {
            flows: self.flows.clone(),
            tools: tools_of(&Inner::settings(address), &self.clock, offset).unwrap(),
            similarity: Some((Arc::clone(&self.similarity), self.config.dialogue.flow_similarity)),
            zone: zone(offset),
            vault: Arc::clone(&self.vault),
        };
        let driver = FlowDriver::new(
            parts,
            Arc::clone(&self.assistant),
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
        );
        let driver = Arc::new(driver.unwrap());
        let conversations = Conversations::new(
            Arc::clone(&self.assistant),
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            TaskTracker::new(),
            2,
        );
        let conversations = conversations
            .with_flows(Arc::clone(&driver))
            .with_vault(Arc::clone(&self.vault));
        let conversations = Arc::new(conversations);
        let (begun, _) = conversations.start(Channel::Web).await.unwrap();
        let mut shown = format!("## {name}\n");
        let mut slots = BTreeMap::new();
        for line in parse(script) {
            match line {
                Line::Say { text, routes } => {
                    let sent = if text.contains("{code}") {
                        text.replace("{code}", &inner.code(PHONE))
                    } else {
                        text.clone()
                    };
                    // A conversation that waits for a person goes on.
                    let present = self.store.conversation(begun.id).await.unwrap().unwrap();
                    let mut replies = conversations.say(&present, &sent).await.unwrap();
                    let (mut route, mut cited, mut message) = (String::from("none"), None, None);
                    while let Some(event) = replies.next().await {
                        match event {
                            ReplyEvent::Route { route: name, .. } => name.name().clone_into(&mut route),
                            ReplyEvent::Citation(citation) if cited.is_none() => cited = Some(citation.title),
                            ReplyEvent::Done(done) => message = Some(done.message_id),
                            ReplyEvent::Error { code, .. } => route = format!("error {code}"),
                            _ => {}
                        }
                    }
                    if let (Some(message), "flow") = (message, route.as_str()) {
                        slots = self.slots(&driver, begun.id, message).await;
                    }
                    writeln!(shown, "> {text}").unwrap();
                    let kept = self.last_said(begun.id).await;
                    if kept != sent && !text.contains("{code}") {
                        writeln!(shown, "  kept: {kept}").unwrap();
                    }
                    let source = cited.map_or_else(String::new, |title| format!(" [{title}]"));
                    let wanted = if routes.contains(&route) {
                        String::new()
                    } else {
                        format!("   <> wanted {}", routes.join("|"))
                    };
                    writeln!(shown, "= {route}{source}{wanted}").unwrap();
                }
                Line::Slots(wanted) => {
                    for (name, value) in wanted {
                        let found = slots.get(&name).map_or("nothing", String::as_str);
                        if found != value {
                            writeln!(shown, "slot {name}: {found}   <> wanted {value}").unwrap();
                        }
                    }
                }
            }
        }
        if !slots.is_empty() {
            let pairs: Vec<String> = slots.iter().map(|(name, value)| format!("{name}={value}")).collect();
            writeln!(shown, "slots {}", pairs.join(" ")).unwrap();
        }
        shown
    }

    async fn last_said(&self, id: ConversationId) -> String {
        let said = self.store.messages(id, 4).await.unwrap();
        let last = said.into_iter().rfind(|message| message.role == Role::Visitor);
        last.unwrap().text
    }

    /// The slots after a reply of a flow: its trace, computed again.
    async fn slots(&self, driver: &FlowDriver, id: ConversationId, message: MessageId) -> BTreeMap<String, String> {
        let traces = driver.traces(id, message).await.unwrap().unwrap();
        let Some(trace) = traces.first() else {
            return BTreeMap::new();
        };
        let flow = self.flows.iter().find(|flow| flow.name == trace.before.flow).unwrap();
        let mut state = trace.before.clone();
        for (input, _) in &trace.steps {
            state = step(flow, state, trace.now, input).0;
        }
        let slots = state.slots.iter();
        slots.map(|(name, value)| (name.clone(), value.canonical())).collect()
    }
}

/// The lines that differ, with the dialogue they stand in.
fn difference(was: &str, now: &str) -> String {
    let blocks = |text: &str| -> BTreeMap<String, Vec<String>> {
        let mut blocks = BTreeMap::new();
        let mut name = String::new();
        for line in text.lines() {
            if line.starts_with("## ") {
                line.clone_into(&mut name);
            }
            blocks
                .entry(name.clone())
                .or_insert_with(Vec::new)
                .push(line.to_owned());
        }
        blocks
    };
    let (was, now) = (blocks(was), blocks(now));
    let mut shown = String::new();
    let names: std::collections::BTreeSet<&String> = was.keys().chain(now.keys()).collect();
    for name in names {
        let (before, after) = (was.get(name), now.get(name));
        if before == after {
            continue;
        }
        writeln!(shown, "{name}").unwrap();
        let (before, after) = (before.cloned().unwrap_or_default(), after.cloned().unwrap_or_default());
        for at in 1..before.len().max(after.len()) {
            match (before.get(at), after.get(at)) {
                (Some(old), Some(new)) if old == new => writeln!(shown, "    {old}").unwrap(),
                (old, new) => {
                    old.inspect(|old| writeln!(shown, "  - {old}").unwrap());
                    new.inspect(|new| writeln!(shown, "  + {new}").unwrap());
                }
            }
        }
    }
    shown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripted_dialogues_go_as_they_went() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let world = World::new().await;
    let (mut dialogues, mut turns, mut unwanted) = (0, 0, 0);
    let mut changes = String::new();
    for file in files {
        let scripts: toml::Table = toml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let played = futures::stream::iter(scripts.iter())
            .map(|(name, script)| world.play(name, script.as_str().unwrap()))
            .buffered(AT_ONCE)
            .collect::<Vec<String>>()
            .await;
        dialogues += played.len();
        let now = played.join("\n");
        turns += now.lines().filter(|line| line.starts_with("= ")).count();
        unwanted += now.lines().filter(|line| line.contains("<> wanted")).count();
        let snapshot = directory
            .join("snapshots")
            .join(file.file_stem().unwrap())
            .with_extension("txt");
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::create_dir_all(snapshot.parent().unwrap()).unwrap();
            std::fs::write(&snapshot, &now).unwrap();
            continue;
        }
        let was = std::fs::read_to_string(&snapshot).unwrap_or_default();
        changes.push_str(&difference(&was, &now));
    }
    println!("{dialogues} dialogues, {turns} turns, {unwanted} lines that the specification wants otherwise");
    assert!(dialogues >= 200, "{dialogues}");
    assert!(
        changes.is_empty(),
        "\n{changes}\nUPDATE_SNAPSHOTS=1 accepts what is new"
    );
}

#[test]
fn a_difference_names_dialogue_and_line() {
    let was = "## a\n> x\n= faq\n\n## b\n> y\n= flow\n";
    let now = "## a\n> x\n= refuse\n\n## b\n> y\n= flow\n";
    assert_eq!(difference(was, now), "## a\n    > x\n  - = faq\n  + = refuse\n    \n");
    assert_eq!(difference(was, was), "");
}
