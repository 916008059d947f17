//! What people come to the site for, from the front page to the answer, in a real browser.

use anyhow::{Context, Result, ensure};
use proofhouse_tests::{
    browser::{Browser, ENTER, LOOKS, Look},
    cluster::PATIENCE,
    shown::Shown,
    wait::wait_for,
};

const WIDE: Look = LOOKS[0];
const NARROW: Look = LOOKS[2];

/// The box for searching that every page has.
const SEARCH: &str = "header input[type=search]";

/// Who is on the way, and by what.
struct Visitor {
    browser: Browser,
    keys: bool,
}

impl Visitor {
    async fn new(shown: &Shown, look: Look) -> Result<Self> {
        let browser = Browser::start().await?;
        browser.look(look).await?;
        browser.open(&shown.site).await?;
        Ok(Self { browser, keys: false })
    }

    /// Goes on by the first link whose text holds this, and finds itself on a page that fits the screen.
    async fn follow(&self, text: &str) -> Result<()> {
        if self.keys {
            self.browser.tab_to(text).await?;
            self.browser.press(ENTER).await?;
        } else {
            self.browser.follow(text).await?;
        }
        self.fits().await
    }

    async fn search(&self, text: &str) -> Result<()> {
        if self.keys {
            self.browser.tab_to("Skip to the content").await?;
            self.browser.tab_to_field(SEARCH).await?;
            self.browser.press(text).await?;
            self.browser.press(ENTER).await?;
        } else {
            self.browser.write(SEARCH, &format!("{text}{ENTER}")).await?;
        }
        self.fits().await
    }

    async fn fits(&self) -> Result<()> {
        let [wide, screen] = ["document.documentElement.scrollWidth", "innerWidth"];
        let fits = self.browser.eval(&format!("{wide} <= {screen}")).await?;
        ensure!(fits == true, "{} is wider than the screen", self.browser.url().await?);
        Ok(())
    }
}

/// From the front page to a package's failure, its log, and the run that passed before.
async fn find_a_failure(visitor: &Visitor, shown: &Shown) -> Result<()> {
    let browser = &visitor.browser;
    visitor.search("red").await?;
    browser.sees("Latest results").await?;
    visitor.follow("fail").await?;
    let failed = shown.name("failed")?;
    ensure!(browser.url().await?.ends_with(failed), "{} is not the failure", browser.url().await?);
    browser.sees("red 2 on noble/amd64").await?;
    visitor.follow("Log").await?;
    browser.sees("FAIL non-zero exit status 1").await?;
    visitor.follow("The run").await?;
    visitor.follow("All runs").await?;
    visitor.follow("pass").await?;
    browser.sees("red 1 on noble/amd64").await
}

#[tokio::test]
async fn a_failure_is_found_from_the_front_page() -> Result<()> {
    let shown = Shown::full(20).await?;
    find_a_failure(&Visitor::new(&shown, WIDE).await?, &shown).await?;
    find_a_failure(&Visitor::new(&shown, NARROW).await?, &shown).await.context("on a narrow screen")?;
    let by_keys = Visitor { keys: true, ..Visitor::new(&shown, WIDE).await? };
    find_a_failure(&by_keys, &shown).await.context("by the keyboard alone")?;
    let plain = Visitor::new(&shown, WIDE).await?;
    plain.browser.without_scripts().await?;
    find_a_failure(&plain, &shown).await.context("without scripts")
}

#[tokio::test]
async fn what_changed_since_it_passed_is_said() -> Result<()> {
    let shown = Shown::full(20).await?;
    let visitor = Visitor::new(&shown, WIDE).await?;
    visitor.search("red").await?;
    visitor.follow("fail").await?;
    visitor.follow("What changed").await?;
    // The trigger, the test, and the one package of the testbed that is another.
    for text in ["red/1", "red/2", "smoke", "libc6", "2.39-1", "2.40-1"] {
        visitor.browser.sees(text).await?;
    }
    let all = visitor.browser.text().await?;
    let packages = all.split("1 changed, 1 is the same").nth(1).context("no packages")?;
    ensure!(!packages.contains("dpkg"), "what is the same is no change:\n{all}");
    Ok(())
}

#[tokio::test]
async fn an_upload_has_a_matrix_that_says_what_blocks_it() -> Result<()> {
    let shown = Shown::full(20).await?;
    for look in [WIDE, NARROW] {
        let visitor = Visitor::new(&shown, look).await?;
        visitor.search("perl/5.40.0-6").await?;
        visitor.browser.sees("Blocked by").await?;
        // It passed before.
        visitor.browser.sees("libxml-part7-perl").await?;
        visitor.follow("fail").await?;
        visitor.follow("✘").await?;
        visitor.browser.sees("perl/5.40.0-6").await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_waits_says_its_place_and_why() -> Result<()> {
    let shown = Shown::full(20).await?;
    let visitor = Visitor::new(&shown, WIDE).await?;
    visitor.search("red").await?;
    visitor.follow("queued").await?;
    let url = visitor.browser.url().await?;
    ensure!(url.ends_with(shown.name("queued")?), "{url} is not the queued run");
    // Nobody runs armhf here. It was the first to be asked for; what another trigger asks for has its turn before the second.
    visitor.browser.sees("No worker serves pool armhf. About one test starts before it.").await
}

#[tokio::test]
async fn a_running_test_is_followed_to_its_end() -> Result<()> {
    let shown = Shown::full(20).await?;
    let visitor = Visitor::new(&shown, WIDE).await?;
    visitor.follow("Running").await?;
    visitor.follow("▶ running").await?;
    let url = visitor.browser.url().await?;
    ensure!(url.contains(shown.name("running")?), "{url} is not the running test");
    let end_of_the_log = async || {
        visitor.browser.open(&url).await.ok()?;
        visitor.browser.text().await.is_ok_and(|all| all.contains("this is red")).then_some(())
    };
    wait_for("the end of its log", PATIENCE, end_of_the_log).await?;
    shown.let_go()?;
    let ended = async || (shown.cluster.jobs("red").await.ok()? == (3, 1)).then_some(());
    wait_for("its end", PATIENCE, ended).await?;
    visitor.browser.open(&url).await?;
    visitor.browser.sees("pass").await
}

#[tokio::test]
async fn a_running_log_is_followed_line_by_line() -> Result<()> {
    let shown = Shown::full(20).await?;
    let visitor = Visitor::new(&shown, WIDE).await?;
    visitor.search("red").await?;
    visitor.follow("running").await?;
    visitor.follow("as it is written").await?;
    visitor.browser.sees("this is red").await?;
    ensure!(!visitor.browser.text().await?.contains("@@@ summary"), "it is over already");
    shown.let_go()?;
    // Nobody loads the page again.
    visitor.browser.sees("@@@ summary").await?;
    visitor.follow("The run").await?;
    visitor.browser.sees("pass").await
}
