//! What a security scanner looks for, on every address and whatever goes wrong there.

use axum::http::Method;

use crate::{
    settings::Settings,
    testing::{Answer, Site, settings},
};

/// The patterns that the router has.
fn patterns() -> Vec<&'static str> {
    let routes: Vec<&str> =
        include_str!("../routes.rs").split(".route(\"").skip(1).filter_map(|r| r.split('"').next()).collect();
    assert!(routes.len() > 20, "{routes:?}");
    let described = crate::api::DOCUMENT["paths"].as_object().unwrap().keys().map(String::as_str);
    routes.into_iter().chain(described).chain(["/api", "/api/try", "/api/v1/openapi.json"]).collect()
}

/// An address of a pattern, with `word` in each place.
fn address(pattern: &str, word: &str) -> String {
    let parts = pattern.split('/').map(|part| if part.starts_with('{') { word } else { part });
    parts.collect::<Vec<_>>().join("/")
}

fn is_secure(answer: &Answer, what: &str) {
    let policy = answer.header("content-security-policy");
    for part in ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action "] {
        assert!(policy.contains(part), "{what}: {policy}");
    }
    // Scripts are files of ours alone. Styles of their own have only answers that a browser puts into a sandbox.
    let scripts = policy.split("; ").filter(|part| part.starts_with("script-src"));
    assert!(scripts.into_iter().all(|part| part == "script-src 'self'"), "{what}: {policy}");
    assert!(!policy.contains("unsafe") || policy.ends_with("; sandbox"), "{what}: {policy}");
    let expected = [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("x-permitted-cross-domain-policies", "none"),
        ("strict-transport-security", "max-age=31536000"),
    ];
    for (name, value) in expected {
        let all: Vec<_> = answer.headers.get_all(name).iter().collect();
        assert_eq!(all, [value], "{what}: {name}");
    }
    assert!(answer.header("permissions-policy").contains("geolocation=()"), "{what}");
    assert!(!answer.header("cache-control").is_empty(), "{what}");
    // Nobody logs in here with a cookie of ours; one that comes gets `Secure`, `HttpOnly` and `SameSite`.
    for cookie in answer.headers.get_all("set-cookie") {
        let cookie = cookie.to_str().unwrap();
        let has = |flag: &str| cookie.split("; ").any(|f| f == flag);
        assert!(has("Secure") && has("HttpOnly") && cookie.contains("; SameSite="), "{what}: {cookie}");
    }
    // Neither what serves nor its version.
    for name in ["server", "x-powered-by"] {
        assert_eq!(answer.header(name), "", "{what}: {name}");
    }
    if answer.header("content-type").starts_with("text/") {
        assert!(answer.header("content-type").to_ascii_lowercase().ends_with("charset=utf-8"), "{what}");
    }
}

#[tokio::test]
async fn every_address_whatever_it_answers() {
    let site = Site::new().await;
    let run = site.result("debci-noble-amd64", "green {\"triggers\": [\"green/2\"]}", 0, "a log").await;
    let mut addresses = vec![
        "/nope".to_owned(),
        "/packages/green".to_owned(),
        "/packages/green/noble/amd64".to_owned(),
        format!("/packages/green/noble/amd64/{}", run.run_id),
        format!("/packages/green/noble/amd64/{}/log", run.run_id),
        format!("/run/{}", run.uuid),
        format!("/results/{}/{}/log.gz", run.container, run.folder),
        format!("/results/{}/{}/result.tar", run.container, run.folder),
        crate::statics::style().to_owned(),
        crate::statics::icon().to_owned(),
        crate::statics::log_script().to_owned(),
        crate::statics::follow_script().to_owned(),
        crate::statics::fresh_script().to_owned(),
    ];
    for pattern in patterns() {
        addresses.extend(["green", "%ff", "..%2f..", "%3Cscript%3E"].map(|word| address(pattern, word)));
        addresses.push(format!("{}?limit=x&offset=-1", address(pattern, "green")));
    }
    let mut statuses = std::collections::BTreeSet::new();
    for address in &addresses {
        for method in
            [Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::OPTIONS, Method::TRACE]
        {
            let answer = site.send(method.clone(), address, &[("accept", "*/*")], "x").await;
            is_secure(&answer, &format!("{method} {address}"));
            statuses.insert(answer.status.as_u16());
        }
        is_secure(&site.browse(address).await, address);
    }
    let large = "x".repeat(proofhouse_core::request::MAX_BODY + 1);
    // Who may not ask is not told that it is too large.
    let bearer = format!("Bearer {}", site.token("joe", "request").await);
    let answer = site.send(Method::POST, "/request.cgi", &[("authorization", &bearer)], &large).await;
    is_secure(&answer, "a large body");
    statuses.insert(answer.status.as_u16());
    // Good ones, those of scripts, and each kind of failure were among them.
    for status in [200, 400, 401, 404, 405, 413] {
        assert!(statuses.contains(&status), "{status} of {statuses:?}");
    }
}

#[tokio::test]
async fn a_site_without_tls_binds_no_browser_to_it() {
    let site = Site::with(Settings { site: "http://localhost:8080/".parse().unwrap(), ..settings() }).await;
    for address in ["/", "/nope"] {
        assert_eq!(site.get(address).await.header("strict-transport-security"), "");
    }
}
