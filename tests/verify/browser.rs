//! The site in a real browser: every page, wide and on a phone, and every page that it links to.

use std::collections::{BTreeSet, VecDeque};

use anyhow::{Context, Result, ensure};
use proofhouse_tests::{
    browser::{Browser, LOOKS},
    shown::Shown,
};
use serde_json::Value;

/// So many addresses are looked at, those of the table first.
const MOST: usize = 150;

#[tokio::test]
async fn every_page_fits_wide_and_narrow_and_leads_nowhere_dead() -> Result<()> {
    let browser = Browser::start().await?;
    look(&browser, &Shown::empty().await?).await?;
    look(&browser, &Shown::full(20).await?).await
}

/// Looks at pages and at every page of the site that they link to.
async fn look(browser: &Browser, shown: &Shown) -> Result<()> {
    let pages = shown.pages().into_iter().filter(|(page, _)| *page != "missing");
    let mut open: VecDeque<String> = pages.map(|(_, url)| url).collect();
    let mut seen = BTreeSet::new();
    while let Some(url) = open.pop_front() {
        if !seen.insert(url.clone()) || seen.len() > MOST {
            continue;
        }
        // Results of `shown.sql` have nothing in the store.
        if url.contains("/packages/lib") && url.ends_with("/log") {
            continue;
        }
        let answer = reqwest::Client::new().get(&url).header("accept", "text/html").send().await?;
        ensure!(answer.status().is_success(), "{url} answers {}", answer.status());
        if !answer
            .headers()
            .get("content-type")
            .is_some_and(|t| t.to_str().is_ok_and(|t| t.starts_with("text/html")))
        {
            continue;
        }
        for look in LOOKS.iter().filter(|look| !look.dark) {
            browser.look(*look).await?;
            browser.open(&url).await?;
            let wide = browser.eval("document.documentElement.scrollWidth").await?;
            ensure!(
                wide.as_u64() <= Some(look.width.into()),
                "{url} is {wide} wide on a screen of {}",
                look.width
            );
            let foreign =
                "Array.from(document.scripts).filter(s => !s.src.startsWith(location.origin)).length";
            ensure!(browser.eval(foreign).await? == 0, "{url} has scripts within it, or of others");
            ensure!(browser.eval("document.title.length > 0").await? == true, "{url} has no title");
        }
        let links = browser.eval("Array.from(document.links).map(a => a.href.split('#')[0])").await?;
        let ours = links.as_array().context("links")?.iter().filter_map(Value::as_str);
        open.extend(ours.filter(|link| link.starts_with(&shown.site)).map(str::to_owned));
    }
    Ok(())
}
