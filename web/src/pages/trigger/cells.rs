//! The matrix of an upload: what it set off, folded into a cell for each test, and what blocks it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proofhouse_core::{
    db::{JobState, SaidBefore, TestBefore, UploadJob, UploadResult},
    names::Pair,
    outcome::{Class, ExitCode},
    request::Request,
};

/// What tests can be asked for by, in the order in which it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    Blocking,
    Fail,
    Known,
    Tmpfail,
    Error,
    Otherfail,
    Parked,
    Denylisted,
    Running,
    Queued,
    Neutral,
    Pass,
}

impl Show {
    pub(super) const ALL: [Self; 12] = [
        Self::Blocking,
        Self::Fail,
        Self::Known,
        Self::Tmpfail,
        Self::Error,
        Self::Otherfail,
        Self::Parked,
        Self::Denylisted,
        Self::Running,
        Self::Queued,
        Self::Neutral,
        Self::Pass,
    ];

    /// The word in addresses and in JSON.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::Fail => "fail",
            Self::Known => "known",
            Self::Tmpfail => "tmpfail",
            Self::Error => "error",
            Self::Otherfail => "otherfail",
            Self::Parked => "parked",
            Self::Denylisted => "denylisted",
            Self::Running => "running",
            Self::Queued => "queued",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|show| show.as_str() == name)
    }
}

impl From<Class> for Show {
    fn from(class: Class) -> Self {
        match class {
            Class::Pass => Self::Pass,
            Class::Neutral => Self::Neutral,
            Class::Fail => Self::Fail,
            Class::Tmpfail => Self::Tmpfail,
            Class::Error => Self::Error,
            Class::Denylisted => Self::Denylisted,
            Class::Otherfail => Self::Otherfail,
        }
    }
}

/// Some of [`Show`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shows(u16);

impl Shows {
    fn add(&mut self, show: Show) {
        self.0 |= 1 << show as u16;
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn has(self, show: Show) -> bool {
        self.0 & (1 << show as u16) != 0
    }

    /// How much it matters; [`GOOD`] least.
    pub(super) fn rank(self) -> u8 {
        let any = |shows: &[Show]| shows.iter().any(|show| self.has(*show));
        match self {
            _ if any(&[Show::Blocking]) => 0,
            _ if any(&[Show::Tmpfail, Show::Error, Show::Otherfail, Show::Parked]) => 1,
            _ if any(&[Show::Fail, Show::Denylisted]) => 2,
            _ if any(&[Show::Running]) => 3,
            _ if any(&[Show::Queued]) => 4,
            _ => GOOD,
        }
    }
}

/// The rank of a package whose tests all passed or had nothing to test.
pub(super) const GOOD: u8 = 5;

/// What a failure is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// The baseline, `migration-reference/0`, fails too.
    FailsInBaseline,
    /// It failed before this upload.
    FailedBefore,
    /// It passed before, or in the baseline.
    Passed,
    /// It never had its say before.
    New,
}

impl Judged {
    fn of(said: SaidBefore) -> Self {
        let fails = |code: i64| ExitCode(i32::try_from(code).unwrap_or(i32::MIN)).class() == Class::Fail;
        match (said.baseline.map(fails), said.before.map(fails)) {
            (Some(true), _) => Self::FailsInBaseline,
            (None, Some(true)) => Self::FailedBefore,
            (Some(false), _) | (None, Some(false)) => Self::Passed,
            (None, None) => Self::New,
        }
    }

    pub(super) const fn blocks(self) -> bool {
        matches!(self, Self::Passed | Self::New)
    }

    /// The word in JSON.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::FailsInBaseline => "fails-in-baseline",
            Self::FailedBefore => "failed-before",
            Self::Passed => "passed",
            Self::New => "new",
        }
    }

    /// The same for people.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::FailsInBaseline => "fails in the baseline, too",
            Self::FailedBefore => "failed before, too",
            Self::Passed => "passed before",
            Self::New => "never had its say before",
        }
    }
}

/// A test of a package on an architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Test {
    /// The place of its architecture in its section.
    pub(super) arch: usize,
    /// The number of the newest result.
    pub(super) result: Option<i64>,
    /// The number of the unfinished job that is furthest.
    pub(super) job: Option<i64>,
    pub(super) shows: Shows,
    pub(super) judged: Option<Judged>,
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) package: String,
    pub(super) tests: Vec<Test>,
}

/// A container: a release, or what was run with a PPA on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) release: String,
    pub(super) container: String,
    pub(super) arches: Vec<String>,
    /// By name.
    pub(super) rows: Vec<Row>,
}

/// All that an upload set off.
#[derive(Debug, Clone)]
pub(super) struct Matrix {
    /// When it was read.
    pub(super) at: Timestamp,
    pub(super) sections: Vec<Section>,
    pub(super) tests: usize,
    /// How many tests there are of each kind.
    pub(super) counts: Counts,
    /// Only the results that came last were read.
    pub(super) cut: bool,
    /// When what waits and runs should have ended; none where that cannot be told.
    pub(super) ends: Option<Timestamp>,
}

