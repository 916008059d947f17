//! What a healthy Swift does not show: refused tokens, damage, access rules that somebody else made.

use std::sync::Arc;

use axum::{
    Router,
    body::Body as HttpBody,
    extract::Request,
    http::{HeaderMap, Response as HttpResponse},
};
use bytes::Bytes;

use super::*;

/// A request that arrived.
#[derive(Debug, Clone)]
struct Seen {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Status and headers of an answer.
type Answer = (u16, Vec<(&'static str, String)>);

/// A server that gives tokens `t1`, `t2`, … and answers all else as it is told.
struct Fake {
    store: Swift,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    async fn start(answer: impl Fn(&Seen) -> Answer + Clone + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::<Seen>::new()));
        let (storage, all) = (format!("{address}/v1/AUTH_adt"), Arc::clone(&seen));
        let handler = move |request: Request| async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let path = parts.uri.path().to_owned();
            let request = Seen { method: parts.method, path, headers: parts.headers, body };
            let mut all = all.lock().unwrap();
            all.push(request.clone());
            let (status, headers) = if request.path == "/auth/v1.0" {
                let token = format!("t{}", all.iter().filter(|seen| seen.path == request.path).count());
                (200, vec![("x-auth-token", token), ("x-storage-url", storage)])
            } else {
                answer(&request)
            };
            let mut response = HttpResponse::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(HttpBody::empty()).unwrap()
        };
        let server = axum::serve(listener, Router::new().fallback(handler));
        tokio::spawn(server.into_future());
        Self { store: store(&address), seen }
    }

    /// What arrived but for the logins.
    fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.path != "/auth/v1.0").cloned().collect()
    }

    fn logins(&self) -> usize {
        let all = self.seen.lock().unwrap().len();
        all - self.seen().len()
    }
}

fn store(address: &str) -> Swift {
    let url = format!("{address}/auth/v1.0").parse().unwrap();
    let variable = |name: &str| match name {
        "ST_USER" => Some("adt:admin".to_owned()),
        "ST_KEY" => Some("s3cr3t".to_owned()),
        _ => None,
    };
    Swift::new(url, &variable, &Authorities::default()).unwrap()
}

fn container(name: &str) -> Container {
    name.parse().unwrap()
}

fn bytes(text: &'static str) -> Body {
    Body::Bytes(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_the_whole_body_sent_again() {
    let fake =
        Fake::start(|seen| (if seen.header("x-auth-token") == "t1" { 401 } else { 201 }, vec![])).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "log").unwrap();
    let body = Body::File(file.path().to_owned());
    let headers = ContentHeaders::of("log.gz");
    for _ in 0..2 {
        fake.store.put(&container("autopkgtest-noble"), "a@/log.gz", &body, &headers).await.unwrap();
    }
    let seen = fake.seen();
    let tokens: Vec<&str> = seen.iter().map(|seen| seen.header("x-auth-token")).collect();
    assert_eq!((tokens, fake.logins()), (vec!["t1", "t2", "t2"], 2));
    for put in &seen {
        assert_eq!(
            (&put.method, put.path.as_str()),
            (&Method::PUT, "/v1/AUTH_adt/autopkgtest-noble/a@/log.gz")
        );
        assert_eq!((&put.body[..], put.header("content-length")), (&b"log"[..], "3"));
        assert_eq!(put.header("etag"), "dc1d71bbb5c4d2a5e936db79ef10c19f");
        assert_eq!(put.header("content-type"), "text/plain; charset=UTF-8");
        assert_eq!(put.header("content-encoding"), "gzip");
    }
}

#[tokio::test]
async fn a_token_that_is_never_accepted() {
    let fake = Fake::start(|_| (401, vec![])).await;
    let error = fake.store.check().await.unwrap_err();
    assert!(matches!(error, StoreError::Forbidden { .. }), "{error}");
    assert_eq!((fake.seen().len(), fake.logins()), (2, 2));
}

#[tokio::test]
async fn many_that_find_a_token_refused_log_in_once() {
    let fake =
        Fake::start(|seen| (if seen.header("x-auth-token") == "t1" { 401 } else { 204 }, vec![])).await;
    let checks = futures::future::join_all((0..20).map(|_| fake.store.check())).await;
    assert!(checks.iter().all(Result::is_ok));
    assert_eq!(fake.logins(), 2);
}

#[tokio::test]
async fn damage_is_seen() {
    for (status, etag) in [(201, "00000000000000000000000000000000"), (422, "")] {
        let fake = Fake::start(move |_| (status, vec![("etag", etag.to_owned())])).await;
        let headers = ContentHeaders::default();
        let error = fake.store.put(&container("c"), "o", &bytes("log"), &headers).await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }) && error.may_retry(), "{error}");
    }
}

