use std::sync::atomic::Ordering;

use crate::testing::Site;

#[tokio::test]
async fn without_the_store_the_rest_is_there() {
    let site = Site::new().await;
    let run = site.result("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}", 0, "x").await;
    site.store.away.store(true, Ordering::Relaxed);
    let path = format!("/packages/green/noble/amd64/{}", run.run_id);
    let page = site.browse(&path).await;
    assert!(page.status == 200 && page.text().contains("store does not answer"));
    for path in [format!("{path}/log"), format!("/results/{}/{}/log.gz", run.container, run.folder)] {
        let away = site.browse(&path).await;
        assert_eq!((away.status.as_u16(), away.header("retry-after")), (503, "10"), "{path}");
    }
    assert_eq!(site.browse("/").await.status, 200);
}

#[tokio::test]
async fn without_the_database_every_page_says_so() {
    let site = Site::new().await;
    site.db.close().await;
    for path in [
        "/",
        "/running",
        "/recent",
        "/failing",
        "/user/joe/",
        "/search?q=green",
        "/packages?q=green",
        "/packages/green",
        "/packages/green/noble/amd64",
    ] {
        let away = site.browse(path).await;
        assert_eq!((away.status.as_u16(), away.header("retry-after")), (503, "10"), "{path}");
        assert!(
            away.text().contains("does not answer just now") && !away.text().contains("sqlite"),
            "{path}"
        );
    }
    for path in ["/queues.json", "/queued.json", "/queue_size.json", "/static/running.json"] {
        let away = site.get(path).await;
        assert_eq!(away.status, 503, "{path}");
        assert!(away.json()["error"].is_string());
    }
}
