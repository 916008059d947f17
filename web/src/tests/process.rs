use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    Error, Stop, Web, run,
    settings::Settings,
    testing::{Site, settings},
};

#[tokio::test]
async fn serves_counts_and_drains() {
    let site = Site::new().await;
    let counted = Arc::new(Mutex::new(Vec::new()));
    let counts = Arc::clone(&counted);
    let web = Web {
        on_response: Arc::new(move |route, status, _| {
            counts.lock().unwrap().push((route.to_owned(), status));
        }),
        ..site.web.clone()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = Stop::default();
    let served = tokio::spawn(run(web, listener, stop.clone()));
    for path in ["/packages/secret-name?token=x", "/nope/secret-name"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
    let expected =
        [("/packages/{*path}".to_owned(), StatusCode::NOT_FOUND.as_u16()), ("other".to_owned(), 404)];
    assert_eq!(*counted.lock().unwrap(), expected, "never a path");
    stop.drain.cancel();
    served.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_hard_stop_does_not_wait_for_clients() {
    let site = Site::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = Stop::default();
    let served = tokio::spawn(run(site.web.clone(), listener, stop.clone()));
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    stop.drain.cancel();
    stop.hard.cancel();
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn open_is_for_loopback_alone() {
    let site = Site::with(Settings { open: true, ..settings() }).await;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = run(site.web.clone(), listener, Stop::default()).await;
    assert!(matches!(refused, Err(Error::OpenToTheWorld(_))));
}
