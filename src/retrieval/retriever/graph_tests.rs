//! What the base speaks of, as it changes: other names, words that sound alike, what is related, what to choose from.

use super::live_tests::document;
use super::tests::{anybody, faq, open, query};
use super::*;
use crate::domain::{DocumentId, Faq, Scope};
use crate::retrieval::testing::{HashEmbedder, config, store};
use crate::retrieval::{Related, RelatedKind};

const FEES: &str = "每年收取一次。\n\n| 卡种 | 年费 | 挂失费 |\n| --- | --- | --- |\n| 普卡 | 80元 | 50元 |\n| 金卡 | 160元 | 50元 |\n\
                    | 白金卡 | 600元 | 免费 |\n";

fn answered(question: &str, source: Option<Source>, viewer: &Viewer) -> Answered {
    Answered {
        question: question.to_owned(),
        source,
        viewer: viewer.clone(),
    }
}

fn questions(related: &[Related]) -> Vec<&str> {
    related.iter().map(|related| related.question.as_str()).collect()
}

async fn first(retriever: &Retriever, question: &str) -> Source {
    let found = retriever.search(&query(question, SearchMode::Hybrid)).await.unwrap();
    found.hits.into_iter().next().unwrap().source
}

#[tokio::test]
async fn what_is_related_is_of_the_same_thing_and_may_be_told() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    let (fees, passages) = document(DocumentId::new(), "年费标准", &[FEES.to_owned()], Scope::default());
    store.put_document(&fees, &passages).await.unwrap();
    let vip = Viewer {
        audiences: vec!["vip".to_owned()],
        ..anybody()
    };
    let secret = Faq {
        scope: Scope {
            audiences: vip.audiences.clone(),
            ..Scope::default()
        },
        answer: "专属客户经理。".to_owned(),
        ..faq("gold-extra", "金卡有什么特权", &[])
    };
    let answer = |text: &str| text.to_owned();
    let asked = Faq {
        answer: answer("160元。"),
        ..faq("gold-fee", "金卡年费多少钱", &["金卡一年收多少"])
    };
    let apply = Faq {
        answer: answer("到网点申请。"),
        ..faq("gold-apply", "怎么申请金卡", &[])
    };
    let other = Faq {
        answer: answer("七天。"),
        ..faq("return", "多久可以退货", &[])
    };
    let all = [secret, asked.clone(), apply, other];
    store.put_faqs(&all, "").await.unwrap();
    let live = open(&store, "a", directory.path()).await;
    let source = Some(Source::Faq(asked.clone()));
    let related = async |viewer: &Viewer| {
        live.related(&answered("金卡年费多少钱", source.clone(), viewer), 3)
            .await
            .unwrap()
    };
    let plain = related(&anybody()).await;
    assert_eq!(questions(&plain), ["怎么申请金卡", "白金卡的年费", "金卡的挂失费"]);
    assert_eq!(
        (plain[0].kind, plain[1].kind),
        (RelatedKind::Faq, RelatedKind::Document)
    );
    assert!(questions(&related(&vip).await).contains(&"金卡有什么特权"));

    // What is removed is not spoken of any more, here and in a preview.
    let preview = live
        .preview(Draft {
            removed: vec![crate::domain::KbItem::Document(fees.id)],
            ..Draft::default()
        })
        .await
        .unwrap();
    let about = answered("金卡年费多少钱", source.clone(), &anybody());
    assert_eq!(questions(&preview.related(&about, 3).await.unwrap()), ["怎么申请金卡"]);
    store.remove_faq(all[2].id).await.unwrap();
    live.refresh().await.unwrap();
    assert_eq!(questions(&related(&anybody()).await), ["白金卡的年费", "金卡的挂失费"]);
    let about = answered("多久可以退货", Some(Source::Faq(all[3].clone())), &anybody());
    assert!(live.related(&about, 3).await.unwrap().is_empty());
}

