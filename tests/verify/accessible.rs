//! Every page that shows something is usable by everybody: a checker of accessibility looks at it, wide and narrow, light and
//! dark, empty and full.

use anyhow::{Result, ensure};
use proofhouse_tests::{
    browser::{Browser, LOOKS},
    checkers::axe,
    shown::{PAGES, Shown},
};
use serde_json::{Value, json};

/// What axe finds that keeps somebody from using the page, with the places; what is folded is opened before.
const CHECK: &str = "
    const details = document.querySelectorAll('details');
    if (details.length < 200) details.forEach(d => d.open = true);
    const grave = found => found.filter(v => ['serious', 'critical'].includes(v.impact));
    const place = n => n.target.join(' ') + ': ' + n.failureSummary.replace(/\\s+/g, ' ');
    return axe.run(document, {resultTypes: ['violations'], preload: false}).then(r =>
        grave(r.violations).map(v => `${v.impact} ${v.id}: ${v.help}\\n    ` + v.nodes.slice(0, 3).map(place).join('\\n    ')));";

async fn findings(browser: &Browser, shown: &Shown) -> Result<Vec<String>> {
    let (axe, mut all) = (axe()?, Vec::new());
    for (page, url) in shown.pages() {
        let status = reqwest::Client::new().get(&url).header("accept", "text/html").send().await?.status();
        ensure!(status.is_success() || page == "missing", "{url} answers {status}");
        for look in LOOKS {
            browser.look(look).await?;
            browser.open(&url).await?;
            browser.run(&axe, json!([])).await?;
            let found = browser.run(CHECK, json!([])).await?;
            let found = found.as_array().into_iter().flatten().filter_map(Value::as_str);
            all.extend(found.map(|found| format!("{page} {}: {found}", look.name())));
        }
    }
    Ok(all)
}

#[tokio::test]
async fn no_page_has_a_grave_finding() -> Result<()> {
    let browser = Browser::start().await?;
    let mut all = findings(&browser, &Shown::empty().await?).await?;
    all.extend(findings(&browser, &Shown::full(200).await?).await?);
    assert!(all.is_empty(), "{} findings:\n{}", all.len(), all.join("\n"));
    Ok(())
}

/// Whether an address has a route's pattern.
fn fits(pattern: &str, address: &str) -> bool {
    let path = address.split('?').next().unwrap_or_default();
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(part), Some(_)) if part.starts_with("{*") => return true,
            (Some(part), Some(is)) if part.starts_with('{') && !is.is_empty() || part == is => (),
            _ => return false,
        }
    }
}

/// The routes of the site are the measure, not somebody's memory.
#[test]
fn every_page_is_looked_at() {
    // Files, streams, and other ways of writing an address.
    let no_pages = [
        "/packages/",
        "/run/{uuid}/attempts/{n}/log.gz",
        "/run/{uuid}/log/events",
        "/user/{name}",
        "/user/{name}/ppa/",
    ];
    let routes = include_str!("../../web/src/routes.rs").split(".route(\"").skip(1);
    let patterns =
        routes.filter(|route| route.contains("get(pages::")).filter_map(|route| route.split('"').next());
    let patterns: Vec<&str> = patterns.filter(|pattern| !no_pages.contains(pattern)).collect();
    assert!(patterns.len() >= 10, "{patterns:?}");
    for pattern in patterns {
        let seen = PAGES.iter().any(|(_, address)| fits(pattern, address));
        assert!(seen, "{pattern} is a page that nobody looks at: add it to PAGES in tests/src/shown.rs");
    }
}
