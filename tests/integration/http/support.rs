//! A running server with a small knowledge base, its scripted models, and a client that sends exactly what it is told.

use async_trait::async_trait;
use jiff::Timestamp;
use kefu::config::{self, Config, Overrides};
use kefu::dialogue::{Assistant, Conversations};
use kefu::domain::{ApiKeyId, Document, DocumentFormat, DocumentId, Faq, FaqId, ManualClock, Passage, PassageId};
use kefu::http::{AppState, Part, PartState, Services};
use kefu::inference::{
    Embedder, EmbedderInfo, Embeddings, FinishReason, GenerateRequest, GenerationEvent, GenerationStream,
    InferenceError, LanguageModel, ModelInfo, TextKind, TokenLogprob, Usage,
};
use kefu::retrieval::Retriever;
use kefu::storage::{ApiKey, SqliteStore, Store};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
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

/// Embeds pairs of characters by their hash: texts with the same words are near each other.
pub struct HashingEmbedder {
    info: EmbedderInfo,
    pub overloaded: AtomicBool,
}

impl HashingEmbedder {
    fn new() -> Self {
        let info = EmbedderInfo {
            name: EMBEDDER.to_owned(),
            dim: 32,
            max_tokens: 512,
            sha256: "e".repeat(64),
        };
        Self {
            info,
            overloaded: AtomicBool::new(false),
        }
    }
}

#[async_trait]
impl Embedder for HashingEmbedder {
    fn info(&self) -> &EmbedderInfo {
        &self.info
    }

    fn count_tokens(&self, _kind: TextKind, text: &str) -> Result<usize, InferenceError> {
        Ok(text.chars().count() + 2)
    }

    async fn embed(&self, kind: TextKind, texts: Vec<String>) -> Result<Embeddings, InferenceError> {
        if self.overloaded.load(Ordering::SeqCst) {
            return Err(InferenceError::Overloaded {
                queued: 256,
                retry_after: Duration::from_secs(3),
            });
        }
        let dim = self.info.dim;
        let (mut data, mut tokens) = (Vec::new(), 0);
        for text in &texts {
            let count = self.count_tokens(kind, text)?;
            if count > self.info.max_tokens {
                return Err(InferenceError::TooLong {
                    tokens: count,
                    limit: self.info.max_tokens,
                });
            }
            tokens += count;
            let mut row = vec![0.01_f32; dim];
            let chars: Vec<char> = text.chars().collect();
            for pair in chars.windows(2.min(chars.len().max(1))) {
                let hash = pair
                    .iter()
                    .fold(17_usize, |hash, c| hash.wrapping_mul(31).wrapping_add(*c as usize));
                row[hash % dim] += 1.0;
            }
            let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            data.extend(row.iter().map(|x| x / norm));
        }
        Ok(Embeddings { dim, data, tokens })
    }
}

