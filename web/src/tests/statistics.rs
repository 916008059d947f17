use serde_json::json;

use crate::testing::{Site, texts};

#[tokio::test]
async fn an_empty_site_says_so() {
    let site = Site::new().await;
    let page = site.browse("/statistics").await;
    assert_eq!(page.status, 200);
    assert_eq!(texts(&page.html(), "figure.chart p.none").len(), 6);
    assert_eq!(texts(&page.html(), "table.statistics tbody tr").len(), 3, "what is served");
    assert_eq!(site.browse("/statistics?days=2").await.status, 400);
    let page = site.browse("/infrastructure").await;
    assert!(page.text().contains("nothing can run") && page.text().contains("Nothing is parked"));
}

#[tokio::test]
async fn counts_and_pictures() {
    let site = Site::new().await;
    site.result("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}", 0, "").await;
    site.result("debci-noble-amd64", "blue {\"triggers\": [\"green/1\"]}", 4, "").await;
    site.result("debci-noble-amd64", "blue {\"triggers\": [\"green/1\"]}", 8, "").await;
    site.sum_up().await;
    assert_eq!(site.browse("/statistics?release=nosuch").await.status, 404, "nothing is read for it");
    let data = site.get("/api/v1/statistics?days=30&release=noble").await.json();
    let noble = data["pairs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|p| p["release"] == "noble" && p["arch"] == "amd64")
        .unwrap();
    let expected = json!({"release": "noble", "arch": "amd64", "served": true, "packages": 2, "passing": 2, "failing": 0, "runs": 3});
    assert_eq!(*noble, expected);
    let names: Vec<_> =
        data["outcomes"]["series"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["pass", "neutral", "fail"]);
    let last = data["outcomes"]["series"][0]["values"].as_array().unwrap().iter().rev().take(2);
    assert!((last.map(|v| v.as_f64().unwrap()).sum::<f64>() - 1.0).abs() < 1e-9);
    let page = site.browse("/statistics?days=1").await;
    let html = page.html();
    assert_eq!(texts(&html, "table.statistics tbody tr")[0], "jammy amd64 0 0 – 0 0");
    assert!(texts(&html, "svg.drawn path.area title").contains(&"fail".to_owned()));
    assert!(texts(&html, "table.numbers thead th").contains(&"neutral".to_owned()));
    let runs = site.browse("/packages/green/noble/amd64").await;
    assert!(texts(&runs.html(), "figure.chart").is_empty(), "one run is no picture");
}

#[tokio::test]
async fn workers_and_what_they_run() {
    let site = Site::new().await;
    let (job, _) = site.queue("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}").await;
    let (private, _) = site.queue("debci-noble-amd64", "hush {\"swiftuser\": \"u\"}").await;
    let (parked, _) = site.queue("debci-noble-amd64", "amber {\"triggers\": [\"green/1\"]}").await;
    site.reject("debci-noble-amd64", "{").await;
    site.announce("worker-7", "host", 4).await;
    site.start(job).await;
    site.start(private).await;
    let id = site.start(parked).await;
    site.fail(id, None).await;
    let data = site.get("/api/v1/infrastructure").await.json();
    assert_eq!((&data["running"], &data["private"], &data["slots"]), (&json!(2), &json!(1), &json!(4)));
    assert_eq!(data["states"], json!({"ready": 1}));
    assert_eq!(data["workers"][0]["tests"].as_array().unwrap().len(), 1);
    assert_eq!(data["workers"][0]["tests"][0]["package"], "green");
    assert_eq!((&data["parked"][0]["name"], &data["parked"][0]["count"]), (&json!("testbed"), &json!(1)));
    assert_eq!(data["rejected"].as_array().unwrap().len(), 1);
    assert!(!data.to_string().contains("hush"));
    for (worker, number) in [("worker-7", 1), ("worker", 0)] {
        let data = site.get(&format!("/api/v1/infrastructure?worker={worker}")).await.json();
        assert_eq!(data["workers"].as_array().unwrap().len(), number, "{worker}");
    }
    let page = site.browse("/infrastructure?pool=amd64").await;
    assert!(page.text().contains("4 slots, 2 tests running (1 private)"), "{}", page.text());
    assert!(
        texts(&site.browse("/infrastructure?state=away").await.html(), "p.none")
            .contains(&"No worker fits.".to_owned())
    );
}
