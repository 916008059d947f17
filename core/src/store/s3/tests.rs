//! What healthy servers do not show: rules that somebody else made, damage, refusals that name what they must not.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::Body as HttpBody,
    extract::Request,
    http::{HeaderMap, Method, Response},
};
use serde_json::Value;

use super::*;

/// A request that arrived.
#[derive(Debug, Clone)]
struct Seen {
    method: Method,
    /// Path and query.
    uri: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn is(&self, method: &Method, part: &str) -> bool {
        self.method == *method && self.uri.contains(part)
    }
}

/// Status, headers, body.
type Answer = (u16, Vec<(&'static str, &'static str)>, String);

fn refused(status: u16, code: &str) -> Answer {
    // As AWS does it, with names of what was asked for.
    let body =
        format!("<Error><Code>{code}</Code><Message>not on private-hidden/hidden.log</Message></Error>");
    (status, vec![], body)
}

/// A server that keeps what is put, but answers as it is told where it is told.
struct Fake {
    store: S3,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    async fn start(
        url: &str,
        told: impl Fn(&Seen) -> Option<Answer> + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::<Seen>::new()));
        let (all, kept) = (Arc::clone(&seen), Arc::new(Mutex::new(BTreeMap::<String, Bytes>::new())));
        let handler = move |request: Request| async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let uri = parts.uri.path_and_query().unwrap().to_string();
            let request = Seen { method: parts.method, uri, headers: parts.headers, body };
            all.lock().unwrap().push(request.clone());
            let (status, headers, body) = told(&request).unwrap_or_else(|| keep(&kept, &request));
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(HttpBody::from(body)).unwrap()
        };
        let server = axum::serve(listener, Router::new().fallback(handler));
        tokio::spawn(server.into_future());
        Self { store: store(&format!("{url}?endpoint={endpoint}")), seen }
    }

    fn seen(&self, method: &Method, part: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.is(method, part)).cloned().collect()
    }
}

fn keep(kept: &Mutex<BTreeMap<String, Bytes>>, request: &Seen) -> Answer {
    let mut kept = kept.lock().unwrap();
    let key = request.uri.replace("?x-id=GetObject", "").replace("?x-id=PutObject", "");
    match request.method {
        Method::PUT => {
            kept.insert(key, request.body.clone());
            (200, vec![], String::new())
        }
        Method::GET => match kept.get(&key) {
            Some(body) => (200, vec![], String::from_utf8(body.to_vec()).unwrap()),
            None if key.contains("list-type=2") => (200, vec![], "<ListBucketResult/>".to_owned()),
            None if key.contains("acl") => (200, vec![], "<AccessControlPolicy/>".to_owned()),
            None if key.contains("policy") => refused(404, "NoSuchBucketPolicy"),
            None => refused(404, "NoSuchKey"),
        },
        _ => (200, vec![], String::new()),
    }
}

fn variables(name: &str) -> Option<String> {
    let value = match name {
        "AWS_ACCESS_KEY_ID" => "AKEXAMPLE",
        "AWS_SECRET_ACCESS_KEY" => "s3cr3t",
        _ => return None,
    };
    Some(value.to_owned())
}

fn store(url: &str) -> S3 {
    S3::new(url.parse().unwrap(), &variables, &Authorities::default()).unwrap()
}

fn container(name: &str) -> Container {
    name.parse().unwrap()
}

fn reader(name: &str) -> Access {
    Access::Reader(name.parse().unwrap())
}

async fn put(store: &S3, container: &Container, bytes: &'static str) -> Result<(), StoreError> {
    let body = Body::Bytes(Bytes::from_static(bytes.as_bytes()));
    store.put(container, "a@/hidden.log", &body, &ContentHeaders::of("log.gz")).await
}

