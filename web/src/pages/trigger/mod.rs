//! `/trigger/{source}/{version}`: all that one upload set off, what blocks it, and when it should end.

mod cells;
mod read;
mod shown;
mod wanted;

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::{
    Json,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use proofhouse_core::{db::JobState, params::Trigger, queue::in_words};
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use self::read::Matrices;
use self::{
    cells::{Counts, GOOD, Judged, Matrix, Section, Show},
    shown::{ShownRow, ShownTest},
    wanted::{Place, Wanted},
};
use super::{page, recent::choices};
use crate::{
    api::{JobData, ResultData, WaitsData},
    app::App,
    failure::Failure,
    feeds::trigger_feed,
    settings::Settings,
    view::{Crumb, JobItem, Outcome, ResultItem, When, duration, package_path},
    wanted::wants_json,
};

#[derive(Template)]
#[template(path = "trigger.html")]
struct Page {
    crumbs: Vec<Crumb>,
    trigger: Trigger,
    verdict: String,
    /// Something waits or runs.
    open: bool,
    ends: Option<When>,
    read: When,
    /// Only so many of the results that came last were read.
    cut: Option<usize>,
    /// What operators hold back, where anything waits or runs.
    held: Vec<String>,
    wanted: Wanted,
    base: String,
    feed: String,
    counts: Vec<Count>,
    /// What can be shown, and whether it is.
    shows: Vec<(&'static str, bool)>,
    /// How many tests there are at all.
    tests: usize,
    packages: usize,
    shown: usize,
    releases: Vec<String>,
    arches: Vec<String>,
    tables: Vec<Table>,
    first: Option<String>,
    next: Option<String>,
}

/// How many tests there are of a kind, and the address that shows them alone.
struct Count {
    name: &'static str,
    n: usize,
    path: String,
    chosen: bool,
}

/// A release, or what was run with a PPA on it.
struct Table {
    release: String,
    /// The container, where it is not the release's own.
    ppa: Option<String>,
    arches: Vec<String>,
    rows: Vec<RowItem>,
    /// Packages all of whose tests are good.
    good: Vec<RowItem>,
}

struct RowItem {
    package: String,
    path: String,
    tests: Vec<Option<TestItem>>,
}

struct TestItem {
    /// Outcome, address and what it is compared with.
    result: Option<(Outcome, String, &'static str)>,
    /// State, address, and since when or until when.
    job: Option<(Outcome, String, String)>,
}

impl TestItem {
    fn new(test: &ShownTest, now: Timestamp) -> Self {
        let result = test.result.as_ref().map(|row| {
            let item = ResultItem::new(row, now);
            (item.outcome, item.path, test.judged.map_or("", Judged::words))
        });
        let job = test.job.as_ref().map(|job| {
            let estimate = test.waits.as_ref().and_then(|waits| waits.estimate);
            let when = match job.state() {
                JobState::Waiting => estimate
                    .map(|estimate| format!("starts in about {}", in_words(estimate.likely_seconds)))
                    .unwrap_or_default(),
                JobState::Running => {
                    format!("for {}", duration((now.as_microsecond() - job.changed_us) / 1_000_000))
                }
                _ => String::new(),
            };
            let item = JobItem::new(job, now);
            (item.outcome, item.path, when)
        });
        Self { result, job }
    }
}

impl Table {
    fn new(section: &Section) -> Self {
        let own = section.container == format!("autopkgtest-{}", section.release);
        Self {
            release: section.release.clone(),
            ppa: (!own).then(|| section.container.clone()),
            arches: section.arches.clone(),
            rows: Vec::new(),
            good: Vec::new(),
        }
    }

    fn list(rows: &[ShownRow<'_>], now: Timestamp) -> Vec<Self> {
        let mut tables: Vec<(&Section, Self)> = Vec::new();
        for row in rows {
            let section = row.chosen.section;
            if tables.last().is_none_or(|(last, _)| !std::ptr::eq(*last, section)) {
                tables.push((section, Self::new(section)));
            }
            let mut tests: Vec<Option<TestItem>> = section.arches.iter().map(|_| None).collect();
            for test in &row.tests {
                tests[test.arch] = Some(TestItem::new(test, now));
            }
            let package = row.chosen.row.package.clone();
            let item = RowItem { path: package_path(&package), package, tests };
            if let Some((_, table)) = tables.last_mut() {
                if row.chosen.rank == GOOD { table.good.push(item) } else { table.rows.push(item) }
            }
        }
        tables.into_iter().map(|(_, table)| table).collect()
    }
}

fn plural(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// The answer before all others: what blocks, and what is still open.
fn verdict(counts: &Counts, is_baseline: bool) -> String {
    let n = |show| counts.get(show);
    let blocking = n(Show::Blocking);
    let unclear: usize = [Show::Tmpfail, Show::Error, Show::Otherfail, Show::Parked].into_iter().map(n).sum();
    let (queued, running) = (n(Show::Queued), n(Show::Running));
    let mut parts = vec![match () {
        () if is_baseline => "These are baselines: failures are compared with them".to_owned(),
        () if blocking > 0 => format!("Blocked by {}", plural(blocking, "failure", "failures")),
        () if queued + running > 0 => "Nothing blocks it so far".to_owned(),
        () if unclear > 0 => "No failure blocks it".to_owned(),
        () => "Nothing blocks it".to_owned(),
    }];
    for (n, text) in [
        (unclear, "without a verdict, for infrastructure failed"),
        (queued, "still queued"),
        (running, "running"),
    ] {
        if n > 0 {
            parts.push(format!("{n} {text}"));
        }
    }
    let known = match n(Show::Known) {
        0 => String::new(),
        n => format!(" {} before, too.", plural(n, "failure was there", "failures were there")),
    };
    format!("{}.{known}", parts.join(", "))
}

/// All that an upload set off.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TriggerData {
    /// The upload, `source/version`.
    trigger: String,
    /// What blocks it, in words.
    verdict: String,
    /// How many tests there are of each kind: `blocking`, `known`, and outcomes and states; others have none. Each test is what
    /// a package does on an architecture; one that is run again has an outcome and a state.
    counts: BTreeMap<&'static str, usize>,
    /// When it was counted.
    #[schema(value_type = String, format = DateTime)]
    read: Timestamp,
    /// When what waits and runs should have ended; null where that cannot be told.
    #[schema(value_type = Option<String>, format = DateTime)]
    ends: Option<Timestamp>,
    /// There are so many results that the older ones are not in it.
    cut: bool,
    /// How many packages fit.
    fitting: usize,
    /// What blocks first, a hundred at once.
    packages: Vec<TriggerPackage>,
    /// The address of the part behind.
    next: Option<String>,
}

/// A package that an upload had tested.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TriggerPackage {
    /// Its name.
    package: String,
    /// The release.
    release: String,
    /// The container of its results.
    container: String,
    /// By architecture.
    tests: Vec<TriggerTest>,
}

/// A test that an upload set off.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TriggerTest {
    /// The architecture.
    arch: String,
    /// The newest result.
    result: Option<ResultData>,
    /// Where that is a failure, what it is compared with: `passed` (before, or in the baseline `migration-reference/0`), `new`
    /// (it never had its say before), `failed-before`, `fails-in-baseline`.
    before: Option<&'static str>,
    /// It is a failure that was not there before.
    blocks: bool,
    /// What is not done.
    job: Option<JobData>,
    /// Why that waits.
    waits: Option<WaitsData>,
}

impl TriggerPackage {
    fn new(settings: &Settings, row: ShownRow<'_>) -> Self {
        let section = row.chosen.section;
        let test = |test: ShownTest| TriggerTest {
            arch: section.arches[test.arch].clone(),
            result: test.result.map(|row| ResultData::new(settings, &row)),
            before: test.judged.map(Judged::as_str),
            blocks: test.judged.is_some_and(Judged::blocks),
            job: test.job.map(|job| JobData::new(settings, &job)),
            waits: test.waits.map(WaitsData),
        };
        Self {
            package: row.chosen.row.package.clone(),
            release: section.release.clone(),
            container: section.container.clone(),
            tests: row.tests.into_iter().map(test).collect(),
        }
    }
}

/// An upload, its matrix, and which part of it is wanted.
struct Asked {
    trigger: Trigger,
    matrix: Arc<Matrix>,
    wanted: Wanted,
}

impl Asked {
    async fn read(
        app: &App,
        path: Result<Path<(String, String)>, PathRejection>,
        query: Option<&str>,
    ) -> Result<Self, Failure> {
        let Path((source, version)) = path?;
        // That there is none is not told from that everything is private.
        let unknown = || Failure::not_found("No test that such an upload set off is known.");
        let trigger: Trigger = format!("{source}/{version}").parse().map_err(|_| unknown())?;
        let wanted = Wanted::parse(query)?;
        let matrix = app.matrices().get(app, &trigger).await?;
        if matrix.tests == 0 { Err(unknown()) } else { Ok(Self { trigger, matrix, wanted }) }
    }

    async fn json(&self, app: &App, base: &str) -> Result<Json<TriggerData>, Failure> {
        let part = self.wanted.part(&self.matrix);
        let rows = shown::rows(app, &part.rows).await?;
        let package = |row| TriggerPackage::new(app.settings(), row);
        Ok(Json(TriggerData {
            trigger: self.trigger.to_string(),
            verdict: verdict(&self.matrix.counts, self.trigger.is_baseline()),
            counts: self.matrix.counts.some().map(|(show, n)| (show.as_str(), n)).collect(),
            read: self.matrix.at,
            ends: self.matrix.ends,
            cut: self.matrix.cut,
            fitting: part.packages,
            packages: rows.into_iter().map(package).collect(),
            next: part.next.as_ref().map(|next| self.next(base, next)),
        }))
    }

    fn next(&self, base: &str, next: &Place) -> String {
        self.wanted.at(base, self.wanted.show, Some(next))
    }

    async fn page(self, app: &App, base: String) -> Result<Response, Failure> {
        let (matrix, wanted) = (&*self.matrix, &self.wanted);
        let part = wanted.part(matrix);
        let rows = shown::rows(app, &part.rows).await?;
        let now = Timestamp::now();
        let count = |(show, n)| Count {
            name: Show::as_str(show),
            n,
            path: wanted.at(&base, Some(show), None),
            chosen: wanted.show == Some(show),
        };
        let releases = matrix.sections.iter().map(|section| section.release.clone());
        let mut releases = choices(releases, &wanted.release);
        releases.dedup();
        let mut arches: Vec<String> =
            matrix.sections.iter().flat_map(|section| section.arches.clone()).collect();
        arches.sort_unstable();
        arches.dedup();
        page(&Page {
            crumbs: vec![],
            verdict: verdict(&matrix.counts, self.trigger.is_baseline()),
            open: self.is_open(),
            ends: matrix.ends.map(|ends| When::new(ends, now)),
            read: When::new(matrix.at, now),
            cut: matrix.cut.then_some(read::MOST),
            held: if self.is_open() { app.situation().await?.held_back() } else { vec![] },
            feed: trigger_feed(self.trigger.source.as_str(), &self.trigger.version),
            counts: part.counts.some().map(count).collect(),
            shows: Show::ALL.map(|show| (show.as_str(), wanted.show == Some(show))).into(),
            tests: matrix.tests,
            packages: part.packages,
            shown: rows.len(),
            releases,
            arches: choices(arches.into_iter(), &wanted.arch),
            tables: Table::list(&rows, now),
            first: wanted.after.is_some().then(|| wanted.at(&base, wanted.show, None)),
            next: part.next.as_ref().map(|next| self.next(&base, next)),
            wanted: wanted.clone(),
            trigger: self.trigger.clone(),
            base,
        })
    }

    fn is_open(&self) -> bool {
        self.matrix.counts.get(Show::Queued) + self.matrix.counts.get(Show::Running) > 0
    }
}

/// All that one upload set off
///
/// What blocks first: failures that were not there before, then what infrastructure failed, then failures that are known.
#[utoipa::path(get, path = "/api/v1/triggers/{source}/{version}", tag = "past",
    params(
        ("source" = String, Path, description = "The source package that was uploaded."),
        ("version" = String, Path, description = "Its version."),
        Wanted
    ),
    responses((status = OK, body = TriggerData)))]
