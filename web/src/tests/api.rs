use serde_json::{Value, json};

use crate::testing::{Site, texts};

async fn site() -> Site {
    let site = Site::new().await;
    for n in 0..3 {
        let body = format!("green {{\"triggers\": [\"green/{n}\"], \"requester\": \"joe\"}}");
        site.result("debci-noble-amd64", &body, if n == 1 { 4 } else { 0 }, "").await;
    }
    site.sum_up().await;
    site
}

fn triggers(answer: &Value) -> Vec<String> {
    let results = answer["results"].as_array().unwrap().iter();
    results.map(|r| r["triggers"][0].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn results_page_by_key() {
    let site = site().await;
    let first = site.get("/api/v1/results?limit=2&arch=amd64").await.json();
    assert_eq!(triggers(&first), ["green/2", "green/1"]);
    // What comes meanwhile moves nothing.
    site.result("debci-noble-amd64", "green {\"triggers\": [\"green/3\"]}", 0, "").await;
    let second = site.get(first["next"].as_str().unwrap()).await.json();
    assert_eq!((triggers(&second), &second["next"]), (vec!["green/0".to_owned()], &Value::Null));
    let page = site.browse("/recent?limit=2&user=joe").await;
    let next = scraper::Selector::parse("a[rel=next]").unwrap();
    let html = page.html();
    let next = html.select(&next).next().unwrap().value().attr("href").unwrap();
    let older = site.browse(next).await;
    assert!(texts(&older.html(), "td.code span").contains(&"green/0".to_owned()), "{next}");
    assert_eq!(texts(&older.html(), "a[rel=first]"), ["Newest"]);
    assert_eq!(site.get("/api/v1/results?before=x").await.status, 400);
}

#[tokio::test]
async fn packages_and_their_runs() {
    let site = site().await;
    let all = site.get("/api/v1/packages?prefix=gr").await.json();
    assert_eq!(all["packages"], json!([{"name": "green", "url": "https://tests.example/packages/green"}]));
    site.queue("debci-noble-amd64", "green {\"triggers\": [\"green/9\"]}").await;
    let green = site.get("/api/v1/packages/green").await.json();
    let standing = &green["standings"][0];
    assert_eq!((&standing["result"], &standing["runs"]), (&json!("pass"), &json!(3)));
    assert_eq!(
        (&green["open"][0]["state"], &green["open"][0]["trigger"]),
        (&json!("waiting"), &json!("green/9"))
    );
    let runs = site.get("/api/v1/packages/green/noble/amd64").await.json();
    assert_eq!(triggers(&runs), ["green/2", "green/1", "green/0"]);
    let before = runs["results"][1]["run_id"].as_str().unwrap();
    let older = site.get(&format!("/api/v1/packages/green/noble/amd64?before={before}")).await.json();
    assert_eq!(triggers(&older), ["green/0"]);
    for (query, fit) in [
        ("sort=oldest".to_owned(), &["green/0", "green/1", "green/2"][..]),
        (format!("sort=oldest&after={before}"), &["green/2"]),
        ("trigger=green/1".to_owned(), &["green/1"]),
        ("trigger=green&sort=oldest".to_owned(), &["green/0", "green/1", "green/2"]),
        ("trigger=gree".to_owned(), &[]),
        ("user=nobody-there".to_owned(), &[]),
    ] {
        let runs = site.get(&format!("/api/v1/packages/green/noble/amd64?{query}")).await.json();
        assert_eq!(triggers(&runs), fit, "{query}");
    }
    for missing in ["/api/v1/packages/nope", "/api/v1/packages/green/noble/s390x", "/api/v1/packages/a_b"] {
        assert_eq!(site.get(missing).await.status, 404, "{missing}");
    }
}

#[tokio::test]
async fn one_run_wherever_it_stands() {
    let site = Site::new().await;
    let (job, uuid) = site.queue("debci-noble-amd64", "green {\"triggers\": [\"green/2\"]}").await;
    let address = format!("/api/v1/runs/{uuid}");
    let waiting = site.get(&address).await.json();
    assert_eq!((&waiting["state"], waiting["waits"]["sentence"].is_string()), (&json!("waiting"), true));
    let first = site.start(job).await;
    site.fail(first, Some(0)).await;
    let second = site.start(job).await;
    assert_eq!(site.get(&address).await.json()["state"], "running");
    site.finish(second, 4, "").await;
    let done = site.get(&address).await.json();
    assert_eq!(
        (&done["state"], &done["result"]["result"], &done["waits"]),
        (&json!("done"), &json!("fail"), &Value::Null)
    );
    assert_eq!(
        (&done["attempts"][0]["fault"], &done["attempts"][1]["fault"]),
        (&json!("testbed"), &Value::Null)
    );
    assert_eq!(site.get("/api/v1/runs/00000000-0000-4000-8000-000000000000").await.status, 404);
}

#[tokio::test]
async fn what_waits_and_runs() {
    let site = Site::new().await;
    site.queue("debci-noble-amd64", "green {\"triggers\": [\"green/2\"]}").await;
    site.queue("debci-noble-amd64", "secret {\"swiftuser\": \"u\"}").await;
    let (job, uuid) = site.queue("debci-noble-arm64", "blue {\"triggers\": [\"green/2\"]}").await;
    site.start(job).await;
    let queue = site.get("/api/v1/queue").await.json();
    assert_eq!(
        (&queue["jobs"][0]["package"], &queue["private"], &queue["next"]),
        (&json!("green"), &json!(1), &Value::Null)
    );
    let running = site.get("/api/v1/running").await.json();
    assert_eq!((&running["runs"][0]["uuid"], &running["runs"][0]["package"]), (&json!(uuid), &json!("blue")));
    assert_eq!(
        (&running["triggers"], &running["more_triggers"]),
        (&json!([{"trigger": "green/2", "running": 1, "waiting": 1}]), &json!(0))
    );
    let queues = site.get("/api/v1/queues").await.json();
    assert_eq!(
        queues["queues"].as_array().unwrap().iter().map(|q| q["waiting"].as_i64().unwrap()).sum::<i64>(),
        2
    );
    let gates = site.get("/api/v1/waiting").await.json();
    assert_eq!(
        (&gates["triggers"][0]["trigger"], gates["jobs"].as_array().unwrap().len()),
        (&json!("green/2"), 2)
    );
}

#[tokio::test]
async fn problems_say_what_they_are() {
    let site = Site::new().await;
    let answer = site.get("/api/v1/results?limit=x").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (400, "application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["type"], "https://tests.example/api#this-cannot-be-understood");
    assert_eq!((&problem["status"], &problem["title"]), (&json!(400), &json!("This cannot be understood")));
    assert!(problem["detail"].as_str().unwrap().contains("10000") && problem["error"] == problem["detail"]);
    let page = site.browse("/api").await;
    assert_eq!(texts(&page.html(), "tr#this-cannot-be-understood td.code"), ["this-cannot-be-understood"]);
    assert_eq!(site.get("/api/v1/nope").await.json()["status"], 404);
}

#[tokio::test]
async fn the_page_tries_every_operation_that_reads() {
    let site = site().await;
    let page = site.browse("/api").await;
    let html = page.html();
    let forms = texts(&html, "form.try").len();
    let reads =
        crate::api::DOCUMENT["paths"].as_object().unwrap().values().filter(|path| path["get"].is_object());
    assert_eq!(forms, reads.count());
    assert!(page.text().contains("&#34;run_id&#34;: string"), "{}", page.text());
    let tried = site.get("/api/try?operation=get_packages_package_release_arch&package=green&release=noble&arch=amd64&before=").await;
    assert_eq!(
        (tried.status.as_u16(), tried.header("location")),
        (303, "/api/v1/packages/green/noble/amd64")
    );
    let tried = site.get("/api/try?operation=get_results&user=a%26b&limit=5&x=y").await;
    assert_eq!(tried.header("location"), "/api/v1/results?limit=5&user=a%26b");
    let escaping = site.get("/api/try?operation=get_packages_package&package=..%2F..%2Fx").await;
    assert_eq!(escaping.header("location"), "/api/v1/packages/..%2F..%2Fx");
    assert_eq!(site.get("/api/try?operation=get_packages_package").await.status, 400);
    assert_eq!(site.get("/api/try?operation=//evil").await.status, 404);
    let document = site.get("/api/v1/openapi.json").await;
    assert_eq!(document.json()["openapi"].as_str().map(|v| &v[..3]), Some("3.1"));
}
