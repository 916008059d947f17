//! A real britney against Proofhouse: it asks for tests, waits for them, and lets a package migrate, or not.
//!
//! `make britney BRITNEY_DIR=…` runs it; `BRITNEY_DIR` is a checkout of britney2-ubuntu, of which nothing is changed.

mod archive;
mod broker;
mod gate;
mod runner;

use std::{io, time::Duration};

use anyhow::Result;
use flate2::read::GzDecoder;
use proofhouse_tests::{
    postgres::Postgres,
    proofhouse::{Proofhouse, Role},
    shared,
};
use serde_json::json;

use crate::{
    archive::{ARCH, RELEASE},
    broker::Broker,
    gate::{Excuses, Gate, Settings},
    runner::Runner,
};

/// A few runs of autopkgtest on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// The trigger of a run that tells how a test does in the release as it is.
const BASELINE: &str = "migration-reference/0";

/// Every role in its process, results in Swift, and britney reads them there.
#[tokio::test]
async fn britney_reads_swift() -> Result<()> {
    let broker = Broker::start("127.0.0.82").await?;
    let postgres = Postgres::start().await?;
    let account = shared::swift().await?.account()?;
    let runner = Runner::new()?;
    let database = postgres.database("proofhouse").await?;
    let role = |name: &str| {
        let role = Proofhouse::role(name).arg("--bus", broker.url()).envs(account.env());
        role.arg("--store", account.store_url()).arg("--arches", ARCH)
    };
    let served = |role: Role| role.arg("--database", &database).arg("--releases", RELEASE);
    let _dispatcher = served(role("dispatcher")).start().await?;
    let web = served(role("web")).start().await?;
    let _worker = runner.options(role("worker")).start().await?;
    let (amqp, swift, site) = (broker.britneys_url(), account.public_url(), web.site_url()?);
    let gate = Gate::new(&Settings { amqp: &amqp, swift: &swift, site: &site, huge: 20 })?;
    migrate(&gate, &broker, &runner).await?;
    results_are_there(&swift).await
}

/// One process with everything but the broker embedded, results in a folder, and britney reads them from the site. To
/// this britney all packages are huge.
#[tokio::test]
async fn britney_reads_a_folder_by_the_site() -> Result<()> {
    let broker = Broker::start("127.0.0.83").await?;
    let runner = Runner::new()?;
    let up = Proofhouse::role("up").arg("--bus", broker.url());
    let up = runner.options(up.arg("--releases", RELEASE).arg("--arches", ARCH)).start().await?;
    let (amqp, site) = (broker.britneys_url(), up.site_url()?);
    let swift = format!("{site}/results");
    let gate = Gate::new(&Settings { amqp: &amqp, swift: &swift, site: &site, huge: 1 })?;
    migrate(&gate, &broker, &runner).await?;
    results_are_there(&swift).await
}

/// The story of two new versions, `green` and `black`, until britney has decided on both.
async fn migrate(gate: &Gate, broker: &Broker, runner: &Runner) -> Result<()> {
    let mut results = broker.results().await?;
    it_asks_once(gate).await?;
    it_asks_once(gate).await?;
    runner.go()?;
    let (green, lightgreen) = (("green", "green/2", 0), ("lightgreen", "green/2", 4));
    let (black, grey) = (("black", "black/2", 0), ("grey", "black/2", 4));
    results.until([green, lightgreen, black, grey]).await?;
    it_asks_for_baselines(gate).await?;
    results.until([("lightgreen", BASELINE, 4), ("grey", BASELINE, 0)]).await?;
    it_decides(gate).await
}

/// It asks for four tests and waits; while they wait or run it asks for nothing more.
async fn it_asks_once(gate: &Gate) -> Result<()> {
    let excuses = gate.run().await?;
    for (package, test) in
        [("green", "green"), ("green", "lightgreen"), ("black", "black"), ("black", "grey")]
    {
        assert_eq!(excuses.status(package, test), "RUNNING", "{test} for {package}");
        links_work(&excuses, package, test).await?;
    }
    let asked = json!({
        "green/2": {"green": [ARCH], "lightgreen": [ARCH]},
        "black/2": {"black": [ARCH], "grey": [ARCH]},
    });
    assert_eq!(gate.pending()?, asked);
    assert_eq!((&*gate.released("green")?, &*gate.released("black")?), ("1", "1"));
    Ok(())
}

/// Two tests failed: did they before?
async fn it_asks_for_baselines(gate: &Gate) -> Result<()> {
    let excuses = gate.run().await?;
    assert_eq!(excuses.status("green", "green"), "PASS");
    assert_eq!(excuses.status("green", "lightgreen"), "RUNNING-REFERENCE");
    assert_eq!(excuses.status("black", "grey"), "RUNNING-REFERENCE");
    assert_eq!(excuses.verdict("green"), "REJECTED_TEMPORARILY");
    assert_eq!(gate.pending()?, json!({BASELINE: {"lightgreen": [ARCH], "grey": [ARCH]}}));
    Ok(())
}

/// The one failed before, so `green` migrates; the other passed, so `black` does not.
async fn it_decides(gate: &Gate) -> Result<()> {
    let excuses = gate.run().await?;
    assert_eq!(excuses.status("green", "lightgreen"), "ALWAYSFAIL");
    assert_eq!(excuses.status("black", "grey"), "REGRESSION");
    assert_eq!((excuses.verdict("green"), excuses.verdict("black")), ("PASS", "REJECTED_PERMANENTLY"));
    assert_eq!((&*gate.released("green")?, &*gate.released("black")?), ("2", "1"));
    assert_eq!(gate.pending()?, json!({}));
    links_work(&excuses, "green", "green").await?;
    links_work(&excuses, "black", "grey").await
}

/// Where britney links to, for one test: the log or, while there is none, the page of what runs; and the history.
async fn links_work(excuses: &Excuses, package: &str, test: &str) -> Result<()> {
    let links = excuses.links(package, test);
    let [log, history] = links[..] else { anyhow::bail!("a log and a history: {links:?}") };
    let page = fetch(log).await?;
    if log.ends_with("log.gz") {
        let words = io::read_to_string(GzDecoder::new(&*page))?;
        assert!(words.contains(&format!("testing package {test} version")), "{log}:\n{words}");
    }
    let page = String::from_utf8(fetch(history).await?)?;
    assert!(page.contains(&format!("{test} on {RELEASE}/{ARCH}")), "{history}:\n{page}");
    Ok(())
}

/// The bytes as they are stored.
async fn fetch(url: &str) -> Result<Vec<u8>> {
    let client = reqwest::Client::builder().no_gzip().build()?;
    Ok(client.get(url).send().await?.error_for_status()?.bytes().await?.to_vec())
}

/// Each request has one result.
async fn results_are_there(swift: &str) -> Result<()> {
    let listing = format!("{swift}/autopkgtest-{RELEASE}/?delimiter=%40&prefix={RELEASE}%2F{ARCH}%2F");
    let runs = reqwest::get(listing).await?.error_for_status()?.text().await?;
    assert_eq!(runs.lines().count(), 6, "one result for each request:\n{runs}");
    Ok(())
}
