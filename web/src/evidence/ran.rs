//! All that is known of a run that has a result: what its page and its JSON show.

use proofhouse_core::{
    db::{AttemptRow, DbError},
    evidence::Contents,
    names::Pair,
    outcome::Class,
    request::Request,
};

use super::{
    Changes, Evidence, Found, Side, contents_of,
    data::{MOST_VARIABLES, variables},
};
use crate::{
    app::App,
    private::{PublicJob, PublicResult},
    reproduce::{Reproduce, request_of},
};

/// So many runs of the same test before it, and so many after it.
const NEIGHBOURS: i64 = 3;

/// A failure, seen from the last run of the same test that passed.
#[derive(Debug)]
pub(crate) enum SincePass {
    /// It did not fail.
    NoFailure,
    /// None before it passed, as far as one looks back.
    Never,
    /// What is otherwise, as far as `result.tar` says.
    Since(Box<(PublicResult, Changes)>),
}

/// All that is known of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) job: Option<PublicJob>,
    pub(crate) request: Option<Request>,
    pub(crate) attempts: Vec<AttemptRow>,
    pub(crate) evidence: Evidence,
    pub(crate) since_pass: SincePass,
    /// Of the same test; nearest first.
    pub(crate) previous: Vec<PublicResult>,
    /// Of the same test; nearest first.
    pub(crate) next: Vec<PublicResult>,
    pub(crate) reproduce: Option<Reproduce>,
}

/// The job of a result.
pub(crate) async fn job_of(app: &App, row: &PublicResult) -> Result<Option<PublicJob>, DbError> {
    match row.job_id {
        Some(id) => Ok(app.db().job(id).await?.and_then(PublicJob::of)),
        None => Ok(None),
    }
}

/// As a run was asked for. The index has no variables: where the job is gone, the evidence has them.
pub(crate) fn asked_for(
    row: &PublicResult,
    job: Option<&PublicJob>,
    contents: &Found<Contents>,
) -> Option<Request> {
    let mut request = request_of(row, job)?;
    if let (None, Found::Here(contents)) = (job, contents) {
        request.env = variables(contents).take(MOST_VARIABLES).filter_map(|text| text.parse().ok()).collect();
    }
    Some(request)
}

impl Ran {
    /// Reads it.
    pub(crate) async fn of(app: &App, row: &PublicResult) -> Result<Self, DbError> {
        let job = job_of(app, row).await?;
        let attempts = match &job {
            Some(job) => app.db().attempts_of(job.id).await?,
            None => Vec::new(),
        };
        let previous = PublicResult::all(app.db().neighbours(row, false, NEIGHBOURS).await?);
        let next = PublicResult::all(app.db().neighbours(row, true, NEIGHBOURS).await?);
        let passed = match row.class() {
            Class::Fail => app.db().passed_before(row).await?.and_then(PublicResult::of),
            _ => None,
        };
        let (evidence, of_passed) = tokio::join!(Evidence::of(app, row), async {
            match &passed {
                Some(passed) => contents_of(app, passed).await,
                None => Found::Missing,
            }
        });
        let request = asked_for(row, job.as_ref(), &evidence.contents);
        let since_pass = match passed {
            Some(passed) => {
                let job = job_of(app, &passed).await?;
                let asked = asked_for(&passed, job.as_ref(), &of_passed);
                let before =
                    Side { row: &passed, request: asked.as_ref(), contents: &of_passed, packages: None };
                let after =
                    Side { row, request: request.as_ref(), contents: &evidence.contents, packages: None };
                let changes = Changes::of(&before, &after);
                SincePass::Since(Box::new((passed, changes)))
            }
            None if row.class() == Class::Fail => SincePass::Never,
            None => SincePass::NoFailure,
        };
        let pair = format!("{}/{}", row.release, row.arch).parse::<Pair>().ok();
        let reproduce = request.as_ref().zip(pair).and_then(|(request, pair)| Reproduce::of(request, &pair));
        Ok(Self { job, request, attempts, evidence, since_pass, previous, next, reproduce })
    }
}
