//! The site over years of results: what each page takes, alone and in a crowd, and whether that grows with the past; how fast
//! results come in.
//!
//! `BENCH_RESULTS` says how many results PostgreSQL has; SQLite has a tenth of them.

mod index;
mod ingest;
mod load;
mod made;
mod now;
mod pages;
mod rebuild;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use proofhouse_core::db::Database;
use proofhouse_tests::{cluster::Results, proofhouse::Proofhouse};

use self::{
    index::{Filler, fill_results, sum_up},
    load::{alone, client, crowd, length},
    made::{ARCHES, Made, RELEASES},
    now::{Much, fill_now, seen},
    pages::{COMMON, PAGES, Sights, runs},
};
use crate::{
    bed::{Bed, Site},
    report::{Figure, Goal, Report},
};

static ALONE: Figure = Figure {
    what: "99th percentile, 1 client",
    unit: "ms",
    goal: Goal::AtMost(50.0),
    limit: "a file of that size by the same site",
};
static CROWD: Figure = Figure { what: "99th percentile, 64 clients", ..ALONE };
static RATE: Figure = Figure {
    what: "pages a second, 64 clients",
    unit: "/s",
    goal: Goal::AtLeast(2000.0),
    limit: "files of that size by the same site",
};
static FLAT: Figure = Figure {
    what: "median beside that with a tenth of the past",
    unit: "x",
    goal: Goal::AtMost(1.5),
    limit: "the same",
};

/// The same history each time.
const SEED: u64 = 6;

/// How many results PostgreSQL has.
fn results(bed: &Bed) -> Result<u64> {
    std::env::var("BENCH_RESULTS")
        .map_or(Ok(bed.form.pick(1_000_000, 20_000)), |n| n.parse().context("BENCH_RESULTS"))
}

pub(crate) async fn measure(bed: &Bed, report: &mut Report) -> Result<()> {
    let results = results(bed)?;
    let made = Made { seed: SEED, now: Timestamp::now(), large: (results / 280).clamp(1, 25_000) };
    let mut missing = Vec::new();
    let mut medians = BTreeMap::new();
    {
        let short = Index::make(bed, Kind::Postgres, made, results / 10).await?;
        for (name, page) in PAGES {
            let url = short.url(page)?;
            if length(&client()?, &url).await?.is_some() {
                medians.insert(*name, alone(bed.form, &url).await?.median());
            } else {
                missing.push(format!("{name} ({page})"));
            }
        }
    }
    let mut index = Index::make(bed, Kind::Postgres, made, results).await?;
    index.pages(bed, report, &medians).await?;
    index.ingest(bed, report).await?;
    drop(index);
    let mut index = Index::make(bed, Kind::Sqlite, made, results / 10).await?;
    index.pages(bed, report, &BTreeMap::new()).await?;
    index.ingest(bed, report).await?;
    drop(index);
    rebuild::measure(bed, report, &made).await?;
    anyhow::ensure!(missing.is_empty(), "these pages are not there: {}", missing.join(", "));
    Ok(())
}

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Postgres,
    Sqlite,
}

/// A site with a past.
struct Index {
    kind: Kind,
    made: Made,
    results: u64,
    sights: Sights,
    database: Database,
    epoch: i64,
    filler: Filler,
    web: Proofhouse,
    site: Site,
    /// What results were written with a second, past the product.
    copied: f64,
}

