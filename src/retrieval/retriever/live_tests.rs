//! The index follows the knowledge base: what is found is what an index built anew would find.

use super::tests::{anybody, faq, open, query};
use super::*;
use crate::domain::{Document, DocumentFormat, DocumentId, Faq, FaqId, KbItem, Scope};
use crate::retrieval::draft::DraftDocument;
use crate::retrieval::testing::{HashEmbedder, clock, config, store};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::path::Path;

const WORDS: [&str; 30] = [
    "信用卡",
    "年费",
    "挂失",
    "退货",
    "运费",
    "发票",
    "贷款",
    "还款",
    "利率",
    "限额",
    "转账",
    "密码",
    "登录",
    "会员",
    "积分",
    "优惠",
    "保修",
    "安装",
    "配送",
    "账单",
    "return",
    "invoice",
    "password",
    "loan",
    "limit",
    "delivery",
    "fee",
    "card",
    "客服",
    "网点",
];

pub(super) fn document(id: DocumentId, source: &str, texts: &[String], scope: Scope) -> (Document, Vec<Passage>) {
    let text = texts.join("\n");
    let mut start = 0;
    let passages = texts.iter().enumerate().map(|(ordinal, text)| {
        let end = start + text.len();
        let passage = Passage {
            id: PassageId::new(),
            document_id: id,
            ordinal: ordinal as u32,
            title_path: vec![source.to_owned()],
            text: text.clone(),
            page: None,
            start,
            end,
        };
        start = end + 1;
        passage
    });
    let passages = passages.collect();
    let document = Document {
        id,
        source: source.to_owned(),
        title: source.to_owned(),
        format: DocumentFormat::Text,
        sha256: String::new(),
        text,
        imported_at: clock().now(),
        scope,
    };
    (document, passages)
}

/// Somebody who changes the knowledge base at random.
struct Editor {
    random: StdRng,
    store: Arc<dyn Store>,
    documents: Vec<(DocumentId, String)>,
    faqs: Vec<Faq>,
    made: usize,
}

impl Editor {
    fn new(store: &Arc<dyn Store>, seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            store: store.clone(),
            documents: Vec::new(),
            faqs: Vec::new(),
            made: 0,
        }
    }

    fn words(&mut self, count: usize) -> String {
        let mut text = String::new();
        for _ in 0..count {
            text.push_str(WORDS[self.random.random_range(0..WORDS.len())]);
            text.push_str(["", "，", "的", " "][self.random.random_range(0..4)]);
        }
        text
    }

    fn text(&mut self) -> String {
        let sentences = self.random.random_range(1..4);
        let parts: Vec<String> = (0..sentences)
            .map(|_| {
                let count = self.random.random_range(8..20);
                self.words(count)
            })
            .collect();
        let table = if self.random.random_range(0..3) == 0 {
            let [one, other, head] = [0; 3].map(|_| WORDS[self.random.random_range(0..WORDS.len())]);
            format!("\n\n| 名称 | {head} |\n| --- | --- |\n| {one} | 1 |\n| {other}（{one}） | 2 |\n")
        } else {
            String::new()
        };
        format!("{}{}。{table}", parts.join("。"), self.random.random_range(0..100_000))
    }

    fn scope(&mut self) -> Scope {
        let audiences = if self.random.random_range(0..4) == 0 {
            vec!["vip".to_owned()]
        } else {
            Vec::new()
        };
        Scope {
            audiences,
            ..Scope::default()
        }
    }

    async fn put_document(&mut self, place: Option<usize>) {
        self.made += 1;
        let (id, source) = match place {
            Some(place) => self.documents[place].clone(),
            None => (DocumentId::new(), format!("文件{}", self.made)),
        };
        let count = self.random.random_range(1..5);
        let texts: Vec<String> = (0..count).map(|_| self.text()).collect();
        let (document, passages) = document(id, &source, &texts, self.scope());
        self.store.put_document(&document, &passages).await.unwrap();
        if place.is_none() {
            self.documents.push((id, source));
        }
    }

    async fn put_faqs(&mut self) {
        let mut faqs = Vec::new();
        for _ in 0..self.random.random_range(1..4) {
            self.made += 1;
            let scope = self.scope();
            let (question, variant) = (self.words(3), self.words(4));
            let changed = match self.random.random_range(0..3) {
                0 if !self.faqs.is_empty() => {
                    let place = self.random.random_range(0..self.faqs.len());
                    Faq {
                        question,
                        scope,
                        ..self.faqs[place].clone()
                    }
                }
                _ => Faq {
                    scope,
                    answer: self.words(6),
                    ..faq(&format!("key{}", self.made), &question, &[&variant])
                },
            };
            self.faqs.retain(|known| known.id != changed.id);
            self.faqs.push(changed.clone());
            faqs.push(changed);
        }
        self.store.put_faqs(&faqs, "").await.unwrap();
    }

    async fn change(&mut self) {
        let place = |random: &mut StdRng, count: usize| (count > 0).then(|| random.random_range(0..count));
        match self.random.random_range(0..10) {
            0..4 => self.put_document(None).await,
            4..6 => {
                let place = place(&mut self.random, self.documents.len());
                self.put_document(place).await;
            }
            6 => {
                if let Some(place) = place(&mut self.random, self.documents.len()) {
                    let (id, _) = self.documents.swap_remove(place);
                    assert!(self.store.remove_document(id).await.unwrap());
                }
            }
            7..9 => self.put_faqs().await,
            _ => {
                if let Some(place) = place(&mut self.random, self.faqs.len()) {
                    let id = self.faqs.swap_remove(place).id;
                    assert!(self.store.remove_faq(id).await.unwrap());
                }
            }
        }
    }
}

