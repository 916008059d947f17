//! `proofhouse run`: one run by its uuid or run id.

pub(crate) mod attempt_log;
pub(crate) mod log;
pub(crate) mod show;

use anyhow::{Result, bail};
use proofhouse_core::db::{Database, JobRow, ResultRow};

use crate::args::RunName;

/// What is known of a run: at least one of the two.
pub(crate) struct Found {
    pub(crate) job: Option<JobRow>,
    pub(crate) result: Option<ResultRow>,
}

/// Finds a run by one of its names.
async fn find(database: &Database, name: &RunName) -> Result<Found> {
    let found = match name {
        RunName::Uuid(uuid) => match database.job_by_uuid(*uuid).await? {
            Some(job) => Found { result: database.result_of_job(job.id).await?, job: Some(job) },
            None => Found { job: None, result: database.result_by_uuid(*uuid).await? },
        },
        RunName::RunId(run_id) => {
            let mut results = database.results_by_run_id(run_id, 100).await?;
            if results.len() > 1 {
                bail!("several runs have this run id; name one by its uuid:\n{}", choices(&results));
            }
            let result = results.pop();
            let job = match result.as_ref().and_then(|r| r.job_id) {
                Some(id) => database.job(id).await?,
                None => None,
            };
            Found { job, result }
        }
    };
    if found.job.is_none() && found.result.is_none() {
        bail!("no run has this name");
    }
    Ok(found)
}

fn choices(results: &[ResultRow]) -> String {
    let line = |r: &ResultRow| {
        format!(
            "  {}  {} {}/{} ({})",
            r.uuid.as_deref().unwrap_or("-"),
            r.package,
            r.release,
            r.arch,
            r.container
        )
    };
    results.iter().map(line).collect::<Vec<_>>().join("\n")
}