#[tokio::test]
async fn one_chooses_where_the_question_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    let scope = Scope {
        audiences: vec!["vip".to_owned()],
        ..Scope::default()
    };
    let (fees, passages) = document(DocumentId::new(), "年费标准", &[FEES.to_owned()], Scope::default());
    store.put_document(&fees, &passages).await.unwrap();
    let live = open(&store, "a", directory.path()).await;
    let source = Some(first(&live, "年费标准").await);
    let choices = async |question: &str| {
        let found = live
            .siblings(&answered(question, source.clone(), &anybody()))
            .await
            .unwrap();
        assert!(found.iter().all(|related| related.kind == RelatedKind::Choice));
        found.into_iter().map(|related| related.question).collect::<Vec<_>>()
    };
    assert_eq!(choices("年费多少").await, ["普卡的年费", "金卡的年费", "白金卡的年费"]);
    assert_eq!(choices("請問掛失費").await.len(), 3);
    assert_eq!(choices("卡费怎么收").await.len(), 0);
    for question in ["金卡年费多少", "白金年费多少", "怎么还款"] {
        assert!(choices(question).await.is_empty(), "{question}");
    }
    // Who may not be told does not see it, even where the passage is named.
    let (hidden, passages) = document(fees.id, "年费标准", &[FEES.to_owned()], scope);
    store.put_document(&hidden, &passages).await.unwrap();
    live.refresh().await.unwrap();
    let source = Some(Source::Passage(passages[0].clone()));
    assert!(
        live.siblings(&answered("年费多少", source, &anybody()))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn other_names_sounds_and_scripts_find_what_is_meant() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    let texts = [
        "个人所得税（个税）按月代扣。",
        "信用卡遗失后立即挂失。",
        "退货在七天内办理。",
        "网点周末营业。",
        "客服热线全天开通。",
        "积分每年清零。",
    ];
    for (number, text) in texts.iter().enumerate() {
        let (document, passages) = document(
            DocumentId::new(),
            &format!("文件{number}"),
            &[(*text).to_owned()],
            Scope::default(),
        );
        store.put_document(&document, &passages).await.unwrap();
    }
    let synonyms = directory.path().join("synonyms.txt");
    std::fs::write(&synonyms, "分店, 网点\n").unwrap();
    let open = async |expand: bool, graph: bool| {
        let config = RetrievalConfig {
            expand,
            other_names: graph,
            synonyms: synonyms.clone(),
            ..config()
        };
        let directory = directory.path().join(format!("{expand}{graph}"));
        Retriever::open(store.clone(), HashEmbedder::new("a"), directory, config)
            .await
            .unwrap()
    };
    let (with, without) = (open(true, true).await, open(false, false).await);
    let found = async |retriever: &Retriever, question: &str| {
        let found = retriever.search(&query(question, SearchMode::Lexical)).await.unwrap();
        found.hits.into_iter().next().map(|hit| match hit.source {
            Source::Passage(passage) => passage.text,
            Source::Faq(faq) => faq.answer,
        })
    };
    for (question, place) in [("积份", 5), ("分店", 3), ("个税", 0), ("所得税", 0)] {
        assert_eq!(
            found(&with, question).await.as_deref(),
            Some(texts[place]),
            "{question}"
        );
    }
    assert_eq!(found(&without, "积份").await, None);
    assert_eq!(found(&without, "分店").await, None);
    for retriever in [&with, &without] {
        assert_eq!(found(retriever, "掛失").await.as_deref(), Some(texts[1]));
        assert_eq!(found(retriever, "天气").await, None);
    }
    // A question without any of it is searched exactly as without.
    for question in ["信用卡挂失", "周末营业到几点", "退货"] {
        let search = query(question, SearchMode::Hybrid);
        let (a, b) = (
            with.search(&search).await.unwrap(),
            without.search(&search).await.unwrap(),
        );
        assert_eq!(a.hits, b.hits, "{question}");
    }
    std::fs::write(&synonyms, "支行, 网点\n# changed\n").unwrap();
    with.refresh().await.unwrap();
    assert_eq!(found(&with, "支行").await.as_deref(), Some(texts[3]));
}
