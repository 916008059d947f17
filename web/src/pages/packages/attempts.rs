//! Attempts of a job, as its pages show them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proofhouse_core::{
    db::AttemptRow,
    layout::{Container, attempt_log},
    outcome::Fault,
    store::ListQuery,
};

use crate::{
    app::App,
    evidence::patiently,
    failure::Failure,
    private::PublicJob,
    view::{When, duration, path},
};

/// The attempts of a job.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attempts {
    pub(crate) items: Vec<AttemptItem>,
    /// After this one an operator had it retried; 0: never.
    pub(crate) retried_after: i64,
}

impl Attempts {
    pub(crate) async fn of(app: &App, job: &PublicJob, now: Timestamp) -> Result<Self, Failure> {
        let rows = app.db().attempts_of(job.id).await?;
        Ok(Self::new(app, job, &rows, now).await)
    }

    /// Of these rows of the job.
    pub(crate) async fn new(app: &App, job: &PublicJob, rows: &[AttemptRow], now: Timestamp) -> Self {
        let logs = Logs::of(app, &job.uuid, rows).await;
        let items = rows.iter().map(|row| AttemptItem::new(row, &logs, now)).collect();
        Self { items, retried_after: job.tried_before }
    }
}

/// The failed attempts' logs that the store gives out. None where it does not answer, or not to the site's account: the rest
/// of the page can be shown all the same.
pub(crate) struct Logs<'a> {
    uuid: &'a str,
    names: BTreeSet<String>,
}

impl<'a> Logs<'a> {
    /// Of these rows of the job.
    pub(crate) async fn of(app: &App, uuid: &'a str, rows: &[AttemptRow]) -> Self {
        if rows.iter().all(|row| row.fault.is_none()) {
            return Self { uuid, names: BTreeSet::new() };
        }
        let query = ListQuery { prefix: format!("{uuid}/"), ..ListQuery::default() };
        let entries = patiently(app.store().list(&Container::attempts(), &query)).await.here();
        Self { uuid, names: entries.iter().flatten().map(|entry| entry.name().to_owned()).collect() }
    }

    /// The path of the page of an attempt's log.
    pub(crate) fn path(&self, row: &AttemptRow) -> Option<String> {
        let is_stored = row.fault.is_some() && self.names.contains(&attempt_log(self.uuid, row.attempt));
        is_stored.then(|| log_path(self.uuid, row.attempt))
    }
}

/// An attempt.
#[derive(Debug, Clone)]
pub(crate) struct AttemptItem {
    pub(crate) number: i64,
    pub(crate) worker: String,
    /// Where it is not called as its worker.
    pub(crate) host: Option<String>,
    pub(crate) began: When,
    pub(crate) took: Option<String>,
    /// How it ended, in a sentence.
    pub(crate) end: String,
    pub(crate) failed: bool,
    /// The rule of the log that matched.
    pub(crate) rule: Option<String>,
    /// The page of its log.
    pub(crate) log_path: Option<String>,
}

impl AttemptItem {
    fn new(row: &AttemptRow, logs: &Logs<'_>, now: Timestamp) -> Self {
        let fault = row.fault.as_deref();
        let end = match (row.state.as_str(), fault) {
            ("running", _) => "running".to_owned(),
            ("publishing", _) => "storing its evidence".to_owned(),
            ("recorded", _) => "gave the result".to_owned(),
            (_, Some(fault)) => format!("no result: {}", sentence(fault)),
            (_, None) => "ended without a result".to_owned(),
        };
        Self {
            number: row.attempt,
            worker: row.worker.clone(),
            host: (row.host != row.worker).then(|| row.host.clone()),
            began: When::micros(row.granted_us, now),
            took: row.ended_us.map(|end| duration((end - row.granted_us) / 1_000_000)),
            end,
            failed: fault.is_some(),
            rule: row.rule.clone(),
            log_path: logs.path(row),
        }
    }
}

/// The page of a failed attempt's log.
pub(crate) fn log_path(uuid: &str, attempt: i64) -> String {
    path(&["run", uuid, "attempts", &attempt.to_string(), "log"])
}

/// A fault's name in words; one that a newer version wrote stays a name.
pub(crate) fn sentence(fault: &str) -> String {
    fault.parse::<Fault>().map_or_else(|_| fault.to_owned(), |fault| fault.sentence().to_owned())
}
