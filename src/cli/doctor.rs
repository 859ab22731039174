//! `kefu doctor`: what is wrong here and what to type, in Chinese and English.

use super::{Common, output};
use crate::app;
use crate::config::{Config, DEFAULT_TOML};
use crate::domain::StaffRole;
use crate::http;
use crate::inference::device;
use crate::inference::manifest::Manifest;
use clap::Args;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// Say what is wrong here and what to type
#[derive(Debug, Args)]
pub struct Doctor {
    /// Prove that answers need no network: asks a question in a network namespace that has none
    #[arg(long)]
    airgap: bool,
    /// Print the settings with their defaults and comments
    #[arg(long)]
    print_config: bool,
}

/// One finding: what was looked at, whether it is well, and what to do.
struct Finding {
    name: &'static str,
    state: State,
    zh: String,
    en: String,
    remedy: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    /// Works, but not at its best.
    Warning,
    Wrong,
}

impl Finding {
    fn well(name: &'static str, zh: impl Into<String>, en: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Well,
            zh: zh.into(),
            en: en.into(),
            remedy: None,
        }
    }

    fn bad(name: &'static str, state: State, zh: impl Into<String>, en: impl Into<String>, remedy: &str) -> Self {
        Self {
            name,
            state,
            zh: zh.into(),
            en: en.into(),
            remedy: Some(remedy.to_owned()),
        }
    }

    fn json(&self) -> Value {
        let state = match self.state {
            State::Well => "well",
            State::Warning => "warning",
            State::Wrong => "wrong",
        };
        json!({"name": self.name, "state": state, "zh": self.zh, "en": self.en, "remedy": self.remedy})
    }
}

