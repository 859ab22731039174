//! From files to hits, with the real embedding model and the real database.
#![allow(clippy::unwrap_used)]

use kefu::config::{Overrides, RetrievalConfig, load};
use kefu::domain::{Clock, SystemClock, Viewer};
use kefu::inference::E5Embedder;
use kefu::inference::Embedder;
use kefu::retrieval::{FileOutcome, Ingester, Query, Retriever, SearchMode, Source};
use kefu::storage::{SqliteStore, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const FEES: &str = "# 信用卡收费标准\n\n## 年费\n\n普卡免年费。金卡每年 200 元，当年刷满六次免次年年费。\n\n\
    ## 挂失与补卡\n\n挂失免费，补发新卡工本费 15 元，加急另收 20 元。\n\n## 取现\n\n境内取现按金额的 1% 收取手续费，最低 10 元。\n";
const RETURNS: &str = "<html><head><title>商城帮助</title></head><body><h1>退货与退款</h1>\
    <p>签收后七天内，商品完好可以无理由退货，运费由买家承担。</p>\
    <p>退款在仓库验收后三个工作日内原路退回。</p></body></html>";
const LIMITS: &str = "转账限额说明\n\n手机银行使用短信验证码时，单笔最高五万元，每日累计二十万元。\n";
const FAQ: &str = "id,question,variants,answer,category,lang\n\
    loss,信用卡丢了怎么办,卡片遗失如何处理|卡丢了,请立即在手机银行挂失或致电客服热线。,信用卡,zh\n\
    invoice,怎么开发票,如何索取电子发票,订单完成后电子发票自动发送到您的邮箱。,商城,zh\n\
    password,忘记登录密码怎么办,密码忘了,在登录页点击“忘记密码”，凭身份证号和短信验证码重设。,账户,zh\n";

fn embedder() -> Arc<dyn Embedder> {
    let dir = std::env::var_os("KEFU_TEST_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("models"), PathBuf::from);
    let path = dir.join("e5-small-q4.bin");
    assert!(
        path.is_file(),
        "{} is missing: run scripts/test.sh, which fetches the models",
        path.display()
    );
    let config = load(&Overrides::default()).unwrap().inference;
    Arc::new(E5Embedder::load(&path, "multilingual-e5-small", "test", &config).unwrap())
}

fn config() -> RetrievalConfig {
    load(&Overrides::default()).unwrap().retrieval
}

#[tokio::test]
async fn questions_in_other_words_find_their_answer() {
    let directory = tempfile::tempdir().unwrap();
    let kb = directory.path().join("kb");
    std::fs::create_dir(&kb).unwrap();
    std::fs::write(kb.join("fees.md"), FEES).unwrap();
    std::fs::write(kb.join("returns.html"), RETURNS).unwrap();
    std::fs::write(kb.join("limits.txt"), encoding_rs::GBK.encode(LIMITS).0).unwrap();
    std::fs::write(kb.join("faq.csv"), FAQ).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store: Arc<dyn Store> = Arc::new(
        SqliteStore::open(&directory.path().join("data"), clock.clone())
            .await
            .unwrap(),
    );
    let embedder = embedder();
    let report = Ingester::new(store.clone(), embedder.clone(), clock, config())
        .import(&[kb], &(), &CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(report.failures(), 0, "{report:?}");
    assert!(matches!(
        report.files[0].outcome,
        FileOutcome::Faqs {
            read: 3,
            changed: 3,
            ..
        }
    ));

    let index = directory.path().join("index");
    let retriever = Retriever::open(store.clone(), embedder.clone(), index.clone(), config())
        .await
        .unwrap();
    let ask = async |text: &str, mode| {
        let query = Query {
            text: text.to_owned(),
            mode,
            top_k: 3,
            faq_top_k: 2,
            viewer: Viewer::anybody(SystemClock.now()),
        };
        retriever.search(&query).await.unwrap()
    };
    for (question, words) in [
        ("办张金卡一年要交多少钱", "200 元"),
        ("补办卡片收费吗", "15 元"),
        ("不想要了能寄回去吗", "无理由退货"),
        ("钱什么时候退给我", "三个工作日"),
        ("一天最多能转多少", "二十万元"),
    ] {
        let found = ask(question, SearchMode::Hybrid).await;
        let texts: Vec<&str> = found
            .hits
            .iter()
            .map(|hit| match &hit.source {
                Source::Passage(passage) => passage.text.as_str(),
                Source::Faq(faq) => faq.answer.as_str(),
            })
            .collect();
        assert!(texts.iter().any(|text| text.contains(words)), "{question}: {texts:?}");
    }
    for (question, key) in [
        ("信用卡不见了", "loss"),
        ("登录密码想不起来了", "password"),
        ("我要发票", "invoice"),
    ] {
        let found = ask(question, SearchMode::Hybrid).await;
        assert_eq!(found.faqs[0].faq.key, key, "{question}");
    }

    let again = Retriever::open(store, embedder, index, config()).await.unwrap();
    assert!(again.status().from_snapshot);
}
