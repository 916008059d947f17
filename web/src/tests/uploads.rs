//! What an upload set off, queues and what runs, as pages and as JSON.

use axum::http::Method;
use serde_json::Value;

use crate::testing::{Site, texts};

const AMD64: &str = "debci-noble-amd64";

async fn json(site: &Site, uri: &str) -> Value {
    let answer = site.send(Method::GET, uri, &[("accept", "application/json")], "").await;
    assert_eq!(answer.status, 200, "{uri} {}", answer.text());
    answer.json()
}

fn body(package: &str, trigger: &str) -> String {
    format!("{package} {{\"triggers\": [\"{trigger}\"]}}")
}

/// Failures of which one is new, one was there before, and one is in the baseline too; and what is good or open.
async fn upload() -> Site {
    let site = Site::new().await;
    for (package, before, trigger, code) in [
        ("worse", Some(("old/1", 0)), "up/1:2~3+4", 4),
        ("bad", Some(("old/1", 4)), "up/1:2~3+4", 6),
        ("known", Some(("migration-reference/0", 4)), "up/1:2~3+4", 4),
        ("unclear", None, "up/1:2~3+4", 16),
        ("fine", None, "up/1:2~3+4", 0),
    ] {
        if let Some((trigger, code)) = before {
            site.result(AMD64, &body(package, trigger), code, "").await;
        }
        site.result(AMD64, &body(package, trigger), code, "").await;
    }
    site.result("debci-jammy-amd64", &body("fine", "up/1:2~3+4"), 8, "").await;
    let (job, _) = site.queue(AMD64, "late {\"triggers\": [\"first/1\", \"up/1:2~3+4\"]}").await;
    site.start(job).await;
    site.queue("debci-noble-arm64", &body("late", "up/1:2~3+4")).await;
    let hush = "hush {\"triggers\": [\"up/1:2~3+4\"], \"swiftuser\": \"u\"}";
    site.queue(AMD64, hush).await;
    site.result(AMD64, hush, 4, "").await;
    site.sum_up().await;
    site
}

#[tokio::test]
async fn what_an_upload_set_off() {
    let site = upload().await;
    let uri = "/trigger/up/1:2~3+4";
    let page = site.browse(uri).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let html = page.html();
    let verdict = texts(&html, "p.answer").join(" ");
    assert!(
        verdict.starts_with(
            "Blocked by 1 failure, 1 without a verdict, for infrastructure failed, 1 still queued, 1 running. \
             2 failures were there before, too."
        ),
        "{verdict}"
    );
    assert_eq!(texts(&html, "h2"), ["jammy", "noble"]);
    let rows = texts(&html, "table.matrix tbody tr");
    let expected = [
        "fine− neutral",
        "worse✘ fail passed before–",
        "unclear⚠ tmpfail–",
        "bad✘ fail failed before, too–",
        "known✘ fail fails in the baseline, too–",
    ];
    assert_eq!(rows[..5], expected, "{rows:?}");
    assert!(rows[5].starts_with("late ▶ running for ") && rows[5].ends_with("◷ queued"), "{rows:?}");
    assert_eq!((rows[6].as_str(), rows.len()), ("fine✔ pass–", 7));
    assert_eq!(texts(&html, "details.good table.matrix tbody tr").len(), 2);
    assert!(texts(&html, ".counts a").contains(&"1 blocking".to_owned()));
    assert!(page.text().contains("/feeds/trigger/up/1:2~3+4.atom") && !page.text().contains("hush"));
    // However the address is written.
    assert_eq!(site.browse("/trigger/up/1%3A2%7E3%2B4").await.status, 200);

    let only = site.browse(&format!("{uri}?show=blocking")).await.html();
    assert_eq!(texts(&only, "table.matrix tbody th"), ["worse"]);
    let none = site.browse(&format!("{uri}?show=error")).await;
    assert!(none.text().contains("No package fits."));
    let named = site.browse(&format!("{uri}?package=*n&sort=package&arch=amd64&release=noble")).await.html();
    assert_eq!(texts(&named, "table.matrix tbody th"), ["known"]);
    for bad in ["show=x", "sort=x", "after=x", "package=%3C", "release=%00"] {
        assert_eq!(site.browse(&format!("{uri}?{bad}")).await.status, 400, "{bad}");
    }
    for unknown in
        ["/trigger/up/2", "/trigger/up/a%20b", "/trigger/-/1", "/trigger/up/%00", "/trigger/up/%ff"]
    {
        assert_eq!(site.browse(unknown).await.status, 404, "{unknown}");
    }
}