pub(crate) async fn json(
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<TriggerData>, Failure> {
    let asked = Asked::read(&app, path, query.as_deref()).await?;
    let base =
        crate::view::path(&["api", "v1", "triggers", asked.trigger.source.as_str(), &asked.trigger.version]);
    asked.json(&app, &base).await
}

/// `/trigger/{source}/{version}`.
pub(crate) async fn get(
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let asked = Asked::read(&app, path, query.as_deref()).await?;
    let base = crate::view::path(&["trigger", asked.trigger.source.as_str(), &asked.trigger.version]);
    if wants_json(&headers) {
        return Ok(asked.json(&app, &base).await?.into_response());
    }
    asked.page(&app, base).await
}

#[cfg(test)]
mod tests {
    use super::{cells::Folds, *};
    use proofhouse_core::db::{SaidBefore, UploadJob, UploadResult};

    fn of(codes: &[i64], states: &[&str], said: Option<i64>) -> String {
        let result = |(n, code): (usize, &i64)| UploadResult {
            id: 1,
            container: "autopkgtest-noble".to_owned(),
            release: "noble".to_owned(),
            arch: "amd64".to_owned(),
            package: format!("done{n}"),
            run_id: "2026".to_owned(),
            exit_code: *code,
        };
        let job = |(n, state): (usize, &&str)| UploadJob {
            id: 1,
            release: "noble".to_owned(),
            arch: "amd64".to_owned(),
            package: format!("open{n}"),
            state: (*state).to_owned(),
            lane: None,
            body: String::new(),
        };
        let results = codes.iter().enumerate().map(result).collect();
        let mut folds = Folds::new(results, states.iter().enumerate().map(job).collect());
        let before = vec![SaidBefore { baseline: None, before: said }; folds.failing().len()];
        folds.judge(&before);
        verdict(&folds.finish(Timestamp::UNIX_EPOCH, false, None).counts, false)
    }

    #[test]
    fn what_blocks_in_words() {
        assert_eq!(of(&[0, 8], &[], None), "Nothing blocks it.");
        assert_eq!(of(&[0], &["waiting"], None), "Nothing blocks it so far, 1 still queued.");
        assert_eq!(
            of(&[4], &["running", "waiting"], Some(0)),
            "Blocked by 1 failure, 1 still queued, 1 running."
        );
        assert_eq!(of(&[4, 4], &[], None), "Blocked by 2 failures.");
        assert_eq!(of(&[4], &[], Some(6)), "Nothing blocks it. 1 failure was there before, too.");
        let unclear = "No failure blocks it, 2 without a verdict, for infrastructure failed.";
        assert_eq!(of(&[16], &["parked"], None), unclear);
    }
}
