use atom_syndication::Feed;

use crate::testing::{Answer, Site};

fn feed(answer: &Answer) -> Feed {
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, "application/atom+xml; charset=utf-8")
    );
    Feed::read_from(answer.bytes.as_slice()).unwrap()
}

fn titles(feed: &Feed) -> Vec<String> {
    feed.entries.iter().map(|entry| entry.title.value.clone()).collect()
}

async fn site() -> Site {
    let site = Site::new().await;
    for (n, code) in [0, 4, 4, 16, 0, 0].into_iter().enumerate() {
        let body = format!(
            "green {{\"triggers\": [\"glibc/1\"], \"requester\": \"joe <j>\", \"env\": [\"N_N={n}\"]}}"
        );
        site.result("debci-noble-amd64", &body, code, "").await;
    }
    site.result("debci-ppa-noble-arm64", "green {\"ppas\": [\"own/name\"]}", 4, "").await;
    site.sum_up().await;
    site
}

#[tokio::test]
async fn all_results_of_a_package() {
    let site = site().await;
    let answer = site.get("/feeds/package/green.atom").await;
    let all = feed(&answer);
    assert_eq!(titles(&all)[0], "✔ pass: green 2.10-3 on noble/amd64");
    assert_eq!((all.entries.len(), all.updated), (7, all.entries[0].updated));
    assert!(all.entries.is_sorted_by(|one, other| one.updated >= other.updated));
    assert!(all.id.starts_with("tag:tests.example,2026:feeds/package/green"), "{}", all.id);
    let ppa = all.entries.iter().find(|entry| entry.title.value.ends_with("on noble/arm64")).unwrap();
    assert!(
        ppa.id.starts_with("tag:tests.example,2026:results/autopkgtest-noble-own-name/noble/arm64/green/2")
    );
    assert!(ppa.links[0].href.starts_with("https://tests.example/packages/green/noble/arm64/"));
    assert!(ppa.links[0].href.ends_with("?container=autopkgtest-noble-own-name"));
    assert!(all.entries[0].summary.as_ref().unwrap().value.contains("Requester: joe <j>"));
    assert!(!answer.header("last-modified").is_empty());
    // The same again has the same names.
    assert_eq!(feed(&site.get("/feeds/package/green.atom").await), all);
    let page = site.browse("/packages/green").await.text();
    assert!(
        page.contains("type=\"application/atom+xml\"") && page.contains("href=\"/feeds/package/green.atom\"")
    );
    for missing in
        ["/feeds/package/nope.atom", "/feeds/package/green", "/feeds/package/.atom", "/feeds/release/x.atom"]
    {
        assert_eq!(site.get(missing).await.status, 404, "{missing}");
    }
}

#[tokio::test]
async fn changes_alone() {
    let site = site().await;
    let changes = |address: &'static str| {
        let site = &site;
        async move { titles(&feed(&site.get(address).await)) }
    };
    let package = changes("/feeds/package/green.atom?transitions=1").await;
    // The pass after failures and what infrastructure did, the first failure; and the first with a PPA, which failed.
    let of = |arch: &str| {
        let titles = package.iter().filter(|title| title.ends_with(arch));
        titles.map(|title| title.split(' ').nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("amd64"), ["pass:", "fail:"]);
    assert_eq!(of("arm64"), ["fail:"]);
    assert_eq!(changes("/feeds/release/noble.atom?transitions=1").await, package);
    assert_eq!(changes("/feeds/user/joe%20%3Cj%3E.atom?transitions=1").await.len(), 2);
    assert_eq!(changes("/feeds/trigger/glibc/1.atom?transitions=1").await.len(), 2);
    assert_eq!(changes("/feeds/trigger/glibc/1.atom").await.len(), 6);
    assert_eq!(changes("/feeds/user/nobody.atom").await, Vec::<String>::new());
}

#[tokio::test]
async fn badges() {
    let site = site().await;
    let svg = async |address: &str| {
        let answer = site.get(address).await;
        assert_eq!(answer.header("content-type"), "image/svg+xml", "{address}");
        (answer.status.as_u16(), answer.text())
    };
    let (status, text) = svg("/badge/green.svg").await;
    assert!(status == 200 && text.contains("<title>autopkgtest: pass</title>"), "{text}");
    assert!(svg("/badge/green/noble/amd64.svg?label=a%3Cb").await.1.contains("<title>a&#60;b: pass</title>"));
    assert!(svg("/badge/green/noble.svg").await.1.contains(": pass</title>"));
    assert!(svg("/badge/green/jammy.svg").await.1.contains(": no result</title>"));
    site.queue("debci-noble-amd64", "waits {\"triggers\": [\"waits/1\"]}").await;
    assert!(svg("/badge/waits.svg").await.1.contains(": no result</title>"));
    assert_eq!(site.get("/feeds/package/waits.atom").await.status, 200);
    let (status, text) = svg("/badge/nope.svg").await;
    assert!(status == 404 && text.contains(": unknown</title>"));
    assert_eq!(site.get("/badge/green").await.status, 404);
    let page = site.browse("/packages/green").await.text();
    assert!(page.contains(
        "[![autopkgtest](https://tests.example/badge/green.svg)](https://tests.example/packages/green)"
    ));
}
