//! Lists of packages, of people, PPAs and releases, and the box that finds them.

use serde_json::{Value, json};

use crate::testing::{Answer, Site, texts};

/// Two releases; green fails on noble since its second run, blue always did, and passes on jammy; red is slow to come.
async fn site() -> Site {
    let site = Site::new().await;
    for (queue, package, codes) in [
        ("debci-noble-amd64", "green", &[0, 4, 4][..]),
        ("debci-noble-amd64", "blue", &[4]),
        ("debci-jammy-amd64", "blue", &[0]),
        ("debci-noble-arm64", "red", &[8]),
    ] {
        for (n, code) in codes.iter().enumerate() {
            let body = format!("{package} {{\"triggers\": [\"{package}/{n}\"], \"requester\": \"joe\"}}");
            site.result(queue, &body, *code, "").await;
        }
    }
    site.sum_up().await;
    site
}

fn rows(answer: &Answer, column: usize) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    texts(&answer.html(), &format!("table.list tbody td:nth-child({column})"))
}

fn link(answer: &Answer, rel: &str) -> Option<String> {
    let html = answer.html();
    let selector = scraper::Selector::parse(&format!("a[rel={rel}]")).unwrap();
    html.select(&selector).next().map(|a| a.value().attr("href").unwrap().to_owned())
}

