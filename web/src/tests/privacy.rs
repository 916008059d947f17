//! No route shows anything of a private run.

use std::time::Instant;

use axum::http::Method;
use serde_json::json;

use crate::testing::{Site, Stored};

/// What must appear nowhere.
const SECRETS: [&str; 8] =
    ["hushpkg", "hushowner", "hushtrigger", "hushreader", "hushuser", "hushline", "hushasker", "HUSHENV"];

const BODY: &str = r#"{"triggers": ["hushtrigger/1"], "ppas": ["u:hushtoken@hushowner/ppa"], "swiftuser": "hushuser",
    "readable-by": ["hushreader"], "requester": "hushasker", "env": ["HUSHENV=1"]}"#;

struct Hidden {
    site: Site,
    uuids: Vec<String>,
    done: Stored,
}

/// Private runs in every state.
async fn hidden() -> Hidden {
    let site = Site::new().await;
    let body = |n: u8| format!("hushpkg{n} {BODY}");
    let (queue, mut uuids) = ("debci-ppa-noble-amd64", Vec::new());
    let done = site.result(queue, &body(1), 4, "hushline").await;
    let (_, waiting) = site.queue(queue, &body(2)).await;
    let (job, running) = site.queue(queue, &body(3)).await;
    site.start(job).await;
    let (job, parked) = site.queue(queue, &body(4)).await;
    let id = site.start(job).await;
    site.fail(id, None).await;
    site.keep_log(parked, 1, "hushline");
    let alias = "6a1d4c5e-94c5-4f8e-9b1c-3a8d1b7a2c11";
    site.queue(queue, &body(2).replacen('{', &format!("{{\"uuid\": \"{alias}\", "), 1)).await;
    uuids.extend([done.uuid, waiting, running, parked].map(|u| u.to_string()));
    uuids.push(alias.to_owned());
    // A message of ours that should never have said so much.
    let message = json!({"release": "noble", "architecture": "amd64", "package": "hushpkg3", "running": true,
        "params": {"triggers": ["hushtrigger/1"]}, "duration": 1, "logtail": "hushline", "uuid": running});
    site.app.heard().hear(serde_json::from_value(message.clone()).unwrap(), Instant::now());
    let mut foreign = message;
    foreign["package"] = json!("private-test");
    foreign["uuid"] = json!(null);
    site.app.heard().hear(serde_json::from_value(foreign).unwrap(), Instant::now());
    site.sum_up().await;
    Hidden { site, uuids, done }
}

/// What can be asked for without knowing a run.
const PLAIN: &[&str] = &[
    "/",
    "/packages",
    "/packages/",
    "/packages?q=hush",
    "/running",
    "/recent",
    "/recent?user=hushasker&limit=10000",
    "/recent?package=hushpkg1",
    "/failing",
    "/flaky?days=30",
    "/slow",
    "/stale",
    "/stuck",
    "/release/noble",
    "/user/hushasker/",
    "/user/hushowner/ppa",
    "/user/hushowner/ppa/ppa",
    "/search?q=hush",
    "/search?q=hushowner/ppa",
    "/search?q=hushtrigger/1",
    "/search?q=hush&kind=ppa",
    "/api/v1/failing",
    "/api/v1/flaky",
    "/api/v1/slow",
    "/api/v1/stale",
    "/api/v1/stuck",
    "/api/v1/releases/noble",
    "/api/v1/users/hushasker",
    "/api/v1/users/hushowner/ppas",
    "/api/v1/users/hushowner/ppas/ppa",
    "/api/v1/search?q=hush",
    "/queues.json",
    "/queued.json",
    "/queue_size.json",
    "/static/running.json",
    "/api/experimental/recent.json",
    "/api/experimental/recent.json?limit=10000",
    "/results",
    "/results/",
    "/request.cgi",
    "/api/v1/requests",
    "/waiting",
    "/parked",
    "/api/v1/parked",
    "/parked?package=hushpkg4",
    "/statistics",
    "/infrastructure",
    "/api",
    "/api/v1/results?limit=1000",
    "/api/v1/results?user=hushasker",
    "/api/v1/packages",
    "/api/v1/packages?prefix=hush",
    "/api/v1/queues",
    "/api/v1/queue",
    "/api/v1/running",
    "/api/v1/waiting",
    "/api/v1/demand",
    "/api/v1/statistics",
    "/api/v1/infrastructure",
    "/api/v1/alerts",
    "/feeds/release/noble.atom",
    "/feeds/user/hushasker.atom",
    "/feeds/trigger/hushtrigger/1.atom",
    "/trigger/hushtrigger/1",
    "/api/v1/triggers/hushtrigger/1",
    "/queue/ppa/noble/amd64",
    "/queue/ppa/noble/amd64?package=hushpkg2",
    "/api/v1/queue/ppa/noble/amd64",
    "/running?package=hush*",
    "/running?trigger=hushtrigger/1",
];

