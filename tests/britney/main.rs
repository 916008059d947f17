//! A real britney against Proofhouse: it asks for tests, waits for them, and lets a package migrate, or not.
//!
//! `make britney BRITNEY_DIR=…` runs it; `BRITNEY_DIR` is a checkout of britney2-ubuntu, of which nothing is changed.

mod archive;
mod broker;
mod gate;
mod runner;

use std::{io, time::Duration};

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use proofhouse_tests::{
    postgres::Postgres,
    proofhouse::{self, Proofhouse, Role},
    shared,
    wait::wait_for,
};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    archive::{ARCH, RELEASE},
    broker::Broker,
    gate::{Excuses, Gate, Links, Settings},
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
    let site = web.site_url()?;
    let token = token(&["--database", &database]).await?;
    Story { broker, runner, site, token, swift: account.public_url(), huge: 20, ppas: "", by_database: false }
        .tell()
        .await
}

/// One process with everything but the broker embedded, results in a folder, and britney reads them from the site. To
/// this britney all packages are huge.
#[tokio::test]
async fn britney_reads_a_folder_by_the_site() -> Result<()> {
    embedded("127.0.0.83", 1, "", false).await
}

/// The same, of packages that come from PPAs: their results lie in the container of the last.
#[tokio::test]
async fn britney_tests_ppas() -> Result<()> {
    embedded("127.0.0.84", 20, "joe/foo awesome-developers/staging", false).await
}

/// The same, and britney reads results from the published database.
#[tokio::test]
async fn britney_reads_the_published_database() -> Result<()> {
    embedded("127.0.0.85", 20, "", true).await
}

async fn embedded(host: &'static str, huge: u32, ppas: &'static str, by_database: bool) -> Result<()> {
    let broker = Broker::start(host).await?;
    let runner = Runner::new()?;
    let up = Proofhouse::role("up").arg("--bus", broker.url());
    let up = runner.options(up.arg("--releases", RELEASE).arg("--arches", ARCH)).start().await?;
    let site = up.site_url()?;
    let token = token(&["--data", &up.data().display().to_string()]).await?;
    Story { broker, runner, token, swift: format!("{site}/results"), site, huge, ppas, by_database }
        .tell()
        .await
}

/// A person's token, made by an operator on these servers.
async fn token(servers: &[&str]) -> Result<String> {
    let mut args = vec!["token", "add", "retries", "--person", "joe", "--json"];
    args.extend(servers);
    let made = proofhouse::run(&args, &[]).await?;
    let made: Value = serde_json::from_slice(&made.stdout)
        .with_context(|| String::from_utf8_lossy(&made.stderr).into_owned())?;
    Ok(made["secret"].as_str().context("no secret of the token")?.to_owned())
}

/// Two new versions, `green` and `black`, until britney has let both migrate.
struct Story {
    broker: Broker,
    runner: Runner,
    /// Without a slash at its end.
    site: String,
    /// Of a person who may ask for tests.
    token: String,
    /// Where britney finds containers.
    swift: String,
    huge: u32,
    ppas: &'static str,
    by_database: bool,
}

impl Story {
    async fn tell(&self) -> Result<()> {
        let database = format!("{}/static/autopkgtest.db", self.site);
        let gate = Gate::new(&Settings {
            amqp: &self.broker.britneys_url(),
            swift: &self.swift,
            site: &self.site,
            huge: self.huge,
            ppas: self.ppas,
            database: self.by_database.then_some(&database),
        })?;
        let mut results = self.broker.results().await?;
        self.published(vec![]).await?;
        self.it_asks_once(&gate).await?;
        self.it_asks_once(&gate).await?;
        self.runner.go()?;
        let (green, lightgreen) = (("green", "green/2", 0), ("lightgreen", "green/2", 4));
        let (black, grey) = (("black", "black/2", 0), ("grey", "black/2", 4));
        self.published(results.until([green, lightgreen, black, grey]).await?).await?;
        self.it_asks_for_baselines(&gate).await?;
        self.published(results.until([("lightgreen", BASELINE, 4), ("grey", BASELINE, 0)]).await?).await?;
        let retry = self.it_decides(&gate).await?;
        self.runner.repair()?;
        self.open_with_token(&retry).await?;
        self.published(results.until([("grey", "black/2", 0)]).await?).await?;
        self.it_lets_the_other_in(&gate).await?;
        self.results_are_there().await
    }

    /// Waits until the published database has these, where britney reads it.
    async fn published(&self, run_ids: Vec<String>) -> Result<()> {
        if !self.by_database {
            return Ok(());
        }
        let file = tempfile::NamedTempFile::new()?;
        wait_for("the published database", PATIENCE, async || {
            let bytes = fetch(&format!("{}/static/autopkgtest.db", self.site)).await.ok()?;
            std::fs::write(file.path(), bytes).ok()?;
            let options = SqliteConnectOptions::new().filename(file.path()).read_only(true);
            let mut database = SqliteConnection::connect_with(&options).await.ok()?;
            let all = sqlx::query_scalar("SELECT run_id FROM result").fetch_all(&mut database);
            let all: Vec<String> = all.await.ok()?;
            run_ids.iter().all(|run_id| all.contains(run_id)).then_some(())
        })
        .await
    }

