//! Requests: a message's body, and a form.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use proofhouse_core::{
    intake::{Incoming, Intake},
    names::{Context, Pair, RequestQueue},
    params::Ppa,
    request::{MAX_BODY, Request},
    seal::SealKeys,
};
use proofhouse_web::Settings;
use serde_json::Value;

const QUEUE: &str = "debci-ppa-noble-amd64";
/// A token that is shorter can stand in a text by chance.
const TOKEN: usize = 8;

static PAIR: LazyLock<Pair> = LazyLock::new(|| "noble/amd64".parse().expect("a pair"));
static INTAKE: LazyLock<Intake> = LazyLock::new(|| Intake {
    served: BTreeSet::from([PAIR.clone()]),
    keys: Some(keys()),
    answered: RequestQueue::of(&PAIR).into(),
});

fn keys() -> SealKeys {
    SealKeys::parse(&"5a".repeat(32)).expect("a key")
}

/// A body of a client's queue becomes a job that reads as the same request, or is kept without secrets.
pub(crate) fn body(data: &[u8]) {
    let incoming = Incoming { queue: QUEUE.to_owned(), body: data.to_owned().into(), redelivered: false };
    let prepared = INTAKE.prepare(&incoming, |_, _| None);
    let secrets = secrets(data);
    let hidden = |text: &str| secrets.iter().all(|secret| !text.contains(secret.as_str()));
    match prepared.what {
        Ok(job) => {
            let request = Request::parse(data).expect("intake took it");
            same(&request);
            assert!(hidden(&job.body), "credentials are kept");
            let kept = Request::parse(job.body.as_bytes()).expect("what is kept is read again");
            assert_eq!((kept.is_private(), &kept.package), (request.is_private(), &request.package));
            assert_eq!((job.private, &job.package), (request.is_private(), &request.package));
            assert!(!request.has_credentials() || request.is_private());
        }
        Err(rejection) => {
            assert!(hidden(&String::from_utf8_lossy(&rejection.body)), "credentials are kept");
            assert!(hidden(&rejection.reason), "credentials are said");
            assert!(rejection.reason.len() < 2000);
            if let Some(answer) = rejection.answer {
                assert!(!answer.private && hidden(&answer.body));
                assert!(answer.answer.is_some_and(|(_, text)| hidden(&text)));
            }
        }
    }
}

/// A form is refused, or becomes requests that go the same way.
pub(crate) fn form(data: &[u8]) {
    let settings = Settings {
        site: "http://localhost/".parse().expect("a URL"),
        pairs: INTAKE.served.clone(),
        disabled: BTreeSet::new(),
        intake: Arc::new(INTAKE.clone()),
        swiftuser: Some("reader".parse().expect("a name")),
        open: true,
        parked_answer: None,
        pools: Arc::default(),
        requests_per_hour: 1,
        trusted_proxies: vec![],
        address_rate: 0,
    };
    for json in [false, true] {
        let asked = proofhouse_web::untrusted::submitted(data, json, &settings).unwrap_or_default();
        for (queue, request) in asked {
            assert!(settings.pairs.contains(&queue.pair));
            assert!(request.package.follows_policy() && request.uuid.is_some());
            same(&request);
            if let Ok(job) = INTAKE.job(&queue, &request, None) {
                assert!(job.body.len() <= MAX_BODY && Request::parse(job.body.as_bytes()).is_ok());
            }
        }
    }
}

/// What is written reads the same, and is the same request whatever the order of its triggers.
fn same(request: &Request) {
    // JSON's numbers are not always written as they came.
    if request.unknown.values().any(has_fraction) {
        return;
    }
    let body = request.to_body();
    if body.len() > MAX_BODY {
        return;
    }
    let again = Request::parse(body.as_bytes()).expect("what is written can be read");
    assert_eq!(&again, request);
    let mut turned = again;
    turned.triggers.reverse();
    let identity = |request: &Request| request.identity(Context::Ppa, &PAIR, Some(&keys()));
    assert_eq!(identity(&turned), identity(request));
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(map) => map.values().any(has_fraction),
        _ => false,
    }
}

/// Tokens of PPAs that nothing else in the body repeats.
fn secrets(body: &[u8]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(body) else { return Vec::new() };
    let params = text.trim().split_once(char::is_whitespace);
    let Some(Ok(Value::Object(params))) = params.map(|(_, json)| serde_json::from_str(json.trim())) else {
        return Vec::new();
    };
    let ppas = params.get("ppas").and_then(Value::as_array).cloned().unwrap_or_default();
    let ppas = ppas.iter().filter_map(|ppa| ppa.as_str()?.parse::<Ppa>().ok());
    let tokens = ppas.filter_map(|ppa| Some(ppa.credentials?.token().to_owned()));
    tokens.filter(|token| token.len() >= TOKEN && text.matches(token.as_str()).count() == 1).collect()
}