#[tokio::test]
async fn the_same_for_programs() {
    let site = upload().await;
    let data = json(&site, "/api/v1/triggers/up/1:2~3+4?release=noble").await;
    assert_eq!(
        (&data["fitting"], &data["counts"]["blocking"], &data["next"]),
        (&6.into(), &1.into(), &Value::Null)
    );
    let first = &data["packages"][0];
    let test = &first["tests"][0];
    assert_eq!(
        (&first["package"], &test["before"], &test["blocks"], &test["result"]["result"]),
        (&"worse".into(), &"passed".into(), &true.into(), &"fail".into())
    );
    let late = &data["packages"][4]["tests"];
    assert_eq!((&late[0]["job"]["state"], &late[1]["job"]["state"]), (&"running".into(), &"waiting".into()));
    assert_eq!(late[1]["waits"]["reason"], "unsorted");
    let baseline = json(&site, "/trigger/migration-reference/0").await;
    assert_eq!((&baseline["counts"]["fail"], &baseline["counts"]["blocking"]), (&1.into(), &Value::Null));
}

#[tokio::test]
async fn a_private_upload_is_as_one_that_never_was() {
    let site = Site::new().await;
    let body = "green {\"triggers\": [\"hush/1\"], \"swiftuser\": \"u\"}";
    site.result(AMD64, body, 4, "").await;
    site.queue(AMD64, body).await;
    site.sum_up().await;
    let (hidden, none) = (site.browse("/trigger/hush/1").await, site.browse("/trigger/never/1").await);
    assert_eq!((hidden.status.as_u16(), hidden.text()), (404, none.text()));
}

#[tokio::test]
async fn one_queue() {
    let site = Site::new().await;
    let mut lanes = Vec::new();
    for n in 0..103 {
        let trigger = if n < 100 { "many/1" } else { "few/1" };
        let (job, _) = site.queue(AMD64, &body(&format!("p{n:03}"), trigger)).await;
        lanes.push((job, format!("0 gates ubuntu noble/amd64 - {trigger}")));
    }
    let (hush, _) = site.queue(AMD64, "hush {\"triggers\": [\"hush/1\"], \"swiftuser\": \"u\"}").await;
    lanes.push((hush, "0 gates ubuntu noble/amd64 - hush/1".to_owned()));
    site.sort(&lanes).await;
    site.queue(AMD64, &body("fresh", "fresh/1")).await;
    let uri = "/queue/ubuntu/noble/amd64";
    let page = site.browse(uri).await;
    let html = page.html();
    assert!(
        texts(&html, "p.answer")[0].starts_with("105 wait, nothing runs. The oldest came"),
        "{}",
        page.text()
    );
    assert_eq!(texts(&html, "table.reasons tbody tr")[0], "104No worker serves pool amd64.");
    assert_eq!(texts(&html, "table.reasons tbody tr").len(), 2);
    let packages = texts(&html, "table.jobs td:nth-child(2)");
    // Next: the lanes take turns.
    assert!(packages[..5].contains(&"p100".to_owned()) && packages[0] == "p000", "{packages:?}");
    assert_eq!((packages.len(), packages[20].as_str(), packages[119].as_str()), (120, "p000", "p099"));
    let next = json(&site, uri).await["next"].as_str().unwrap().to_owned();
    let second = site.browse(&next).await;
    assert_eq!(texts(&second.html(), "table.jobs td:nth-child(2)"), ["p100", "p101", "p102", "fresh"]);
    assert!(second.text().contains("1 more here is private") && !second.text().contains("hush"));
    // The places of a later part are those of the whole queue.
    let jobs = json(&site, &format!("/api/v1{next}")).await["jobs"].clone();
    let places: Vec<&Value> = jobs.as_array().unwrap().iter().map(|job| &job["waits"]["place"]).collect();
    assert!(places[0].as_i64() < places[1].as_i64() && places[1].as_i64() < places[2].as_i64(), "{places:?}");
    let newest = site.browse(&format!("{uri}?sort=newest")).await;
    let packages = texts(&newest.html(), "table.jobs td:nth-child(2)");
    assert_eq!((packages.len(), packages[0].as_str(), packages[1].as_str()), (99, "fresh", "p102"));
    let older = json(&site, &format!("{uri}?sort=newest")).await["next"].as_str().unwrap().to_owned();
    let older = texts(&site.browse(&older).await.html(), "table.jobs td:nth-child(2)");
    assert_eq!(older, ["p004", "p003", "p002", "p001", "p000"]);
    let some = site.browse(&format!("{uri}?package=p007")).await.html();
    assert_eq!(texts(&some, "table.jobs td:nth-child(2)"), ["p007"]);
    let some = json(&site, &format!("{uri}?package=hush")).await;
    assert_eq!((&some["jobs"], &some["private"]), (&Value::Array(vec![]), &0.into()));
    assert!(site.browse("/queue/huge/noble/amd64").await.text().contains("Nothing waits"));
    for unknown in ["/queue/x/noble/amd64", "/queue/ubuntu/noble/-", "/queue/ubuntu/other/amd64"] {
        assert_eq!(site.browse(unknown).await.status, 404, "{unknown}");
    }
    for bad in ["after=x", "sort=x"] {
        assert_eq!(site.browse(&format!("{uri}?{bad}")).await.status, 400, "{bad}");
    }
    for from in ["/", "/running", "/statistics"] {
        assert!(site.browse(from).await.text().contains(&format!("\"{uri}\"")), "{from}");
    }
}

