//! A site to look at: every page that shows something, and something of every kind on it.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::{
    cluster::{Cluster, PATIENCE, body, params},
    proofhouse::{Proofhouse, Role},
    wait::wait_for,
};

/// Every page that shows something: what it is called, and its address. What stands in braces [`Shown::full`] fills in: an
/// empty site has no such page.
pub const PAGES: &[(&str, &str)] = &[
    ("home", "/"),
    ("packages", "/packages"),
    ("packages-found", "/packages?q=lib"),
    ("packages-none", "/packages?q=there-is-none"),
    ("package", "/packages/{package}"),
    ("package-long", "/packages/{long}"),
    ("history", "/packages/{package}/noble/amd64"),
    ("history-long", "/packages/{long}/noble/amd64"),
    ("result-failed", "/packages/{package}/noble/amd64/{failed}"),
    ("result-passed", "/packages/{package}/noble/amd64/{passed}"),
    ("log", "/packages/{package}/noble/amd64/{failed}/log"),
    ("run-done", "/run/{done}"),
    ("run-queued", "/run/{queued}"),
    ("run-running", "/run/{running}"),
    ("run-parked", "/run/{parked}"),
    ("run-cancelled", "/run/{cancelled}"),
    ("attempt-log", "/run/{parked}/attempts/1/log"),
    ("live-log", "/run/{running}/log"),
    ("compare", "/compare/{package}/noble/amd64/{passed}/{failed}"),
    ("compare-what", "/compare"),
    ("trigger", "/trigger/{source}/{version}"),
    ("trigger-failed", "/trigger/{source}/{version}?show=fail"),
    ("running", "/running"),
    ("queue", "/queue/ubuntu/noble/armhf"),
    ("queue-none", "/queue/ppa/noble/s390x"),
    ("waiting", "/waiting"),
    ("parked", "/parked"),
    ("parked-none", "/parked?reason=none"),
    ("failing", "/failing"),
    ("flaky", "/flaky"),
    ("slow", "/slow"),
    ("stale", "/stale"),
    ("stuck", "/stuck"),
    ("search", "/search"),
    ("search-found", "/search?q=lib"),
    ("release", "/release/noble"),
    ("user", "/user/{requester}/"),
    ("user-ppas", "/user/{owner}/ppa"),
    ("ppa", "/user/{owner}/ppa/name"),
    ("recent", "/recent"),
    ("recent-failed", "/recent?result=fail&arch=amd64"),
    ("recent-none", "/recent?user=nobody"),
    ("statistics", "/statistics"),
    ("infrastructure", "/infrastructure"),
    ("api", "/api"),
    ("missing", "/there-is-no-such-page"),
];

/// All architectures of Ubuntu.
const ARCHES: &str = "amd64,arm64,armhf,i386,ppc64el,riscv64,s390x";
/// As `shown.sql` has it.
const UPLOAD: &str = "perl/5.40.0-6";

/// A cluster, what runs of it, and the addresses of its pages.
#[derive(Debug)]
pub struct Shown {
    /// For more requests.
    pub cluster: Cluster,
    /// The dispatcher, the web, and the worker: it runs on noble/amd64.
    pub parts: Vec<Proofhouse>,
    /// The address of the site, without a slash at the end.
    pub site: String,
    names: BTreeMap<&'static str, String>,
}

impl Shown {
    /// A site that has seen nothing yet, and has nobody who could run anything.
    pub async fn empty() -> Result<Self> {
        let cluster = Cluster::on_folder().await?;
        let lists = cluster.folder().join("lists");
        fs::create_dir_all(&lists)?;
        fs::write(lists.join("never_run"), "black*\n")?;
        let all = |role: Role| role.arg("--arches", ARCHES);
        let dispatcher = all(cluster.dispatcher())
            .arg("--lists", lists.display().to_string())
            .arg("--retry-attempts", "2")
            .start()
            .await?;
        let web = all(cluster.web()).start().await?;
        let site = web.site_url()?;
        Ok(Self { cluster, parts: vec![dispatcher, web], site, names: BTreeMap::new() })
    }

    /// One with something of every kind, and an upload that set off tests of so many packages on seven architectures.
    pub async fn full(packages: i32) -> Result<Self> {
        let mut shown = Self::empty().await?;
        let mut database = PgConnection::connect(&shown.cluster.database).await?;
        sqlx::query(include_str!("shown.sql")).bind(packages).execute(&mut database).await?;
        let worker = shown.cluster.worker("one").arg("--slots", "4").start().await?;
        shown.parts.push(worker);
        shown.what_is_done().await?;
        shown.what_is_open().await?;
        for alert in [["arm64 is away, its tests wait", "error"], ["The store moves on Sunday", "info"]] {
            shown.cluster.json(&["alert", "add", alert[0], "--level", alert[1]]).await?;
        }
        shown.cluster.summed_up().await?;
        Ok(shown)
    }

    /// Asks for a run and says its uuid.
    pub async fn ask(&self, queue: &str, package: &str, params: Value) -> Result<String> {
        let uuid = uuid::Uuid::new_v4().to_string();
        let mut params = params;
        params["uuid"] = json!(uuid);
        self.cluster.client().await?.publish(queue, &body(package, &params)).await?;
        Ok(uuid)
    }

