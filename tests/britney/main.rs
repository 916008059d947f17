//! A real britney against Proofhouse: it asks for tests, waits for them, and lets a package migrate, or not.
//!
//! `make britney BRITNEY_DIR=…` runs it; `BRITNEY_DIR` is a checkout of britney2-ubuntu, of which nothing is changed.

mod archive;
mod broker;
mod gate;
mod runner;

use std::time::Duration;

use anyhow::Result;
use proofhouse_tests::{
    postgres::Postgres,
    proofhouse::{Proofhouse, Role},
    shared,
};
use serde_json::json;

use crate::{
    archive::{ARCH, RELEASE},
    broker::Broker,
    gate::{Addresses, Gate},
    runner::Runner,
};

/// A few runs of autopkgtest on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

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
    migrate(&broker, &runner, &account.public_url(), &web).await
}

/// One process with everything but the broker embedded, results in a folder, and britney reads them from the site.
#[tokio::test]
async fn britney_reads_a_folder_by_the_site() -> Result<()> {
    let broker = Broker::start("127.0.0.83").await?;
    let runner = Runner::new()?;
    let up = Proofhouse::role("up").arg("--bus", broker.url());
    let up = runner.options(up.arg("--releases", RELEASE).arg("--arches", ARCH)).start().await?;
    let results = format!("{}/results", up.site_url()?);
    migrate(&broker, &runner, &results, &up).await
}

/// The story of two new versions, `green` and `black`, until britney decides on both.
async fn migrate(broker: &Broker, runner: &Runner, swift: &str, site: &Proofhouse) -> Result<()> {
    let site = site.site_url()?;
    let gate = Gate::new(&Addresses { amqp: &broker.britneys_url(), swift, site: &site })?;
    let mut results = broker.results().await?;

    // It asks, and asks no second time while the tests run.
    for _ in 0..2 {
        let excuses = gate.run().await?;
        for (package, test) in
            [("green", "green"), ("green", "lightgreen"), ("black", "black"), ("black", "grey")]
        {
            assert_eq!(excuses.status(package, test), "RUNNING", "{test} for {package}");
        }
        assert_eq!(gate.released("green")?, "1");
        let both = json!({"green/2": {"green": [ARCH], "lightgreen": [ARCH]}, "black/2": {"black": [ARCH], "grey": [ARCH]}});
        assert_eq!(gate.pending()?, both);
    }
    runner.go()?;
    results
        .until([
            ("green", "green/2", 0),
            ("lightgreen", "green/2", 4),
            ("black", "black/2", 0),
            ("grey", "black/2", 4),
        ])
        .await?;

    // Two tests fail: did they before? It asks for baselines.
    let excuses = gate.run().await?;
    assert_eq!(excuses.status("green", "green"), "PASS");
    assert_eq!(excuses.status("green", "lightgreen"), "RUNNING-REFERENCE");
    assert_eq!(excuses.status("black", "grey"), "RUNNING-REFERENCE");
    assert_eq!(
        (excuses.verdict("green"), excuses.verdict("black")),
        ("REJECTED_TEMPORARILY", "REJECTED_TEMPORARILY")
    );
    assert_eq!(gate.pending()?, json!({"migration-reference/0": {"lightgreen": [ARCH], "grey": [ARCH]}}));
    results.until([("lightgreen", "migration-reference/0", 4), ("grey", "migration-reference/0", 0)]).await?;

    // The one failed before and holds up nothing, the other passed.
    let excuses = gate.run().await?;
    assert_eq!(excuses.status("green", "lightgreen"), "ALWAYSFAIL");
    assert_eq!((excuses.verdict("green"), excuses.verdict("black")), ("PASS", "REJECTED_PERMANENTLY"));
    assert_eq!(excuses.status("black", "grey"), "REGRESSION");
    assert_eq!((&*gate.released("green")?, &*gate.released("black")?), ("2", "1"));
    assert_eq!(gate.pending()?, json!({}));

    for link in [excuses.links("green", "green"), excuses.links("black", "grey")].concat() {
        let answer = reqwest::get(link).await?.error_for_status()?;
        anyhow::ensure!(!answer.bytes().await?.is_empty(), "{link} is empty");
    }
    let listing = format!("{swift}/autopkgtest-{RELEASE}/?delimiter=%40&prefix={RELEASE}%2F{ARCH}%2F");
    let runs = reqwest::get(listing).await?.error_for_status()?.text().await?;
    assert_eq!(runs.lines().count(), 6, "one result for each request:\n{runs}");
    Ok(())
}
