//! `/packages/{package}/{release}/{arch}/{run_id}`: one run that has a result. `/run/{uuid}` shows the same once it is done.

use std::collections::BTreeSet;

use askama::Template;
use axum::response::Response;
use jiff::Timestamp;
use proofhouse_core::layout::file;

use super::attempts::Attempts;
use crate::{
    app::App,
    badge::Badges,
    evidence::{Evidence, FileData, Found, Ran, SincePass, TestData},
    failure::Failure,
    feeds::package_feed,
    pages::{compare::compare_path, page},
    private::PublicResult,
    reproduce::Reproduce,
    view::{Crumb, Requester, ResultItem, When, crumbs, shown_params, verdict},
};

#[derive(Template)]
#[template(path = "packages/run.html")]
struct Page {
    crumbs: Vec<Crumb>,
    result: ResultItem,
    /// The word after "Result".
    word: &'static str,
    verdict: String,
    since: Option<Since>,
    container: String,
    uuid: Option<String>,
    params: Vec<(String, String)>,
    /// When it was asked for first.
    asked: Option<When>,
    requesters: Vec<Requester>,
    tests: Tests,
    testbed: Vec<(&'static str, String)>,
    files: Found<Vec<FileData>>,
    /// What is wrong with its `result.tar`.
    damage: Option<String>,
    log_size: Option<String>,
    artifacts_size: Option<String>,
    attempts: Attempts,
    /// Newest first, this run among them.
    neighbours: Vec<ResultItem>,
    reproduce: Option<Reproduce>,
    badges: Badges,
    feed: String,
}

/// The last run that passed, and what is otherwise.
struct Since {
    /// None: none before it passed.
    passed: Option<ResultItem>,
    /// In a few words; none: nothing that is recorded.
    changed: Option<String>,
    /// All of it.
    path: String,
}

/// How each test of the package ended.
struct Tests {
    /// Those that did not pass.
    loud: Vec<TestData>,
    /// Those that passed: folded where others did not.
    quiet: Vec<TestData>,
    /// How many are left out.
    more: usize,
    /// Why there is nothing.
    missing: Option<&'static str>,
    /// The log is too long for all times.
    lacks_times: bool,
}

impl Tests {
    fn of(evidence: &Evidence) -> Self {
        let (quiet, loud) =
            evidence.tests().unwrap_or_default().into_iter().partition::<Vec<_>, _>(TestData::is_quiet);
        let (more, missing) = match &evidence.contents {
            Found::Away => (0, Some("The store does not answer just now: try again in a few seconds.")),
            Found::Missing => (0, Some("Its result.tar is not in the store any more.")),
            Found::Here(contents) if contents.tests.is_none() => (
                0,
                Some(
                    "Its result.tar has no summary: it ended before one was written, or an old system wrote it.",
                ),
            ),
            Found::Here(contents) => (contents.more_tests, None),
        };
        let lacks_times = evidence.lacks_times() && loud.iter().chain(&quiet).any(|t| t.seconds.is_none());
        Self { loud, quiet, more, missing, lacks_times }
    }

    const fn is_empty(&self) -> bool {
        self.loud.is_empty() && self.quiet.is_empty()
    }
}

fn since(
    row: &PublicResult,
    since_pass: &SincePass,
    previous: &[PublicResult],
    now: Timestamp,
) -> Option<Since> {
    match since_pass {
        SincePass::NoFailure => None,
        SincePass::Never => Some(Since {
            passed: None,
            changed: None,
            path: previous.first().map(|before| compare_path(before, row)).unwrap_or_default(),
        }),
        SincePass::Since(since) => Some(Since {
            passed: Some(ResultItem::new(&since.0, now)),
            changed: since.1.summary(),
            path: compare_path(&since.0, row),
        }),
    }
}

/// Newest first.
fn neighbours(ran: &Ran, row: &PublicResult, now: Timestamp) -> Vec<ResultItem> {
    if ran.next.is_empty() && ran.previous.is_empty() {
        return Vec::new();
    }
    let newer = ran.next.iter().rev();
    newer.chain([row]).chain(&ran.previous).map(|row| ResultItem::new(row, now)).collect()
}

pub(crate) async fn get(app: &App, row: &PublicResult) -> Result<Response, Failure> {
    let now = Timestamp::now();
    let ran = Ran::of(app, row).await?;
    let attempts = match &ran.job {
        Some(job) => Attempts::new(app, job, &ran.attempts, now).await,
        None => Attempts::default(),
    };
    let tests = Tests::of(&ran.evidence);
    let all: Vec<TestData> = ran.evidence.tests().unwrap_or_default();
    let size = |name: &str| match &ran.evidence.files {
        Found::Here(files) => files.iter().find(|one| one.name == name).map(FileData::size),
        Found::Missing | Found::Away => None,
    };
    let mut requesters: BTreeSet<String> = row.requester.iter().cloned().collect();
    requesters.extend(ran.job.iter().flat_map(|job| job.requesters.lines()).map(str::to_owned));
    page(&Page {
        crumbs: crumbs(&row.package, Some((&row.release, &row.arch)), Some(&row.run_id)),
        result: ResultItem::new(row, now),
        word: row.class().as_str(),
        verdict: verdict(row.class(), &all),
        since: since(row, &ran.since_pass, &ran.previous, now),
        container: row.container.clone(),
        uuid: row.uuid.clone(),
        params: ran.request.as_ref().map(shown_params).unwrap_or_default(),
        asked: ran.job.as_ref().map(|job| When::micros(job.received_us, now)),
        requesters: requesters
            .iter()
            .filter(|name| !name.is_empty())
            .map(|name| Requester::new(name))
            .collect(),
        tests,
        testbed: ran.evidence.testbed().map(|testbed| testbed.facts()).unwrap_or_default(),
        log_size: size(file::LOG),
        artifacts_size: size(file::ARTIFACTS),
        damage: match &ran.evidence.contents {
            Found::Here(contents) => contents.damage.clone(),
            Found::Missing | Found::Away => None,
        },
        attempts,
        neighbours: neighbours(&ran, row, now),
        badges: Badges::of(app.settings(), &row.package, Some((&row.release, &row.arch))),
        feed: package_feed(&row.package),
        files: ran.evidence.files,
        reproduce: ran.reproduce,
    })
}
