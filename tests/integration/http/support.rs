//! A running server with a small knowledge base, its scripted models, and a client that sends exactly what it is told.

use super::client::{Events, Reply, read_reply};
use super::doubles::{HashingEmbedder, OverlapReader, ScriptedModel};
use jiff::Timestamp;
use kefu::app::follow_knowledge;
use kefu::config::{self, Config, Overrides};
use kefu::desk::Customers;
use kefu::dialogue::{Assistant, Confidence, Conversations, FlowDriver, FlowParts, flow};
use kefu::domain::{ApiKeyId, Document, DocumentFormat, DocumentId, Faq, FaqId, ManualClock, Passage, PassageId};
use kefu::http::{AppState, Part, PartState, Services};
use kefu::inference::{Embedder, LanguageModel};
use kefu::jobs::{Eraser, Imports, Learner, Publisher, Trainer};
use kefu::retrieval::{Ingester, Retriever, Vectors};
use kefu::storage::{ApiKey, PostgresStore, SqliteStore, Store, Vault};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub const MODEL: &str = "scripted-model";
pub const EMBEDDER: &str = "hashing-embedder";
pub const KEY: &str = "kefu_test_key";
pub const REVOKED: &str = "kefu_revoked_key";
pub const FAQ_QUESTION: &str = "密码忘了怎么办？";
pub const FAQ_ANSWER: &str = "请在登录页点“忘记密码”，用预留手机号重新设置。";
/// No FAQ asks this: it is answered from the passage.
pub const QUESTION: &str = "信用卡挂失手续费是多少？";
pub const PASSAGE: &str = "信用卡遗失后请立即挂失。信用卡挂失手续费每卡40元。补发新卡工本费每卡10元。";
pub const SENTENCE: &str = "信用卡挂失手续费每卡40元。";