/// How many tests there are of each kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts([usize; Show::ALL.len()]);

impl Counts {
    pub(super) fn of<'a>(tests: impl Iterator<Item = &'a Test>) -> Self {
        let mut counts = [0; Show::ALL.len()];
        for test in tests {
            for show in Show::ALL {
                counts[show as usize] += usize::from(test.shows.has(show));
            }
        }
        Self(counts)
    }

    pub(super) const fn get(&self, show: Show) -> usize {
        self.0[show as usize]
    }

    /// Those that there are.
    pub(super) fn some(&self) -> impl Iterator<Item = (Show, usize)> {
        Show::ALL.into_iter().map(|show| (show, self.get(show))).filter(|(_, n)| *n > 0)
    }
}

/// A test while rows are folded.
#[derive(Debug, Default)]
struct Fold {
    newest: Option<(String, i64, Class)>,
    first: Option<String>,
    job: Option<(i64, JobState)>,
    judged: Option<Judged>,
}

/// Release and container, then package, then arch.
#[derive(Debug, Default)]
pub(super) struct Folds(BTreeMap<(String, String), BTreeMap<String, BTreeMap<String, Fold>>>);

/// The one that is further.
fn further(one: JobState, other: JobState) -> bool {
    let rank = |state| match state {
        JobState::Parked => 0,
        JobState::Waiting => 1,
        _ => 2,
    };
    rank(one) > rank(other)
}

/// The container that a job's results go to; none where that is private.
fn container(job: &UploadJob) -> Option<String> {
    if job.body.is_empty() {
        return Some(format!("autopkgtest-{}", job.release));
    }
    let request = Request::parse(job.body.as_bytes()).ok().filter(|request| !request.is_private())?;
    let pair = Pair { release: job.release.parse().ok()?, arch: job.arch.parse().ok()? };
    Some(request.container(&pair).to_string())
}

impl Folds {
    pub(super) fn new(results: Vec<UploadResult>, jobs: Vec<UploadJob>) -> Self {
        let mut folds = Self::default();
        for row in results.into_iter().filter(|row| !row.container.starts_with("private-")) {
            let class = ExitCode(i32::try_from(row.exit_code).unwrap_or(i32::MIN)).class();
            let test = folds.test(row.release, row.container, row.package, row.arch);
            if test.first.as_ref().is_none_or(|first| *first > row.run_id) {
                test.first = Some(row.run_id.clone());
            }
            if test.newest.as_ref().is_none_or(|(newest, ..)| *newest < row.run_id) {
                test.newest = Some((row.run_id, row.id, class));
            }
        }
        for job in jobs {
            let (Some(container), Ok(state)) = (container(&job), job.state.parse()) else { continue };
            let test = folds.test(job.release, container, job.package, job.arch);
            if test.job.is_none_or(|(_, known)| further(state, known)) {
                test.job = Some((job.id, state));
            }
        }
        folds
    }

    fn test(&mut self, release: String, container: String, package: String, arch: String) -> &mut Fold {
        self.0.entry((release, container)).or_default().entry(package).or_default().entry(arch).or_default()
    }

    /// The tests that fail, each with the first run of this upload: what was before says whether it blocks.
    pub(super) fn failing(&self) -> Vec<TestBefore<'_>> {
        let mut failing = Vec::new();
        for ((release, container), packages) in &self.0 {
            for (package, arches) in packages {
                for (arch, fold) in arches.iter().filter(|(_, fold)| fold.fails()) {
                    let run_id = fold.first.as_deref().unwrap_or_default();
                    failing.push(TestBefore { container, release, arch, package, run_id });
                }
            }
        }
        failing
    }

    /// Takes in what was before, in the same order.
    pub(super) fn judge(&mut self, said: &[SaidBefore]) {
        let packages = self.0.values_mut().flat_map(BTreeMap::values_mut);
        let failing = packages.flat_map(BTreeMap::values_mut).filter(|fold| fold.fails());
        for (fold, said) in failing.zip(said) {
            fold.judged = Some(Judged::of(*said));
        }
    }

    pub(super) fn finish(self, at: Timestamp, cut: bool, ends: Option<Timestamp>) -> Matrix {
        let sections: Vec<Section> = self.0.into_iter().map(section).collect();
        let all = || sections.iter().flat_map(|section| &section.rows).flat_map(|row| &row.tests);
        Matrix { at, tests: all().count(), counts: Counts::of(all()), cut, ends, sections }
    }
}

impl Fold {
    fn fails(&self) -> bool {
        self.newest.as_ref().is_some_and(|(.., class)| *class == Class::Fail)
    }

