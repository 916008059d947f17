use serde_json::json;

use crate::testing::Site;

#[tokio::test]
async fn queues_hold_every_configured_pair() {
    let site = Site::new().await;
    let empty = json!({"jammy": {"amd64": []}, "noble": {"amd64": [], "arm64": []}});
    let expected = json!({"ubuntu": empty, "huge": empty, "ppa": empty, "upstream": empty});
    assert_eq!(site.get("/queues.json").await.json(), expected);
    let zero = json!({"jammy": {"amd64": 0}, "noble": {"amd64": 0, "arm64": 0}});
    let sizes = json!({"ubuntu": zero, "huge": zero, "ppa": zero, "upstream": zero});
    assert_eq!(site.get("/queue_size.json").await.json(), sizes);
    assert_eq!(site.get("/static/running.json").await.json(), json!({}));
    assert_eq!(site.get("/api/experimental/recent.json").await.json(), json!([]));
}

#[tokio::test]
async fn raw_bodies_and_private_jobs() {
    let site = Site::new().await;
    let body = "green\n{\"triggers\": [\"green/2\"],  \"submit-time\": \"x\"}";
    site.queue("debci-noble-amd64", body).await;
    site.queue("debci-noble-amd64", "secret {\"triggers\": [\"green/2\"], \"swiftuser\": \"u\"}").await;
    let queues = site.get("/queues.json").await.json();
    assert_eq!(queues["ubuntu"]["noble"]["amd64"], json!([body, "private job"]));
    let sized = site.get("/queued.json").await.json();
    assert_eq!(sized["releases"], json!(["jammy", "noble"]));
    assert_eq!(sized["arches"], json!(["amd64", "arm64"]));
    assert_eq!(
        sized["queues"]["ubuntu"]["noble"]["amd64"],
        json!({"size": 2, "requests": [body, "private job"]})
    );
    assert_eq!(sized["queues"]["ppa"]["jammy"]["amd64"], json!({"size": 0, "requests": []}));
    assert_eq!(site.get("/queue_size.json").await.json()["ubuntu"]["noble"]["amd64"], 2);
}

#[tokio::test]
async fn demand_is_what_waits_and_what_is_leased() {
    let site = Site::new().await;
    let none = json!({"waiting": 0, "leased": 0, "demand": 0});
    assert_eq!(site.get("/api/v1/demand").await.json(), json!({"amd64": none, "arm64": none}));
    let (job, _) = site.queue("debci-noble-amd64", "green {\"triggers\": [\"green/2\"]}").await;
    let secret = "secret {\"triggers\": [\"green/2\"], \"swiftuser\": \"u\"}";
    let (private, _) = site.queue("debci-noble-amd64", secret).await;
    let lane = "0 gates ubuntu noble/amd64 - green/2".to_owned();
    site.sort(&[(job, lane.clone()), (private, lane)]).await;
    site.start(job).await;
    let demand = site.get("/api/v1/demand").await.json();
    assert_eq!(demand["amd64"], json!({"waiting": 1, "leased": 1, "demand": 2}));
}

#[tokio::test]
async fn running_json_is_the_union_of_table_and_messages() {
    let site = Site::new().await;
    let (job, uuid) = site.queue("debci-noble-amd64", "green {\"triggers\": [\"green/2\"]}").await;
    site.start(job).await;
    let (done, done_uuid) = site.queue("debci-noble-arm64", "blue {\"triggers\": [\"green/2\"]}").await;
    let id = site.start(done).await;
    site.finish(id, 0, "").await;
    let (private, _) = site.queue("debci-noble-arm64", "secret {\"swiftuser\": \"u\"}").await;
    site.start(private).await;
    let hear = |status: serde_json::Value| {
        site.app.heard().hear(serde_json::from_value(status).unwrap(), std::time::Instant::now());
    };
    hear(json!({"release": "noble", "architecture": "amd64", "package": "green", "running": true,
        "params": {"triggers": ["green/2"]}, "duration": 7, "logtail": "tail", "uuid": uuid}));
    // The last message of a run that is over was lost.
    hear(json!({"release": "noble", "architecture": "arm64", "package": "blue", "running": true,
        "params": {}, "duration": 7, "logtail": "", "uuid": done_uuid}));
    // Another system's, without a uuid.
    hear(json!({"release": "focal", "architecture": "i386", "package": "red", "running": true,
        "params": {"triggers": ["a/1"], "all-proposed": "1"}, "duration": 9, "logtail": "x"}));
    let running = site.get("/static/running.json").await.json();
    let expected = json!({
        "green": {"triggers_['green/2'];": {"noble": {"amd64": [{"triggers": ["green/2"]}, 7, "tail"]}}},
        "private-test": {"": {"noble": {"arm64": [{}, 0, "Running private test"]}}},
        "red": {"all-proposed_1;triggers_['a/1'];": {"focal": {"i386": [{"triggers": ["a/1"], "all-proposed": "1"}, 9, "x"]}}},
    });
    assert_eq!(running, expected);
    let page = site.browse("/running").await.text();
    assert!(page.contains("id=\"pkg-red\"") && page.contains("a private test"));
}

#[tokio::test]
async fn recent_json_says_what_the_page_says() {
    let site = Site::new().await;
    let run = site
        .result(
            "debci-noble-amd64",
            "green {\"triggers\": [\"green/2\", \"a/1\"], \"requester\": \"joe\"}",
            4,
            "",
        )
        .await;
    let recent = site.get("/api/experimental/recent.json?result=fail").await.json();
    assert_eq!(
        recent,
        json!([{
            "package": "green", "release": "noble", "arch": "amd64", "version": "2.10-3", "run_id": run.run_id,
            "uuid": run.uuid, "result": "fail", "exitcode": 4, "rule": "exit-code", "duration": 125, "triggers": ["green/2", "a/1"], "env": "",
            "requester": "joe", "container": "autopkgtest-noble",
            "url": format!("https://tests.example/packages/green/noble/amd64/{}", run.run_id),
            "log": format!("https://tests.example/results/autopkgtest-noble/{}/log.gz", run.folder),
        }])
    );
    let bad = site.get("/api/experimental/recent.json?limit=10001").await;
    assert_eq!(bad.status, 400);
    assert!(bad.json()["error"].as_str().unwrap().contains("10000"));
}
