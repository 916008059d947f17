//! A result, as lists and its own page show it.

use super::{
    Outcome, When, container_path, duration, package_path, pair_path, path, results_path, run_path, user_path,
};
use crate::{log::plain, private::PublicResult};
use jiff::Timestamp;
use proofhouse_core::{
    db::ResultRow,
    layout::file,
    outcome::{ExitCode, decided_by},
    run_id::RunId,
};

/// A result.
#[derive(Debug, Clone)]
pub(crate) struct ResultItem {
    pub(crate) package: String,
    pub(crate) release: String,
    pub(crate) arch: String,
    pub(crate) run_id: String,
    pub(crate) path: String,
    pub(crate) package_path: String,
    pub(crate) pair_path: String,
    pub(crate) log_path: String,
    pub(crate) artifacts_path: Option<String>,
    pub(crate) outcome: Outcome,
    pub(crate) exit_code: i64,
    /// None where another system wrote it.
    pub(crate) decided_by: Option<DecidedBy>,
    pub(crate) version: String,
    pub(crate) triggers: Vec<String>,
    pub(crate) env: String,
    pub(crate) requester: Option<Requester>,
    pub(crate) when: Option<When>,
    pub(crate) duration: String,
    /// The same as a number.
    pub(crate) seconds: i64,
    /// The container, where it is not the release's own, and the page of its PPA: a run with PPAs.
    pub(crate) ppa_container: Option<(String, Option<String>)>,
}

/// What the address of a run with PPAs has behind it: a run id is unique within its container only.
fn container_query(row: &ResultRow) -> String {
    if row.container == format!("autopkgtest-{}", row.release) {
        return String::new();
    }
    format!("?container={}", path(&[&row.container]).trim_start_matches('/'))
}

/// The page of a result.
pub(crate) fn result_path(row: &ResultRow) -> String {
    let page = run_path(&row.package, &row.release, &row.arch, &row.run_id);
    format!("{page}{}", container_query(row))
}

impl ResultItem {
    pub(crate) fn new(row: &PublicResult, now: Timestamp) -> Self {
        let (package, release, arch, run_id) = (&row.package, &row.release, &row.arch, &row.run_id);
        let base = run_path(package, release, arch, run_id);
        let query = container_query(row);
        Self {
            path: format!("{base}{query}"),
            log_path: format!("{base}/log{query}"),
            package_path: package_path(package),
            pair_path: pair_path(package, release, arch),
            // What did not run left nothing.
            artifacts_path: row
                .place()
                .filter(|_| row.code() != ExitCode::NOT_RUN)
                .map(|(series, id)| results_path(&series.container, &series.object(&id, file::ARTIFACTS))),
            package: package.clone(),
            release: release.clone(),
            arch: arch.clone(),
            run_id: run_id.clone(),
            outcome: row.class().into(),
            exit_code: row.exit_code,
            decided_by: row.rule.clone().map(|rule| DecidedBy { rule, called_off: row.called_off.clone() }),
            // Other systems' results say what they like.
            version: plain(&row.version),
            triggers: row.triggers.iter().flat_map(|t| t.split(' ')).map(plain).collect(),
            env: row.env.as_deref().map(plain).unwrap_or_default(),
            requester: row.requester.as_deref().filter(|r| !r.is_empty()).map(Requester::new),
            when: run_id.parse::<RunId>().ok().and_then(|id| id.time()).map(|at| When::new(at, now)),
            duration: duration(row.duration_seconds),
            seconds: row.duration_seconds,
            ppa_container: (!query.is_empty())
                .then(|| (row.container.clone(), container_path(release, &row.container))),
        }
    }

    pub(crate) fn list(rows: &[PublicResult], now: Timestamp) -> Vec<Self> {
        rows.iter().map(|row| Self::new(row, now)).collect()
    }
}

/// Somebody, and their page.
#[derive(Debug, Clone)]
pub(crate) struct Requester {
    pub(crate) name: String,
    pub(crate) path: String,
}

impl Requester {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: plain(name), path: user_path(name) }
    }
}

/// What decided that it is a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DecidedBy {
    rule: String,
    /// An operator's reason.
    called_off: Option<String>,
}

impl DecidedBy {
    fn words(&self) -> Option<&'static str> {
        match self.rule.as_str() {
            decided_by::EXIT_CODE => Some("its exit code"),
            decided_by::NEVER_RUN => Some("a list of packages that are never run"),
            decided_by::SWITCHED_OFF => Some("the release and architecture, which are switched off"),
            decided_by::BAD_REQUEST => Some("the request, which could not be read whole"),
            decided_by::RUN_THREADS => Some("its processes, which were too many: it was killed"),
            decided_by::RUN_DISK => Some("the disk space that it took: it was killed"),
            decided_by::RUN_OUTPUT => Some("the size of its log and artifacts: it was killed"),
            decided_by::PARKED => {
                Some("the time for which it was parked: infrastructure kept it from running")
            }
            _ => None,
        }
    }

    fn is_called_off(&self) -> bool {
        self.rule == decided_by::CANCELLED
    }

    /// What it did.
    pub(crate) fn deed(&self) -> &'static str {
        if self.is_called_off() { "Called off by" } else { "Decided by" }
    }

    /// In words.
    pub(crate) fn text(&self) -> String {
        if self.is_called_off() {
            return decided_by::called_off_by(self.called_off.as_deref());
        }
        self.words().unwrap_or("a rule of the log:").to_owned()
    }

    /// The rule's name, where it was a rule of the log.
    pub(crate) fn rule(&self) -> Option<&str> {
        (self.words().is_none() && !self.is_called_off()).then_some(self.rule.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rules_of_the_log_have_names() {
        let by = |name: &str| DecidedBy { rule: name.to_owned(), called_off: None };
        assert_eq!(by("kernel-panic").rule(), Some("kernel-panic"));
        assert_eq!(by("kernel-panic").text(), "a rule of the log:");
        for name in ["exit-code", "never-run", "switched-off", "bad-request", "parked", "cancelled"] {
            assert_eq!(by(name).rule(), None, "{name}");
        }
        let off = DecidedBy { called_off: Some("no machines".to_owned()), ..by("cancelled") };
        assert_eq!((off.deed(), off.text().as_str()), ("Called off by", "an operator: no machines"));
        assert_eq!((by("cancelled").text().as_str(), by("parked").deed()), ("an operator", "Decided by"));
    }
}
