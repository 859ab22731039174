//! Clients that are slow, greedy or gone.

use super::client::read_reply;
use super::support::{Server, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn half_a_request_is_not_waited_for() {
    let server = Server::start_with(|config| config.http.header_timeout_ms = 40).await;
    let mut half = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow")
            .await
            .unwrap();
        half.push(stream);
    }
    assert_eq!(server.get("/healthz").await.status, 200, "others are served meanwhile");
    for mut stream in half {
        let mut rest = Vec::new();
        let _ = within(stream.read_to_end(&mut rest)).await;
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");
    }
}

#[tokio::test]
async fn half_a_body_is_not_waited_for() {
    let server = Server::start_with(|config| config.http.body_timeout_ms = 40).await;
    let headers = [("Content-Type", "application/json"), ("Content-Length", "50")];
    let mut stream = server
        .open("POST", "/api/v1/ask", &headers, Some(b"{\"question\""))
        .await;
    let reply = read_reply(&mut stream).await;
    assert_eq!((reply.status, reply.code()), (408, "body_timeout".to_owned()));
}

#[tokio::test]
async fn headers_and_addresses_have_a_limit() {
    let server = Server::start_with(|config| config.http.max_header_bytes = 8192).await;
    let fits = "x".repeat(6000);
    assert_eq!(
        server
            .request("GET", "/healthz", &[("X-Long", &fits)], None)
            .await
            .status,
        200
    );
    let long = "x".repeat(9000);
    assert_eq!(
        server
            .request("GET", "/healthz", &[("X-Long", &long)], None)
            .await
            .status,
        431
    );
    let many: Vec<(String, String)> = (0..120).map(|n| (format!("X-{n}"), "y".to_owned())).collect();
    let many: Vec<(&str, &str)> = many
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(server.request("GET", "/healthz", &many, None).await.status, 431);
    let address = server.request("GET", &format!("/{long}"), &[], None).await;
    assert!((414..=431).contains(&address.status), "{}", address.status);
}

#[tokio::test]
async fn a_body_without_declared_length_is_bounded_too() {
    let server = Server::start_with(|config| {
        config.http.max_json_bytes = 1000;
        config.http.max_message_bytes = 1000;
    })
    .await;
    let headers = [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")];
    let mut stream = server.open("POST", "/api/v1/ask", &headers, None).await;
    let chunk = format!("1f4\r\n{}\r\n", " ".repeat(500));
    for _ in 0..3 {
        let _ = stream.write_all(chunk.as_bytes()).await;
    }
    assert_eq!(read_reply(&mut stream).await.status, 413);
    // A declared length is refused before anything is read.
    let headers = [("Content-Type", "application/json"), ("Content-Length", "99999999999")];
    let mut stream = server.open("POST", "/api/v1/ask", &headers, Some(b"")).await;
    assert_eq!(read_reply(&mut stream).await.status, 413);
}

#[tokio::test]
async fn no_more_connections_than_allowed_are_served() {
    let server = Server::start_with(|config| {
        config.http.max_connections = 2;
        config.http.header_timeout_ms = 60_000;
    })
    .await;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", server.host());
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut first = [0_u8; 12];
        within(stream.read_exact(&mut first)).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        kept.push(stream);
    }
    let mut third = TcpStream::connect(server.address).await.unwrap();
    third.write_all(request.as_bytes()).await.unwrap();
    // While a connection inside asks again and again, the one outside gets nothing.
    let inside = &mut kept[0];
    let mut answer = [0_u8; 4096];
    for _ in 0..20 {
        inside.write_all(request.as_bytes()).await.unwrap();
        assert!(within(inside.read(&mut answer)).await.unwrap() > 0);
    }
    let outside = third.try_read(&mut answer).unwrap_err();
    assert_eq!(outside.kind(), std::io::ErrorKind::WouldBlock);
    let mut first = [0_u8; 12];
    kept.pop();
    within(third.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
}

#[tokio::test]
async fn what_is_no_http_ends_the_connection_alone() {
    let server = Server::start().await;
    for garbage in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut rest = Vec::new();
        let _ = within(stream.read_to_end(&mut rest)).await;
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");
    }
    assert_eq!(server.get("/healthz").await.status, 200);
}