#[tokio::test]
async fn uploads_are_plain_and_carry_their_sum() {
    let fake = Fake::start("s3://", |_| None).await;
    put(&fake.store, &container("c"), "log").await.unwrap();
    let seen = fake.seen(&Method::PUT, "/c/a%40/hidden.log");
    let [put] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((&put.body[..], put.header("content-md5")), (&b"log"[..], "3B1xu7XE0qXpNtt57xDBnw=="));
    assert_eq!(
        (put.header("content-type"), put.header("content-encoding")),
        ("text/plain; charset=UTF-8", "gzip")
    );
    assert!(put.headers.keys().all(|name| !name.as_str().contains("checksum")), "{put:?}");
}

#[tokio::test]
async fn damage_is_seen() {
    let other = "\"00000000000000000000000000000000\"";
    for answer in [(200, vec![("etag", other)], String::new()), refused(400, "BadDigest")] {
        let fake = Fake::start("s3://", move |_| Some(answer.clone())).await;
        let error = put(&fake.store, &container("c"), "log").await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }) && error.may_retry(), "{error}");
    }
    let encrypted = vec![("etag", other), ("x-amz-server-side-encryption", "aws:kms")];
    let fake = Fake::start("s3://", move |_| Some((200, encrypted.clone(), String::new()))).await;
    put(&fake.store, &container("c"), "log").await.unwrap();
}

#[tokio::test]
async fn an_upload_in_parts_that_fails_leaves_none() {
    let told = |seen: &Seen| {
        let begun = "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
        match seen {
            seen if seen.is(&Method::POST, "uploads") => Some((200, vec![], begun.to_owned())),
            seen if seen.is(&Method::PUT, "partNumber=2") => Some(refused(400, "EntityTooSmall")),
            _ => None,
        }
    };
    let mut fake = Fake::start("s3://", told).await;
    fake.store.part = 4;
    let error = put(&fake.store, &container("c"), "0123456789").await.unwrap_err();
    assert!(matches!(error, StoreError::Forbidden { .. }), "{error}");
    assert_eq!(fake.seen(&Method::PUT, "partNumber=1")[0].body, "0123");
    assert_eq!(fake.seen(&Method::PUT, "partNumber=2")[0].body, "4567");
    assert_eq!(fake.seen(&Method::DELETE, "uploadId=u1").len(), 1);
}

#[tokio::test]
async fn a_new_container_has_its_rule_before_its_record() {
    for (access, name, principal) in [
        (Access::Public, "autopkgtest-noble", "*"),
        (reader("123456789012:ci"), "private-c", "arn:aws:iam::123456789012:user/ci"),
    ] {
        let fake = Fake::start("s3://results", |_| None).await;
        for _ in 0..2 {
            fake.store.ensure_container(&container(name), &access).await.unwrap();
        }
        let puts = fake.seen(&Method::PUT, "/results");
        let [policy, record] = puts.as_slice() else { panic!("{puts:?}") };
        assert!(policy.uri.starts_with("/results") && policy.uri.contains("policy"), "{}", policy.uri);
        let json: Value = serde_json::from_slice(&policy.body).unwrap();
        assert_eq!(json["Statement"][0]["Principal"]["AWS"][0], principal);
        assert!(record.uri.contains(&format!("/results/.proofhouse/containers/{name}")), "{}", record.uri);
        assert_eq!(record.header("if-none-match"), "*");
    }
}

#[tokio::test]
async fn a_rule_that_another_process_undid_is_added_again() {
    for (access, name) in [(Access::Public, "autopkgtest-noble"), (reader("ci"), "private-c")] {
        let fake = Fake::start("s3://results", |_| None).await;
        let ensured = async || fake.store.ensure_container(&container(name), &access).await.unwrap();
        ensured().await;
        let undo =
            fake.store.client().await.put_bucket_policy().bucket("results").policy("{\"Statement\": []}");
        undo.send().await.unwrap();
        // Not looked at each time, but after a while, and by every other process.
        ensured().await;
        assert_eq!(fake.seen(&Method::PUT, "policy").len(), 2);
        fake.store.told.lock().unwrap().clear();
        ensured().await;
        ensured().await;
        let puts = fake.seen(&Method::PUT, "policy");
        let [first, _, again] = puts.as_slice() else { panic!("{puts:?}") };
        let rules = |seen: &Seen| serde_json::from_slice::<Value>(&seen.body).unwrap()["Statement"].clone();
        assert_eq!(rules(again), rules(first));
    }
    // What is made works without.
    let told = |seen: &Seen| match () {
        () if seen.is(&Method::GET, "containers/") => Some((200, vec![], "public\n".to_owned())),
        () if seen.is(&Method::PUT, "policy") => Some(refused(400, "MalformedPolicy")),
        () => None,
    };
    let fake = Fake::start("s3://results", told).await;
    fake.store.ensure_container(&container("autopkgtest-noble"), &Access::Public).await.unwrap();
}