    /// It asks for four tests and waits; while they wait or run it asks for nothing more.
    async fn it_asks_once(&self, gate: &Gate) -> Result<()> {
        let excuses = gate.run().await?;
        for (package, test) in
            [("green", "green"), ("green", "lightgreen"), ("black", "black"), ("black", "grey")]
        {
            assert_eq!(excuses.status(package, test), "RUNNING", "{test} for {package}");
            self.links_work(&excuses, package, test).await?;
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
    async fn it_asks_for_baselines(&self, gate: &Gate) -> Result<()> {
        let excuses = gate.run().await?;
        assert_eq!(excuses.status("green", "green"), "PASS");
        assert_eq!(excuses.status("green", "lightgreen"), "RUNNING-REFERENCE");
        assert_eq!(excuses.status("black", "grey"), "RUNNING-REFERENCE");
        assert_eq!(excuses.verdict("green"), "REJECTED_TEMPORARILY");
        assert_eq!(gate.pending()?, json!({BASELINE: {"lightgreen": [ARCH], "grey": [ARCH]}}));
        Ok(())
    }

    /// The one failed before, so `green` migrates; the other passed, so `black` does not. A person may have it retried.
    async fn it_decides(&self, gate: &Gate) -> Result<String> {
        let excuses = gate.run().await?;
        assert_eq!(excuses.status("green", "lightgreen"), "ALWAYSFAIL");
        assert_eq!(excuses.status("black", "grey"), "REGRESSION");
        assert_eq!((excuses.verdict("green"), excuses.verdict("black")), ("PASS", "REJECTED_PERMANENTLY"));
        assert_eq!((&*gate.released("green")?, &*gate.released("black")?), ("2", "1"));
        assert_eq!(gate.pending()?, json!({}));
        self.links_work(&excuses, "green", "green").await?;
        self.links_work(&excuses, "black", "grey").await?;
        let retry = excuses.links("black", "grey").retry;
        Ok(retry.context("no link to retry a regression")?.to_owned())
    }

    /// As a person's script opens the link: at once, by its token.
    async fn open_with_token(&self, link: &str) -> Result<()> {
        let answer = reqwest::Client::new().get(link).bearer_auth(&self.token).send().await?;
        let (status, page) = (answer.status(), answer.text().await?);
        assert!(status == 200 && page.contains("Test request submitted"), "{link}: {status}\n{page}");
        Ok(())
    }

    /// The retried test passed.
    async fn it_lets_the_other_in(&self, gate: &Gate) -> Result<()> {
        let excuses = gate.run_after_others().await?;
        assert_eq!((excuses.status("black", "grey"), excuses.verdict("black")), ("PASS", "PASS"));
        assert_eq!((&*gate.released("green")?, &*gate.released("black")?), ("2", "2"));
        assert_eq!(gate.pending()?, json!({}));
        self.links_work(&excuses, "black", "grey").await
    }

    /// What britney links to, for one test, is there.
    async fn links_work(&self, excuses: &Excuses, package: &str, test: &str) -> Result<()> {
        let Links { log, history, artifacts, .. } = excuses.links(package, test);
        let log = log.context("a log")?;
        let page = fetch(log).await?;
        if log.ends_with("log.gz") {
            let words = io::read_to_string(GzDecoder::new(&*page))?;
            assert!(words.contains(&format!("testing package {test} version")), "{log}:\n{words}");
        }
        if let Some(artifacts) = artifacts {
            fetch(artifacts).await?;
        }
        // Of PPAs britney shows no history.
        assert_eq!(history.is_some(), self.ppas.is_empty());
        if let Some(history) = history {
            let page = String::from_utf8(fetch(history).await?)?;
            assert!(page.contains(&format!("{test} on {RELEASE}/{ARCH}")), "{history}:\n{page}");
        }
        Ok(())
    }

    /// Each request has one result.
    async fn results_are_there(&self) -> Result<()> {
        let ppa = self.ppas.split(' ').next_back().filter(|ppa| !ppa.is_empty());
        let ppa = ppa.map_or(String::new(), |ppa| format!("-{}", ppa.replace('/', "-")));
        let container = format!("autopkgtest-{RELEASE}{ppa}");
        let listing = format!("{}/{container}/?delimiter=%40&prefix={RELEASE}%2F{ARCH}%2F", self.swift);
        let runs = reqwest::get(listing).await?.error_for_status()?.text().await?;
        assert_eq!(runs.lines().count(), 7, "one result for each request:\n{runs}");
        Ok(())
    }
}

/// The bytes as they are stored.
async fn fetch(url: &str) -> Result<Vec<u8>> {
    let client = reqwest::Client::builder().no_gzip().build()?;
    let answer = client.get(url).send().await?;
    Ok(answer.error_for_status()?.bytes().await?.to_vec())
}