/// Every route of the site, with what a curious person would put into it.
fn routes(hidden: &Hidden) -> Vec<String> {
    let run_id = &hidden.done.run_id;
    let mut routes: Vec<String> = PLAIN.iter().copied().map(str::to_owned).collect();
    for n in 1..=4 {
        for folder in ["", "h/"] {
            let package = format!("/packages/{folder}hushpkg{n}");
            routes.push(format!("/packages?q=hushpkg{n}"));
            routes.push(format!("/search?q=hushpkg{n}"));
            routes.push(package.clone());
            routes.push(format!("{package}/noble/amd64"));
            routes.push(format!("{package}/noble/amd64/{run_id}"));
            routes.push(format!("{package}/noble/amd64/{run_id}/log"));
            routes.push(format!("{package}/noble/amd64/{run_id}?container={}", hidden.done.container));
        }
    }
    for n in 1..=4 {
        routes.push(format!("/feeds/package/hushpkg{n}.atom"));
        routes.push(format!("/badge/hushpkg{n}.svg"));
        routes.push(format!("/badge/hushpkg{n}/noble/amd64.svg"));
        routes.push(format!("/api/v1/packages/hushpkg{n}"));
        routes.push(format!("/api/v1/packages/hushpkg{n}/noble/amd64"));
        routes.push(format!("/api/v1/packages/hushpkg{n}/noble/amd64/{run_id}"));
        routes.push(format!("/api/v1/compare/hushpkg{n}/noble/amd64/{run_id}/{run_id}"));
        routes.push(format!("/compare/hushpkg{n}/noble/amd64/{run_id}/{run_id}"));
        routes.push(format!("/compare?package=hushpkg{n}&release=noble&arch=amd64&after={run_id}"));
        routes.push(format!("/compare?package=hushpkg{n}&release=noble&arch=amd64"));
    }
    routes.extend(hidden.uuids.iter().map(|uuid| format!("/api/v1/runs/{uuid}")));
    routes.extend(hidden.uuids.iter().map(|uuid| format!("/api/v1/search?q={uuid}")));
    routes.push(format!("/api/v1/search?q={run_id}"));
    let container = &hidden.done.container;
    for page in [
        "",
        "/log",
        "/log/events",
        "/attempts/1/log",
        "/attempts/1/log.gz",
        "/attempts/2/log",
        "/attempts/x/log",
    ] {
        routes.extend(hidden.uuids.iter().map(|uuid| format!("/run/{uuid}{page}")));
    }
    routes.extend(hidden.uuids.iter().map(|uuid| format!("/results/proofhouse-attempts/{uuid}/1/log.gz")));
    routes.push(format!("/results/{container}"));
    routes.push(format!("/results/{container}/?format=json"));
    routes.push(format!("/results/{container}/{}/log.gz", hidden.done.folder));
    routes
}