impl Index {
    async fn make(bed: &Bed, kind: Kind, made: Made, results: u64) -> Result<Self> {
        let site = bed.site().await?;
        let Results::Folder(store) = &site.cluster.results else { anyhow::bail!("no local store") };
        for run in runs(&made, results)? {
            rebuild::write(store, &run)?;
        }
        let (url, of_web) = match kind {
            Kind::Postgres => (site.cluster.database.clone(), site.cluster.database_of("web")),
            Kind::Sqlite => {
                let url = format!("sqlite://{}", site.cluster.folder().join("index.db").display());
                (url.clone(), url)
            }
        };
        let database = Database::open(&url, None)?;
        database.prepare().await?;
        let epoch = database.take_leadership("bench", true).await?.context("the leadership")?;
        let mut filler = Filler::open(&url).await?;
        let copied = fill_results(&mut filler, &made, results).await?;
        let much = bed.form.pick(Much::usual(), Much::little());
        fill_now(&mut filler, &made, much).await?;
        let summed = sum_up(&database, epoch).await?;
        filler.tidy().await?;
        println!("  {kind:?} with {results} results: {copied:.0} written a second, {summed:.0} summed up");
        // The leader is there.
        let ends_us = Timestamp::now().as_microsecond() + 24 * proofhouse_core::db::HOUR_US;
        filler.execute(&format!("UPDATE leadership SET ends_us = {ends_us}")).await?;
        let releases = RELEASES.map(|(release, _)| release).join(",");
        let web = site.cluster.web().quiet().arg("--database", of_web).arg("--address-rate", "0");
        let web = web.arg("--releases", releases).arg("--arches", ARCHES.join(",")).start().await?;
        let sights = Sights::of(&made, results, much)?;
        Ok(Self { kind, made, results, sights, database, epoch, filler, web, site, copied })
    }

    fn url(&self, page: &str) -> Result<String> {
        Ok(format!("{}{}", self.web.site_url()?, self.sights.address(page)))
    }

    /// A file of at least so many bytes, as people read it from the store.
    fn file(&self, bytes: usize) -> Result<String> {
        let Results::Folder(store) = &self.site.cluster.results else { anyhow::bail!("no local store") };
        let (container, name) = (format!("autopkgtest-{}", RELEASES[0].0), format!("{bytes}-bytes"));
        fs::create_dir_all(store.join(&container))?;
        fs::write(store.join(&container).join(&name), vec![b'x'; bytes])?;
        Ok(format!("{}/results/{container}/{name}", self.web.site_url()?))
    }

    /// Each page alone and in a crowd, beside files of its size.
    async fn pages(&mut self, bed: &Bed, report: &mut Report, medians: &BTreeMap<&str, f64>) -> Result<()> {
        let mut files = BTreeMap::new();
        for (name, page) in PAGES {
            let url = self.url(page)?;
            let Some(bytes) = length(&client()?, &url).await? else { continue };
            let size = bytes.next_power_of_two();
            if let Entry::Vacant(unseen) = files.entry(size) {
                let file = self.file(size)?;
                unseen.insert((alone(bed.form, &file).await?, crowd(bed.form, &file).await?));
            }
            seen(&mut self.filler, Timestamp::now().as_microsecond()).await?;
            let (file_alone, file_crowd) = &files[&size];
            let (one, many) = (alone(bed.form, &url).await?, crowd(bed.form, &url).await?);
            let trip = self.filler.round_trip().await?;
            let of = format!("{:?}, {name}", self.kind);
            let notes = [("median, ms", one.median()), ("/s", one.rate), ("SELECT 1, ms", trip)];
            report.add_of(&of, &ALONE, one.p99(), file_alone.p99(), &notes);
            let notes = [("median, ms", many.median()), ("/s", many.rate)];
            report.add_of(&of, &CROWD, many.p99(), file_crowd.p99(), &notes);
            if COMMON.contains(name) {
                report.add_of(&of, &RATE, many.rate, file_crowd.rate, &[]);
            }
            if let Some(before) = medians.get(name) {
                let notes = [("before, ms", *before), ("now, ms", one.median())];
                report.add_of(&of, &FLAT, one.median() / before, 1.0, &notes);
            }
        }
        Ok(())
    }

    /// Results that come in on top.
    async fn ingest(&mut self, bed: &Bed, report: &mut Report) -> Result<()> {
        let of = format!("{:?}, {} results", self.kind, self.results);
        ingest::measure(bed.form, report, &of, &self.database, self.epoch, &self.made, self.copied).await
    }
}
