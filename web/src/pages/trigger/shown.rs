//! A part of an upload's matrix with all that is shown of each test: read anew by their numbers, and only what everybody may see.

use std::collections::HashMap;

use proofhouse_core::{db::JobState, queue::Waits};

use super::{
    super::open::waits,
    cells::{Judged, Test},
    wanted::Chosen,
};
use crate::{
    app::App,
    failure::Failure,
    private::{PublicJob, PublicResult},
};

/// A test of a package on an architecture.
#[derive(Debug)]
pub(super) struct ShownTest {
    /// The place of its architecture in its section.
    pub(super) arch: usize,
    /// The newest.
    pub(super) result: Option<PublicResult>,
    /// What the newest, where it fails, is compared with.
    pub(super) judged: Option<Judged>,
    /// What is not done.
    pub(super) job: Option<PublicJob>,
    /// Why that waits.
    pub(super) waits: Option<Waits>,
}

/// A package.
#[derive(Debug)]
pub(super) struct ShownRow<'a> {
    pub(super) chosen: &'a Chosen<'a>,
    pub(super) tests: Vec<ShownTest>,
}

/// Reads what is shown of these packages. Those of which nothing may be shown are left out.
pub(super) async fn rows<'a>(app: &App, rows: &'a [Chosen<'a>]) -> Result<Vec<ShownRow<'a>>, Failure> {
    let tests = || rows.iter().flat_map(|row| &row.tests);
    let results: Vec<i64> = tests().filter_map(|test| test.result).collect();
    let jobs: Vec<i64> = tests().filter_map(|test| test.job).collect();
    let results = PublicResult::all(app.db().results_by_number(&results).await?);
    let (jobs, _) = PublicJob::split(app.db().jobs_by_number(&jobs).await?);
    let mut waits = waits(app, &jobs).await?;
    let mut results: HashMap<i64, PublicResult> = results.into_iter().map(|row| (row.id, row)).collect();
    let mut jobs: HashMap<i64, PublicJob> =
        jobs.into_iter().filter(|job| job.state() != JobState::Done).map(|job| (job.id, job)).collect();
    let mut shown = |test: &&Test| {
        let result = test.result.and_then(|id| results.remove(&id));
        let job = test.job.and_then(|id| jobs.remove(&id));
        let waits = job.as_ref().and_then(|job| waits.remove(&job.id));
        (result.is_some() || job.is_some()).then_some(ShownTest {
            arch: test.arch,
            judged: test.judged,
            result,
            job,
            waits,
        })
    };
    let row = |chosen: &'a Chosen<'a>| ShownRow {
        chosen,
        tests: chosen.tests.iter().filter_map(&mut shown).collect(),
    };
    Ok(rows.iter().map(row).filter(|row| !row.tests.is_empty()).collect())
}