fn names(answer: &Value) -> Vec<&str> {
    answer["packages"].as_array().unwrap().iter().map(|p| p["package"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn failing_slow_and_stale_packages() {
    let site = site().await;
    let failing = site.browse("/failing").await;
    assert_eq!(rows(&failing, 2).len(), 2);
    assert_eq!(texts(&failing.html(), "nav.lists [aria-current]"), ["Failing"]);
    let passed = rows(&site.browse("/failing?passed=before").await, 7);
    assert_eq!(passed, ["2.10-3"]);
    assert_eq!(rows(&site.browse("/failing?passed=never").await, 7), ["never"]);
    // By key, in both orders, on the page and as JSON.
    let oldest = site.get("/api/v1/failing?sort=oldest&limit=1").await.json();
    let behind = site.get(oldest["next"].as_str().unwrap()).await.json();
    let newest = site.get("/api/v1/failing").await.json();
    assert_eq!(names(&newest), [names(&behind), names(&oldest)].concat());
    assert_eq!(behind["next"], Value::Null);
    for list in ["/slow", "/stale"] {
        let mut next = Some(format!("{list}?limit=1"));
        let mut all = Vec::new();
        while let Some(address) = next {
            let page = site.browse(&address).await;
            all.extend(rows(&page, 2));
            next = link(&page, "next");
        }
        all.sort();
        assert_eq!(all, ["blue", "blue", "green", "red"], "{list}");
        assert_eq!(names(&site.get(&format!("/api/v1{list}?release=jammy")).await.json()), ["blue"]);
        let first = site.browse(&format!("{list}?package=blue&limit=1")).await;
        let second = site.browse(&link(&first, "next").unwrap()).await;
        assert_eq!([rows(&first, 2), rows(&second, 2)], [["blue"], ["blue"]], "{list}");
        assert_eq!(link(&second, "next"), None);
    }
    assert_eq!(names(&site.get("/api/v1/failing?package=blue").await.json()), ["blue"]);
    let compares = async |package: &str| {
        let page = site.browse(&format!("/packages/{package}/noble/amd64")).await;
        page.text().contains(&format!("href=\"/compare/{package}/noble/amd64/"))
    };
    assert!(compares("green").await && !compares("blue").await, "only what passed before");
    assert!(site.browse("/user/joe/?arch=s390x").await.text().contains("No result that fits"));
    let none = site.browse("/failing?release=jammy").await;
    assert!(none.text().contains("No package fits."));
    assert!(Site::new().await.browse("/failing").await.text().contains("No package fails."));
    for bad in [
        "/failing?sort=x",
        "/slow?after=a,b,c,d",
        "/stale?limit=0",
        "/flaky?days=5",
        "/stuck?why=x",
        "/slow?package=a/b",
    ] {
        assert_eq!(site.browse(bad).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn flaky_packages() {
    let site = Site::new().await;
    for code in [0, 4, 0] {
        site.result("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}", code, "").await;
    }
    for code in [0, 4] {
        site.result("debci-noble-amd64", "blue {\"triggers\": [\"blue/1\"]}", code, "").await;
    }
    site.sum_up().await;
    let first = site.browse("/flaky?limit=1").await;
    assert_eq!((rows(&first, 1), rows(&first, 4)), (vec!["green".to_owned()], vec!["2".to_owned()]));
    let second = site.browse(&link(&first, "next").unwrap()).await;
    assert_eq!((rows(&second, 1), link(&second, "next")), (vec!["blue".to_owned()], None));
    let json = site.get("/api/v1/flaky?sort=newest&days=1").await.json();
    assert_eq!(names(&json).len(), 2);
    assert_eq!(names(&site.get("/api/v1/flaky?package=blue").await.json()), ["blue"]);
    assert!(site.browse("/flaky?arch=arm64").await.text().contains("No result that fits differed"));
}

#[tokio::test]
async fn stuck_tests() {
    let site = Site::new().await;
    assert!(site.browse("/stuck").await.text().contains("No test is stuck."));
    let (job, _) = site.queue("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}").await;
    site.queue("debci-noble-amd64", "blue {\"triggers\": [\"blue/1\"]}").await;
    let (hidden, _) = site.queue("debci-noble-amd64", "hush {\"swiftuser\": \"u\"}").await;
    for job in [job, hidden] {
        let id = site.start(job).await;
        site.fail(id, Some(0)).await;
    }
    let page = site.browse("/stuck").await;
    assert_eq!(rows(&page, 2), ["green"]);
    assert_eq!(rows(&page, 8), ["1 attempt failed for a reason that is not the package's."]);
    site.start(job).await;
    let json = site.get("/api/v1/stuck?why=tried-again&arch=amd64").await.json();
    assert_eq!((&json["jobs"][0]["why"], &json["next"]), (&json!(["tried-again"]), &Value::Null));
    assert_eq!(json["jobs"].as_array().unwrap().len(), 1);
    assert!(site.browse("/stuck?why=waits-long").await.text().contains("No test that fits is stuck."));
}

#[tokio::test]
async fn what_somebody_asked_for() {
    let site = site().await;
    let (job, _) =
        site.queue("debci-noble-amd64", "slow {\"triggers\": [\"slow/1\"], \"requester\": \"joe\"}").await;
    site.queue("debci-noble-amd64", "other {\"triggers\": [\"slow/1\"], \"requester\": \"joey\"}").await;
    site.start(job).await;
    let page = site.browse("/user/joe/?limit=4").await;
    assert_eq!(texts(&page.html(), "table.jobs td:nth-child(2)"), ["slow"]);
    assert!(page.text().contains("/feeds/user/joe.atom"));
    let older = site.browse(&link(&page, "next").unwrap()).await;
    assert_eq!(texts(&older.html(), "table.list:not(.jobs) tbody tr").len(), 2);
    assert_eq!(link(&older, "first").as_deref(), Some("/user/joe/"));
    let json = site.get("/api/v1/users/joe?result=fail").await.json();
    assert_eq!((json["results"].as_array().unwrap().len(), json["open"].as_array().unwrap().len()), (3, 1));
    assert!(site.browse("/user/nobody").await.text().contains("waits for no test"));
    assert_eq!(site.browse("/user/a%0Ab/").await.status, 404);
    assert_eq!(site.browse("/user/joe/?open_after=x").await.status, 400);
}

#[tokio::test]
async fn ppas_and_their_runs() {
    let site = Site::new().await;
    for (release, ppa) in [("noble", "joe/fixes-1"), ("jammy", "joe/fixes-1"), ("noble", "joe/other")] {
        let body = format!("green {{\"ppas\": [\"{ppa}\"], \"requester\": \"joe\"}}");
        site.result(&format!("debci-ppa-{release}-amd64"), &body, 0, "").await;
    }
    site.sum_up().await;
    let list = site.browse("/user/joe/ppa").await;
    assert_eq!(texts(&list.html(), "ul.columns li"), ["fixes-1", "other"]);
    let ppa = site.browse("/user/joe/ppa/fixes-1").await;
    assert_eq!((texts(&ppa.html(), "h1"), rows(&ppa, 2).len()), (vec!["PPA joe/fixes-1".to_owned()], 2));
    assert!(ppa.text().contains("/results/autopkgtest-jammy-joe-fixes-1/"));
    // Wherever the name is parted.
    let parted = site.get("/api/v1/users/joe-fixes/ppas/1").await.json();
    assert_eq!((&parted["ppa"], parted["results"].as_array().unwrap().len()), (&json!("joe/fixes-1"), 2));
    let names = site.get("/api/v1/users/joe/ppas?after=fixes-1").await.json();
    assert_eq!(names["ppas"][0]["url"], "https://tests.example/user/joe/ppa/other");
    assert!(site.browse("/user/joe/ppa/none").await.text().contains("No test that everybody may see"));
    // What is not done yet, and nothing else that reads the same.
    let body = "cyan {\"ppas\": [\"joe/fixes-1:AB\"], \"requester\": \"joe\"}";
    let (_, uuid) = site.queue("debci-ppa-noble-amd64", body).await;
    let body = "cyan {\"triggers\": [\"joe/fixes-1\"], \"requester\": \"joe\"}";
    site.queue("debci-noble-amd64", body).await;
    let page = site.browse("/user/joe/ppa/fixes-1").await;
    assert_eq!(texts(&page.html(), "table.jobs tbody tr").len(), 1);
    assert!(page.text().contains(&format!("/run/{uuid}")));
    assert!(page.text().contains("<a href=\"/user/joe/ppa/fixes-1\">joe/fixes-1:AB</a>"), "{}", page.text());
    let json = site.get("/api/v1/users/joe/ppas/fixes-1").await.json();
    assert_eq!((&json["open"][0]["uuid"], json["open"].as_array().unwrap().len()), (&json!(uuid), 1));
}

#[tokio::test]
async fn what_is_parked() {
    let site = Site::new().await;
    assert!(site.browse("/parked").await.text().contains("Nothing is parked."));
    let (job, uuid) = site.queue("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}").await;
    let id = site.start(job).await;
    site.fail(id, None).await;
    let reason = site.get("/api/v1/infrastructure").await.json()["parked"][0]["name"].clone();
    let reason = reason.as_str().unwrap();
    let page = site.browse(&format!("/parked?reason={reason}&arch=amd64")).await;
    assert!(
        page.text().contains(&format!("/run/{uuid}")) && page.text().contains("The last attempt of each: ")
    );
    assert!(site.browse("/infrastructure").await.text().contains(&format!("/parked?reason={reason}")));
    let json = site.get("/api/v1/parked?package=green").await.json();
    assert_eq!((&json["jobs"][0]["uuid"], &json["jobs"][0]["waits"]), (&json!(uuid), &json!(null)));
    for none in ["arch=arm64", "package=gree", "reason=x", "release=jammy"] {
        assert!(
            site.browse(&format!("/parked?{none}")).await.text().contains("No parked test fits."),
            "{none}"
        );
        assert!(
            site.get(&format!("/api/v1/parked?{none}")).await.json()["jobs"].as_array().unwrap().is_empty()
        );
    }
    assert_eq!(site.browse("/parked?open_after=x").await.status, 400);
}

#[tokio::test]
async fn what_is_not_done_goes_on_behind_a_number() {
    let site = Site::new().await;
    for n in 0..150 {
        let body = format!("green {{\"triggers\": [\"green/{n}\"], \"requester\": \"joe\"}}");
        site.queue("debci-noble-amd64", &body).await;
    }
    for (page, api) in [
        ("/packages/green", "/api/v1/packages/green"),
        ("/packages/green/noble/amd64", "/api/v1/packages/green/noble/amd64"),
        ("/user/joe/", "/api/v1/users/joe"),
    ] {
        let first = site.browse(page).await;
        assert_eq!(texts(&first.html(), "table.jobs tbody tr").len(), 100, "{page}");
        let data = site.get(api).await.json();
        assert_eq!(data["open"].as_array().unwrap().len(), 100, "{page}");
        let why = data["open"][0]["waits"]["sentence"].as_str().unwrap();
        assert!(
            texts(&first.html(), "table.jobs td.wide").iter().all(|said| said.contains(why)),
            "{page}: {why}"
        );
        let next = data["more_open"].as_str().unwrap();
        let rest = site.get(next).await.json();
        assert_eq!(
            (rest["open"].as_array().unwrap().len(), &rest["more_open"]),
            (50, &json!(null)),
            "{page}"
        );
        let after = next.rsplit_once('=').unwrap().1;
        let more = site.browse(&format!("{page}?open_after={after}")).await;
        assert!(first.text().contains(&format!("{page}?open_after={after}")), "{page}");
        assert_eq!(texts(&more.html(), "table.jobs tbody tr").len(), 50, "{page}");
    }
}

#[tokio::test]
async fn a_release() {
    let site = site().await;
    site.queue("debci-noble-arm64", "green {\"triggers\": [\"green/9\"]}").await;
    let page = site.browse("/release/noble").await;
    assert_eq!(rows(&page, 1)[..2], ["amd64", "arm64"]);
    assert!(
        page.text().contains("1 queued, 0 running.") && page.text().contains("/feeds/release/noble.atom")
    );
    let json = site.get("/api/v1/releases/noble").await.json();
    let amd64 = &json["arches"][0];
    assert_eq!((&amd64["tested"]["failing"], &amd64["waiting"]), (&json!(2), &json!(0)));
    assert_eq!(json["failures"].as_array().unwrap().len(), 3);
    assert_eq!(site.browse("/release/nope").await.status, 404);
}

#[tokio::test]
async fn recent_results_of_a_package() {
    let site = site().await;
    let newest_first = rows(&site.browse("/recent?package=blue").await, 3);
    let first = site.get("/api/v1/results?package=blue&limit=1").await.json();
    let second = site.get(first["next"].as_str().unwrap()).await.json();
    let by_key = [first, second].map(|part| part["results"][0]["release"].as_str().unwrap().to_owned());
    assert_eq!((newest_first.len(), &newest_first[..]), (2, &by_key[..]));
    assert_eq!(rows(&site.browse("/recent?package=green&result=fail&user=joe&arch=amd64").await, 2).len(), 2);
}

#[tokio::test]
async fn one_box_finds_everything() {
    let site = site().await;
    let stored = site.result("debci-ppa-noble-amd64", "green {\"ppas\": [\"own/name\"]}", 0, "").await;
    let (_, waiting) = site.queue("debci-noble-amd64", "cyan {\"triggers\": [\"green/1\"]}").await;
    // Nothing of these is done yet.
    site.queue("debci-noble-amd64", "cyan {\"triggers\": [\"later/1\"], \"requester\": \"ann\"}").await;
    site.announce("worker-7", "rack-3", 1).await;
    site.sum_up().await;
    let run = format!("/packages/green/noble/amd64/{}?container=autopkgtest-noble-own-name", stored.run_id);
    let (uuid, shouted) = (stored.uuid.to_string(), waiting.to_string().to_uppercase());
    for (q, to) in [
        ("green", "/packages/green".to_owned()),
        ("+cyan+", "/packages/cyan".to_owned()),
        ("joe", "/user/joe/".to_owned()),
        ("own/name", "/user/own/ppa/name".to_owned()),
        ("green/1", "/trigger/green/1".to_owned()),
        ("noble", "/release/noble".to_owned()),
        ("later/1", "/trigger/later/1".to_owned()),
        ("ann", "/user/ann/".to_owned()),
        ("rack-3", "/infrastructure?host=rack-3".to_owned()),
        (uuid.as_str(), format!("/run/{uuid}")),
        (shouted.as_str(), format!("/run/{waiting}")),
        (stored.run_id.trim_end_matches('@'), run),
    ] {
        let found = site.browse(&format!("/search?q={q}")).await;
        assert_eq!((found.status.as_u16(), found.header("location")), (303, to.as_str()), "{q}");
    }
    let found = site.browse("/search?q=e").await;
    assert_eq!(texts(&found.html(), "h2"), ["Packages", "People", "PPAs", "Releases"]);
    assert_eq!(texts(&found.html(), "ul.columns")[0], "blue green red");
    let json = site.get("/api/v1/search?q=green").await.json();
    assert_eq!(json["exact"][0]["url"], "https://tests.example/packages/green");
    let uploads = &json["groups"][0];
    assert_eq!((&uploads["kind"], uploads["hits"].as_array().unwrap().len()), (&json!("upload"), 3));
    let behind = site.get("/api/v1/search?q=green&kind=upload&after=green/1").await.json();
    assert_eq!(behind["groups"][0]["hits"][0]["name"], "green/2");
    let none = site.browse("/search?q=%3Cscript%3E").await;
    assert!(none.text().contains("Nothing that everybody may see") && !none.text().contains("<script>"));
    assert_eq!(site.browse("/search").await.status, 200);
    for bad in ["/search?kind=x", "/search?q=%00"] {
        assert_eq!(site.browse(bad).await.status, 400, "{bad}");
    }
}
