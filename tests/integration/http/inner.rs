//! A small inner system for flows: parcels, one-time codes, bills, appointments and cards, in memory, over real HTTP. It keeps what an
//! inner system must: a wish with a known key is done once, and a time is given to one customer.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use kefu::config::ToolConfig;
use serde_json::{Value, json};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// What it answers to: the paths under its address and the tools of the sample flows.
pub const TOOLS: [&str; 7] = [
    "parcel_status",
    "send_code",
    "verify_code",
    "bill",
    "installation_slots",
    "book_installation",
    "report_loss",
];

/// Times of a day.
const TIMES: [(&str, &str); 3] = [("am", "09:00-11:00"), ("pm", "14:00-16:00"), ("eve", "18:00-20:00")];

/// The environment variable that every test has, as a secret.
pub const SECRET: &str = "CARGO_MANIFEST_DIR";

#[derive(Default)]
struct Kept {
    /// Calls in order: tool, arguments, key.
    calls: Vec<(String, Value, String)>,
    answers: HashMap<String, Value>,
    codes: HashMap<String, String>,
    booked: BTreeMap<(String, String), String>,
    blocked: Vec<Value>,
    /// Tools that do what is wished and then fail to answer, so often.
    lost: HashMap<String, usize>,
    /// Tools that fail.
    down: Vec<String>,
}

#[derive(Clone, Default)]
pub struct Inner(Arc<Mutex<Kept>>);

impl Inner {
    /// Starts it; returns its address.
    pub async fn start() -> (Self, SocketAddr) {
        let inner = Self::default();
        let app = Router::new().route("/{tool}", post(answer)).with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (inner, address)
    }

    /// The settings of its tools.
    pub fn settings(address: SocketAddr) -> BTreeMap<String, ToolConfig> {
        let tool = |name: &str| ToolConfig {
            url: format!("http://{address}/{name}"),
            header_env: BTreeMap::from([("X-Secret".to_owned(), SECRET.to_owned())]),
            ..ToolConfig::default()
        };
        TOOLS.iter().map(|name| ((*name).to_owned(), tool(name))).collect()
    }

    /// The last code that was sent to a phone.
    pub fn code(&self, phone: &str) -> String {
        self.0.lock().unwrap().codes[phone].clone()
    }

    pub fn calls(&self, tool: &str) -> Vec<(Value, String)> {
        let kept = self.0.lock().unwrap();
        let of_tool = kept.calls.iter().filter(|(name, _, _)| name == tool);
        of_tool.map(|(_, args, key)| (args.clone(), key.clone())).collect()
    }

    pub fn booked(&self) -> BTreeMap<(String, String), String> {
        self.0.lock().unwrap().booked.clone()
    }

    pub fn blocked(&self) -> Vec<Value> {
        self.0.lock().unwrap().blocked.clone()
    }

    /// The next answer of a tool gets lost after it did what was wished.
    pub fn lose_next(&self, tool: &str) {
        *self.0.lock().unwrap().lost.entry(tool.to_owned()).or_default() += 1;
    }

    pub fn break_down(&self, tool: &str) {
        self.0.lock().unwrap().down.push(tool.to_owned());
    }
}

async fn answer(
    State(inner): State<Inner>,
    Path(tool): Path<String>,
    headers: HeaderMap,
    Json(args): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    if header("x-secret") != std::env::var(SECRET).unwrap() {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let key = header("idempotency-key").to_owned();
    if key.is_empty() {
        return Err(StatusCode::BAD_REQUEST);
    }
    let mut kept = inner.0.lock().unwrap();
    kept.calls.push((tool.clone(), args.clone(), key.clone()));
    if kept.down.contains(&tool) {
        return Err(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let known = kept.answers.get(&key).cloned();
    let answer = if let Some(known) = known {
        known
    } else {
        let answer = kept.act(&tool, &args)?;
        kept.answers.insert(key, answer.clone());
        answer
    };
    if let Some(times) = kept.lost.get_mut(&tool).filter(|times| **times > 0) {
        *times -= 1;
        return Err(StatusCode::BAD_GATEWAY);
    }
    Ok(Json(answer))
}

impl Kept {
    fn act(&mut self, tool: &str, args: &Value) -> Result<Value, StatusCode> {
        let text = |name: &str| args[name].as_str().unwrap_or_default().to_owned();
        Ok(match tool {
            "parcel_status" => match (text("number").as_str(), text("phone_tail").as_str()) {
                ("SF1234567890", "8812") => json!({
                    "found": true, "status": "in_transit", "eta": "06-01",
                    "events": [{"time": "05-28 10:00", "text": "杭州转运中心 已发出"}, {"time": "05-27 21:00", "text": "已揽收"}],
                }),
                _ => json!({"found": false}),
            },
            "send_code" => {
                let code = format!("{:06}", 481_516 + self.codes.len() * 7919);
                self.codes.insert(text("phone"), code);
                json!({"sent": true})
            }
            "verify_code" => {
                let right = self.codes.get(&text("phone")).is_some_and(|code| *code == text("code"));
                json!({"verified": right, "customer": right.then(|| format!("C-{}", text("phone")))})
            }
            "bill" => json!({
                "found": true, "total": "3250.80", "minimum": "325.08", "due": "2026-06-08",
                "items": [{"text": format!("客户 {}", text("customer")), "amount": "800.00"}],
            }),
            "installation_slots" => {
                let free: Vec<Value> = TIMES
                    .iter()
                    .filter(|(id, _)| !self.booked.contains_key(&(text("date"), (*id).to_owned())))
                    .map(|(id, label)| json!({"id": id, "label": label}))
                    .collect();
                json!({"found": text("order").starts_with("KF"), "slots": free})
            }
            "book_installation" => {
                let place = (text("date"), text("slot"));
                let number = self.booked.len() + 1;
                if let Entry::Vacant(free) = self.booked.entry(place) {
                    free.insert(text("order"));
                    json!({"booked": true, "id": format!("A-{number}")})
                } else {
                    json!({"booked": false, "reason": "taken"})
                }
            }
            "report_loss" => {
                self.blocked.push(args.clone());
                json!({"blocked": true, "id": format!("L-{}", self.blocked.len())})
            }
            _ => return Err(StatusCode::NOT_FOUND),
        })
    }
}
