//! Feeds are valid by RFC 4287, badges are pictures and nothing else, and robots.txt says what it means.

use anyhow::Result;
use proofhouse_tests::{checkers::check, shown::Shown};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/black_box/shown/read_feeds.py");

#[tokio::test]
async fn readers_of_feeds_and_badges_find_them_valid() -> Result<()> {
    let shown = Shown::full(20).await?;
    let said = check(
        SCRIPT,
        &[
            &shown.site,
            "/feeds/package/red.atom",
            "/feeds/package/red.atom?transitions=1",
            "/feeds/package/green.atom",
            "/feeds/release/noble.atom",
            "/feeds/user/joe.atom",
            "/feeds/user/nobody.atom",
            "/feeds/trigger/perl/5.40.0-6.atom",
            "/badge/red.svg",
            "/badge/red/noble.svg",
            "/badge/red/noble/amd64.svg",
            "/badge/red.svg?label=%3Cb%3E%26%00%E2%80%AE",
            "/robots.txt",
        ],
    )
    .await?;
    // Red passed, then failed: both are results, one is a change.
    for line in
        ["/feeds/package/red.atom 2", "/feeds/package/red.atom?transitions=1 1", "/feeds/user/nobody.atom 0"]
    {
        assert!(said.lines().any(|said| said == line), "{line} is not in\n{said}");
    }
    assert!(said.contains("/badge/red/noble/amd64.svg autopkgtest: fail"), "{said}");
    Ok(())
}