#[tokio::test]
async fn servers_without_policies_or_conditions_do() {
    for (status, code) in [(501, "NotImplemented"), (403, "AccessDenied"), (405, "MethodNotAllowed")] {
        let told = move |seen: &Seen| {
            let asks = seen.uri.contains("policy") || seen.uri.contains("acl");
            let conditional = seen.headers.contains_key("if-none-match");
            asks.then(|| refused(status, code))
                .or_else(|| conditional.then(|| refused(501, "NotImplemented")))
        };
        for url in ["s3://", "s3://results"] {
            let fake = Fake::start(url, told).await;
            let (public, private) = (container("autopkgtest-noble"), container("private-c"));
            for _ in 0..2 {
                fake.store.ensure_container(&public, &Access::Public).await.unwrap();
                fake.store.ensure_container(&private, &reader("ci")).await.unwrap();
            }
            assert!(fake.store.is_public(&public).await.unwrap());
            assert!(!fake.store.is_public(&private).await.unwrap());
        }
    }
}

#[tokio::test]
async fn rules_that_somebody_else_made_stay() {
    let open = r#"{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*",
        "Resource": "arn:aws:s3:::results/*"}]}"#;
    let told = move |seen: &Seen| seen.is(&Method::GET, "policy").then(|| (200, vec![], open.to_owned()));
    let fake = Fake::start("s3://results", told).await;
    let error = fake.store.ensure_container(&container("private-c"), &Access::Internal).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Forbidden { .. }) && !error.to_string().contains("private-c"),
        "{error}"
    );
    assert!(fake.seen(&Method::PUT, "/").is_empty());
    // Another process was first, for another reader.
    let told = |seen: &Seen| {
        let record = "/private-c/.proofhouse/access";
        let first = seen.is(&Method::PUT, record).then(|| refused(412, "PreconditionFailed"));
        first.or_else(|| seen.is(&Method::GET, record).then(|| (200, vec![], "reader other\n".to_owned())))
    };
    let fake = Fake::start("s3://", told).await;
    let error = fake.store.ensure_container(&container("private-c"), &reader("ci")).await.unwrap_err();
    assert!(matches!(error, StoreError::OtherReader { .. }), "{error}");
    // A bucket without a record that is not empty.
    let told = |seen: &Seen| {
        let one = "<ListBucketResult><Contents><Key>x</Key></Contents></ListBucketResult>";
        seen.is(&Method::GET, "list-type=2").then(|| (200, vec![], one.to_owned()))
    };
    let fake = Fake::start("s3://", told).await;
    let error = fake.store.ensure_container(&container("private-c"), &reader("ci")).await.unwrap_err();
    assert!(matches!(error, StoreError::OtherReader { .. }), "{error}");
    assert!(fake.seen(&Method::PUT, "/").is_empty());
}

#[tokio::test]
async fn who_may_read_is_asked_once_a_minute_but_for_what_is_missing() {
    let told = |seen: &Seen| seen.uri.contains("there").then(|| (200, vec![], "public\n".to_owned()));
    let fake = Fake::start("s3://", told).await;
    for _ in 0..3 {
        assert!(fake.store.is_public(&container("there")).await.unwrap());
        assert!(!fake.store.is_public(&container("missing")).await.unwrap());
    }
    assert_eq!(fake.seen(&Method::GET, "/").len(), 1 + 3);
}

