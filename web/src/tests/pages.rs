use axum::http::Method;

use proofhouse_core::queue::Pause;
use serde_json::json;

use crate::testing::{Site, texts};

const LOG: &str = "\
autopkgtest [08:00:00]: starting date and time: 2026-11-21 08:00:00+0000
autopkgtest [08:00:01]: @@@@@@@@@@@@@@@@@@@@ test bed setup
Get:1 http://archive
autopkgtest [08:00:09]: test good: [-----------------------
fine
autopkgtest [08:00:11]: test bad: [-----------------------
\u{1b}[31m<script>alert(1)</script>\u{1b}[0m
autopkgtest [08:00:12]: @@@@@@@@@@@@@@@@@@@@ summary
good                 PASS
bad                  FAIL non-zero exit status 1
";

#[tokio::test]
async fn empty_site() {
    let site = Site::new().await;
    let home = site.browse("/").await;
    assert_eq!(home.status, 200);
    assert!(home.header("content-security-policy").contains("frame-ancestors 'none'"));
    assert_eq!(home.header("x-content-type-options"), "nosniff");
    let html = home.html();
    assert_eq!(texts(&html, "table.grid thead th"), ["", "jammy", "noble"]);
    assert_eq!(texts(&html, "table.grid tbody tr").len(), 2);
    assert!(home.text().contains("No result yet"));
    for path in
        ["/running", "/recent", "/packages", "/packages?q=x%00y", "/packages?q=a&q=b", "/packages?q=%ff"]
    {
        assert_eq!(site.browse(path).await.status, 200, "{path}");
    }
    for path in [
        "/nope",
        "/packages/green",
        "/packages/green/noble/amd64",
        "/packages/a/b/c/d/e/f/g",
        "/run/x",
        "/run/6a1d4c5e-94c5-4f8e-9b1c-3a8d1b7a2c11",
        "/packages/green/noble/amd64/20261121_053634_abcde@",
        "/packages/%ff",
        "/packages/..%2f",
        "/static/x.css",
    ] {
        let answer = site.browse(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(texts(&answer.html(), "form.search.big button").len(), 1, "{path}: helps to search");
    }
    let wrong = site.send(Method::DELETE, "/", &[("accept", "text/html")], "").await;
    assert_eq!((wrong.status.as_u16(), wrong.header("allow")), (405, "GET,HEAD"));
    assert_eq!(site.browse("/recent?limit=0").await.status, 400);
}

#[tokio::test]
async fn style_sheet_has_a_name_that_changes() {
    let site = Site::new().await;
    let home = site.browse("/").await.text();
    let path = home.split('"').find(|t| t.starts_with("/static/style-")).unwrap();
    let style = site.get(path).await;
    assert_eq!((style.status.as_u16(), style.header("content-type")), (200, "text/css; charset=utf-8"));
    assert!(style.header("cache-control").contains("immutable"));
    let again = site.send(Method::GET, path, &[("if-none-match", style.header("etag"))], "").await;
    assert_eq!((again.status.as_u16(), again.bytes.len()), (304, 0));
}

#[tokio::test]
async fn package_table_as_scripts_read_it() {
    let site = Site::new().await;
    site.result("debci-noble-amd64", "libgreen {\"triggers\": [\"libgreen/1\"]}", 0, LOG).await;
    site.result("debci-noble-arm64", "libgreen {\"triggers\": [\"libgreen/1\"]}", 4, LOG).await;
    site.queue("debci-jammy-amd64", "libgreen {\"triggers\": [\"libgreen/2\"]}").await;
    for path in ["/packages/libgreen", "/packages/libg/libgreen"] {
        let page = site.get(path).await;
        assert_eq!(page.status, 200);
        let text = page.text();
        assert!(text.contains("<table class=\"table\">"), "{text}");
        assert!(text.contains("<tr><th></th><th>jammy</th><th>noble</th></tr>"), "{text}");
        assert!(text.contains("<th>amd64</th><td>-</td><td>pass</td>"), "{text}");
        assert!(text.contains("<th>arm64</th><td>-</td><td>fail</td>"), "{text}");
        assert!(texts(&page.html(), "table.list .o").contains(&"◷ queued".to_owned()));
    }
    // A better run later is the latest.
    site.result("debci-noble-arm64", "libgreen {\"triggers\": [\"libgreen/1\"]}", 8, LOG).await;
    assert!(site.get("/packages/libgreen").await.text().contains("<th>arm64</th><td>-</td><td>neutral</td>"));
}

#[tokio::test]
async fn history_pages_by_key() {
    let site = Site::new().await;
    for n in 0..60 {
        let body = format!("green {{\"triggers\": [\"green/{n}\"], \"requester\": \"joe\"}}");
        site.result("debci-noble-amd64", &body, 0, "").await;
    }
    let (job, _) = site.queue("debci-noble-amd64", "green {\"triggers\": [\"green/99\"]}").await;
    let id = site.start(job).await;
    site.fail(id, None).await;
    let page = site.browse("/packages/green/noble/amd64").await;
    let html = page.html();
    assert_eq!(texts(&html, "table.list tbody tr").len(), 51, "50 results and what is parked");
    assert_eq!(texts(&html, "table.list .o")[0], "⚠ parked");
    assert!(texts(&html, "td.code span").contains(&"green/59".to_owned()));
    let older = scraper::Selector::parse("a[rel=next]").unwrap();
    let next = html.select(&older).next().unwrap().value().attr("href").unwrap().to_owned();
    let second = site.browse(&next).await;
    let triggers = texts(&second.html(), "td.code span");
    assert!(
        triggers.contains(&"green/0".to_owned()) && triggers.contains(&"green/9".to_owned()),
        "{triggers:?}"
    );
    assert!(!triggers.contains(&"green/10".to_owned()));
    assert!(texts(&second.html(), "a[rel=next]").is_empty());
    assert_eq!(site.browse("/packages/green/noble/amd64?before=x").await.status, 400);
}

#[tokio::test]
async fn one_run_and_its_log() {
    let site = Site::new().await;
    let (job, _) =
        site.queue("debci-ppa-noble-amd64", "green {\"ppas\": [\"own/name\"], \"env\": [\"A_B=c\"]}").await;
    let first = site.start(job).await;
    site.fail(first, Some(0)).await;
    let second = site.start(job).await;
    let run = site.finish(second, 4, LOG).await;
    assert_eq!(run.container, "autopkgtest-noble-own-name");
    let path = format!("/packages/g/green/noble/amd64/{}", run.run_id);
    let page = site.browse(&path).await;
    assert_eq!(page.status, 200);
    let html = page.html();
    let files = texts(&html, "table.list td a");
    assert!(files.contains(&"log.gz".to_owned()) && files.contains(&"result.tar".to_owned()), "{files:?}");
    let cells = texts(&html, "table.list td");
    assert!(cells.iter().any(|c| c.starts_with("result.tar damaged:")), "{cells:?}");
    assert!(page.text().contains(&format!("/results/{}/{}/log.gz", run.container, run.folder)));
    let attempts = texts(&html, "table.list tbody tr");
    assert!(attempts.iter().any(|a| a.contains("no result: the testbed failed")), "{attempts:?}");
    assert!(attempts.iter().any(|a| a.contains("worker-7") && a.contains("gave the result")), "{attempts:?}");
    assert!(page.text().contains("A_B=c"));
    assert_eq!(site.browse(&format!("{path}?container=other")).await.status, 404);

    let log = site.browse(&format!("{path}/log?container={}", run.container)).await;
    assert_eq!(log.status, 200);
    assert!(log.text().contains("<span id=\"L5\"><a href=\"#L5\">5</a>fine\n</span>"), "{}", log.text());
    assert!(!log.text().contains("<script>") && !log.text().contains('\u{1b}'));
    let html = log.html();
    assert_eq!(texts(&html, "details").len(), 5);
    assert!(texts(&html, "details[open] summary")[0].starts_with("✘ fail test bad"));
    assert_eq!(texts(&html, "details[open]").len(), 2, "the failing test and the summary");
}

#[tokio::test]
async fn logs_that_are_long_damaged_or_gone() {
    let site = Site::new().await;
    let long = "a line of a log that never ends\n".repeat(100_000);
    let run = site.result("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}", 0, &long).await;
    let path = format!("/packages/green/noble/amd64/{}/log", run.run_id);
    let page = site.browse(&path).await.text();
    assert!(page.contains("are left out here") && page.contains("id=\"L100000\""));
    site.store.add(&run.container, &format!("{}/log.gz", run.folder), b"\x1f\x8bnot gzip");
    assert!(site.browse(&path).await.text().contains("damaged"));
    let gone = site.result("debci-noble-arm64", "green {\"triggers\": [\"green/1\"]}", 0, "").await;
    let path = format!("/packages/green/noble/arm64/{}/log", gone.run_id);
    assert!(site.browse(&path).await.text().contains("The log is empty"));
}

#[tokio::test]
async fn a_run_by_its_uuid_from_the_first_second() {
    let site = Site::new().await;
    let body = "green {\"triggers\": [\"green/1\"], \"requester\": \"joe\"}";
    let (_, ahead) = site.queue("debci-noble-amd64", "blue {\"triggers\": [\"blue/1\"]}").await;
    let (job, uuid) = site.queue("debci-noble-amd64", body).await;
    let alias = "6a1d4c5e-94c5-4f8e-9b1c-3a8d1b7a2c11";
    site.queue("debci-noble-amd64", &body.replace("joe\"", &format!("ann\", \"uuid\": \"{alias}\""))).await;
    for name in [uuid.to_string(), alias.to_owned(), uuid.to_string().to_uppercase()] {
        let page = site.browse(&format!("/run/{name}")).await;
        assert_eq!(page.status, 200);
        let answer = texts(&page.html(), ".answer").join(" ");
        assert!(answer.contains("No dispatcher leads") || answer.contains("about to look at it"), "{answer}");
        assert!(page.text().contains("joe") && page.text().contains("ann"));
        assert_eq!(site.get(&format!("/run/{name}")).await.status, 404, "old clients wait");
    }
    // As a leader sorts them.
    let lane = "0 gates ubuntu noble/amd64 - blue/1".to_owned();
    let first = site.db.job_by_uuid(ahead).await.unwrap().unwrap().id;
    site.sort(&[(first, lane.clone()), (job, lane)]).await;
    let answer = async |uuid| texts(&site.browse(&format!("/run/{uuid}")).await.html(), ".answer").join(" ");
    assert_eq!(answer(ahead).await, "No worker serves pool amd64. It is the next.");
    assert_eq!(answer(uuid).await, "No worker serves pool amd64. About one test starts before it.");
    let json = [("accept", "application/json")];
    let json = site.send(Method::GET, &format!("/run/{uuid}"), &json, "").await;
    let waits = &json.json()["waits"];
    assert_eq!(
        (json.status.as_u16(), &waits["reason"], &waits["place"]),
        (404, &"no-worker".into(), &1.into())
    );

    let id = site.start(job).await;
    site.app.heard().hear(
        serde_json::from_value(serde_json::json!({
            "release": "noble", "architecture": "amd64", "package": "green", "running": true, "params": {},
            "duration": 61, "logtail": "last <b>line</b>", "uuid": uuid}))
        .unwrap(),
        std::time::Instant::now(),
    );
    let page = site.browse(&format!("/run/{alias}")).await;
    assert!(
        page.text().contains("1 min 01 s") && texts(&page.html(), "pre.tail")[0].contains("last <b>line</b>")
    );
    assert_eq!(site.get(&format!("/run/{alias}")).await.status, 404);

    site.finish(id, 0, LOG).await;
    for answer in [site.get(&format!("/run/{alias}")).await, site.browse(&format!("/run/{uuid}")).await] {
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("<th>Result</th> <td>pass</td>"), "{}", answer.text());
        assert!(answer.text().contains("<th>Duration</th>"));
    }
}

#[tokio::test]
async fn a_run_that_is_parked_or_called_off() {
    let site = Site::new().await;
    let (job, uuid) = site.queue("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}").await;
    let id = site.start(job).await;
    site.fail(id, Some(60_000_000)).await;
    site.sort(&[(job, "0 gates ubuntu noble/amd64 - green/2".to_owned())]).await;
    assert!(site.browse(&format!("/run/{uuid}")).await.text().contains("tried again at"));
    let (job, uuid) = site.queue("debci-noble-arm64", "green {\"triggers\": [\"green/1\"]}").await;
    let id = site.start(job).await;
    site.fail(id, None).await;
    let page = site.browse(&format!("/run/{uuid}")).await;
    let answer = texts(&page.html(), ".answer").join(" ");
    assert!(
        answer.contains("until an operator has it retried") && answer.contains("exit code 16"),
        "{answer}"
    );
    assert!(answer.contains("Its gate is told nothing before."), "{answer}");
    assert_eq!(site.get(&format!("/run/{uuid}")).await.status, 404);
}

#[tokio::test]
async fn what_is_parked_is_counted_without_private_runs() {
    let site = Site::new().await;
    for (body, shown) in [
        ("green {\"triggers\": [\"green/1\"], \"swiftuser\": \"x\"}", None),
        ("green {\"triggers\": [\"green/1\"]}", Some("1 parked")),
        ("green {\"triggers\": [\"green/2\"]}", Some("2 parked")),
    ] {
        let (job, _) = site.queue("debci-noble-amd64", body).await;
        let id = site.start(job).await;
        site.fail(id, None).await;
        for uri in ["/", "/running"] {
            let page = site.browse(uri).await.text();
            assert_eq!(page.contains(shown.unwrap_or(" parked")), shown.is_some(), "{uri} {page}");
        }
    }
}

#[tokio::test]
async fn caches_keep_an_answer_for_each_kind_of_client() {
    let site = Site::new().await;
    let (_, uuid) = site.queue("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}").await;
    for uri in [format!("/run/{uuid}"), "/".to_owned(), "/nowhere".to_owned(), "/request.cgi".to_owned()] {
        assert_eq!(site.get(&uri).await.header("vary"), "accept", "{uri}");
        assert_eq!(site.browse(&uri).await.header("vary"), "accept", "{uri}");
    }
}

#[tokio::test]
async fn a_parked_run_says_when_its_gate_is_told() {
    let parked_answer = Some(std::time::Duration::from_secs(9000));
    let site = Site::with(crate::settings::Settings { parked_answer, ..crate::testing::settings() }).await;
    for (trigger, refused, said) in [
        ("green/1", false, "in 2 h, its gate is told"),
        ("green/2", true, "told nothing before"),
        ("migration-reference/0", false, "told nothing before"),
    ] {
        let (job, uuid) =
            site.queue("debci-noble-amd64", &format!("green {{\"triggers\": [\"{trigger}\"]}}")).await;
        let id = site.start(job).await;
        site.fail(id, None).await;
        if refused {
            site.db.never_answer(job).await.unwrap();
        }
        let page = site.browse(&format!("/run/{uuid}")).await;
        let answer = texts(&page.html(), ".answer").join(" ");
        assert!(answer.contains(said), "{answer}");
    }
}

#[tokio::test]
async fn failed_attempts_and_their_logs() {
    let site = Site::new().await;
    let (job, uuid) = site.queue("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}").await;
    let alias = "6a1d4c5e-94c5-4f8e-9b1c-3a8d1b7a2c11";
    let again = format!("green {{\"triggers\": [\"green/1\"], \"uuid\": \"{alias}\"}}");
    site.queue("debci-noble-amd64", &again).await;
    for pause in [Some(0), None] {
        let id = site.start(job).await;
        site.fail(id, pause).await;
    }
    site.keep_log(uuid, 2, LOG);
    let links = async |path: String| {
        let page = site.browse(&path).await;
        let html = page.html();
        let selector = scraper::Selector::parse("table.attempts a[href*='/attempts/']").unwrap();
        html.select(&selector).map(|a| a.attr("href").unwrap().to_owned()).collect::<Vec<_>>()
    };
    let own = format!("/run/{uuid}/attempts/2/log");
    assert_eq!(links(format!("/run/{uuid}")).await, [own.as_str()], "only of what is stored");
    let json = site.get(&format!("/api/v1/runs/{uuid}")).await.json();
    let logs = ["/attempts/0/log", "/attempts/1/log"].map(|place| json.pointer(place).unwrap());
    assert_eq!(logs, [&json!(null), &json!(format!("https://tests.example{own}"))]);
    for name in [uuid.to_string(), alias.to_owned()] {
        let page = site.browse(&format!("/run/{name}/attempts/2/log")).await;
        assert_eq!(page.status, 200);
        assert!(page.text().contains("no word about the package") && page.text().contains("id=\"L5\""));
        assert!(
            page.text().contains("the testbed failed (exit code 16)") && !page.text().contains("<script>")
        );
        let raw = site.get(&format!("/run/{name}/attempts/2/log.gz")).await;
        assert_eq!((raw.status.as_u16(), raw.header("content-encoding")), (200, "gzip"));
        assert!(raw.header("content-security-policy").contains("sandbox"));
    }
    for missing in ["1/log", "1/log.gz", "3/log", "0/log", "-1/log", "x/log", "x/log.gz"] {
        assert_eq!(site.browse(&format!("/run/{uuid}/attempts/{missing}")).await.status, 404, "{missing}");
    }
    // Retried by an operator, it runs once more and passes: the pages of the result say all of it.
    assert_eq!(site.db.retry_parked(&[job]).await.unwrap(), [job]);
    let waiting = site.browse(&format!("/run/{uuid}")).await;
    assert!(waiting.text().contains("After attempt 2 an operator had it retried"), "{}", waiting.text());
    let id = site.start(job).await;
    let run = site.finish(id, 0, LOG).await;
    for path in [format!("/run/{uuid}"), format!("/packages/green/noble/amd64/{}", run.run_id)] {
        assert_eq!(links(path.clone()).await, [own.as_str()], "{path}");
        let json = site.get(&format!("/api/v1{}", path.replace("/run/", "/runs/"))).await.json();
        assert!(json["attempts"][1]["log"].as_str().is_some_and(|log| log.ends_with(&own)), "{json}");
        let page = site.browse(&path).await;
        let decided = texts(&page.html(), "table.facts tr");
        assert!(decided.contains(&"Decided by its exit code".to_owned()), "{decided:?}");
    }
    let json = site.get("/api/experimental/recent.json").await.json();
    assert_eq!(json[0]["rule"], "exit-code");
    // The log of an attempt that gave the result lies with the result.
    site.keep_log(uuid, 3, LOG);
    assert_eq!(site.browse(&format!("/run/{uuid}/attempts/3/log")).await.status, 404);
    // Without the store the page still says how the attempts ended.
    site.store.away.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(site.browse(&format!("/run/{uuid}")).await.status, 200);
    assert_eq!(site.browse(&own).await.status, 503);
}

#[tokio::test]
async fn running_and_recent() {
    let site = Site::new().await;
    let (job, uuid) = site.queue("debci-huge-noble-amd64", "green {\"triggers\": [\"green/1\"]}").await;
    site.queue("debci-huge-noble-amd64", "green {\"triggers\": [\"green/2\"]}").await;
    site.start(job).await;
    let page = site.browse("/running").await;
    let html = page.html();
    assert_eq!(texts(&html, "#queue-huge-noble-amd64"), ["1"]);
    assert_eq!(texts(&html, "#queue-ubuntu-jammy-amd64"), ["0"]);
    assert!(texts(&html, "#pkg-green .run")[0].contains("triggers: green/1"));
    assert!(page.text().contains(&format!("/run/{uuid}")));
    for (body, code) in [
        ("aaa {\"triggers\": [\"x/1\"], \"requester\": \"joe & co\"}", 0),
        ("bbb {\"triggers\": [\"x/1\"]}", 4),
    ] {
        site.result("debci-noble-arm64", body, code, "").await;
    }
    let rows = async |query: &str| {
        texts(&site.browse(&format!("/recent?{query}")).await.html(), "tbody tr td:nth-child(2)")
    };
    assert_eq!(rows("").await.len(), 2);
    assert_eq!(rows("result=fail").await, ["bbb"]);
    assert_eq!(rows("user=joe+%26+co&release=noble&arch=arm64").await, ["aaa"]);
    assert!(rows("arch=amd64").await.is_empty());
    let second = rows("limit=1&offset=1").await;
    assert_eq!((second.len(), rows("limit=1").await.len()), (1, 1));
}

#[tokio::test]
async fn search_leads_to_packages() {
    let site = Site::new().await;
    site.result("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}", 0, "").await;
    site.result("debci-noble-amd64", "greenhouse {\"triggers\": [\"green/1\"]}", 0, "").await;
    site.queue("debci-noble-amd64", "blue {\"triggers\": [\"green/1\"]}").await;
    site.sum_up().await;
    for (q, to) in [("green", "/packages/green"), ("+blue+", "/packages/blue")] {
        let found = site.browse(&format!("/packages?q={q}")).await;
        assert_eq!((found.status.as_u16(), found.header("location")), (303, to));
    }
    let list = site.browse("/packages?q=gree").await;
    assert_eq!(texts(&list.html(), "ul.columns li"), ["green", "greenhouse"]);
    let none = site.browse("/packages?q=%3Cscript%3E").await;
    assert!(none.text().contains("begins with") && !none.text().contains("<script>"));
}

#[tokio::test]
async fn what_gates_wait_for_by_age() {
    let site = Site::new().await;
    for n in 0..102 {
        site.queue("debci-noble-amd64", &format!("green {{\"triggers\": [\"green/{n}\"]}}")).await;
    }
    site.queue("debci-noble-amd64", "plain {\"requester\": \"joe\"}").await;
    site.queue("debci-ppa-noble-arm64", "blue {\"triggers\": [\"blue/1\"], \"requester\": \"ann\"}").await;
    let body = "geheim {\"triggers\": [\"geheim/1\"], \"readable-by\": [\"ann\"], \"swiftuser\": \"reader\"}";
    site.queue("debci-noble-amd64", body).await;
    // By hand, with neither trigger nor requester.
    let (by_hand, _) = site.queue("debci-ppa-noble-arm64", "red {\"ppas\": [\"joe/foo\"]}").await;
    site.sort(&[(by_hand, "0 people ppa noble/arm64 - ".to_owned())]).await;
    let first = site.browse("/waiting").await.html();
    let triggers = texts(&first, "table.jobs td.trigger");
    assert_eq!((triggers.len(), triggers[0].as_str(), triggers[99].as_str()), (100, "green/0", "green/99"));
    let next = scraper::Selector::parse(".pager a[rel=next]").unwrap();
    let next = first.select(&next).next().unwrap().value().attr("href").unwrap().to_owned();
    let second = site.browse(&next).await;
    assert_eq!(texts(&second.html(), "table.jobs td.trigger"), ["green/100", "green/101", "blue/1"]);
    assert!(second.text().contains("1 more here is private") && !second.text().contains("geheim"));
    assert_eq!(texts(&site.browse("/waiting?context=ppa").await.html(), "table.jobs td.trigger"), ["blue/1"]);
    let json = site.send(Method::GET, &next, &[("accept", "application/json")], "").await.json();
    let (jobs, private) = (json["jobs"].as_array().unwrap(), &json["private"]);
    assert_eq!((jobs.len(), &jobs[2]["trigger"], private), (3, &"blue/1".into(), &1.into()));
    let other = site.browse("/waiting?release=other").await;
    assert!(other.text().contains("No gate waits for anything that matches."), "{}", other.text());
    for bad in ["/waiting?after=x", "/waiting?release=%00"] {
        assert_eq!(site.browse(bad).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn what_waits_is_summed_up_and_says_why() {
    let site = Site::new().await;
    let mut lanes = Vec::new();
    for (arch, package, trigger) in
        [("amd64", "a", "one/1"), ("amd64", "b", "two/1"), ("arm64", "c", "two/1"), ("amd64", "d", "two/1")]
    {
        let body = format!("{package} {{\"triggers\": [\"{trigger}\"]}}");
        let (job, _) = site.queue(&format!("debci-noble-{arch}"), &body).await;
        lanes.push((job, format!("0 gates ubuntu noble/{arch} - {trigger}")));
    }
    let secret = "hush {\"triggers\": [\"hush/1\"], \"swiftuser\": \"u\"}";
    let (secret, _) = site.queue("debci-noble-amd64", secret).await;
    lanes.push((secret, "0 gates ubuntu noble/amd64 - hush/1".to_owned()));
    site.sort(&lanes).await;
    let page = site.browse("/waiting").await;
    assert_eq!(texts(&page.html(), "table.triggers td.code"), ["two/1", "one/1"]);
    assert_eq!(texts(&page.html(), "table.triggers td.num")[..3], ["3", "0", "0"]);
    let why = texts(&page.html(), "table.jobs td.wide");
    assert_eq!(why[0], "No worker serves pool amd64. About one test starts before it.");
    assert!(why[3].starts_with("No worker serves pool amd64. About 3 tests start before it"), "{why:?}");
    assert!(!page.text().contains("hush"));
    let arm = site.browse("/waiting?arch=arm64").await.html();
    assert_eq!(texts(&arm, "table.triggers td.num"), ["1", "0", "0"]);
    let json = site.send(Method::GET, "/waiting", &[("accept", "application/json")], "").await.json();
    assert_eq!(
        (&json["triggers"][0]["waiting"], &json["jobs"][0]["waits"]["reason"]),
        (&3.into(), &"no-worker".into())
    );
}

#[tokio::test]
async fn what_is_held_back_is_said_on_every_page_of_it() {
    let none = Site::new().await.browse("/").await;
    assert!(texts(&none.html(), ".held").is_empty() && none.text().contains("href=\"/waiting\">Waiting"));
    // Another site: on a busy machine what the first one read is costly, and kept.
    let site = Site::new().await;
    let pause = Pause {
        id: 0,
        release: None,
        arch: Some("arm64".to_owned()),
        context: None,
        person: "ann".to_owned(),
        reason: "the lab moves".to_owned(),
        since_us: 0,
    };
    site.db.pause(&pause, "{}", 0).await.unwrap();
    site.queue("debci-noble-arm64", "green {\"triggers\": [\"green/1\"]}").await;
    for path in ["/", "/running", "/waiting", "/release/noble", "/trigger/green/1"] {
        let said = texts(&site.browse(path).await.html(), ".held");
        let [said] = &said[..] else { panic!("{path}: {said:?}") };
        assert!(said.starts_with("ann paused all of arm64 at 20") && said.ends_with("UTC: the lab moves."));
        assert_eq!(site.get("/api/v1/queues").await.json()["held_back"], json!([said]));
    }
}