#[tokio::test]
async fn containers_are_made_with_their_rule() {
    let reader = Access::Reader("adt:reader".parse().unwrap());
    for (access, rule) in [(Access::Public, PUBLIC), (reader, "*:adt:reader"), (Access::Internal, "")] {
        let made = Arc::new(Mutex::new(None));
        let answer = move |seen: &Seen| {
            let mut made = made.lock().unwrap();
            if seen.method == Method::PUT {
                *made = Some(seen.header("x-container-read").to_owned());
            }
            match &*made {
                Some(rule) => (204, vec![("x-container-read", rule.clone())]),
                None => (404, vec![]),
            }
        };
        let fake = Fake::start(answer).await;
        for _ in 0..2 {
            fake.store.ensure_container(&container("private-c"), &access).await.unwrap();
        }
        let puts: Vec<Seen> = fake.seen().into_iter().filter(|seen| seen.method == Method::PUT).collect();
        assert_eq!(puts.len(), 1);
        assert_eq!(puts[0].header("x-container-read"), rule);
    }
}

#[tokio::test]
async fn rules_that_somebody_else_made_stay() {
    let reader = Access::Reader("adt:reader".parse().unwrap());
    for (access, rule) in [
        (&reader, ""),
        (&reader, "*:adt:other"),
        (&reader, "*:adt:reader,*:adt:other"),
        (&reader, PUBLIC),
        (&Access::Internal, PUBLIC),
    ] {
        let fake = Fake::start(move |_| (204, vec![("x-container-read", rule.to_owned())])).await;
        let error = fake.store.ensure_container(&container("private-c"), access).await.unwrap_err();
        assert!(matches!(error, StoreError::OtherReader { .. } | StoreError::Forbidden { .. }), "{error}");
        assert!(fake.seen().iter().all(|seen| seen.method == Method::HEAD), "{rule}");
    }
}

#[tokio::test]
async fn who_may_read_is_asked_once_a_minute_but_for_what_is_missing() {
    let answer = |seen: &Seen| match seen.path.rsplit('/').next() {
        Some("missing") => (404, vec![]),
        _ => (204, vec![("x-container-read", PUBLIC.to_owned())]),
    };
    let fake = Fake::start(answer).await;
    for _ in 0..3 {
        assert!(fake.store.is_public(&container("there")).await.unwrap());
        assert!(!fake.store.is_public(&container("missing")).await.unwrap());
    }
    assert_eq!(fake.seen().len(), 1 + 3);
}

#[tokio::test]
async fn errors_hold_no_secret_and_no_private_name() {
    let fake = Fake::start(|_| (500, vec![])).await;
    // A port that nobody listens on.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = store(&format!("http://{}", listener.local_addr().unwrap()));
    drop(listener);
    for store in [&fake.store, &gone] {
        let (container, headers) = (container("private-hidden"), ContentHeaders::default());
        for error in [
            store.get(&container, "hidden/log.gz", None).await.err().unwrap(),
            store.put(&container, "hidden/log.gz", &bytes("log"), &headers).await.unwrap_err(),
            store.list(&container, &ListQuery::default()).await.unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::Away { .. }), "{error}");
            let text = format!("{error} {error:?}");
            assert!(!text.contains("hidden") && !text.contains("s3cr3t"), "{text}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let storage = format!("{address}/v1/AUTH_adt");
    let answer = move |request: Request| async move {
        if request.uri().path() == "/auth/v1.0" {
            let response =
                HttpResponse::builder().header("x-auth-token", "t").header("x-storage-url", storage);
            return response.body(HttpBody::empty()).unwrap();
        }
        let blanks =
            futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1 << 16])));
        HttpResponse::new(HttpBody::from_stream(blanks))
    };
    tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
    let store = store(&address);
    let listed = store.list(&container("autopkgtest-noble"), &ListQuery::default()).await.unwrap_err();
    assert!(matches!(listed, StoreError::TooLarge { .. }), "{listed}");
    assert!(matches!(store.containers("a").await.unwrap_err(), StoreError::TooLarge { .. }));
}
