//! One run: what was asked for, where it stands, what came out.

use axum::{
    Json,
    extract::{Path, RawQuery, State, rejection::PathRejection},
};
use jiff::Timestamp;
use proofhouse_core::{
    db::JobState,
    names::{Package, Pair},
    run_id::RunId,
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::data::{AttemptData, JobData, ResultData, WaitsData};
use crate::{
    app::App,
    evidence::{Changes, FileData, Found, Ran, SincePass, TestData, TestbedData},
    failure::Failure,
    pages::{
        packages::{pick, results},
        parameter,
    },
    private::{PublicJob, PublicResult},
    progress::{Progress, progress},
    reproduce::Reproduce,
};

/// A run.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Run {
    /// Its name; null where another system ran it and gave it none.
    uuid: Option<String>,
    /// `waiting`, `running`, `publishing`, `storing`, `done`, `parked`, `cancelled` or `obsolete`.
    state: &'static str,
    /// What was asked for; null where another system ran it.
    job: Option<JobData>,
    /// Why it waits.
    waits: Option<WaitsData>,
    /// How far it is, while it runs.
    progress: Option<Progress>,
    /// How it was tried.
    attempts: Vec<AttemptData>,
    /// What came out, once it is stored.
    result: Option<ResultData>,
    /// What the store has of it; null where there is no result yet.
    evidence: Option<EvidenceData>,
    /// What changed since it passed, for a failure; null: it did not fail, or none of the thousand runs before it passed.
    since_pass: Option<SincePassData>,
    /// Results of the same test before it, newest first.
    previous: Vec<ResultData>,
    /// Results of the same test after it, oldest first.
    next: Vec<ResultData>,
    /// How it is repeated.
    reproduce: Option<Reproduce>,
    /// Its page.
    url: String,
}

/// What the store has of a run.
#[derive(Debug, Serialize, ToSchema)]
struct EvidenceData {
    /// How each test of the package ended; null where nobody knows.
    tests: Option<Vec<TestData>>,
    /// How many tests are left out.
    more_tests: usize,
    /// What it ran on; null where nobody knows.
    testbed: Option<TestbedData>,
    /// What is wrong with its result.tar.
    damage: Option<String>,
    /// Its files, the first hundred; null where the store does not answer.
    files: Option<Vec<FileData>>,
}

/// The last run of the same test that passed.
#[derive(Debug, Serialize, ToSchema)]
struct SincePassData {
    /// That run.
    passed: ResultData,
    /// What is otherwise, by both runs' result.tar alone.
    changes: Changes,
}

/// A run that has a result.
async fn done(app: &App, row: &PublicResult) -> Result<Run, Failure> {
    let ran = Ran::of(app, row).await?;
    let settings = app.settings();
    let result = ResultData::new(settings, row);
    let contents = match &ran.evidence.contents {
        Found::Here(contents) => Some(contents),
        Found::Missing | Found::Away => None,
    };
    let evidence = EvidenceData {
        tests: ran.evidence.tests(),
        more_tests: contents.map_or(0, |contents| contents.more_tests),
        testbed: ran.evidence.testbed(),
        damage: contents.and_then(|contents| contents.damage.clone()),
        files: ran.evidence.files.here(),
    };
    let since_pass = match ran.since_pass {
        SincePass::Since(since) => {
            let (passed, changes) = *since;
            Some(SincePassData { passed: ResultData::new(settings, &passed), changes })
        }
        SincePass::NoFailure | SincePass::Never => None,
    };
    let attempts = match &ran.job {
        Some(job) => AttemptData::list(app, job, ran.attempts).await,
        None => Vec::new(),
    };
    Ok(Run {
        uuid: row.uuid.clone().or_else(|| ran.job.as_ref().map(|job| job.uuid.clone())),
        state: JobState::Done.as_str(),
        job: ran.job.as_ref().map(|job| JobData::new(settings, job)),
        waits: None,
        progress: None,
        attempts,
        url: result.url().to_owned(),
        result: Some(result),
        evidence: Some(evidence),
        since_pass,
        previous: ResultData::list(settings, &ran.previous),
        next: ResultData::list(settings, &ran.next),
        reproduce: ran.reproduce,
    })
}

/// One run by its uuid
///
/// From the second it was asked for.
#[utoipa::path(get, path = "/api/v1/runs/{uuid}", tag = "past",
    params(("uuid" = Uuid, Path, description = "The run's name, as the answer to a request has it.")),
    responses((status = OK, body = Run)))]
pub(super) async fn by_uuid(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Run>, Failure> {
    let Path(text) = path?;
    let unknown = || Failure::not_found("No run has this uuid.");
    let uuid = Uuid::try_parse(&text).map_err(|_| unknown())?;
    let Some(job) = app.db().job_by_uuid(uuid).await? else {
        let row = app.db().result_by_uuid(uuid).await?.and_then(PublicResult::of).ok_or_else(unknown)?;
        return Ok(Json(done(&app, &row).await?));
    };
    let job = PublicJob::of(job).ok_or_else(unknown)?;
    if job.state() == JobState::Done
        && let Some(row) = app.db().result_of_job(job.id).await?
    {
        return Ok(Json(done(&app, &PublicResult::of(row).ok_or_else(unknown)?).await?));
    }
    let waits = match job.state() {
        JobState::Waiting => Some(WaitsData(app.db().explain(&*app.situation().await?, &job).await?)),
        _ => None,
    };
    let attempts = app.db().attempts_of(job.id).await?;
    let settings = app.settings();
    Ok(Json(Run {
        uuid: Some(job.uuid.clone()),
        state: job.state().as_str(),
        waits,
        progress: progress(&app, &job, Timestamp::now()).await?,
        attempts: AttemptData::list(&app, &job, attempts).await,
        result: None,
        evidence: None,
        since_pass: None,
        previous: Vec::new(),
        next: Vec::new(),
        reproduce: job.request().ok().and_then(|request| Reproduce::of(&request, &job.pair().ok()?)),
        url: settings.link(&crate::view::path(&["run", &job.uuid])),
        job: Some(JobData::new(settings, &job)),
    }))
}

/// One run by its run id
///
/// Those of other systems have no other name.
#[utoipa::path(get, path = "/api/v1/packages/{package}/{release}/{arch}/{run_id}", tag = "past",
    params(
        ("package" = String, Path, description = "The source package."),
        ("release" = String, Path, description = "The release."),
        ("arch" = String, Path, description = "The architecture."),
        ("run_id" = String, Path, description = "The run id."),
        ("container" = Option<String>, Query, description = "Where it lies, where that is not the release's own."),
    ),
    responses((status = OK, body = Run)))]
pub(super) async fn by_id(
    State(app): State<App>,
    path: Result<Path<(String, String, String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<Run>, Failure> {
    let Path((package, release, arch, run_id)) = path?;
    let unknown = || Failure::not_found("There is no such run.");
    let package: Package = package.parse().map_err(|_| unknown())?;
    let pair: Pair = format!("{release}/{arch}").parse().map_err(|_| unknown())?;
    let run_id: RunId = run_id.parse().map_err(|_| unknown())?;
    let all = results(&app, &package, &pair, &run_id).await?;
    let row = pick(all, parameter(query.as_deref(), "container").as_deref())?;
    Ok(Json(done(&app, &row).await?))
}