fn viewers() -> [Viewer; 2] {
    let vip = Viewer {
        audiences: vec!["vip".to_owned()],
        ..anybody()
    };
    [anybody(), vip]
}

fn source_id(hit: &Hit) -> uuid::Uuid {
    match &hit.source {
        Source::Passage(passage) => passage.id.0,
        Source::Faq(faq) => faq.id.0,
    }
}

/// The scores by which the hits of a mode are ordered and judged.
fn scores(hit: &Hit, mode: SearchMode) -> Vec<f32> {
    let Hit { scores, .. } = hit;
    let optional = [scores.dense, scores.lexical, scores.segment, scores.segment_words];
    let mut all: Vec<f32> = optional.iter().map(|score| score.unwrap_or(-9.0)).collect();
    all.push(scores.coverage);
    all.insert(
        0,
        match mode {
            SearchMode::Hybrid => scores.fused,
            SearchMode::Dense => scores.dense.unwrap(),
            SearchMode::Lexical => scores.lexical.unwrap(),
        },
    );
    all
}

/// Whether both find the same: the same in the same order, with the same scores but for rounding. Those whose deciding
/// score differs only by rounding may be in another order, and at the end of the list one may stand for another.
async fn assert_same(one: &Retriever, other: &Retriever, seed: u64) {
    const ROUNDING: f32 = 1e-4;
    let mut random = StdRng::seed_from_u64(seed);
    for number in 0..12 {
        let words: Vec<&str> = (0..random.random_range(1..5))
            .map(|_| WORDS[random.random_range(0..WORDS.len())])
            .collect();
        let mut text = words.join("");
        if number % 3 == 0 {
            // Two that sound like words of the base and are none of its own.
            text = text.replace("信用卡", "信用咔").replace("贷款", "带宽");
        }
        for viewer in viewers() {
            let mut answered = Answered {
                question: text.clone(),
                source: None,
                viewer: viewer.clone(),
            };
            let related = (
                one.related(&answered, 6).await.unwrap(),
                other.related(&answered, 6).await.unwrap(),
            );
            assert_eq!(related.0, related.1, "{number} {text} {:?}", viewer.audiences);
            let first = one
                .search(&Query {
                    viewer: viewer.clone(),
                    ..query(&text, SearchMode::Lexical)
                })
                .await
                .unwrap();
            answered.source = first.hits.into_iter().next().map(|hit| hit.source);
            let choices = (
                one.siblings(&answered).await.unwrap(),
                other.siblings(&answered).await.unwrap(),
            );
            assert_eq!(choices.0, choices.1, "{number} {text} {:?}", viewer.audiences);
            assert_eq!(
                one.exact_faq(&text, &viewer).map(|(hit, _)| hit),
                other.exact_faq(&text, &viewer).map(|(hit, _)| hit)
            );
            for mode in [SearchMode::Hybrid, SearchMode::Dense, SearchMode::Lexical] {
                let query = Query {
                    top_k: 8,
                    faq_top_k: 4,
                    viewer: viewer.clone(),
                    ..query(&text, mode)
                };
                let (a, b) = (one.search(&query).await.unwrap(), other.search(&query).await.unwrap());
                let what = format!("{number} {text} {mode:?} {:?}", viewer.audiences);
                assert_eq!(a.kb_version, b.kb_version, "{what}");
                assert_eq!(a.hits.len(), b.hits.len(), "{what}");
                let deciding = |found: &Found, place: usize| scores(&found.hits[place], mode)[0];
                for place in 0..a.hits.len() {
                    let same = b
                        .hits
                        .iter()
                        .position(|hit| source_id(hit) == source_id(&a.hits[place]));
                    let Some(same) = same else {
                        let last = deciding(&b, b.hits.len() - 1);
                        assert!((deciding(&a, place) - last).abs() < ROUNDING, "{what}: {place}");
                        continue;
                    };
                    let (a_scores, b_scores) = (scores(&a.hits[place], mode), scores(&b.hits[same], mode));
                    let is_near = a_scores.iter().zip(&b_scores).all(|(a, b)| (a - b).abs() < ROUNDING);
                    assert!(is_near, "{what}: {a_scores:?} {b_scores:?}");
                    assert!(
                        (deciding(&a, place) - deciding(&b, place)).abs() < ROUNDING,
                        "{what}: {place}"
                    );
                }
                let faqs = |found: &Found| found.faqs.iter().map(|hit| hit.faq.id).collect::<Vec<FaqId>>();
                let near = |found: &Found| found.faqs.iter().map(|hit| hit.similarity).collect::<Vec<f32>>();
                assert_eq!(near(&a).len(), near(&b).len(), "{what}");
                let differs = near(&a).iter().zip(&near(&b)).any(|(a, b)| (a - b).abs() > ROUNDING);
                assert!(
                    !differs || faqs(&a) == faqs(&b),
                    "{what}: {:?} {:?}",
                    near(&a),
                    near(&b)
                );
            }
        }
    }
}

