//! A question end to end without a language model: FAQ route and quoted passages over the sample knowledge base.

use criterion::{Criterion, criterion_group, criterion_main};
use futures::StreamExt;
use kefu::app::{App, Need};
use kefu::config::{Overrides, load};
use kefu::dialogue::{Ask, ReplyEvent};
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

async fn answer(app: &App, question: String) -> usize {
    let mut events = app
        .assistant
        .reply(Ask::new(question, app.viewer()))
        .expect("a valid question");
    let mut length = 0;
    while let Some(event) = events.next().await {
        if let ReplyEvent::Token { text } = event {
            length += text.len();
        }
    }
    length
}

fn ask(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let models = std::env::var_os("KEFU_TEST_MODELS").map_or_else(|| PathBuf::from("models"), PathBuf::from);
    let data = tempfile::tempdir().expect("a temporary directory");
    let config = load(&Overrides::default())
        .expect("the defaults are valid")
        .with_embedded_database();
    let app = runtime.block_on(async {
        let app = App::open(config, data.path(), &models, Need::Search)
            .await
            .expect("models are there");
        let imported = app
            .ingester()
            .import(&[PathBuf::from("kb")], &(), &CancellationToken::new())
            .await;
        assert!(imported.expect("the import goes through").files.len() > 50);
        app.retriever.refresh().await.expect("the index is built");
        app
    });
    let mut run = 0;
    for (name, question) in [
        ("faq, exact wording", "信用卡丢了怎么挂失？"),
        ("faq, other wording", "我的信用卡找不到了，挂失流程"),
        ("passages, quoted", "空调超高安装要加多少钱"),
    ] {
        let exact = name.ends_with("exact wording");
        c.bench_function(&format!("ask {name}"), |b| {
            b.to_async(&runtime).iter(|| {
                run += 1;
                // A changing word keeps the embedding cache out, except where no embedding is needed.
                answer(
                    &app,
                    if exact {
                        question.to_owned()
                    } else {
                        format!("{question} {run}")
                    },
                )
            });
        });
    }
}

criterion_group!(benches, ask);
criterion_main!(benches);