impl Doctor {
    pub async fn run(self, common: &Common) -> anyhow::Result<ExitCode> {
        if self.print_config {
            print!("{DEFAULT_TOML}");
            return Ok(ExitCode::SUCCESS);
        }
        let mut findings = Vec::new();
        match common.settings(None) {
            Ok(config) => {
                findings.push(Finding::well("settings", "配置有效", "the settings are valid"));
                models(&config, &common.models, &mut findings);
                if config.inference.server.is_set() {
                    findings.push(server(&config, &common.models, self.airgap).await);
                }
                findings.push(device(&config));
                findings.push(address(&config));
            }
            Err(error) => findings.push(Finding::bad(
                "settings",
                State::Wrong,
                format!("配置有误：{error:#}"),
                format!("{error:#}"),
                "kefu doctor --print-config",
            )),
        }
        findings.push(memory());
        findings.push(data(&common.data));
        findings.push(database(common).await);
        findings.push(knowledge(common).await);
        findings.push(people(common).await);
        findings.push(pages());
        if self.airgap {
            findings.push(airgap(common));
        }
        report(common, &findings)?;
        let wrong = findings.iter().any(|finding| finding.state == State::Wrong);
        Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn report(common: &Common, findings: &[Finding]) -> anyhow::Result<()> {
    if common.json {
        output::print_json(&json!({"findings": findings.iter().map(Finding::json).collect::<Vec<_>>()}));
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    for finding in findings {
        let mark = match finding.state {
            State::Well => "✓",
            State::Warning => "!",
            State::Wrong => "✗",
        };
        writeln!(out, "{mark} {:10} {} / {}", finding.name, finding.zh, finding.en)?;
        if let Some(remedy) = &finding.remedy {
            writeln!(out, "             → {remedy}")?;
        }
    }
    Ok(())
}

fn models(config: &Config, directory: &Path, findings: &mut Vec<Finding>) {
    let manifest = match Manifest::load(directory) {
        Ok(manifest) => manifest,
        Err(error) => {
            let text = error.to_string();
            findings.push(Finding::bad(
                "models",
                State::Wrong,
                text.clone(),
                text,
                "git checkout models/manifest.toml",
            ));
            return;
        }
    };
    let mut needed = vec![(config.inference.embedding_model.clone(), State::Wrong)];
    if !config.inference.server.is_set() {
        let language = app::language_model_name(config, directory).unwrap_or_default();
        needed.push((language, State::Warning));
    }
    for (name, state) in needed {
        let pull = format!("kefu models pull {name}");
        match manifest.get(&name) {
            Err(error) => {
                let text = error.to_string();
                findings.push(Finding::bad(
                    "models",
                    State::Wrong,
                    text.clone(),
                    text,
                    "kefu models list",
                ));
            }
            Ok(entry) if !entry.path(directory).is_file() => {
                let effect = if state == State::Wrong {
                    ("无法检索", "nothing can be searched")
                } else {
                    ("只能引用原文作答", "answers are quotations only")
                };
                findings.push(Finding::bad(
                    "models",
                    state,
                    format!("缺少模型 {name}：{}", effect.0),
                    format!("model {name} is missing: {}", effect.1),
                    &pull,
                ));
            }
            Ok(_) => findings.push(match manifest.check(directory, &name) {
                Ok(()) => Finding::well(
                    "models",
                    format!("模型 {name} 就绪"),
                    format!("model {name} is there and verified"),
                ),
                Err(error) => Finding::bad(
                    "models",
                    State::Wrong,
                    format!("模型 {name} 已损坏"),
                    error.to_string(),
                    &pull,
                ),
            }),
        }
    }
}

/// The model server: whether it answers, and that it is a way out of this process.
async fn server(config: &Config, models: &Path, airgap: bool) -> Finding {
    let url = &config.inference.server.url;
    let checked = async { anyhow::Ok(app::load_model(config, models).await?.check().await?) };
    match checked.await {
        Ok(()) if airgap => Finding::bad(
            "server",
            State::Warning,
            format!("回答由模型服务器 {url} 撰写：这一处需要内网连接，没有连接时引用原文作答"),
            format!(
                "answers are written by the model server {url}: that needs a connection; without it they are quotations"
            ),
            "[inference.server] url = \"\"",
        ),
        Ok(()) => Finding::well(
            "server",
            format!("模型服务器 {url} 可用"),
            format!("the model server {url} answers"),
        ),
        Err(error) => Finding::bad(
            "server",
            State::Warning,
            format!("模型服务器不可用，只能引用原文作答：{error:#}"),
            format!("answers are quotations only: {error:#}"),
            &format!("curl {url}/models"),
        ),
    }
}

/// Where the language model computes.
fn device(config: &Config) -> Finding {
    let setting = &config.inference.device;
    match device::open(setting) {
        Ok(opened) => {
            let what = device::describe(opened.as_ref());
            Finding::well(
                "device",
                format!("语言模型运行于 {setting}：{what}"),
                format!("the language model computes on {setting}: {what}"),
            )
        }
        Err(error) => Finding::bad(
            "device",
            State::Wrong,
            format!("计算设备不可用：{error}"),
            error.to_string(),
            "KEFU_INFERENCE__DEVICE=cpu kefu serve",
        ),
    }
}

fn address(config: &Config) -> Finding {
    let listen = &config.http.listen;
    match std::net::TcpListener::bind(listen) {
        Ok(_) => Finding::well("address", format!("{listen} 可用"), format!("{listen} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Finding::bad(
            "address",
            State::Warning,
            format!("{listen} 已被占用（可能 kefu 正在运行）"),
            format!("{listen} is in use (perhaps kefu is running)"),
            "kefu serve --listen 127.0.0.1:8788",
        ),
        Err(error) => Finding::bad(
            "address",
            State::Wrong,
            format!("无法监听 {listen}：{error}"),
            format!("cannot listen on {listen}: {error}"),
            "kefu serve --listen 127.0.0.1:8788",
        ),
    }
}

fn memory() -> Finding {
    let gib = app::available_memory() as f64 / f64::from(1 << 30);
    if gib >= 4.0 {
        Finding::well(
            "memory",
            format!("可用内存 {gib:.1} GB"),
            format!("{gib:.1} GB of memory are free"),
        )
    } else {
        Finding::bad(
            "memory",
            State::Warning,
            format!("可用内存仅 {gib:.1} GB，将使用较小的模型"),
            format!("only {gib:.1} GB of memory are free: the smaller model is used"),
            "kefu serve --model qwen2.5-coder-0.5b-instruct",
        )
    }
}

fn data(directory: &Path) -> Finding {
    let probe = directory.join(".doctor");
    let written = std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&probe, [0_u8; 4096]));
    let _ = std::fs::remove_file(&probe);
    let path = directory.display();
    match written {
        Ok(()) => Finding::well(
            "data",
            format!("数据目录 {path} 可写"),
            format!("the data directory {path} can be written"),
        ),
        Err(error) => Finding::bad(
            "data",
            State::Wrong,
            format!("数据目录 {path} 不可写：{error}"),
            format!("the data directory {path} cannot be written: {error}"),
            "kefu --data DIR doctor",
        ),
    }
}

/// Which database it is, and whether it answers.
async fn database(common: &Common) -> Finding {
    let asked = async {
        let store = common.store().await?;
        store.ping().await?;
        store.close().await;
        anyhow::Ok(store.describe())
    };
    match asked.await {
        Ok(name) => Finding::well(
            "database",
            format!("数据库 {name} 可用"),
            format!("the database {name} answers"),
        ),
        Err(error) => Finding::bad(
            "database",
            State::Wrong,
            format!("数据库无法使用：{error:#}"),
            format!("{error:#}"),
            "[storage] url (kefu doctor --print-config)",
        ),
    }
}

async fn knowledge(common: &Common) -> Finding {
    let counted = async {
        let store = common.store().await?;
        let counts = store.knowledge_counts().await?;
        store.close().await;
        anyhow::Ok(counts)
    };
    match counted.await {
        Ok(counts) if counts.passages + counts.faqs > 0 => Finding::well(
            "knowledge",
            format!("{} 篇文档，{} 条问答", counts.documents, counts.faqs),
            format!("{} documents, {} FAQs", counts.documents, counts.faqs),
        ),
        Ok(_) => Finding::bad(
            "knowledge",
            State::Warning,
            "知识库为空",
            "the knowledge base is empty",
            "kefu kb import kb",
        ),
        Err(error) => Finding::bad(
            "knowledge",
            State::Wrong,
            format!("数据库无法打开：{error:#}"),
            format!("{error:#}"),
            "kefu --data DIR doctor",
        ),
    }
}

/// Whether somebody can sign in who may do everything, and whether the record of what was done is whole.
async fn people(common: &Common) -> Finding {
    let looked = async {
        let store = common.store().await?;
        let admins = store.active_users(StaffRole::Admin).await?;
        let verdict = store.verify_audit().await?;
        store.close().await;
        anyhow::Ok((admins, verdict))
    };
    match looked.await {
        Ok((_, verdict)) if verdict.broken_at.is_some() => {
            let at = verdict.broken_at.unwrap_or_default();
            Finding::bad(
                "people",
                State::Wrong,
                format!("审计日志自第 {at} 条起被改动"),
                format!("the audit log was changed: line {at} does not follow from the one before it"),
                "restore a backup",
            )
        }
        Ok((0, _)) => Finding::bad(
            "people",
            State::Warning,
            "没有管理员：无法登录管理页面",
            "there is no admin: nobody can manage the program on its web pages",
            "kefu user add NAME --role admin",
        ),
        Ok((admins, verdict)) => Finding::well(
            "people",
            format!("{admins} 位管理员；审计日志 {} 条，完整", verdict.entries),
            format!("{admins} admins; the audit log is whole ({} lines)", verdict.entries),
        ),
        Err(error) => Finding::bad(
            "people",
            State::Wrong,
            format!("数据库无法打开：{error:#}"),
            format!("{error:#}"),
            "kefu --data DIR doctor",
        ),
    }
}

fn pages() -> Finding {
    if http::has_pages() {
        Finding::well("pages", "网页已内置", "the web pages are built in")
    } else {
        Finding::bad(
            "pages",
            State::Warning,
            "程序中没有网页",
            "this program was built without the web pages",
            "scripts/build-ui.sh && cargo build --release",
        )
    }
}

/// Asks a question in a network namespace of its own, which has no interface but a loopback that is down: whatever
/// would reach for the network fails there.
fn airgap(common: &Common) -> Finding {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return not_proven(&error.to_string()),
    };
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--net", "--"])
        .arg(program)
        .arg("--json");
    command
        .arg("--data")
        .arg(&common.data)
        .arg("--models")
        .arg(&common.models);
    if let Some(config) = &common.config {
        command.arg("--config").arg(config);
    }
    if let Some(model) = &common.model {
        command.arg("--model").arg(model);
    }
    command.args(["ask", "你好，请问怎么开户？"]).stdin(Stdio::null());
    match command.output() {
        Err(error) => not_proven(&format!("unshare (util-linux): {error}")),
        Ok(output) => {
            let reply: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            match (output.status.success(), reply["route"].as_str()) {
                (true, Some(route)) => Finding::well(
                    "airgap",
                    format!("无网络环境下已作答（{route}）"),
                    format!("a question was answered with no network at all ({route})"),
                ),
                _ => not_proven(String::from_utf8_lossy(&output.stderr).trim()),
            }
        }
    }
}

fn not_proven(why: &str) -> Finding {
    Finding::bad(
        "airgap",
        State::Wrong,
        format!("未能证明无网络可用：{why}"),
        format!("not proven: {why}"),
        "sudo kefu doctor --airgap",
    )
}