/// What the scripted model does for one request.
pub enum Script {
    /// Says these pieces and ends.
    Say(&'static [&'static str]),
    /// Says this and then waits until it is cancelled or let go.
    SayAndWait(&'static str, Arc<Notify>),
    /// Refuses at once.
    Overloaded,
    /// Fails after these words.
    FailAfter(&'static str),
}

/// A language model that follows scripts, one for each request; without one it says [`SENTENCE`].
pub struct ScriptedModel {
    info: ModelInfo,
    scripts: Mutex<VecDeque<Script>>,
    pub requests: Mutex<Vec<GenerateRequest>>,
    cancelled: mpsc::UnboundedSender<()>,
}

impl ScriptedModel {
    pub fn script(&self, script: Script) {
        self.scripts.lock().unwrap().push_back(script);
    }
}

impl LanguageModel for ScriptedModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn count_tokens(&self, text: &str) -> Result<usize, InferenceError> {
        Ok(text.chars().count())
    }

    fn generate(&self, request: GenerateRequest) -> Result<GenerationStream, InferenceError> {
        let script = self
            .scripts
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Script::Say(&[SENTENCE]));
        if matches!(script, Script::Overloaded) {
            return Err(InferenceError::Overloaded {
                queued: 32,
                retry_after: Duration::from_millis(4500),
            });
        }
        let with_logprobs = request.top_logprobs;
        self.requests.lock().unwrap().push(request);
        let (sender, receiver) = mpsc::channel(4);
        let cancelled = self.cancelled.clone();
        tokio::spawn(async move {
            let text = |text: &str| {
                let top = vec![(text.to_owned(), text.as_bytes().to_vec(), -0.5); with_logprobs.unwrap_or(0)];
                let token = TokenLogprob {
                    text: text.to_owned(),
                    bytes: text.as_bytes().to_vec(),
                    logprob: -0.5,
                    top,
                };
                Ok(GenerationEvent::Text {
                    text: text.to_owned(),
                    logprobs: with_logprobs.map(|_| vec![token]).unwrap_or_default(),
                })
            };
            let mut events = vec![
                Ok(GenerationEvent::Queued { position: 1 }),
                Ok(GenerationEvent::Started {
                    prompt_tokens: 20,
                    cached_tokens: 8,
                }),
            ];
            let (mut gate, mut failed) = (None, false);
            let mut words = 0;
            match script {
                Script::Say(pieces) => {
                    words = pieces.len();
                    events.extend(pieces.iter().map(|piece| text(piece)));
                }
                Script::SayAndWait(piece, notify) => {
                    words = 1;
                    events.push(text(piece));
                    gate = Some(notify);
                }
                Script::FailAfter(piece) => {
                    events.push(text(piece));
                    events.push(Err(InferenceError::Stopped));
                    failed = true;
                }
                Script::Overloaded => {}
            }
            for event in events {
                if sender.send(event).await.is_err() {
                    let _ = cancelled.send(());
                    return;
                }
            }
            if let Some(gate) = gate {
                tokio::select! {
                    () = gate.notified() => {}
                    () = sender.closed() => {
                        let _ = cancelled.send(());
                        return;
                    }
                }
            }
            if !failed {
                let usage = Usage {
                    prompt_tokens: 20,
                    cached_tokens: 8,
                    completion_tokens: words,
                };
                let _ = sender
                    .send(Ok(GenerationEvent::Done {
                        reason: FinishReason::Stop,
                        usage,
                    }))
                    .await;
            }
        });
        Ok(GenerationStream::new(receiver))
    }
}

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
        let mut config = config::load(&Overrides::default()).unwrap();
        // Approved answers for their own wording alone; everything else is answered from passages.
        config.dialogue.faq_confidence = 1.0;
        config.dialogue.answer_confidence = 0.0;
        change(&mut config);
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_780_000_000).unwrap()));
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(directory.path(), clock.clone()).await.unwrap());
        let (passage, faq) = fill(store.as_ref()).await;
        let (sender, cancelled) = mpsc::unbounded_channel();
        let info = ModelInfo {
            name: MODEL.to_owned(),
            architecture: "scripted".to_owned(),
            context_tokens: 4096,
            sha256: "abcdef0123456789".repeat(4),
        };
        let model = Arc::new(ScriptedModel {
            info,
            scripts: Mutex::default(),
            requests: Mutex::default(),
            cancelled: sender,
        });
        let state = AppState::new(Arc::new(config.http.clone()), Arc::clone(&store), clock);
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
        let assistant = Arc::new(Assistant::new(
            Arc::new(retriever),
            Arc::clone(&embedder),
            Some(model),
            self.config.dialogue.clone(),
        ));
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_780_000_000).unwrap()));
        let conversations = Arc::new(Conversations::new(
            Arc::clone(&assistant),
            Arc::clone(&self.store),
            clock,
            self.tasks.clone(),
            self.config.http.max_replies_per_visitor,
        ));
        assert!(self.state.install(Services {
            assistant,
            conversations,
            embedder
        }));
        self.state.set(Part::Model, PartState::Ok);
        self.state.set(Part::Index, PartState::Ok);
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

