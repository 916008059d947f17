//! What the dispatcher needs while very much waits.

use std::fs;

use anyhow::{Context, Result};
use nix::unistd::Pid;
use proofhouse_tests::wait::wait_for;

use crate::{
    bed::{Bed, PATIENCE},
    report::{Figure, Goal, Report},
};

static MEMORY: Figure = Figure {
    what: "dispatcher's memory (RSS) with 1,000,000 waiting, while it schedules",
    unit: "MB",
    goal: Goal::AtMost(300.0),
    limit: "with nothing waiting",
};

/// Where these jobs are to run.
pub(crate) const ARCHES: [&str; 7] = ["amd64", "arm64", "armhf", "i386", "ppc64el", "riscv64", "s390x"];

pub(crate) async fn measure(bed: &Bed, report: &mut Report) -> Result<()> {
    let site = bed.site().await?;
    let arches = &ARCHES.join(",");
    let empty = {
        let dispatcher = site.dispatcher(arches).start().await?;
        dispatcher.becomes_ready().await?;
        status(dispatcher.process().pid()?, "VmRSS:")?
    };
    let rows = bed.form.pick(1_000_000, 7000);
    site.execute(fill(rows)).await?;
    let dispatcher = site.dispatcher(arches).start().await?;
    let _worker = site.worker("one", 2).start().await?;
    let wanted = bed.form.pick(100, 5);
    wait_for("runs", PATIENCE, async || (site.starts().len() >= wanted).then_some(())).await?;
    let pid = dispatcher.process().pid()?;
    let (now, most) = (status(pid, "VmRSS:")?, status(pid, "VmHWM:")?);
    report.add(&MEMORY, now, empty, &[("at most so far, MB", most)]);
    Ok(())
}

/// Requests of 4,900 lanes: 700 triggers on seven arches, as if gates had sent them.
pub(crate) fn fill(rows: usize) -> String {
    format!(
        "INSERT INTO jobs (kind, uuid, identity, context, release, arch, package, pool, body, run_hash, private, requesters,
            state, attempts, not_before_us, received_us, changed_us, lane, trigger)
         SELECT 'autopkgtest', gen_random_uuid(), encode(sha256(n::text::bytea), 'hex'), 'ubuntu', 'noble', arch, 'pkg' || p, arch,
            'pkg' || p || E'\\n{{\"triggers\": [\"' || t || '\"]}}', 'abcde', false, '', 'waiting', 0, 0,
            1763700000000000 + n, 1763700000000000 + n, '0 gates ubuntu noble/' || arch || ' - ' || t, t
         FROM (SELECT n, n / 7 AS p, 'source' || (n / 7 % 700) || '/1-1' AS t,
                (ARRAY['amd64', 'arm64', 'armhf', 'i386', 'ppc64el', 'riscv64', 's390x'])[1 + n % 7] AS arch
             FROM generate_series(0, {rows} - 1) AS n) AS made
         ORDER BY n"
    )
}

/// A line of the kernel's account of a process, in MB.
fn status(process: Pid, name: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).context("its memory")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1000.0 * 1.024)
}