/// A patience that only a hanging server exhausts.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server.
pub struct Server {
    pub address: SocketAddr,
    pub state: AppState,
    pub store: Arc<dyn Store>,
    pub model: Arc<ScriptedModel>,
    pub embedder: Arc<HashingEmbedder>,
    pub cancelled: mpsc::UnboundedReceiver<()>,
    pub shutdown: CancellationToken,
    pub tasks: TaskTracker,
    pub passage: PassageId,
    pub faq: FaqId,
    pub served: JoinHandle<()>,
    pub clock: Arc<ManualClock>,
    config: Config,
    directory: tempfile::TempDir,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A server that answers, with changed settings.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let server = Self::start_loading(change).await;
        server.finish_loading().await;
        server
    }

    /// A server whose models are not there yet.
    pub async fn start_loading(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_780_000_000).unwrap()));
        let store: Arc<dyn Store> = if on_postgres() {
            let server = crate::postgres::shared().await;
            let database = server.database("").await;
            let options = server.options(&database);
            Arc::new(PostgresStore::open(&options, clock.clone()).await.unwrap())
        } else {
            Arc::new(SqliteStore::open(directory.path(), clock.clone()).await.unwrap())
        };
        let filled = fill(store.as_ref()).await;
        Self::over(store, filled, clock, directory, change).await
    }

    /// One of several servers over a database, which holds what [`fill`] puts there. It follows what the others publish.
    pub async fn node(store: Arc<dyn Store>, vault_key: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("vault.key");
        let mut file = std::fs::OpenOptions::new();
        let mut file = file.write(true).create_new(true).mode(0o600).open(key).unwrap();
        std::io::Write::write_all(&mut file, vault_key).unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_780_000_000).unwrap()));
        let filled = (PassageId::new(), FaqId::new());
        let server = Self::over(store, filled, clock, directory, |_| {}).await;
        server.finish_loading().await;
        let retriever = Arc::clone(server.state.services().unwrap().assistant.retriever());
        // It is the database that tells of changes: this test would not last until the next look.
        let every = Duration::from_hours(1);
        let (store, state) = (Arc::clone(&server.store), server.state.clone());
        tokio::spawn(follow_knowledge(
            store,
            retriever,
            every,
            state,
            server.shutdown.clone(),
        ));
        server
    }

    async fn over(
        store: Arc<dyn Store>,
        (passage, faq): (PassageId, FaqId),
        clock: Arc<ManualClock>,
        directory: tempfile::TempDir,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = config::load(&Overrides::default()).unwrap();
        // Approved answers for their own wording alone; everything else is answered from passages.
        config.dialogue.faq_confidence = 1.0;
        config.dialogue.answer_confidence = 0.0;
        config.dialogue.confirmed_confidence = 0.0;
        // What is tested is mostly how an answer is written, and the scripted model says one thing only.
        config.dialogue.written_answers = true;
        config.dialogue.second_reading = false;
        change(&mut config);
        let (sender, cancelled) = mpsc::unbounded_channel();
        let model = Arc::new(ScriptedModel::new(sender));
        let state = AppState::new(Arc::new(config.http.clone()), Arc::clone(&store), clock.clone());
        let listener = kefu::http::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let serving = kefu::http::serve(listener, state.clone(), shutdown.clone());
        let served = tokio::spawn(async move { serving.await.unwrap() });
        Self {
            address,
            state,
            store,
            model,
            embedder: Arc::new(HashingEmbedder::new()),
            cancelled,
            shutdown,
            tasks: TaskTracker::new(),
            passage,
            faq,
            served,
            clock,
            config,
            directory,
        }
    }

    pub async fn finish_loading(&self) {
        let embedder: Arc<dyn Embedder> = self.embedder.clone();
        let index = self.directory.path().join("index");
        let retriever = Retriever::open(
            Arc::clone(&self.store),
            Arc::clone(&embedder),
            index,
            self.config.retrieval.clone(),
        )
        .await
        .unwrap();
        let model: Arc<dyn LanguageModel> = self.model.clone();
        let mut assistant = Assistant::new(
            Arc::new(retriever),
            Arc::new(OverlapReader),
            Some(model),
            Confidence::built_in().unwrap(),
            self.config.dialogue.clone(),
        );
        if !self.config.understanding.heads.is_empty() {
            let senses = super::moods::senses(&self.config.understanding).await;
            assistant = assistant.with_senses(Arc::new(senses));
        }
        let assistant = Arc::new(assistant);
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_780_000_000).unwrap()));
        let clock: Arc<dyn kefu::domain::Clock> = clock;
        let vault = Arc::new(Vault::open(&self.directory.path().join("vault.key")).unwrap());
        let mut conversations = Conversations::new(
            Arc::clone(&assistant),
            Arc::clone(&self.store),
            Arc::clone(&clock),
            self.tasks.clone(),
            self.config.http.max_replies_per_visitor,
        );
        if !self.config.dialogue.flows.is_empty() {
            let offset = self.config.dialogue.utc_offset_minutes;
            let parts = FlowParts {
                flows: flow::load(std::path::Path::new(&self.config.dialogue.flows)).unwrap(),
                tools: flow::tools::tools_of(&self.config.tools, &clock, offset).unwrap(),
                similarity: None,
                zone: flow::tools::zone(offset),
                vault: Arc::clone(&vault),
            };
            let driver = FlowDriver::new(parts, Arc::clone(&assistant), Arc::clone(&self.store), clock).unwrap();
            conversations = conversations.with_flows(Arc::new(driver));
        }
        if self.config.customers.history_in_answers {
            conversations = conversations.with_past(self.config.customers.history_messages);
        }
        let masker = assistant.masker().clone();
        let customers = Customers::new(
            Arc::clone(&self.store),
            Some(Arc::clone(&vault)),
            self.clock.clone(),
            masker.clone(),
            self.config.customers.history_messages,
        );
        let eraser = Eraser::new(Arc::clone(&self.store), self.clock.clone(), masker);
        let conversations = Arc::new(conversations.with_vault(vault));
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_780_000_000).unwrap()));
        let learner = Learner::new(
            Vectors::new(Arc::clone(&self.store), Arc::clone(&embedder)),
            Arc::clone(&assistant),
            Arc::clone(&self.store),
            clock,
        );
        let clock: Arc<dyn kefu::domain::Clock> = Arc::new(kefu::domain::SystemClock);
        let publisher = Publisher::new(
            Arc::clone(&self.store),
            Arc::clone(&clock),
            self.config.knowledge.clone(),
        )
        .with_trial(Arc::clone(&assistant));
        let publisher = Arc::new(publisher);
        let ingester = Ingester::new(
            Arc::clone(&self.store),
            Arc::clone(&embedder),
            clock,
            self.config.retrieval.clone(),
        );
        let uploads = self.directory.path().join("uploads");
        let imports = Imports::new(ingester, Arc::clone(&publisher), uploads, self.tasks.clone());
        assert!(self.state.install(Services {
            publisher,
            trainer: assistant.senses().map(|senses| {
                let clock: Arc<dyn kefu::domain::Clock> = self.clock.clone();
                Arc::new(Trainer::new(Arc::clone(senses), Arc::clone(&self.store), clock, 2))
            }),
            imports: Arc::new(imports),
            assistant,
            conversations,
            embedder,
            learner: Arc::new(learner),
            reader: Arc::new(OverlapReader),
            customers: Arc::new(customers),
            eraser: Arc::new(eraser),
        }));
        self.state.set(Part::Model, PartState::Ok);
        self.state.set(Part::Index, PartState::Ok);
    }

    /// The data directory.
    pub fn data(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// A text of a conversation that the vault sealed.
    pub async fn unsealed(&self, conversation: &str, place: &str, sealed: &str) -> String {
        let vault = Vault::open(&self.directory.path().join("vault.key")).unwrap();
        let id = conversation.parse().unwrap();
        vault.open_text(self.store.as_ref(), id, place, sealed).await.unwrap().0
    }

    /// The Host header that this server answers to.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.request("GET", path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.request("POST", path, &[], Some(&body.to_string())).await
    }

    /// One request on a connection of its own. `None` sends no body and no content type.
    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Reply {
        let mut stream = self.open(method, path, headers, body.map(str::as_bytes)).await;
        read_reply(&mut stream).await
    }

    /// Sends a request and leaves the answer unread.
    pub async fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> TcpStream {
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        let given = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
        if !given("host") {
            write!(text, "Host: {}\r\n", self.host()).unwrap();
        }
        if body.is_some() && !given("content-type") {
            text.push_str("Content-Type: application/json\r\n");
        }
        if let Some(body) = body
            && !given("content-length")
        {
            write!(text, "Content-Length: {}\r\n", body.len()).unwrap();
        }
        for (name, value) in headers {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        text.push_str("\r\n");
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        // The server may refuse a large body before it has all of it.
        let _ = stream.write_all(body.unwrap_or_default()).await;
        stream
    }

    /// Begins a conversation; returns its id and the visitor's token.
    pub async fn visitor(&self) -> (String, String) {
        let created = self.request("POST", "/api/v1/conversations", &[], None).await;
        assert_eq!(created.status, 201, "{}", created.text());
        let body = created.json();
        (
            body["id"].as_str().unwrap().to_owned(),
            body["visitor_token"].as_str().unwrap().to_owned(),
        )
    }

    /// Says something and reads the events as they come.
    pub async fn say(&self, id: &str, token: &str, text: &str) -> Events {
        let body = serde_json::json!({ "text": text }).to_string();
        let bearer = format!("Bearer {token}");
        let path = format!("/api/v1/conversations/{id}/messages");
        Events::of(
            self.open("POST", &path, &[("Authorization", &bearer)], Some(body.as_bytes()))
                .await,
        )
        .await
    }

    pub async fn transcript(&self, id: &str, token: &str) -> Value {
        let bearer = format!("Bearer {token}");
        let reply = self
            .request(
                "GET",
                &format!("/api/v1/conversations/{id}"),
                &[("Authorization", &bearer)],
                None,
            )
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// The next notice that the model was cancelled.
    pub async fn model_was_cancelled(&mut self) {
        within(self.cancelled.recv())
            .await
            .expect("the model lives as long as the server");
    }

    /// Waits until every reply under way is stored.
    pub async fn replies_are_stored(&self) {
        self.tasks.close();
        within(self.tasks.wait()).await;
        self.tasks.reopen();
    }
}

/// Fails where only a hanging server would.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("the server hangs")
}

