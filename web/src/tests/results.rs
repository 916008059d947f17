use axum::http::Method;
use serde_json::json;

use crate::testing::{Site, gzip};

const FOLDER: &str = "noble/amd64/g/green/20261121_053634_abcde@";

async fn site() -> Site {
    let site = Site::new().await;
    for run in [FOLDER, "noble/amd64/g/green/20261121_053635_abcde@"] {
        site.store.add("autopkgtest-noble", &format!("{run}/log.gz"), &gzip("a log"));
        site.store.add("autopkgtest-noble", &format!("{run}/result.tar"), b"0123456789");
    }
    site.store.add("private-autopkgtest-noble", "noble/amd64/s/secret/x@/log.gz", b"x");
    site.store.add("proofhouse-attempts", "1/log.gz", b"x");
    site.store.add_container("autopkgtest-jammy");
    site
}

#[tokio::test]
async fn the_listing_that_britney_uses() {
    let site = site().await;
    let query = "delimiter=%40&prefix=noble%2Famd64%2Fg%2Fgreen%2F";
    for slash in ["", "/"] {
        let list = site.get(&format!("/results/autopkgtest-noble{slash}?{query}")).await;
        assert_eq!((list.status.as_u16(), list.header("content-type")), (200, "text/plain; charset=utf-8"));
        assert_eq!(list.text(), format!("{FOLDER}\nnoble/amd64/g/green/20261121_053635_abcde@\n"));
        let marker = FOLDER.replace('/', "%2F").replace('@', "%40");
        let list = site.get(&format!("/results/autopkgtest-noble{slash}?{query}&marker={marker}")).await;
        assert_eq!(list.text(), "noble/amd64/g/green/20261121_053635_abcde@\n");
    }
    let none = site.get("/results/autopkgtest-noble/?prefix=nope").await;
    assert_eq!((none.status.as_u16(), none.bytes.len()), (204, 0));
    for bare in ["/results/autopkgtest-jammy", "/results/autopkgtest-jammy/"] {
        assert_eq!(site.get(bare).await.status, 204);
    }
    for missing in
        ["autopkgtest-nope", "private-autopkgtest-noble", "proofhouse-attempts", "..", "%2e%2e", "a%2fb"]
    {
        for slash in ["", "/", "/?delimiter=@", "/noble/amd64/s/secret/x@/log.gz"] {
            let answer = site.get(&format!("/results/{missing}{slash}")).await;
            assert_eq!(answer.status, 401, "{missing}{slash}");
        }
    }
}

#[tokio::test]
async fn formats_and_limits() {
    let site = site().await;
    let list = site.get("/results/autopkgtest-noble/?format=json&limit=1").await;
    let etag = list.json()[0]["hash"].as_str().unwrap().to_owned();
    assert_eq!(
        list.json(),
        json!([{"name": format!("{FOLDER}/log.gz"), "bytes": gzip("a log").len(), "hash": etag,
            "content_type": "text/plain; charset=UTF-8", "last_modified": "2026-11-21T05:36:34.000000"}])
    );
    let rolled = site.get("/results/autopkgtest-noble?format=json&delimiter=/").await;
    assert_eq!(rolled.json(), json!([{"subdir": "noble/"}]));
    assert_eq!(site.get("/results/autopkgtest-jammy?format=json").await.json(), json!([]));
    assert_eq!(site.get("/results/autopkgtest-noble/?format=plain").await.text().lines().count(), 4);
    assert_eq!(site.get("/results/autopkgtest-noble?limit=0").await.status, 204);
    assert_eq!(site.get("/results/autopkgtest-noble?limit=99999").await.status, 412);
    let head = site.send(Method::HEAD, "/results/autopkgtest-noble", &[], "").await;
    assert_eq!(head.status, 204);
}

#[tokio::test]
async fn objects_with_tags_ranges_and_heads() {
    let site = site().await;
    let path = format!("/results/autopkgtest-noble/{FOLDER}/log.gz");
    let log = site.get(&path).await;
    assert_eq!((log.status.as_u16(), log.bytes.clone()), (200, gzip("a log")), "as it is stored");
    assert_eq!(log.header("content-encoding"), "gzip");
    assert_eq!(log.header("content-type"), "text/plain; charset=UTF-8");
    assert_eq!(log.header("content-length"), log.bytes.len().to_string());
    assert_eq!(log.header("last-modified"), "Sat, 21 Nov 2026 05:36:34 GMT");
    assert!(log.header("content-security-policy").contains("sandbox"));
    let etag = log.header("etag").to_owned();
    for (since, status) in
        [("Sat, 21 Nov 2026 05:36:34 GMT", 304), ("Sat, 21 Nov 2026 05:36:33 GMT", 200), ("yesterday", 200)]
    {
        let answer = site.send(Method::GET, &path, &[("if-modified-since", since)], "").await;
        assert_eq!(answer.status, status, "{since}");
        let both = [("if-modified-since", since), ("if-none-match", "\"other\"")];
        assert_eq!(site.send(Method::GET, &path, &both, "").await.status, 200, "the tag decides");
    }
    let same = site.send(Method::GET, &path, &[("if-none-match", &etag)], "").await;
    assert_eq!((same.status.as_u16(), same.bytes.len(), same.header("etag")), (304, 0, etag.as_str()));
    let head = site.send(Method::HEAD, &path, &[], "").await;
    assert_eq!((head.status.as_u16(), head.bytes.len()), (200, 0));
    assert_eq!(head.header("content-length"), log.bytes.len().to_string());

    let path = format!("/results/autopkgtest-noble/{}/result.tar", FOLDER.replace('@', "%40"));
    let range = async |range: &str| site.send(Method::GET, &path, &[("range", range)], "").await;
    let part = range("bytes=2-4").await;
    assert_eq!(
        (part.status.as_u16(), part.text(), part.header("content-range")),
        (206, "234".into(), "bytes 2-4/10")
    );
    assert_eq!(range("bytes=-3").await.text(), "789");
    assert_eq!(range("bytes=8-").await.header("content-length"), "2");
    let beyond = range("bytes=10-").await;
    assert_eq!((beyond.status.as_u16(), beyond.header("content-range")), (416, "bytes */10"));
    assert_eq!(range("lines=1-2").await.status, 200);
    let changed =
        site.send(Method::GET, &path, &[("range", "bytes=2-4"), ("if-range", "\"other\"")], "").await;
    assert_eq!((changed.status.as_u16(), changed.bytes.len()), (200, 10));
    assert_eq!(site.get("/results/autopkgtest-noble/noble/nope").await.status, 404);
}

#[tokio::test]
async fn no_path_leads_out_and_nobody_writes() {
    let site = site().await;
    site.store.add("autopkgtest-noble", "a", b"x");
    for object in ["../a", "%2e%2e/a", "x/../a", "x//a", "/a", "..%2fa", "%2fa", "a%00", "./a", "a/"] {
        let answer = site.get(&format!("/results/autopkgtest-noble/{object}")).await;
        assert_eq!(answer.status, 404, "{object}");
    }
    assert_eq!(site.get("/results//autopkgtest-noble/a").await.status, 401);
    assert_eq!(site.get("/results").await.status, 401);
    for method in [Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
        for path in ["/results/autopkgtest-noble/a", "/results/autopkgtest-noble", "/results/x/a"] {
            let answer = site.send(method.clone(), path, &[], "body").await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("allow")),
                (405, "GET, HEAD"),
                "{method} {path}"
            );
        }
    }
    assert_eq!(site.get("/results/autopkgtest-noble/a").await.text(), "x");
}
