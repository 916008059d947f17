//! How long things take and what they need, beside what the machine itself needs for them, against the goals: `make bench`.
//! Figures are printed, never asserted; that nothing is lost or runs twice on the way is.
//!
//! Without `BENCH_FULL` all is small, to see that it works (`make verify`). `BENCH_ONLY` names some of the parts, separated
//! by commas; `BENCH_JSON` a file for the figures as one JSON value; `BENCH_RUNS` how many runs the fleet has,
//! once instead of three times; `BENCH_RESULTS` how many results the site has.

mod bed;
mod burst;
mod decisions;
mod fleet;
mod flood;
mod idle;
mod live;
mod memory;
mod numbers;
mod report;
mod result;
mod site;
mod waiting;

use anyhow::Result;

use self::{bed::Bed, report::Report};

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    full: bool,
}

impl Form {
    /// As the goals have it, or enough to see that it works.
    pub(crate) fn pick<T>(self, full: T, short: T) -> T {
        if self.full { full } else { short }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures() -> Result<()> {
    let form = Form { full: std::env::var_os("BENCH_FULL").is_some() };
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    let wanted = |part: &str| only.is_empty() || only.split(',').any(|name| name == part);
    let bed = Bed::start(form).await?;
    let mut report = Report::default();
    let times = if std::env::var_os("BENCH_RUNS").is_some() { 1 } else { form.pick(3, 1) };
    for run in 1..=times {
        println!("run {run}");
        if wanted("idle") {
            idle::measure(&bed, &mut report).await?;
        }
        if wanted("burst") {
            burst::measure(&bed, &mut report).await?;
        }
        if wanted("result") {
            result::measure(&bed, &mut report).await?;
        }
        if wanted("memory") {
            memory::measure(&bed, &mut report).await?;
        }
        if wanted("decisions") {
            decisions::measure(&bed, &mut report).await?;
        }
        if wanted("fleet") {
            fleet::measure(&bed, &mut report).await?;
        }
        if wanted("live") {
            live::measure(&bed, &mut report).await?;
        }
        if wanted("waiting") {
            waiting::measure(&bed, &mut report).await?;
        }
    }
    // Once: it takes long, and each of its figures is of very many pages.
    let done = if wanted("site") { site::measure(&bed, &mut report).await } else { Ok(()) };
    report.print(form.full);
    if let Some(path) = std::env::var_os("BENCH_JSON") {
        std::fs::write(path, format!("{:#}\n", report.json(form.full)))?;
    }
    done
}