/// An index built from the store alone.
async fn anew(store: &Arc<dyn Store>) -> Retriever {
    let directory = tempfile::tempdir().unwrap();
    let built = open(store, "a", directory.path()).await;
    assert!(!built.status().from_snapshot);
    built
}

async fn open_tuned(store: &Arc<dyn Store>, directory: &Path, tuning: Tuning) -> Retriever {
    let embedder = HashEmbedder::new("a");
    Retriever::open_with(store.clone(), embedder, directory.join("index"), config(), tuning)
        .await
        .unwrap()
}

async fn rest(retriever: &Retriever) {
    while retriever.status().work == IndexWork::NewBase {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn following_finds_what_building_anew_finds() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    let mut editor = Editor::new(&store, 1);
    for _ in 0..25 {
        editor.change().await;
    }
    let live = open(&store, "a", directory.path()).await;
    for step in 1..=60 {
        editor.change().await;
        // Sometimes several versions are followed at once.
        if editor.random.random_range(0..3) > 0 {
            assert!(live.refresh().await.unwrap());
        }
        if step % 12 == 0 {
            live.refresh().await.unwrap();
            assert_same(&live, &anew(&store).await, step).await;
        }
    }
    let status = live.status();
    let counts = store.knowledge_counts().await.unwrap();
    assert_eq!(status.passages as u64, counts.passages);
    assert!(
        status.layers > 1 && status.layers < 8 && status.dead_rows > 0,
        "{status:?}"
    );
    assert!(!live.refresh().await.unwrap());
}

#[tokio::test]
async fn a_new_base_is_made_while_changes_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    let mut editor = Editor::new(&store, 2);
    let tuning = Tuning {
        exact_vectors: 20,
        wear: Wear { rows: 10, dead: 4 },
    };
    let live = open_tuned(&store, directory.path(), tuning).await;
    let (mut rebuilt, mut base) = (0, live.status());
    for _ in 0..80 {
        editor.change().await;
        live.refresh().await.unwrap();
        let found = live.search(&query("信用卡年费", SearchMode::Hybrid)).await.unwrap();
        for hit in &found.hits {
            let living = match &hit.source {
                Source::Passage(passage) => editor.documents.iter().any(|(id, _)| *id == passage.document_id),
                Source::Faq(faq) => editor.faqs.iter().any(|known| known.id == faq.id),
            };
            assert!(living, "{hit:?}");
        }
        // While one is made the rows since the last one only grow.
        let status = live.status();
        rebuilt += usize::from(status.delta_rows < base.delta_rows);
        base = status;
    }
    rest(&live).await;
    let status = live.status();
    rebuilt += usize::from(status.delta_rows < base.delta_rows);
    assert!(rebuilt > 0);
    assert!(status.graph && status.delta_rows <= 40, "{status:?}");
    assert_same(&live, &anew(&store).await, 3).await;

    // A start finds the base as it was saved, and follows what changed since.
    for _ in 0..5 {
        editor.change().await;
    }
    let again = open(&store, "a", directory.path()).await;
    assert!(again.status().from_snapshot && again.status().delta_rows > 0);
    assert_same(&again, &anew(&store).await, 4).await;
}

