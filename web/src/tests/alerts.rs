use proofhouse_core::db::AlertRow;

use crate::testing::{Site, texts};

async fn alert(site: &Site, level: &str, text: &str, begins_us: i64, ends_us: Option<i64>) {
    let (level, text) = (level.to_owned(), text.to_owned());
    let alert = AlertRow { id: 0, level, text, begins_us, ends_us, person: "ann".to_owned() };
    site.db.add_alert(&alert, "{}").await.unwrap();
}

#[tokio::test]
async fn every_page_says_them_while_it_is_time() {
    const HOUR: i64 = 3_600_000_000;
    let site = Site::new().await;
    let now = site.db.now_us().await.unwrap();
    alert(&site, "warning", "arm64 is <away>", now - HOUR, None).await;
    alert(&site, "error", "The store moves", now - 1, Some(now + HOUR)).await;
    alert(&site, "info", "It is over", now - HOUR, Some(now - 1)).await;
    alert(&site, "info", "It comes later", now + HOUR, None).await;
    for path in ["/", "/running", "/nope", "/api"] {
        let page = site.browse(path).await;
        let said = texts(&page.html(), ".alerts .alert");
        assert_eq!(said.len(), 2, "{path}: {said:?}");
        assert_eq!(said[0], "⚠ warning: arm64 is <away>", "{path}");
        assert!(said[1].starts_with("✘ error: The store moves until "), "{path}: {said:?}");
    }
    let all = site.get("/api/v1/alerts").await.json();
    let all: Vec<_> = all["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| (a["text"].as_str(), a["shown"].as_bool()))
        .collect();
    let expected = [("arm64 is <away>", true), ("The store moves", true), ("It comes later", false)];
    assert_eq!(all, expected.map(|(text, shown)| (Some(text), Some(shown))));
}

#[tokio::test]
async fn without_any_there_is_no_place_for_them() {
    let site = Site::new().await;
    assert!(!site.browse("/").await.text().contains("class=\"alert"));
    site.db.close().await;
    assert_eq!(site.browse("/nope").await.status, 404, "and without the database neither");
}
