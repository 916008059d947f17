//! One run, what changed, and the history of a package.

use proofhouse_core::{
    evidence::{gzip, result_tar},
    index::{FoundRun, Said, StoredResult},
    layout::Series,
};
use scraper::{ElementRef, Html, Selector};
use serde_json::{Value, json};

use crate::testing::{Answer, Site, Stored, texts};

const LOG: &str = "\
autopkgtest [08:00:01]: @@@@@@@@@@@@@@@@@@@@ test bed setup
autopkgtest [08:00:09]: test good: [-----------------------
autopkgtest [08:01:14]: test good: -----------------------]
autopkgtest [08:01:15]: test bad: [-----------------------
autopkgtest [08:01:17]: test bad: -----------------------]
";

/// What a test leaves, hostile names among it.
fn keep(site: &Site, run: &Stored, bad: &str, libc: &str, triggers: &str) {
    let info = json!({"kernel_version": "Linux 6.8 <b>", "nproc": "2", "attempts": 1, "worker": "w-1",
        "custom_environment": [format!("ADT_TEST_TRIGGERS={triggers}"), "A_B=c"]});
    let members = [
        ("exitcode", "4\n".to_owned()),
        ("testpkg-version", "green 2.10-3\n".to_owned()),
        ("testinfo.json", info.to_string()),
        ("testbed-packages", format!("libc6\t{libc}\nsame\t1\n<i>\u{1b}[1m\t{libc}\n")),
        ("summary", format!("good PASS\nbad {bad}\n<script>x\u{202e} SKIP <b>\n")),
    ];
    let members: Vec<_> = members.map(|(name, text)| (name, text.into_bytes())).into();
    let store =
        |file: &str, bytes: &[u8]| site.store.add(&run.container, &format!("{}/{file}", run.folder), bytes);
    store("result.tar", &result_tar(&members).unwrap());
    let artifacts = result_tar(&[("good-packages", format!("extra\t{libc}\n").into_bytes())]).unwrap();
    store("artifacts.tar.gz", &gzip(&artifacts).unwrap());
}

async fn passed_and_failed(site: &Site) -> [Stored; 2] {
    let queue = "debci-noble-amd64";
    let passed = site.result(queue, "green {\"triggers\": [\"green/1\"]}", 0, LOG).await;
    keep(site, &passed, "PASS", "2.39", "green/1");
    let body = "green {\"triggers\": [\"libc/2.40\"], \"env\": [\"A_B=c d\"], \"requester\": \"joe\"}";
    let failed = site.result(queue, body, 4, LOG).await;
    keep(site, &failed, "FAIL non-zero exit status 1", "2.40", "libc/2.40");
    [passed, failed]
}

/// The cells of each row.
fn rows(html: &Html) -> Vec<String> {
    let [row, cell] = ["table.list tbody tr", "td"].map(|text| Selector::parse(text).unwrap());
    let text = |cell: ElementRef<'_>| cell.text().collect::<String>().trim().to_owned();
    let cells = |row: ElementRef<'_>| row.select(&cell).map(text).collect::<Vec<_>>().join(" ");
    html.select(&row).map(cells).collect()
}

fn page(run: &Stored) -> String {
    format!("/packages/green/noble/amd64/{}", run.run_id)
}

fn compare([before, after]: &[Stored; 2]) -> String {
    format!("/compare/green/noble/amd64/{}/{}", before.run_id, after.run_id)
}