#[tokio::test]
async fn what_runs_in_parts() {
    let site = Site::new().await;
    for n in 0..102 {
        let (job, _) = site.queue(AMD64, &body(&format!("p{n:03}"), &format!("up/{}", n % 2))).await;
        site.start(job).await;
    }
    let (hush, _) = site.queue(AMD64, "hush {\"triggers\": [\"up/1\"], \"swiftuser\": \"u\"}").await;
    site.start(hush).await;
    let page = site.browse("/running").await;
    let html = page.html();
    assert_eq!(
        (texts(&html, ".package .run").len(), texts(&html, "li#pkg-p101")),
        (100, vec!["p101".to_owned()])
    );
    assert_eq!(texts(&html, "table.by-trigger tbody tr"), ["up/0510", "up/1510"]);
    assert!(page.text().contains("a private test") && page.text().contains("100 of 102 runs"));
    let next = scraper::Selector::parse(".pager a[rel=next]").unwrap();
    let next = html.select(&next).next().unwrap().value().attr("href").unwrap().to_owned();
    let second = site.browse(next.split('#').next().unwrap()).await;
    assert_eq!(texts(&second.html(), "section.package h3"), ["p100", "p101"]);
    let some = site.browse("/running?trigger=up/1&package=p00*").await;
    assert_eq!(texts(&some.html(), "section.package h3").len(), 5);
    assert!(!some.text().contains("private test"));
    let data = json(&site, "/api/v1/running?package=p00*").await;
    assert_eq!(
        (&data["fitting"], &data["private"], &data["next"]),
        (&10.into(), &Value::Array(vec![]), &Value::Null)
    );
    assert!(site.browse("/running?release=jammy").await.text().contains("Nothing that runs fits."));
    assert_eq!(site.browse("/running?after=x").await.status, 400);
}

#[tokio::test]
async fn where_a_package_stands() {
    let site = Site::new().await;
    let (job, _) = site.queue(AMD64, &body("green", "up/1")).await;
    site.start(job).await;
    // It may have changed since it began: with a PPA the same request is taken again.
    let ppa = "green {\"triggers\": [\"up/2\"], \"ppas\": [\"own/name\"]}";
    let (first, _) = site.queue("debci-ppa-noble-amd64", ppa).await;
    site.start(first).await;
    let (second, _) = site.queue("debci-ppa-noble-amd64", ppa).await;
    site.sort(&[(second, "0 gates ppa noble/amd64 - up/2".to_owned())]).await;
    let page = site.browse("/packages/green").await;
    let html = page.html();
    let rows = texts(&html, "table.jobs tbody tr");
    assert_eq!(rows.len(), 3);
    assert!(rows[0].contains("It runs for") && rows[2].contains("No worker serves pool amd64."), "{rows:?}");
    assert!(rows[2].contains("⚠ the same as another") && !rows[1].contains("the same as"), "{rows:?}");
    assert!(texts(&html, ".held").contains(&"1 of these asks for the same as another one.".to_owned()));
    assert!(page.text().contains("<table class=\"table\">") && page.text().contains("\"/trigger/up/1\""));
}
