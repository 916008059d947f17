use crate::testing::{Site, texts};

/// A package's failing run whose log has many lines, and the page of that.
async fn page_of(site: &Site, log: &str) -> String {
    let run = site.result("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}", 4, log).await;
    format!("/packages/green/noble/amd64/{}/log", run.run_id)
}

fn long() -> String {
    let begin = "autopkgtest [08:00:00]: @@@@@@@@@@@@@@@@@@@@ test bed setup\n";
    let test = "autopkgtest [08:00:01]: test slow: [-----------------------\n";
    let lines = (3..=20_000).map(|n| format!("the test says {n}\n")).collect::<Vec<_>>().concat();
    let end = "autopkgtest [08:09:00]: @@@@@@@@@@@@@@@@@@@@ summary\nslow                 FAIL timed out\n";
    [begin, test, lines.as_str(), end].concat()
}

#[tokio::test]
async fn a_long_log_is_read_by_parts() {
    let site = Site::new().await;
    let page = page_of(&site, &long()).await;
    let whole = site.browse(&page).await;
    let html = whole.html();
    let summaries = texts(&html, ".log summary");
    assert_eq!(summaries, ["test bed setup 1 line", "✘ fail test slow 19999 lines", "summary 2 lines"]);
    assert_eq!(texts(&html, ".log details[open]").len(), 2);
    let gap = scraper::Selector::parse(".log em a").unwrap();
    let gaps: Vec<_> = html.select(&gap).map(|a| a.attr("href").unwrap()).collect();
    assert_eq!(gaps, [format!("{page}?from=1501#L1501")], "where it goes on");
    assert!(whole.text().contains("id=\"L20002\"") && whole.text().contains("are left out here"));

    let part = site.browse(&format!("{page}?from=10000")).await;
    let lines = texts(&part.html(), ".log pre > span");
    assert_eq!((lines.len(), lines[0].as_str()), (5000, "10000the test says 10000"));
    let next = texts(&part.html(), "a[rel=next]");
    assert!(!next.is_empty() && part.text().contains(&format!("{page}?from=15000")), "{next:?}");
    let end = site.browse(&format!("{page}?from=20002")).await;
    assert_eq!(texts(&end.html(), ".log pre > span").len(), 1);
    assert!(texts(&end.html(), "a[rel=next]").is_empty());
    assert_eq!(site.browse(&format!("{page}?from=90000")).await.status, 200);
}

#[tokio::test]
async fn a_log_is_searched() {
    let site = Site::new().await;
    let page = page_of(&site, &long()).await;
    let found = site.browse(&format!("{page}?q=SAYS+1700")).await;
    let html = found.html();
    let answers = texts(&html, ".answer");
    assert!(answers.iter().any(|said| said.starts_with("Found in 11 of 20002 lines.")), "{answers:?}");
    assert_eq!(texts(&html, ".log .hit").len(), 11, "1700 and 17000 to 17009");
    assert_eq!(texts(&html, ".log pre > span").len(), 11 + 20, "five lines around each");
    assert!(found.text().contains(&format!("{page}?from=1690#L1700")), "each leads to where it stands");
    for (query, hits) in [("q=SAYS&case=1", 0), ("q=says+1%24&regex=1", 0), ("q=%5Ethe.*+700%24&regex=1", 1)]
    {
        let html = site.browse(&format!("{page}?{query}")).await.html();
        assert_eq!(texts(&html, ".log .hit").len(), hits, "{query}");
    }
    let many = site.browse(&format!("{page}?q=says")).await;
    assert!(many.text().contains("here are the first 200") && many.text().contains("?q=says&#38;from=203"));
    for bad in ["q=(&regex=1", "from=0", "from=x", "case=maybe"] {
        assert_eq!(site.browse(&format!("{page}?{bad}")).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn what_a_test_prints_is_text() {
    let site = Site::new().await;
    let log = format!("<script>x</script>\x1b[1;31m<b>\x1b[0m\u{202e}\n{}\nlast\n", "y".repeat(1 << 20));
    let page = site.browse(&page_of(&site, &log).await).await;
    let text = page.text();
    assert!(text.contains("<span class=\"ab a1\">&#60;b&#62;</span>"), "{text}");
    assert!(!text.contains("<script>x") && !text.contains('\u{202e}') && !text.contains('\x1b'));
    assert!(
        text.contains("… cut here: the whole log has all of this line")
            && text.contains("id=\"L3\"")
            && text.len() < 50_000
    );
}
