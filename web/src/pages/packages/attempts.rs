//! Attempts of a job, as its pages show them.

use jiff::Timestamp;
use proofhouse_core::{db::AttemptRow, outcome::Fault};

use crate::view::{When, duration};

/// An attempt.
#[derive(Debug, Clone)]
pub(crate) struct AttemptItem {
    pub(crate) number: i64,
    pub(crate) worker: String,
    pub(crate) began: When,
    pub(crate) took: Option<String>,
    /// How it ended, in a sentence.
    pub(crate) end: String,
    pub(crate) failed: bool,
}

impl AttemptItem {
    pub(crate) fn new(row: &AttemptRow, now: Timestamp) -> Self {
        let fault = row.fault.as_deref();
        let end = match (row.state.as_str(), fault) {
            ("running", _) => "running".to_owned(),
            ("publishing", _) => "storing its evidence".to_owned(),
            ("recorded", _) => "gave the result".to_owned(),
            (_, Some(fault)) => sentence(fault),
            (_, None) => "ended without a result".to_owned(),
        };
        Self {
            number: row.attempt,
            worker: row.worker.clone(),
            began: When::micros(row.granted_us, now),
            took: row.ended_us.map(|end| duration((end - row.granted_us) / 1_000_000)),
            end,
            failed: fault.is_some(),
        }
    }
}

/// A fault's name in words; one that a newer version wrote stays a name.
fn sentence(fault: &str) -> String {
    serde_json::from_value::<Fault>(fault.into())
        .map_or_else(|_| fault.to_owned(), |f| f.sentence().to_owned())
}