#[tokio::test]
async fn no_route_shows_a_private_run() {
    let hidden = hidden().await;
    for route in routes(&hidden) {
        for answer in [hidden.site.get(&route).await, hidden.site.browse(&route).await] {
            let text = format!("{} {:?}", answer.text(), answer.headers);
            for secret in SECRETS.iter().copied().chain(hidden.uuids.iter().map(String::as_str)) {
                // What the address itself says may be said back: the next test shows that it tells nothing.
                assert!(route.contains(secret) || !text.contains(secret), "{route} shows {secret}: {text}");
            }
            assert!(!text.contains("hushtoken"), "{route}");
        }
    }
}

#[tokio::test]
async fn an_address_of_a_private_run_is_as_one_that_never_was() {
    let hidden = hidden().await;
    let site = &hidden.site;
    for route in routes(&hidden) {
        let Some(unknown) = unknown(&route, &hidden) else { continue };
        let (private, none) = (site.browse(&route).await, site.browse(&unknown).await);
        assert_eq!(private.status, none.status, "{route}");
        assert!(matches!(private.status.as_u16(), 404 | 401), "{route}: {}", private.status);
        let plain = |text: String| text.replace("hushpkg", "nopkg");
        assert_eq!(plain(private.text()), plain(none.text()), "{route}");
    }
    let token = site.token("hushreader", "request force").await;
    let bearer = format!("Bearer {token}");
    let answer = site
        .send(
            Method::GET,
            &format!("/run/{}", hidden.uuids[0]),
            &[("authorization", &bearer), ("accept", "text/html")],
            "",
        )
        .await;
    assert_eq!(answer.status, 404, "nobody is known to pages yet");
}

/// The same address with names that never were.
fn unknown(route: &str, hidden: &Hidden) -> Option<String> {
    if route.contains("/search?") {
        return None;
    }
    if route.starts_with("/packages/") && route.contains("hushpkg") {
        return Some(route.replace("/h/hushpkg", "/n/nopkg").replace("hushpkg", "nopkg"));
    }
    if ["/feeds/", "/badge/", "/api/", "/compare"].iter().any(|start| route.starts_with(start))
        && route.contains("hushpkg")
    {
        return Some(route.replace("hushpkg", "nopkg"));
    }
    if route.starts_with("/results/private-") {
        return Some(route.replace(&hidden.done.container, "private-autopkgtest-never"));
    }
    let uuid = hidden.uuids.iter().find(|u| route.contains(u.as_str()))?;
    Some(route.replace(uuid, "00000000-0000-4000-8000-000000000000"))
}

#[tokio::test]
async fn a_search_for_a_private_run_finds_what_one_for_nothing_does() {
    let hidden = hidden().await;
    let site = &hidden.site;
    let none = site.get("/api/v1/search?q=00000000-0000-4000-8000-000000000000").await.json();
    let names = ["hushpkg1", "hushpkg4", "hushasker", "hushowner/ppa", "hushowner-ppa", "hushtrigger/1"];
    let wanted = hidden.uuids.iter().map(String::as_str).chain(names).chain([hidden.done.run_id.as_str()]);
    for q in wanted {
        assert_eq!(site.get(&format!("/api/v1/search?q={q}")).await.json(), none, "{q}");
        assert_eq!(site.browse(&format!("/search?q={q}")).await.status, 200, "{q}");
    }
}

#[tokio::test]
async fn private_runs_count() {
    let Hidden { site, .. } = hidden().await;
    let queues = site.get("/queues.json").await.json();
    assert_eq!(queues["ppa"]["noble"]["amd64"], json!(["private job"]));
    assert_eq!(site.get("/queue_size.json").await.json()["ppa"]["noble"]["amd64"], 1);
    let running = site.get("/static/running.json").await.json();
    assert_eq!(running, json!({"private-test": {"": {"noble": {"amd64": [{}, 0, "Running private test"]}}}}));
    assert!(site.browse("/running").await.text().contains("a private test"));
}
