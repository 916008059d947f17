use axum::http::Method;
use proofhouse_core::{
    bus::Target,
    protocol::{ASKS, Ask, Asked},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    settings::Settings,
    testing::{Answer, Site, settings, texts},
};

const GOOD: &str = "/request.cgi?release=noble&arch=amd64&package=green&trigger=green%2F2";

async fn with(site: &Site, secret: &str, uri: &str) -> Answer {
    site.send(Method::GET, uri, &[("authorization", &format!("Bearer {secret}")), ("accept", "*/*")], "")
        .await
}

/// The uuid that scripts match.
fn uuid_of(answer: &Answer) -> Uuid {
    let text = answer.text();
    let (_, rest) = text.split_once("<dt>UUID</dt>\n<dd>").unwrap_or_else(|| panic!("{text}"));
    rest.split_once("</dd>").unwrap().0.parse().unwrap()
}

#[tokio::test]
async fn the_answer_that_scripts_match() {
    let site = Site::new().await;
    let secret = site.token("joe", "request").await;
    let answer = with(&site, &secret, &format!("{GOOD}&ppa=own%2Fname&env=A_B=1;C_D=2&arch=arm64")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    assert!(text.contains("Test request submitted"));
    for line in [
        "<dt>package</dt>\n<dd>green</dd>",
        "<dt>release</dt>\n<dd>noble</dd>",
        "<dt>arch</dt>\n<dd>amd64</dd>",
        "<dt>arch</dt>\n<dd>arm64</dd>",
        "<dt>requester</dt>\n<dd>joe</dd>",
        "<dt>triggers</dt>\n<dd>['green/2']</dd>",
        "<dt>ppas</dt>\n<dd>['own/name']</dd>",
        "<dt>Result url</dt>\n<dd>",
        "<dt>Result history</dt>\n<dd>",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let uuid = uuid_of(&answer);
    assert!(text.contains(&format!("https://tests.example/run/{uuid}")));
    let job = site.db.job_by_uuid(uuid).await.unwrap().unwrap();
    assert_eq!((job.context.as_str(), job.requesters.as_str()), ("ppa", "joe"));
    assert_eq!(job.request().unwrap().env.len(), 2);
    let (target, message) = site.bus.first_sent().await;
    assert_eq!(target, Target::Queue(ASKS.to_owned()));
    let asked: Asked = serde_json::from_slice(&message.body).unwrap();
    assert_eq!((asked.from, asked.ask), (None, Ask::Nudge));
}

#[tokio::test]
async fn who_is_asking_comes_first() {
    let site = Site::new().await;
    let nobody = site.browse("/request.cgi?nonsense=1").await;
    assert_eq!(nobody.status, 401);
    assert!(nobody.text().contains("API token") && nobody.header("www-authenticate").starts_with("Bearer"));
    assert_eq!(site.get(GOOD).await.status, 401);
    assert_eq!(with(&site, "wrong", GOOD).await.status, 401);
    let api = site.send(Method::POST, "/api/v1/requests", &[], "{}").await;
    assert_eq!((api.status.as_u16(), api.header("content-type")), (401, "application/problem+json"));
    assert!(api.json()["error"].is_string());

    let secret = site.token("joe", "request").await;
    let cookie = |user: &str| format!("SRVNAME=x; X-Api-Key={user}:{secret}");
    let other = site.send(Method::GET, GOOD, &[("cookie", &cookie("ann"))], "").await;
    assert_eq!(other.status, 401, "the key of somebody else");
    let forged = [("cookie", cookie("joe")), ("sec-fetch-site", "cross-site".into())];
    let forged: Vec<(&str, &str)> = forged.iter().map(|(n, v)| (*n, v.as_str())).collect();
    assert_eq!(site.send(Method::GET, GOOD, &forged, "").await.status, 403);
    assert!(site.db.queue_counts().await.unwrap().is_empty());
    assert_eq!(site.send(Method::GET, GOOD, &[("cookie", &cookie("joe"))], "").await.status, 200);
}

#[tokio::test]
async fn who_only_looks_asks_for_nothing() {
    let site = Site::new().await;
    let token = site.token("joe", "request").await;
    let bearer = format!("Bearer {token}");
    let answer = site.send(Method::HEAD, GOOD, &[("authorization", &bearer)], "").await;
    assert_eq!(answer.status, 405);
    assert!(site.browse("/user/joe/").await.text().contains("waits for no test"));
}

#[tokio::test]
async fn one_bad_arch_and_none_is_taken() {
    let site = Site::new().await;
    let secret = site.token("joe", "request").await;
    for (uri, status) in [
        (format!("{GOOD}&arch=nope"), 404),
        (format!("{GOOD}&x=1"), 400),
        (format!("{GOOD}&env=A=%24(x)"), 400),
        (format!("{GOOD}&force=1"), 403),
        (format!("{GOOD}&ppa=u:s3cret@own/name"), 400),
    ] {
        let answer = with(&site, &secret, &uri).await;
        assert_eq!(answer.status, status, "{uri}");
        assert!(!answer.text().contains("s3cret") && !answer.text().contains(&secret));
    }
    let read_only = site.token("eve", "read").await;
    assert_eq!(with(&site, &read_only, GOOD).await.status, 403);
    site.queue("debci-noble-arm64", "green {\"triggers\": [\"green/2\"]}").await;
    assert_eq!(with(&site, &secret, &format!("{GOOD}&arch=arm64")).await.status, 409);
    let counts = site.db.queue_counts().await.unwrap();
    assert_eq!((counts.len(), counts[0].waiting), (1, 1), "only what was there");
}

#[tokio::test]
async fn duplicates_lead_to_the_run_that_is_there() {
    let site = Site::new().await;
    let secret = site.token("joe", "request force").await;
    let uuid = uuid_of(&with(&site, &secret, GOOD).await);
    let again = with(&site, &secret, GOOD).await;
    assert_eq!(again.status, 409);
    assert!(again.text().contains("queued already"));
    assert!(again.text().contains(&format!("href=\"/run/{uuid}\"")));
    let json = [("authorization", format!("Bearer {secret}")), ("accept", "application/json".to_owned())];
    let json: Vec<(&str, &str)> = json.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let again = site.send(Method::GET, GOOD, &json, "").await;
    assert_eq!((again.status.as_u16(), &again.json()["url"]), (409, &json!(format!("/run/{uuid}"))));
    let forced = with(&site, &secret, &format!("{GOOD}&force=1")).await;
    assert_eq!(forced.status, 200);
    assert_ne!(uuid_of(&forced), uuid);
    let job = site.db.job_by_uuid(uuid).await.unwrap().unwrap();
    site.start(job.id).await;
    // The forced one still waits; what runs with a PPA may be followed by one more.
    assert_eq!(with(&site, &secret, GOOD).await.status, 409);
    let ppa = GOOD.replace("trigger=green%2F2", "ppa=own%2Fname");
    let first = uuid_of(&with(&site, &secret, &ppa).await);
    site.start(site.db.job_by_uuid(first).await.unwrap().unwrap().id).await;
    assert_eq!(with(&site, &secret, &ppa).await.status, 200);
    assert_eq!(with(&site, &secret, &ppa).await.status, 409);
}

#[tokio::test]
async fn private_runs_are_nobodys_duplicate() {
    let site = Site::new().await;
    let uri = format!("{GOOD}&readable-by=ann");
    let (joe, ann, eve) = (
        site.token("joe", "request").await,
        site.token("ann", "request").await,
        site.token("eve", "request").await,
    );
    let first = uuid_of(&with(&site, &joe, &uri).await);
    assert!(site.db.job_by_uuid(first).await.unwrap().unwrap().private);
    assert_eq!(with(&site, &joe, &uri).await.status, 409, "who asked for it");
    assert_eq!(with(&site, &ann, &uri).await.status, 409, "who may read it");
    let other = with(&site, &eve, &uri).await;
    assert_eq!(other.status, 200);
    assert!(!other.text().contains(&first.to_string()) && !other.text().contains("joe"));
    let alias = site.db.job_by_uuid(uuid_of(&other)).await.unwrap().unwrap();
    assert_eq!(alias.uuid, first.to_string(), "one job all the same");
    // As after an own request: nothing tells that another's is older.
    let again = with(&site, &eve, &uri).await;
    assert_eq!(again.status, 409);
    assert!(!again.text().contains("/run/") && !again.text().contains(&first.to_string()));
}

#[tokio::test]
async fn the_rate_is_everyones_own() {
    let site = Site::with(Settings { requests_per_hour: 2, ..settings() }).await;
    let (joe, ann) = (site.token("joe", "request").await, site.token("ann", "request").await);
    let of = |n: u8| GOOD.replace("green%2F2", &format!("green%2F{n}"));
    assert_eq!(with(&site, &joe, &of(1)).await.status, 200);
    let both = with(&site, &joe, &format!("{}&arch=arm64", of(2))).await;
    assert_eq!(both.status, 429, "two more are over two");
    assert!(both.header("retry-after").parse::<i64>().unwrap() > 3500);
    assert_eq!(with(&site, &joe, &of(3)).await.status, 200);
    assert_eq!(with(&site, &joe, &of(4)).await.status, 429);
    assert_eq!(with(&site, &ann, &of(4)).await.status, 200);
}

#[tokio::test]
async fn json_requests() {
    let site = Site::new().await;
    let secret = site.token("joe", "request").await;
    let bearer = format!("Bearer {secret}");
    let post = async |body: Value| {
        site.send(Method::POST, "/api/v1/requests", &[("authorization", &bearer)], &body.to_string()).await
    };
    let body = json!({"release": "noble", "arch": ["amd64", "arm64"], "package": "green", "triggers": ["green/2"],
        "test-git": "https://x.org/a b"});
    let answer = post(body.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    let requests = json["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 2);
    assert_eq!(json["uuid"], requests[0]["uuid"]);
    let uuid: Uuid = requests[1]["uuid"].as_str().unwrap().parse().unwrap();
    let job = site.db.job_by_uuid(uuid).await.unwrap().unwrap();
    assert_eq!((job.arch.as_str(), job.context.as_str()), ("arm64", "upstream"));
    assert_eq!(requests[1]["url"], format!("https://tests.example/run/{uuid}"));
    for (bad, status) in [
        (json!([]), 400),
        (json!({"release": "noble"}), 400),
        (json!({"release": "noble", "arch": "amd64", "package": "green", "triggers": "green/2"}), 400),
        (
            json!({"release": "noble", "arch": "amd64", "package": "green", "triggers": ["green/9"], "x": 1}),
            400,
        ),
        (
            json!({"release": "noble", "arch": "amd64", "package": "green", "triggers": ["green/9"], "requester": "ann"}),
            400,
        ),
    ] {
        assert_eq!(post(bad.clone()).await.status, status, "{bad}");
    }
    let own = "6a1d4c5e-94c5-4f8e-9b1c-3a8d1b7a2c11";
    let named =
        json!({"release": "noble", "arch": "amd64", "package": "blue", "triggers": ["green/2"], "uuid": own});
    assert_eq!(post(named).await.json()["uuid"], own);
    let large = format!("{{\"x\": \"{}\"}}", "a".repeat(2 << 20));
    let large = site.send(Method::POST, "/api/v1/requests", &[("authorization", &bearer)], &large).await;
    assert_eq!(large.status, 413);
    let form = [("authorization", bearer.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let posted = "release=noble&arch=amd64&package=red&trigger=green/2";
    assert_eq!(site.send(Method::POST, "/request.cgi", &form, posted).await.status, 200);
}

#[tokio::test]
async fn open_takes_requests_from_this_machine_alone() {
    let site = Site::with(Settings { open: true, ..settings() }).await;
    let with = async |headers: &[(&str, &str)], n: u8| {
        let uri = GOOD.replace("green%2F2", &format!("green%2F{n}"));
        site.send(Method::GET, &uri, headers, "").await.status.as_u16()
    };
    assert_eq!(with(&[("host", "127.0.0.1:8080")], 1).await, 200);
    assert_eq!(with(&[("host", "evil.example")], 2).await, 401);
    assert_eq!(with(&[("host", "localhost"), ("sec-fetch-site", "cross-site")], 3).await, 403);
    assert_eq!(with(&[("host", "localhost"), ("authorization", "Bearer wrong")], 4).await, 401);
    let page = site.browse(&GOOD.replace("green%2F2", "green%2F5")).await;
    assert_eq!(page.status, 200);
    assert!(texts(&page.html(), "dd").contains(&"local".to_owned()));
}
