//! The index as it lives: how long it takes until what was published is found, to start, to search, and to make a new base
//! while searches go on; and how much memory it takes. Texts are words of the sample knowledge base in a random order, as often as
//! they stand there, questions eight of them; vectors are random ones around 200 centres, and embedding takes no time, so that the
//! index alone is measured.
//!
//! `cargo bench --bench live` measures 1,000 and 10,000 passages; `KEFU_BENCH_ROWS=100000` measures other sizes.

use async_trait::async_trait;
use kefu::config::{Overrides, load};
use kefu::domain::{
    Clock, Document, DocumentFormat, DocumentId, Faq, FaqId, Passage, PassageId, Scope, SystemClock, Viewer,
};
use kefu::inference::{Embedder, EmbedderInfo, Embeddings, InferenceError, TextKind};
use kefu::retrieval::index::dot;
use kefu::retrieval::{
    IndexWork, Query, Retriever, SearchMode, Source, embedding_key, searchable_faq, searchable_passage, segments,
};
use kefu::storage::{SqliteStore, Store};
use kefu::understanding::dictionary;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

const DIM: usize = 384;
const CENTRES: usize = 200;
const PASSAGES_OF_A_DOCUMENT: usize = 50;
const SEARCHES: usize = 300;
const PUBLICATIONS: usize = 30;

/// Random vectors around centres; the same text has the same vector.
struct RandomEmbedder {
    info: EmbedderInfo,
    centres: Vec<f32>,
}

impl RandomEmbedder {
    fn new() -> Self {
        let mut random = StdRng::seed_from_u64(1);
        Self {
            info: EmbedderInfo {
                name: "random".to_owned(),
                dim: DIM,
                max_tokens: 512,
                sha256: "0".repeat(64),
            },
            centres: (0..CENTRES * DIM).map(|_| random.random_range(-1.0..1.0)).collect(),
        }
    }

    fn vector(&self, text: &str) -> Vec<f32> {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let mut random = StdRng::seed_from_u64(hasher.finish());
        let centre = random.random_range(0..CENTRES) * DIM;
        let mut row: Vec<f32> = self.centres[centre..centre + DIM]
            .iter()
            .map(|x| x + random.random_range(-0.7..0.7))
            .collect();
        let norm = dot(&row, &row).sqrt();
        for x in &mut row {
            *x /= norm;
        }
        row
    }
}

#[async_trait]
impl Embedder for RandomEmbedder {
    fn info(&self) -> &EmbedderInfo {
        &self.info
    }

    fn count_tokens(&self, _: TextKind, text: &str) -> Result<usize, InferenceError> {
        Ok(text.chars().count().min(500))
    }

    async fn embed(&self, _: TextKind, texts: Vec<String>) -> Result<Embeddings, InferenceError> {
        Ok(Embeddings {
            dim: DIM,
            data: texts.iter().flat_map(|text| self.vector(text)).collect(),
            tokens: texts.len(),
        })
    }
}

/// The words of the sample knowledge base, as often as they stand there: frequent ones and rare ones, as real texts have them.
struct Words(Vec<String>);

impl Words {
    fn read() -> Self {
        let mut words = Vec::new();
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("kb/docs")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("kb/docs is there").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(text) = std::fs::read_to_string(&path) {
                    let cut = dictionary().cut(&text, false);
                    words.extend(cut.iter().map(|token| token.word.to_owned()));
                }
            }
        }
        words.retain(|word| word.chars().all(char::is_alphanumeric));
        // The order of a folder's files is the system's.
        words.sort_unstable();
        Self(words)
    }

    fn one(&self, random: &mut StdRng) -> &str {
        &self.0[random.random_range(0..self.0.len())]
    }
}

static WORDS: LazyLock<Words> = LazyLock::new(Words::read);

fn sentence(random: &mut StdRng, words: usize) -> String {
    let text: Vec<&str> = (0..words).map(|_| WORDS.one(random)).collect();
    format!("{}第{}条。", text.concat(), random.random_range(0..1_000_000))
}

fn document(random: &mut StdRng, number: usize, passages: usize) -> (Document, Vec<Passage>) {
    let id = DocumentId::new();
    let mut text = String::new();
    let passages = (0..passages)
        .map(|ordinal| {
            let start = text.len();
            text.push_str(&sentence(random, 40));
            text.push_str(&sentence(random, 40));
            let end = text.len();
            Passage {
                id: PassageId::new(),
                document_id: id,
                ordinal: ordinal as u32,
                title_path: vec![format!("文件{number}"), format!("第{ordinal}节")],
                text: text[start..end].to_owned(),
                page: None,
                start,
                end,
            }
        })
        .collect();
    let document = Document {
        id,
        source: format!("文件{number}"),
        title: format!("文件{number}"),
        format: DocumentFormat::Text,
        sha256: String::new(),
        text,
        imported_at: SystemClock.now(),
        // One document in fifty is for a group of few.
        scope: Scope {
            audiences: (number % 50 == 7).then(|| "few".to_owned()).into_iter().collect(),
            ..Scope::default()
        },
    };
    (document, passages)
}

