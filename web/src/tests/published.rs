use axum::http::Method;
use proofhouse_core::published::{Pointer, Scope};

use crate::testing::Site;

const CONTAINER: &str = "proofhouse-published";
const FILE: &str = "/static/autopkgtest.db";
const DIGEST: &str = "/static/autopkgtest.db.sha256";

fn pointer() -> Pointer {
    let scope = Scope { releases: vec!["noble".to_owned()], days: 0 };
    Pointer { lineage: "l".to_owned(), edition: 1, scope, pairs: vec![] }
}

/// Stores a file under `digest` and announces it at `second`.
fn publish(site: &Site, pointer: &mut Pointer, digest: &str, second: i64) {
    pointer.announce(digest.to_owned(), second * 1_000_000);
    site.store.add(CONTAINER, &pointer.pairs[0].file(), format!("file of {digest}").as_bytes());
    site.store.add(CONTAINER, "current", &serde_json::to_vec(pointer).unwrap());
}

#[tokio::test]
async fn nothing_yet() {
    let site = Site::new().await;
    for path in [FILE, DIGEST] {
        let answer = site.get(path).await;
        assert_eq!(answer.status, 404);
        assert!(answer.text().starts_with("No database is published yet"), "{}", answer.text());
    }
}

#[tokio::test]
async fn the_pair_that_the_pointer_names() {
    let site = Site::new().await;
    let mut pointer = pointer();
    publish(&site, &mut pointer, "aa", 1000);
    publish(&site, &mut pointer, "bb", 2000);
    let digest = site.get(DIGEST).await;
    assert_eq!((digest.status.as_u16(), digest.text().as_str()), (200, "bb"));
    assert_eq!(digest.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(digest.header("last-modified"), "Thu, 01 Jan 1970 00:33:35 GMT");
    let same = site.send(Method::GET, DIGEST, &[("if-none-match", digest.header("etag"))], "").await;
    assert_eq!((same.status.as_u16(), same.bytes.len()), (304, 0));
    let file = site.get(FILE).await;
    assert_eq!((file.status.as_u16(), file.text().as_str()), (200, "file of bb"));
    assert_eq!(file.header("content-type"), "application/vnd.sqlite3");
    assert!(!file.header("last-modified").is_empty());
    let same = site.send(Method::GET, FILE, &[("if-none-match", file.header("etag"))], "").await;
    assert_eq!((same.status.as_u16(), same.bytes.len()), (304, 0));
    let part = site.send(Method::GET, FILE, &[("range", "bytes=-2")], "").await;
    assert_eq!((part.status.as_u16(), part.text().as_str()), (206, "bb"));
    for path in [FILE, DIGEST] {
        let head = site.send(Method::HEAD, path, &[], "").await;
        assert_eq!((head.status.as_u16(), head.bytes.len()), (200, 0), "{path}");
    }
}

#[tokio::test]
async fn near_a_moment_a_client_waits_for_it() {
    let site = Site::new().await;
    let mut pointer = pointer();
    let now = site.db.now_us().await.unwrap() / 1_000_000;
    publish(&site, &mut pointer, "aa", now - 600);
    // Announced 14 seconds ago: its moment is a second ahead.
    publish(&site, &mut pointer, "bb", now - 14);
    assert_eq!(site.get(DIGEST).await.text(), "bb");
    assert!(site.db.now_us().await.unwrap() >= pointer.pairs[0].from_us - 100_000);
    // Announced just now: the one before it is shown.
    let site = Site::new().await;
    pointer.pairs.truncate(1);
    publish(&site, &mut pointer, "cc", now + 1);
    site.store.add(CONTAINER, "bb.db", b"file of bb");
    assert_eq!(
        (site.get(DIGEST).await.text(), site.get(FILE).await.text()),
        ("bb".into(), "file of bb".into())
    );
}

#[tokio::test]
async fn a_store_that_is_away_is_no_missing_file() {
    let site = Site::new().await;
    site.store.away.store(true, std::sync::atomic::Ordering::Relaxed);
    for path in [FILE, DIGEST] {
        assert_eq!(site.get(path).await.status, 503);
    }
}
