//! From the end of the test's process to a result that can be read, with a long log.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use flate2::{Compression, write::GzEncoder};
use proofhouse_tests::cluster::{Results, body};
use serde_json::json;
use uuid::Uuid;

use crate::{
    bed::{Bed, PATIENCE, Site, ms_between},
    numbers::{median, quantile},
    report::{Figure, Goal, Report},
};

static STORE: Figure = Figure {
    what: "end of the test's process -> result.tar in a local store, 10 MB log",
    unit: "ms",
    goal: Goal::AtMost(300.0),
    limit: "the log compressed and on the disk, by one thread",
};
static SITE: Figure = Figure {
    what: "end of the test's process -> its page and the whole log.gz read from the site, 10 MB log",
    ..STORE
};

const LOG_BYTES: usize = 10_000_000;

pub(crate) async fn measure(bed: &Bed, report: &mut Report) -> Result<()> {
    let site = bed.site().await?;
    let log = site.cluster.folder().join("log");
    fs::write(&log, build_log())?;
    let _dispatcher = site.dispatcher("amd64").start().await?;
    let web = site.cluster.web().quiet().start().await?;
    let _worker = site.worker("one", 1).env("STAND_IN_LOG", log.display().to_string()).start().await?;
    let url = web.site_url()?;
    let (mut stored, mut shown, mut limits) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..=bed.form.pick(20, 2) {
        let (store, page) = one(&site, &url, &format!("log{n}")).await?;
        limits.push(compressed(&log, &site.cluster.folder().join("compressed"))?);
        // The first one warms caches up.
        if n > 0 {
            stored.push(store);
            shown.push(page);
        }
    }
    report.add(&STORE, median(&stored), median(&limits), &[("slowest, ms", quantile(&stored, 1.0))]);
    report.add(&SITE, median(&shown), median(&limits), &[("slowest, ms", quantile(&shown, 1.0))]);
    Ok(())
}

async fn one(site: &Site, url: &str, package: &str) -> Result<(f64, f64)> {
    let uuid = Uuid::new_v4();
    let request = json!({"triggers": [format!("{package}/1")], "uuid": uuid.to_string()});
    site.publish("debci-noble-amd64", &body(package, &request)).await?;
    site.started(package).await?;
    let Results::Folder(store) = &site.cluster.results else { anyhow::bail!("no local store") };
    let path = format!("autopkgtest-noble/noble/amd64/l/{package}");
    let (run, stored) = stored(&store.join(&path)).await?;
    let run = run.file_name().context("a run's folder")?.to_string_lossy().into_owned();
    loop {
        // 404: not done yet.
        let page = reqwest::get(format!("{url}/run/{uuid}")).await?;
        if page.status().is_success() && page.text().await?.contains(&run) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let log = reqwest::get(format!("{url}/results/{path}/{run}/log.gz")).await?.error_for_status()?;
    anyhow::ensure!(log.bytes().await?.len() > LOG_BYTES / 50, "the log is cut");
    let shown = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let ended = site.ends().remove(package).context("its end")?;
    Ok((ms_between(ended, stored), ms_between(ended, shown)))
}

/// The run's folder, once it has a result, and when.
async fn stored(folder: &Path) -> Result<(PathBuf, Duration)> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let runs = fs::read_dir(folder).into_iter().flatten();
        if let Some(run) = runs.flatten().map(|run| run.path()).find(|run| run.join("result.tar").exists()) {
            return Ok((run, SystemTime::now().duration_since(UNIX_EPOCH)?));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    anyhow::bail!("no result in {}", folder.display())
}

/// What the machine needs to compress a file and to put it on the disk, in milliseconds.
fn compressed(log: &Path, to: &Path) -> Result<f64> {
    let start = Instant::now();
    let mut file = GzEncoder::new(fs::File::create(to)?, Compression::default());
    file.write_all(&fs::read(log)?)?;
    file.finish()?.sync_all()?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

/// Lines as a build writes them: much is the same, some is not.
fn build_log() -> String {
    let mut log = String::with_capacity(LOG_BYTES + 200);
    let mut state: u64 = 1;
    while log.len() < LOG_BYTES {
        // Knuth's linear congruential generator: the same log every time.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (line, hash) = (state >> 50, state >> 20);
        // Writing to a String cannot fail.
        let _ = writeln!(
            log,
            "[{line:5}s] gcc -DHAVE_CONFIG_H -I. -I../include -g -O2 -c -o obj_{hash:x}.o src/part_{line}.c"
        );
    }
    log
}