#[tokio::test]
async fn a_start_after_a_crash_uses_the_newest_sound_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    let mut editor = Editor::new(&store, 5);
    for _ in 0..20 {
        editor.change().await;
    }
    drop(open(&store, "a", directory.path()).await);
    let index = directory.path().join("index");
    let saved = std::fs::read_dir(&index).unwrap().next().unwrap().unwrap();
    // What the store committed and the index never saw; a snapshot that was begun, and one whose content was lost.
    for _ in 0..6 {
        editor.change().await;
    }
    std::fs::create_dir(index.join(".new-1-0")).unwrap();
    std::fs::write(index.join(".new-1-0").join("rows"), "half").unwrap();
    let version = store.kb_version().await.unwrap();
    let name = saved.file_name().into_string().unwrap();
    let (_, model) = name.split_once('-').unwrap();
    let lost = index.join(format!("{version}-{model}"));
    std::fs::create_dir(&lost).unwrap();
    std::fs::write(lost.join("manifest.json"), "").unwrap();

    let started = open(&store, "a", directory.path()).await;
    let status = started.status();
    assert!(status.from_snapshot && status.kb_version == version, "{status:?}");
    assert_same(&started, &anew(&store).await, 6).await;
}

#[tokio::test]
async fn many_changes_at_a_start_are_saved_for_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    let mut editor = Editor::new(&store, 7);
    editor.put_document(None).await;
    drop(open(&store, "a", directory.path()).await);
    let texts: Vec<String> = (0..250).map(|_| editor.text()).collect();
    let (document, passages) = document(DocumentId::new(), "大文件", &texts, Scope::default());
    store.put_document(&document, &passages).await.unwrap();
    let status = open(&store, "a", directory.path()).await.status();
    assert_eq!((status.from_snapshot, status.delta_rows, status.layers), (true, 0, 1));
    let again = open(&store, "a", directory.path()).await;
    assert_eq!((again.status().from_snapshot, again.status().delta_rows), (true, 0));
    assert_same(&again, &anew(&store).await, 8).await;
}

