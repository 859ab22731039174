//! A client that sends exactly what it is told and reads what comes.

use super::support::within;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

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
