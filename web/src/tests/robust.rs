use axum::http::Method;

use crate::testing::Site;

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let site = Site::new().await;
    let run = site.result("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}", 0, "x").await;
    let page = format!("/packages/green/noble/amd64/{}", run.run_id);
    let log = format!("/results/{}/{}/log.gz", run.container, run.folder);
    for address in [
        "/robots.txt",
        "/queues.json",
        "/badge/green.svg",
        "/feeds/package/green.atom",
        "/api/v1/openapi.json",
        &page,
        &log,
    ] {
        let first = site.get(address).await;
        let tag = first.header("etag").to_owned();
        assert!(first.status == 200 && !tag.is_empty(), "{address}");
        let again = site.send(Method::GET, address, &[("if-none-match", &format!("\"x\", {tag}"))], "").await;
        assert_eq!((again.status.as_u16(), again.bytes.len()), (304, 0), "{address}");
        assert_eq!(again.header("etag"), tag, "{address}");
        let other = site.send(Method::GET, address, &[("if-none-match", "\"x\"")], "").await;
        assert_eq!((other.status.as_u16(), other.bytes.len()), (200, first.bytes.len()), "{address}");
    }
    assert!(site.get(&page).await.header("last-modified").ends_with("GMT"));
    assert_eq!(site.get("/nope").await.header("etag"), "");
}

#[tokio::test]
async fn text_is_packed_and_files_are_as_they_are() {
    let site = Site::new().await;
    let run = site.result("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}", 0, "x").await;
    let packed =
        async |address: &str| site.send(Method::GET, address, &[("accept-encoding", "gzip")], "").await;
    for address in ["/", "/queues.json", crate::statics::style(), "/nope", "/badge/green.svg"] {
        let answer = packed(address).await;
        assert_eq!(answer.header("content-encoding"), "gzip", "{address}");
        let vary: Vec<_> = answer.headers.get_all("vary").iter().map(|v| v.to_str().unwrap()).collect();
        assert!(vary.iter().any(|v| v.contains("accept-encoding")), "{address}: {vary:?}");
    }
    assert_eq!(site.get("/").await.header("content-encoding"), "");
    let plain = site.get(&format!("/results/{}/{}/result.tar", run.container, run.folder)).await;
    let asked = packed(&format!("/results/{}/{}/result.tar", run.container, run.folder)).await;
    assert_eq!((asked.header("content-encoding"), &asked.bytes), ("", &plain.bytes));
}

#[tokio::test]
async fn robots_are_told_what_costs() {
    let site = Site::new().await;
    let text = site.get("/robots.txt").await.text();
    assert!(text.starts_with("User-agent: *\nDisallow: ") && text.contains("\nDisallow: /results/\n"));
    assert!(!text.contains("Disallow: /\n") && !text.contains("Disallow: /packages/\n"));
}