    /// The parameter that has a run go on until [`Self::let_go`].
    pub fn hold(&self) -> String {
        format!("HOLD={}", self.cluster.folder().join("go").display())
    }

    /// Runs that were held end.
    pub fn let_go(&self) -> Result<()> {
        Ok(fs::write(self.cluster.folder().join("go"), "")?)
    }

    /// What ended: passed, failed where it passed before, with a PPA, answered without a run, with a name as long as can be.
    async fn what_is_done(&mut self) -> Result<()> {
        let noble = "debci-noble-amd64";
        let long = format!("a{}", "very-long-package-name+".repeat(8));
        let mut before = params("red/1", &["TESTBED=libc6 2.39-1,dpkg 1.22.6"]);
        before["requester"] = json!("joe");
        let passed = self.ask(noble, "red", before).await?;
        self.cluster.done("red", 1).await?;
        let env = [
            "EXIT=4",
            "TESTBED=libc6 2.40-1,dpkg 1.22.6",
            "SUMMARY=smoke                FAIL non-zero exit status 1",
        ];
        let failed = self.ask(noble, "red", params("red/2", &env)).await?;
        let mut ppa = params("green/3", &[]);
        ppa["ppas"] = json!(["owner/name"]);
        let private = json!({"triggers": ["hushhush/1"], "ppas": ["quietteam/stillppa"], "swiftuser": "sec", "readable-by": ["joe"]});
        self.ask(noble, "green", params("green/2", &[])).await?;
        self.ask("debci-ppa-noble-amd64", "green", ppa).await?;
        self.ask(noble, "black", params("black/2", &[])).await?;
        self.ask(noble, &long, params(&format!("{long}/1"), &["EXIT=4"])).await?;
        self.ask("debci-ppa-noble-amd64", "hushhush", private).await?;
        let all = [("red", 2), ("green", 2), ("black", 1), (&*long, 1), ("hushhush", 1)];
        for (package, n) in all {
            self.cluster.done(package, n).await?;
        }
        let run_id = async |uuid: String| -> Result<String> {
            let mut database = PgConnection::connect(&self.cluster.database).await?;
            let sql = "SELECT run_id FROM results WHERE uuid = $1";
            Ok(sqlx::query_scalar(sql).bind(uuid).fetch_one(&mut database).await?)
        };
        let (source, version) = UPLOAD.split_once('/').context("a version")?;
        let names = [
            ("passed", run_id(passed).await?),
            ("failed", run_id(failed.clone()).await?),
            ("done", failed),
            ("package", "red".to_owned()),
            ("requester", "joe".to_owned()),
            ("owner", "owner".to_owned()),
            ("source", source.to_owned()),
            ("version", version.to_owned()),
            ("long", long),
        ];
        self.names.extend(names);
        Ok(())
    }

    /// What waits, runs, is parked, was called off, and could not be taken.
    async fn what_is_open(&mut self) -> Result<()> {
        let (noble, armhf) = ("debci-noble-amd64", "debci-noble-armhf");
        let parked = self.ask(noble, "grey", params("grey/2", &["EXIT=16"])).await?;
        let hold = self.hold();
        let running = self.ask(noble, "red", params("red/3", &[&hold])).await?;
        self.ask(
            noble,
            "hushhush",
            json!({"triggers": ["hushhush/2"], "swiftuser": "sec", "readable-by": ["joe"], "env": [hold]}),
        )
        .await?;
        // Nobody runs armhf.
        let queued = self.ask(armhf, "red", params(UPLOAD, &[])).await?;
        for n in 1..=30 {
            let package = format!("libfile-part{n}-perl");
            self.ask(armhf, &package, params(UPLOAD, &[])).await?;
        }
        self.ask("debci-huge-noble-armhf", "green", params("green/4", &[])).await?;
        let cancelled = self.ask(armhf, "amber", params("amber/2", &[])).await?;
        self.cluster.client().await?.publish(noble, b"red\n{\"triggers\": 3}").await?;
        self.cluster.started("red", 3).await?;
        self.cluster.started("hushhush", 2).await?;
        let bus = self.cluster.bus_of("operator");
        wait_for("a parked and a cancelled one", PATIENCE, async || {
            let list = self.cluster.json(&["parked", "ls"]).await.ok()?;
            list[0]["uuid"].as_str()?;
            let cancel = ["queue", "cancel", "--uuid", &cancelled, "--reason", "a mistake", "--bus", &bus];
            self.cluster.json(&cancel).await.ok().map(drop)
        })
        .await?;
        self.names.extend([
            ("parked", parked),
            ("running", running),
            ("queued", queued),
            ("cancelled", cancelled),
        ]);
        Ok(())
    }

    /// What an address of [`PAGES`] has for a name in braces.
    pub fn name(&self, name: &str) -> Result<&str> {
        Ok(self.names.get(name).with_context(|| format!("nothing is called {name}"))?)
    }

    /// The pages that this site has: what they are called, and their addresses.
    pub fn pages(&self) -> Vec<(&'static str, String)> {
        let filled = |(page, address): &(&'static str, &str)| {
            let fill = |address: String, (name, value): (&&str, &String)| {
                address.replace(&format!("{{{name}}}"), value)
            };
            let address = self.names.iter().fold((*address).to_owned(), fill);
            (!address.contains('{')).then(|| (*page, format!("{}{address}", self.site)))
        };
        PAGES.iter().filter_map(filled).collect()
    }
}