fn faq(random: &mut StdRng, number: usize) -> Faq {
    Faq {
        id: FaqId::new(),
        key: format!("key{number}"),
        question: sentence(random, 8),
        variants: vec![sentence(random, 8), sentence(random, 9)],
        answer: sentence(random, 40),
        category: String::new(),
        source: String::new(),
        imported_at: SystemClock.now(),
        scope: Scope::default(),
    }
}

async fn embed(store: &dyn Store, embedder: &RandomEmbedder, texts: &[(TextKind, String)]) {
    for texts in texts.chunks(5_000) {
        let row = |(kind, text): &(TextKind, String)| (embedding_key(*kind, text), embedder.vector(text));
        let rows: Vec<_> = texts.iter().map(row).collect();
        store
            .put_embeddings(&embedder.info.sha256, &rows)
            .await
            .expect("stored");
    }
}

fn texts_of(passages: &[Passage]) -> Vec<(TextKind, String)> {
    let of = |passage: &Passage| {
        let own = segments(passage).into_iter().map(|text| (TextKind::Passage, text));
        own.chain([(TextKind::Passage, searchable_passage(passage))])
            .collect::<Vec<_>>()
    };
    passages.iter().flat_map(of).collect()
}

async fn fill(store: &dyn Store, embedder: &RandomEmbedder, random: &mut StdRng, rows: usize) {
    for number in 0..rows / PASSAGES_OF_A_DOCUMENT {
        let (document, passages) = document(random, number, PASSAGES_OF_A_DOCUMENT);
        embed(store, embedder, &texts_of(&passages)).await;
        store.put_document(&document, &passages).await.expect("stored");
    }
    let faqs: Vec<Faq> = (0..rows / 20).map(|number| faq(random, number)).collect();
    let mut texts: Vec<(TextKind, String)> = Vec::new();
    for faq in &faqs {
        texts.push((TextKind::Passage, searchable_faq(faq)));
        texts.extend(faq.wordings().map(|wording| (TextKind::Query, wording.to_owned())));
    }
    embed(store, embedder, &texts).await;
    store.put_faqs(&faqs, "").await.expect("stored");
}

fn row(name: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "  {name:<56} p50 {:>9.2} ms   p99 {:>9.2} ms   n {}",
        at(0.5),
        at(0.99),
        times.len()
    );
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn query(text: String, mode: SearchMode, audience: Option<&str>) -> Query {
    Query {
        text,
        mode,
        top_k: 8,
        faq_top_k: 5,
        viewer: Viewer {
            audiences: audience.into_iter().map(str::to_owned).collect(),
            ..Viewer::anybody(SystemClock.now())
        },
    }
}

async fn search(retriever: &Retriever, random: &mut StdRng, what: &str) {
    for mode in [SearchMode::Lexical, SearchMode::Dense, SearchMode::Hybrid] {
        let mut times = Vec::new();
        for _ in 0..SEARCHES {
            let found = retriever
                .search(&query(sentence(random, 8), mode, None))
                .await
                .expect("found");
            assert_eq!(found.hits.len(), 8);
            times.push(found.search_ms);
        }
        row(&format!("search, {mode:?}, {what}").to_lowercase(), times);
    }
}

/// Publishes a document of five passages and waits until it is found; where `every` is given, not by asking for it but by
/// looking for changes so often, as the server does for what other processes publish.
async fn publish(
    retriever: &Arc<Retriever>,
    store: &dyn Store,
    embedder: &RandomEmbedder,
    random: &mut StdRng,
    every: Option<Duration>,
) {
    let follower = every.map(|every| {
        let retriever = Arc::clone(retriever);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                retriever.refresh().await.expect("followed");
            }
        })
    });
    let mut times = Vec::new();
    for number in 0..if every.is_some() { 10 } else { PUBLICATIONS } {
        let number = 1_000_000 + number + if every.is_some() { 1_000 } else { 0 };
        let (document, passages) = document(random, number, 5);
        embed(store, embedder, &texts_of(&passages)).await;
        store.put_document(&document, &passages).await.expect("stored");
        let started = Instant::now();
        if every.is_none() {
            retriever.refresh().await.expect("followed");
        }
        let wanted = &passages[2];
        loop {
            // By its numbers, which no other has: its words stand in every other text, too, and among titles they weigh more.
            let numbers = wanted
                .text
                .split('第')
                .skip(1)
                .filter_map(|rest| rest.split('条').next());
            let numbers: Vec<&str> = numbers.collect();
            let ask = query(numbers.join(" "), SearchMode::Lexical, Some("few"));
            let found = retriever.search(&ask).await.expect("searched");
            let is_it = |source: &Source| matches!(source, Source::Passage(passage) if passage.id == wanted.id);
            if found.hits.iter().any(|hit| is_it(&hit.source)) {
                break;
            }
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "{:?} is not found: version {:?}, {:?}, found {:?}",
                wanted.text,
                store.kb_version().await,
                retriever.status(),
                found.hits
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        times.push(ms(started));
    }
    let how = every.map_or("refreshed by the publisher".to_owned(), |every| {
        format!("looked for every {every:?}")
    });
    row(&format!("from commit to hit, {how}"), times);
    if let Some(follower) = follower {
        follower.abort();
    }
}

