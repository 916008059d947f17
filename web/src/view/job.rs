//! A job that is not done, as lists show it.

use jiff::Timestamp;
use proofhouse_core::request::Request;
use serde_json::Value;

use super::{Outcome, Requester, When, package_path, pair_path, path, python_str, trigger_path};
use crate::{log::plain, private::PublicJob};

/// A job that is not done.
#[derive(Debug, Clone)]
pub(crate) struct JobItem {
    pub(crate) uuid: String,
    pub(crate) path: String,
    pub(crate) package: String,
    pub(crate) package_path: String,
    pub(crate) pair_path: String,
    pub(crate) release: String,
    pub(crate) arch: String,
    pub(crate) context: String,
    /// The first upload that it is for; empty where there is none.
    pub(crate) trigger: String,
    pub(crate) trigger_path: Option<String>,
    pub(crate) outcome: Outcome,
    /// Name and value of each parameter.
    pub(crate) params: Vec<(String, String)>,
    pub(crate) requesters: Vec<Requester>,
    /// The page of the queue in which it waits, or waited.
    pub(crate) queue_path: String,
    pub(crate) received: When,
    pub(crate) changed: When,
    pub(crate) attempts: i64,
    pub(crate) reason: Option<String>,
}

/// The parameters that say what is tested: not who asked and when, which have places of their own.
pub(crate) fn shown_params(request: &Request) -> Vec<(String, String)> {
    const ELSEWHERE: [&str; 3] = ["requester", "uuid", "submit-time"];
    let shown = |value: &Value| match value {
        Value::Array(items) => items.iter().map(python_str).collect::<Vec<_>>().join(" "),
        other => python_str(other),
    };
    request
        .params()
        .iter()
        .filter(|(key, _)| !ELSEWHERE.contains(&key.as_str()))
        // Parameters that nobody knows are kept as they came.
        .map(|(key, value)| (plain(key), plain(&shown(value))))
        .collect()
}

impl JobItem {
    pub(crate) fn new(job: &PublicJob, now: Timestamp) -> Self {
        Self {
            uuid: job.uuid.clone(),
            path: path(&["run", &job.uuid]),
            package_path: package_path(&job.package),
            pair_path: pair_path(&job.package, &job.release, &job.arch),
            package: job.package.clone(),
            release: job.release.clone(),
            arch: job.arch.clone(),
            context: job.context.clone(),
            trigger: job.trigger.clone(),
            trigger_path: trigger_path(&job.trigger),
            outcome: job.state().into(),
            params: job.request().map(|r| shown_params(&r)).unwrap_or_default(),
            requesters: job.requesters.lines().map(Requester::new).collect(),
            queue_path: path(&["queue", &job.context, &job.release, &job.arch]),
            received: When::micros(job.received_us, now),
            changed: When::micros(job.changed_us, now),
            attempts: job.attempts,
            reason: job.reason.clone(),
        }
    }
}