    fn test(self, arch: usize) -> Test {
        let mut shows = Shows::default();
        if let Some((.., class)) = &self.newest {
            shows.add((*class).into());
        }
        match self.judged {
            Some(judged) if judged.blocks() => shows.add(Show::Blocking),
            Some(_) => shows.add(Show::Known),
            None => {}
        }
        match self.job {
            Some((_, JobState::Waiting)) => shows.add(Show::Queued),
            Some((_, JobState::Parked)) => shows.add(Show::Parked),
            Some(_) => shows.add(Show::Running),
            None => {}
        }
        Test {
            arch,
            result: self.newest.map(|(_, id, _)| id),
            job: self.job.map(|(id, _)| id),
            shows,
            judged: self.judged,
        }
    }
}

fn section(
    ((release, container), packages): ((String, String), BTreeMap<String, BTreeMap<String, Fold>>),
) -> Section {
    let mut arches: Vec<String> = packages.values().flat_map(BTreeMap::keys).cloned().collect();
    arches.sort_unstable();
    arches.dedup();
    let place = |arch: &String| arches.binary_search(arch).unwrap_or_default();
    let row = |(package, tests): (String, BTreeMap<String, Fold>)| Row {
        package,
        tests: tests.into_iter().map(|(arch, fold)| fold.test(place(&arch))).collect(),
    };
    let rows = packages.into_iter().map(row).collect();
    Section { release, container, arches, rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(id: i64, package: &str, arch: &str, run_id: &str, exit_code: i64) -> UploadResult {
        UploadResult {
            id,
            container: "autopkgtest-noble".to_owned(),
            release: "noble".to_owned(),
            arch: arch.to_owned(),
            package: package.to_owned(),
            run_id: run_id.to_owned(),
            exit_code,
        }
    }

    fn job(id: i64, package: &str, state: &str, body: &str) -> UploadJob {
        UploadJob {
            id,
            release: "noble".to_owned(),
            arch: "amd64".to_owned(),
            package: package.to_owned(),
            state: state.to_owned(),
            lane: None,
            body: body.to_owned(),
        }
    }

    #[test]
    fn the_newest_run_counts_and_what_was_before_the_first_judges() {
        let results = vec![
            result(3, "green", "amd64", "2026-3", 4),
            result(9, "green", "amd64", "2026-1", 0),
            result(4, "green", "amd64", "2026-2", 6),
            result(5, "green", "arm64", "2026-2", 2),
        ];
        let mut folds = Folds::new(results, vec![]);
        let failing = folds.failing();
        let [test] = &failing[..] else { panic!("{failing:?}") };
        assert_eq!((test.arch, test.run_id), ("amd64", "2026-1"));
        folds.judge(&[SaidBefore { baseline: None, before: Some(0) }]);
        let matrix = folds.finish(Timestamp::UNIX_EPOCH, false, None);
        let [section] = &matrix.sections[..] else { panic!("{matrix:?}") };
        assert_eq!((section.arches.join(" ").as_str(), matrix.tests), ("amd64 arm64", 2));
        let tests = &section.rows[0].tests;
        assert_eq!((tests[0].result, tests[0].judged), (Some(3), Some(Judged::Passed)));
        assert!(tests[0].shows.has(Show::Blocking) && tests[0].shows.has(Show::Fail));
        assert_eq!((tests[1].shows.rank(), tests[1].shows.and(tests[0].shows).rank()), (GOOD, 0));
    }

    #[test]
    fn a_baseline_decides_before_what_was_before() {
        let judged = |baseline, before| Judged::of(SaidBefore { baseline, before });
        assert_eq!(judged(Some(4), Some(0)), Judged::FailsInBaseline);
        assert_eq!(judged(Some(8), Some(4)), Judged::Passed);
        assert_eq!(judged(None, Some(14)), Judged::FailedBefore);
        assert_eq!(judged(None, None), Judged::New);
        assert!(Judged::New.blocks() && !Judged::FailedBefore.blocks());
    }

    #[test]
    fn jobs_stand_beside_results_and_ppas_by_themselves() {
        let jobs = vec![
            job(1, "green", "waiting", ""),
            job(2, "green", "storing", ""),
            job(3, "green", "parked", ""),
            job(4, "green", "waiting", "green {\"ppas\": [\"own/name\"]}"),
            job(5, "hush", "waiting", "hush {\"ppas\": [\"own/name\"], \"swiftuser\": \"u\"}"),
        ];
        let folds = Folds::new(vec![result(7, "green", "amd64", "2026-1", 16)], jobs);
        let matrix = folds.finish(Timestamp::UNIX_EPOCH, false, None);
        let containers: Vec<&str> = matrix.sections.iter().map(|s| s.container.as_str()).collect();
        assert_eq!(containers, ["autopkgtest-noble", "autopkgtest-noble-own-name"]);
        let test = &matrix.sections[0].rows[0].tests[0];
        assert_eq!((test.result, test.job, test.shows.rank()), (Some(7), Some(2), 1));
        assert!(test.shows.has(Show::Running) && !test.shows.has(Show::Queued));
        assert_eq!(matrix.sections[1].rows[0].tests[0].job, Some(4));
        assert_eq!(matrix.tests, 2);
    }
}