async fn settle(retriever: &Retriever) {
    while retriever.status().work != IndexWork::None {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kb = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .trim()
            .strip_suffix("kB")?
            .trim()
            .parse()
            .ok()
    });
    kb.unwrap_or(0.0) / 1024.0
}

async fn open(store: &Arc<dyn Store>, embedder: &Arc<RandomEmbedder>, directory: &Path) -> Arc<Retriever> {
    let config = load(&Overrides::default()).expect("the defaults are valid").retrieval;
    let (store, embedder) = (Arc::clone(store), Arc::clone(embedder));
    let opened = Retriever::open(store, embedder, directory.join("index"), config).await;
    Arc::new(opened.expect("opened"))
}

async fn measure(rows: usize) {
    println!(
        "{rows} passages in documents of {PASSAGES_OF_A_DOCUMENT}, {} FAQs of three wordings",
        rows / 20
    );
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = SqliteStore::open(directory.path(), Arc::new(SystemClock))
        .await
        .expect("opened");
    let store: Arc<dyn Store> = Arc::new(store);
    let embedder = Arc::new(RandomEmbedder::new());
    let mut random = StdRng::seed_from_u64(rows as u64);
    fill(store.as_ref(), &embedder, &mut random, rows).await;

    let started = Instant::now();
    let retriever = open(&store, &embedder, directory.path()).await;
    println!("  built from the database and saved in {:.0} ms", ms(started));
    let saved = std::fs::read_dir(directory.path().join("index"))
        .expect("saved")
        .flatten();
    let files = saved.flat_map(|entry| std::fs::read_dir(entry.path()).into_iter().flatten().flatten());
    let bytes: u64 = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    drop(retriever);
    let before = resident_mb();
    let mut times = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        let retriever = open(&store, &embedder, directory.path()).await;
        times.push(ms(started));
        assert!(retriever.status().from_snapshot);
    }
    row(&format!("start from the snapshot ({} MB)", bytes >> 20), times);
    let retriever = open(&store, &embedder, directory.path()).await;
    println!(
        "  {} MB of memory by its own count, {:.0} MB more resident than before",
        retriever.status().bytes >> 20,
        resident_mb() - before
    );
    if retriever.status().work != IndexWork::None {
        search(&retriever, &mut random, "graphs not built").await;
        publish(&retriever, store.as_ref(), &embedder, &mut random, None).await;
        let started = Instant::now();
        settle(&retriever).await;
        println!("  graphs built in {:.0} s more", started.elapsed().as_secs_f64());
    }
    search(&retriever, &mut random, "nothing changed").await;
    let mut times = Vec::new();
    for _ in 0..SEARCHES {
        let ask = query(sentence(&mut random, 8), SearchMode::Hybrid, Some("few"));
        times.push(retriever.search(&ask).await.expect("found").search_ms);
    }
    row("search, hybrid, one document in 50 more to be seen", times);
    publish(&retriever, store.as_ref(), &embedder, &mut random, None).await;
    publish(
        &retriever,
        store.as_ref(),
        &embedder,
        &mut random,
        Some(Duration::from_millis(250)),
    )
    .await;
    search(&retriever, &mut random, "with what was published").await;

    // More than is kept in small layers, in one document after the other.
    let wanted = 2_000.max(rows / 20) + PASSAGES_OF_A_DOCUMENT;
    let mut followed = Vec::new();
    let mut number = 0;
    while retriever.status().work != IndexWork::NewBase && number < 2 * wanted / PASSAGES_OF_A_DOCUMENT {
        let (document, passages) = document(&mut random, 2_000_000 + number, PASSAGES_OF_A_DOCUMENT);
        number += 1;
        embed(store.as_ref(), &embedder, &texts_of(&passages)).await;
        store.put_document(&document, &passages).await.expect("stored");
        let started = Instant::now();
        retriever.refresh().await.expect("followed");
        followed.push(ms(started));
    }
    row("following a document of 50 passages", followed);
    println!("  {} layers before the new base", retriever.status().layers);
    let started = Instant::now();
    let mut times = Vec::new();
    while retriever.status().work == IndexWork::NewBase {
        let ask = query(sentence(&mut random, 8), SearchMode::Hybrid, None);
        times.push(retriever.search(&ask).await.expect("found").search_ms);
    }
    println!("  a new base in {:.1} s", started.elapsed().as_secs_f64());
    if !times.is_empty() {
        row("search, hybrid, while it is made", times);
    }
}

fn main() {
    let sizes = std::env::var("KEFU_BENCH_ROWS").unwrap_or_else(|_| "1000,10000".to_owned());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for rows in sizes.split(',').filter_map(|rows| rows.trim().parse().ok()) {
        runtime.block_on(measure(rows));
    }
}