#[tokio::test]
async fn a_change_is_found_when_refresh_returns() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    let live = open(&store, "a", directory.path()).await;
    let (first, passages) = document(
        DocumentId::new(),
        "网点",
        &["周末营业到下午五点。".to_owned()],
        Scope::default(),
    );
    store.put_document(&first, &passages).await.unwrap();
    live.refresh().await.unwrap();
    let texts = async |question: &str| {
        let found = live.search(&query(question, SearchMode::Hybrid)).await.unwrap();
        let text = |hit: &Hit| match &hit.source {
            Source::Passage(passage) => passage.text.clone(),
            Source::Faq(faq) => faq.answer.clone(),
        };
        found.hits.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(texts("周末营业").await, ["周末营业到下午五点。"]);
    let (second, passages) = document(first.id, "网点", &["周末营业到下午三点。".to_owned()], Scope::default());
    store.put_document(&second, &passages).await.unwrap();
    live.refresh().await.unwrap();
    assert_eq!(texts("周末营业").await, ["周末营业到下午三点。"]);
    store.put_faqs(&[faq("hours", "周末开门吗", &[])], "").await.unwrap();
    live.refresh().await.unwrap();
    assert!(live.exact_faq("周末开门吗？", &anybody()).is_some());
    store.remove_document(first.id).await.unwrap();
    live.refresh().await.unwrap();
    assert_eq!(texts("周末营业").await, ["请致电客服热线。"]);
}

#[tokio::test]
async fn a_preview_shows_what_would_be_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    let mut editor = Editor::new(&store, 9);
    for _ in 0..12 {
        editor.change().await;
    }
    let (kept, passages) = document(
        DocumentId::new(),
        "费用",
        &["跨行转账手续费两元。".to_owned()],
        Scope::default(),
    );
    store.put_document(&kept, &passages).await.unwrap();
    let present = faq("free", "转账免费吗", &[]);
    store.put_faqs(std::slice::from_ref(&present), "").await.unwrap();
    let live = open(&store, "a", directory.path()).await;
    let version = live.status().kb_version;

    let (_, replaced) = document(kept.id, "费用", &["跨行转账手续费全免。".to_owned()], Scope::default());
    let draft = Draft {
        documents: vec![DraftDocument {
            id: kept.id,
            scope: Scope::default(),
            passages: replaced.clone(),
        }],
        // Another id, and the key of the present one.
        faqs: vec![Faq {
            question: "汇款免费吗".to_owned(),
            id: FaqId::new(),
            ..present.clone()
        }],
        removed: vec![KbItem::Document(editor.documents[0].0)],
    };
    let preview = live.preview(draft).await.unwrap();
    let ask = query("跨行转账手续费", SearchMode::Hybrid);
    let first = |found: Found| found.hits[0].source.clone();
    assert_eq!(
        first(preview.search(&ask).await.unwrap()),
        Source::Passage(replaced[0].clone())
    );
    assert_eq!(
        first(live.search(&ask).await.unwrap()),
        Source::Passage(passages[0].clone())
    );
    assert!(preview.exact_faq("汇款免费吗", &anybody()).is_some());
    assert!(preview.exact_faq("转账免费吗", &anybody()).is_none());
    assert!(live.exact_faq("转账免费吗", &anybody()).is_some());
    let counts = store.knowledge_counts().await.unwrap();
    assert!((preview.status().passages as u64) < counts.passages);
    assert_eq!(
        (live.status().passages as u64, live.status().kb_version),
        (counts.passages, version)
    );

    // What is published meanwhile is not in it.
    editor.put_document(None).await;
    assert!(live.refresh().await.unwrap() && !preview.refresh().await.unwrap());
    assert_eq!(preview.status().kb_version, version);

    // Published, the draft is what the preview showed.
    let (document, _) = document(kept.id, "费用", &["跨行转账手续费全免。".to_owned()], Scope::default());
    store.put_document(&document, &replaced).await.unwrap();
    live.refresh().await.unwrap();
    assert_eq!(
        first(live.search(&ask).await.unwrap()),
        first(preview.search(&ask).await.unwrap())
    );
}
