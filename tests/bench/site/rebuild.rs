//! The index, rebuilt from a folder with results in it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result};
use proofhouse_core::{
    db::Database,
    evidence::{gzip, result_tar},
    names::Package,
};
use proofhouse_tests::cluster::Results;
use serde_json::json;

use super::{
    index::{rate, sum_up},
    made::{Line, Made},
};
use crate::{
    bed::Bed,
    report::{Figure, Goal, Report},
};

static REBUILD: Figure = Figure {
    what: "rebuild of the index from a local store",
    unit: "/s",
    goal: Goal::AtLeast(5000.0),
    limit: "the same files read by one thread",
};

pub(crate) async fn measure(bed: &Bed, report: &mut Report, made: &Made) -> Result<()> {
    let site = bed.site().await?;
    let Results::Folder(store) = &site.cluster.results else { anyhow::bail!("no local store") };
    let files = fill(store, made, bed.form.pick(50_000, 200))?;
    let runs = u64::try_from(files.len())?;
    let start = Instant::now();
    let said = site.cluster.json(&["reindex"]).await?;
    let rebuilt = rate(runs, start);
    anyhow::ensure!(said["indexed"] == runs, "{said}");
    let database = Database::open(&site.cluster.database, None)?;
    let epoch = database.take_leadership("bench", true).await?.context("the leadership")?;
    let summed = sum_up(&database, epoch).await?;
    let start = Instant::now();
    for file in &files {
        fs::read(file)?;
    }
    report.add(&REBUILD, rebuilt, rate(runs, start), &[("then summed up, /s", summed)]);
    Ok(())
}

/// Writes public runs, and returns their `result.tar`s.
fn fill(store: &Path, made: &Made, runs: u64) -> Result<Vec<PathBuf>> {
    (0..runs)
        .map(|age| made.result(age))
        .filter(|line| !line.private)
        .map(|line| write(store, &line))
        .collect()
}

/// Writes a run as workers do, and returns its `result.tar`.
pub(crate) fn write(store: &Path, line: &Line) -> Result<PathBuf> {
    let package: Package = line.package.parse()?;
    let (prefix, Line { container, release, arch, run_id, .. }) = (package.prefix(), line);
    let folder = store.join(format!("{container}/{release}/{arch}/{prefix}/{package}/{run_id}"));
    fs::create_dir_all(&folder)?;
    let file = folder.join("result.tar");
    fs::write(&file, tar(line)?)?;
    fs::write(folder.join("log.gz"), gzip("autopkgtest [05:36:34]: starting\n".repeat(100).as_bytes())?)?;
    Ok(file)
}

fn tar(line: &Line) -> Result<Vec<u8>> {
    let info = json!({
        "custom_environment": [format!("ADT_TEST_TRIGGERS={}", line.triggers)], "uuid": line.uuid.to_string(), "attempts": 1,
        "rule": "exit-code",
    });
    let mut members = vec![
        ("exitcode", format!("{}\n", line.exit_code)),
        ("duration", format!("{}\n", line.seconds)),
        ("testpkg-version", format!("{} {}\n", line.package, line.version)),
        ("testinfo.json", info.to_string()),
        ("testbed-packages", "libsomething-or-other0\t1.2.3-4ubuntu5\n".repeat(200)),
        ("summary", "smoke                PASS\n".to_owned()),
    ];
    members.extend(line.requester.clone().map(|name| ("requester", name)));
    let members: Vec<(&str, Vec<u8>)> = members.into_iter().map(|(name, text)| (name, text.into())).collect();
    Ok(result_tar(&members)?)
}