fn is_harmless(answer: &Answer) {
    let text = answer.text();
    assert!(!text.contains("<script>x") && !text.contains("6.8 <b>") && !text.contains("<i>"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}']));
}

#[tokio::test]
async fn one_look_at_a_failure() {
    let site = Site::new().await;
    let runs = passed_and_failed(&site).await;
    let path = page(&runs[1]);
    for address in [path.clone(), format!("/run/{}", runs[1].uuid)] {
        let answer = site.browse(&address).await;
        is_harmless(&answer);
        let html = answer.html();
        let said = texts(&html, ".answer");
        assert_eq!(said[0], "1 of 3 tests failed: bad.");
        assert!(said[1].contains("other triggers, other parameters, 2 packages changed"), "{said:?}");
        assert!(answer.text().contains(&format!("href=\"{}\"", compare(&runs))));
        let rows = rows(&html);
        assert_eq!(rows[0], "✘ fail bad 2 s non-zero exit status 1");
        assert!(rows.contains(&"✔ pass good 1 min 05 s ".to_owned()), "{rows:?}");
        assert_eq!(texts(&html, "details:not([open]) summary")[0], "✔ 1 passed");
        let facts = texts(&html, "table.facts tr");
        assert!(
            facts.contains(&"Kernel Linux 6.8 <b>".to_owned()) && facts.contains(&"Packages 3".to_owned()),
            "{facts:?}"
        );
        assert!(answer.text().contains("<th>Result</th> <td>fail</td>"));
        let again = texts(&html, "pre.shape");
        assert!(
            again[0].contains("--apt-pocket=proposed=src:libc") && again[1].contains("--env 'A_B=c d'"),
            "{again:?}"
        );
        assert!(rows.iter().any(|row| row.contains("this one")));
    }
    let json = site.get(&format!("/api/v1/runs/{}", runs[1].uuid)).await.json();
    assert_eq!(site.get(&format!("/api/v1{path}")).await.json(), json);
    let bad = &json["evidence"]["tests"][1];
    assert_eq!(
        bad,
        &json!({"name": "bad", "result": "fail", "reason": "non-zero exit status 1", "seconds": 2})
    );
    assert_eq!(json["since_pass"]["passed"]["run_id"], runs[0].run_id.as_str());
    assert_eq!(json["previous"][0]["run_id"], runs[0].run_id.as_str());
    assert_eq!(json["evidence"]["testbed"]["variables"], json!(["A_B=c"]));
    // A pass is compared with nothing.
    let json = site.get(&format!("/api/v1/runs/{}", runs[0].uuid)).await.json();
    assert_eq!((&json["since_pass"], &json["next"][0]["run_id"]), (&Value::Null, &json!(runs[1].run_id)));
}

#[tokio::test]
async fn what_is_gone_or_away_is_said() {
    let site = Site::new().await;
    let run = site.result("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}", 4, "").await;
    let answer = site.browse(&page(&run)).await;
    assert!(
        answer.text().contains("has no summary")
            && answer.text().contains("No run of this test passed before it")
    );
    site.store.away.store(true, std::sync::atomic::Ordering::Relaxed);
    let answer = site.browse(&page(&run)).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("the files cannot be listed"));
    assert!(texts(&answer.html(), "p.none")[0].starts_with("The store does not answer"));
    let json = site.get(&format!("/api/v1{}", page(&run))).await.json();
    assert_eq!((&json["evidence"]["files"], &json["evidence"]["tests"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn what_changed_since_the_last_pass() {
    let site = Site::new().await;
    assert_eq!(texts(&site.browse("/compare").await.html(), "form.filters button"), ["Compare"]);
    let runs = passed_and_failed(&site).await;
    let path = compare(&runs);
    for query in [String::new(), format!("&after={}", runs[1].run_id), format!("&before={}", runs[0].run_id)]
    {
        let found = site.browse(&format!("/compare?package=green&release=noble&arch=amd64{query}")).await;
        assert_eq!((found.status.as_u16(), found.header("location")), (303, path.as_str()), "{query}");
    }
    let answer = site.browse(&path).await;
    is_harmless(&answer);
    let html = answer.html();
    let rows = rows(&html);
    assert_eq!(rows[0], "bad ✔ pass ✘ fail non-zero exit status 1");
    assert!(
        rows.contains(&"libc6 2.39 2.40 changed, the version of trigger libc/2.40".to_owned()),
        "{rows:?}"
    );
    assert!(
        rows.contains(&"extra 2.39 2.40 changed, the version of trigger libc/2.40 for good".to_owned()),
        "{rows:?}"
    );
    let facts = texts(&html, "table.facts tr");
    assert_eq!(facts, ["only later + libc/2.40", "only earlier − green/1"]);
    let json = site.get(&format!("/api/v1{path}")).await.json();
    assert_eq!((&json["changes"]["same_packages"], &json["changes"]["gaps"]), (&json!(1), &json!([])));
    // A run whose files are gone is compared as far as the index goes.
    let bare = site.result("debci-noble-amd64", "green {\"triggers\": [\"libc/2.40\"]}", 4, LOG).await;
    let answer = site.browse(&format!("/compare/green/noble/amd64/{}/{}", runs[0].run_id, bare.run_id)).await;
    assert!(texts(&answer.html(), ".held")[0].contains("later run does not say it"), "{}", answer.text());
    for missing in [
        "/compare/green/noble/amd64/x/y",
        "/compare?package=green&release=noble&arch=arm64",
        &format!("/compare/green/noble/arm64/{}/{}", runs[0].run_id, runs[1].run_id),
        &format!("/compare?package=green&release=noble&arch=amd64&after={}", runs[0].run_id),
    ] {
        assert_eq!(site.browse(missing).await.status, 404, "{missing}");
    }
    for bad in ["/compare?package=green", "/compare?package=green&release=noble&arch=amd64&after=x"] {
        assert_eq!(site.browse(bad).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_run_whose_job_is_gone_is_repeated_as_it_was() {
    let [before, site] = [Site::new().await, Site::new().await];
    let [_, run] = passed_and_failed(&before).await;
    keep(&site, &run, "FAIL", "2.40", "libc/2.40");
    // As an index that was rebuilt has it.
    let series = Series {
        container: run.container.parse().unwrap(),
        pair: "noble/amd64".parse().unwrap(),
        package: "green".parse().unwrap(),
    };
    let found = FoundRun { series, run_id: run.run_id.parse().unwrap() };
    let said = Said {
        exit_code: 4,
        version: "2.10-3".to_owned(),
        triggers: Some("libc/2.40".to_owned()),
        env: String::new(),
        requester: None,
        duration_seconds: 1,
        uuid: Some(run.uuid),
        rule: None,
    };
    let stored = StoredResult { run: found.clone(), said, readable_by: Vec::new() };
    assert_eq!(site.db.index(&[found], &[stored], None).await.unwrap(), 1);
    let again = |page: &Answer| page.text().contains("trigger=libc%2F2.40&#38;env=A_B%3Dc");
    let shown = site.browse(&page(&run)).await;
    assert!(again(&shown), "{}", shown.text());
}

#[tokio::test]
async fn history_of_one_outcome() {
    let site = Site::new().await;
    let [passed, _] = passed_and_failed(&site).await;
    let base = "/packages/green/noble/amd64";
    let all = site.browse(base).await;
    let rows = rows(&all.html());
    assert!(rows[0].contains("env: A_B=c d") && rows[0].ends_with("log artifacts retry"), "{rows:?}");
    let retry = "/request.cgi?release=noble&#38;arch=amd64&#38;package=green&#38;trigger=libc%2F2.40&#38;env=A_B%3Dc+d";
    assert!(all.text().contains(retry), "{}", all.text());
    let some = site.browse(&format!("{base}?result=pass")).await;
    assert_eq!(texts(&some.html(), "table.list tbody tr").len(), 1);
    assert!(some.text().contains("1 of 2 runs fit"));
    let none = site.browse(&format!("{base}?result=error")).await;
    assert!(none.status == 200 && none.text().contains("No run here fits."));
    let json = site.get(&format!("/api/v1{base}?result=pass")).await.json();
    assert_eq!((&json["results"][0]["run_id"], &json["next"]), (&json!(passed.run_id), &Value::Null));
    for bad in ["result=green", "before=x"] {
        assert_eq!(site.browse(&format!("{base}?{bad}")).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_cancelled_run_leads_to_no_page_that_is_not_there() {
    let site = Site::new().await;
    let (job, uuid) = site.queue("debci-noble-amd64", "lone {\"triggers\": [\"lone/1\"]}").await;
    let id = site.start(job).await;
    assert!(site.db.cancel_attempt(site.epoch, id, "ann: it is not needed").await.unwrap());
    let leads = async || {
        let page = site.browse(&format!("/run/{uuid}")).await;
        assert!(page.status == 200 && page.text().contains("it is not needed"), "{}", page.text());
        page.text().contains("href=\"/packages/lone\"")
    };
    assert!(!leads().await);
    site.result("debci-noble-amd64", "lone {\"triggers\": [\"lone/2\"]}", 0, "").await;
    assert!(leads().await);
}