#[tokio::test]
async fn errors_hold_no_secret_and_no_private_name() {
    // A port that nobody listens on.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = store(&format!("s3://?endpoint=http://{}", listener.local_addr().unwrap()));
    drop(listener);
    let failing = Fake::start("s3://", |_| Some(refused(503, "SlowDown"))).await;
    let refusing = Fake::start("s3://", |_| Some(refused(403, "InvalidAccessKeyId"))).await;
    let private = container("private-hidden");
    for (store, away) in [(&failing.store, true), (&gone, true), (&refusing.store, false)] {
        let results = tokio::join!(
            async { store.get(&private, "a@/hidden.log", None).await.err().unwrap() },
            async { put(store, &private, "log").await.unwrap_err() },
            async { store.list(&private, &ListQuery::default()).await.unwrap_err() },
            async { store.is_public(&private).await.unwrap_err() },
        );
        for error in [results.0, results.1, results.2, results.3] {
            assert_eq!(matches!(error, StoreError::Away { .. }), away, "{error}");
            assert!(away || matches!(error, StoreError::Forbidden { .. }), "{error}");
            let text = format!("{error} {error:?}");
            assert!(!text.contains("hidden") && !text.contains("s3cr3t"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_reader_whom_the_store_does_not_know() {
    let told = |seen: &Seen| seen.is(&Method::PUT, "policy").then(|| refused(400, "MalformedPolicy"));
    let fake = Fake::start("s3://results", told).await;
    let error = fake.store.ensure_container(&container("private-hidden"), &reader("ci")).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Configuration(_)) && !error.to_string().contains("hidden"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_used_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.pem");
    std::fs::write(&bundle, "-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n")
        .unwrap();
    let missing = folder.path().join("missing.pem");
    for (name, value) in [
        ("AWS_CA_BUNDLE", bundle.to_str().unwrap()),
        ("AWS_CA_BUNDLE", missing.to_str().unwrap()),
        ("AWS_SECRET_ACCESS_KEY", ""),
    ] {
        let variable = |asked: &str| if asked == name { Some(value.to_owned()) } else { variables(asked) };
        let error =
            S3::new("s3://results".parse().unwrap(), &variable, &Authorities::default()).err().expect(name);
        assert!(matches!(error, StoreError::Configuration(_) | StoreError::Io { .. }), "{error}");
    }
}

/// A listing of a server that answers so, one page after the other.
async fn listed(answers: &[&str], prefix: &str, marker: &str) -> Result<Vec<Entry>, StoreError> {
    let answers = answers.iter().map(|answer| answer.as_bytes().to_vec()).collect();
    let query = ListQuery { prefix: prefix.to_owned(), marker: marker.to_owned(), ..ListQuery::default() };
    crate::store::untrusted::s3_listing(answers, &container("c"), &query).await
}

#[tokio::test]
async fn a_listing_that_does_not_go_on_ends() {
    let page = |key: &str, more: bool| {
        format!(
            "<ListBucketResult><IsTruncated>{more}</IsTruncated><Contents><Key>{key}</Key></Contents></ListBucketResult>"
        )
    };
    let (a, b) = (page("a", true), page("b", false));
    assert_eq!(listed(&[a.as_str(), &b], "", "").await.unwrap().len(), 2);
    let same = vec![a.as_str(); 100];
    for (answers, prefix, marker) in [
        (&same[..], "", ""),
        (&same[..], "", "a"),
        (&[b.as_str()][..], "a", ""),
        (&[b.as_str()][..], "", "b"),
    ] {
        let error = listed(answers, prefix, marker).await.unwrap_err();
        assert!(error.to_string().contains("not the one that was asked for"), "{error}");
    }
    let nothing = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
    assert!(listed(&[nothing; 100], "", "").await.is_err());
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let long = format!("<ListBucketResult>{}</ListBucketResult>", " ".repeat(65 << 20));
    let error = listed(&[&long], "", "").await.unwrap_err();
    assert!(error.to_string().contains("length limit exceeded"), "{error}");
}