/// Whether the servers of these tests stand on PostgreSQL instead of the embedded database: `KEFU_TEST_STORE=postgres`.
fn on_postgres() -> bool {
    std::env::var_os("KEFU_TEST_STORE").is_some_and(|name| name == "postgres")
}

/// The knowledge base and the keys of these tests.
pub async fn fill(store: &dyn Store) -> (PassageId, FaqId) {
    let now = Timestamp::from_second(1_780_000_000).unwrap();
    let text = format!("# 信用卡安全\n\n{PASSAGE}");
    let start = text.len() - PASSAGE.len();
    let document = Document {
        id: DocumentId::new(),
        source: "kb/cards.md".to_owned(),
        title: "信用卡安全".to_owned(),
        format: DocumentFormat::Markdown,
        sha256: sha256(&text),
        text: text.clone(),
        imported_at: now,
        scope: kefu::domain::Scope::default(),
    };
    let passage = Passage {
        id: PassageId::new(),
        document_id: document.id,
        ordinal: 0,
        title_path: vec!["信用卡安全".to_owned(), "挂失".to_owned()],
        text: PASSAGE.to_owned(),
        page: None,
        start,
        end: text.len(),
    };
    store
        .put_document(&document, std::slice::from_ref(&passage))
        .await
        .unwrap();
    let faq = Faq {
        id: FaqId::new(),
        key: "password".to_owned(),
        question: FAQ_QUESTION.to_owned(),
        variants: Vec::new(),
        answer: FAQ_ANSWER.to_owned(),
        category: String::new(),
        source: "faq.jsonl".to_owned(),
        imported_at: now,
        scope: kefu::domain::Scope::default(),
    };
    store
        .put_faqs(std::slice::from_ref(&faq), "import faq.jsonl")
        .await
        .unwrap();
    for (key, revoked) in [(KEY, false), (REVOKED, true)] {
        let key = ApiKey {
            id: ApiKeyId::new(),
            name: key.to_owned(),
            sha256: sha256(key),
            created_at: now,
            revoked_at: None,
        };
        store.add_key(&key).await.unwrap();
        if revoked {
            assert!(store.revoke_key(key.id, now).await.unwrap());
        }
    }
    (passage.id, faq.id)
}

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
}