async fn fill(store: &dyn Store) -> (PassageId, FaqId) {
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
    };
    let passage = Passage {
        id: PassageId::new(),
        document_id: document.id,
        ordinal: 0,
        title_path: vec!["信用卡安全".to_owned(), "挂失".to_owned()],
        text: PASSAGE.to_owned(),
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

/// Names in lower case, with their values.
type Headers = Vec<(String, String)>;

/// A whole answer.
pub struct Reply {
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The code of an error, in either form.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Status, headers, and where the body begins.
fn head(bytes: &[u8]) -> Option<(u16, Headers, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    Some((status, headers.collect(), end + 4))
}

/// Reads an answer up to the end of the connection.
pub async fn read_reply(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    // A connection that is reset after a refusal may still have brought the refusal.
    let _ = within(stream.read_to_end(&mut bytes)).await;
    let (status, headers, begin) = head(&bytes).unwrap_or_else(|| panic!("no answer: {bytes:?}"));
    let mut reply = Reply {
        status,
        headers,
        body: bytes[begin..].to_vec(),
    };
    if reply.header("transfer-encoding") == Some("chunked") {
        let mut rest = std::mem::take(&mut reply.body);
        while let Some(chunk) = next_chunk(&mut rest) {
            reply.body.extend(chunk);
        }
    }
    reply
}

/// Takes one chunk from the front; `None` where it is not complete or the last.
fn next_chunk(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let line = bytes.windows(2).position(|window| window == b"\r\n")?;
    let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
    let end = line + 2 + size + 2;
    if size == 0 || bytes.len() < end {
        return None;
    }
    let chunk = bytes[line + 2..end - 2].to_vec();
    bytes.drain(..end);
    Some(chunk)
}

/// A stream of events that is read as it comes.
pub struct Events {
    stream: TcpStream,
    raw: Vec<u8>,
    text: Vec<u8>,
    pub status: u16,
    pub headers: Headers,
}

impl Events {
    pub async fn of(mut stream: TcpStream) -> Self {
        let mut raw = Vec::new();
        loop {
            if let Some((status, headers, begin)) = head(&raw) {
                raw.drain(..begin);
                return Self {
                    stream,
                    raw,
                    text: Vec::new(),
                    status,
                    headers,
                };
            }
            assert!(
                within(stream.read_buf(&mut raw)).await.unwrap() > 0,
                "the connection ended before the headers"
            );
        }
    }

    /// The next event with its data; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some(chunk) = next_chunk(&mut self.raw) {
                self.text.extend(chunk);
            }
            if let Some(end) = self.text.windows(2).position(|window| window == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                if let Some(event) = parse_event(std::str::from_utf8(&block).unwrap()) {
                    return Some(event);
                }
                continue;
            }
            if within(self.stream.read_buf(&mut self.raw)).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Reads on to the first event of that name.
    pub async fn until(&mut self, name: &str) -> Value {
        loop {
            let (event, data) = self
                .next()
                .await
                .unwrap_or_else(|| panic!("the stream ended before {name}"));
            if event == name {
                return data;
            }
        }
    }

    /// All events to the end.
    pub async fn rest(mut self) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}

/// One event; data must be one line. `[DONE]` becomes a string. Comments are no events.
fn parse_event(block: &str) -> Option<(String, Value)> {
    let (mut name, mut data) = (String::new(), None);
    for line in block.lines().filter(|line| !line.is_empty() && !line.starts_with(':')) {
        match line.split_once(": ").unwrap() {
            ("event", value) => value.clone_into(&mut name),
            ("data", value) => {
                let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
                assert!(data.replace(value).is_none(), "data in more than one line: {block}");
            }
            other => panic!("unexpected line {other:?}"),
        }
    }
    data.map(|data| (name, data))
}
