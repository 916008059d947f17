//! The log of a run while it runs, on its way from the worker to those who look (design, "The log while it runs").
//!
//! It costs nothing until somebody looks. A web asks the worker on its mailbox, and is answered on a queue of its own, which
//! nobody else may read. JSON; unknown fields are skipped.

use serde::{Deserialize, Serialize};

use crate::protocol::AttemptId;

/// How the names of the queues begin by which pieces come. They go nowhere else, whoever asks.
pub const READERS: &str = "proofhouse.web.";
/// How long a watch lasts, in seconds.
pub const WATCH_SECONDS: u64 = 75;
/// How often it is renewed, in seconds.
pub const RENEW_SECONDS: u64 = 30;
/// A worker that has nothing new says so after so many seconds.
pub const PULSE_SECONDS: u64 = 5;

/// From a web to a worker: send this log from here on, until the watch ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Whose log.
    pub watch: AttemptId,
    /// What the web has already, in bytes.
    pub from: u64,
    /// The queue to answer on.
    pub to: String,
}

/// From a worker to a web: what comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Whose log.
    pub id: AttemptId,
    /// What was sent before, in bytes: a reader that has less missed something, and asks again.
    pub after: u64,
    /// Where this begins, in bytes. What lies between was left out, for the log grew too fast.
    pub offset: u64,
    /// How many lines are whole before it.
    pub lines: u64,
    /// The bytes, base64, with secrets taken out; none from a worker that has nothing new.
    pub bytes: String,
    /// The log is complete.
    #[serde(default)]
    pub over: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Answered;

    #[test]
    fn they_are_told_from_other_messages_and_skip_what_is_new() {
        let watch = Watch { watch: AttemptId { job: 7, attempt: 2 }, from: 9, to: format!("{READERS}x") };
        let json = serde_json::to_string(&watch).unwrap();
        assert!(serde_json::from_str::<Answered>(&json).is_err());
        let newer = json.replacen('{', "{\"later\": 1,", 1);
        assert_eq!(serde_json::from_str::<Watch>(&newer).unwrap(), watch);
        let leader = r#"{"epoch": 1, "answer": "leader"}"#;
        assert!(serde_json::from_str::<Watch>(leader).is_err());
        let piece = r#"{"id": {"job": 7, "attempt": 2}, "after": 1, "offset": 1, "lines": 0, "bytes": ""}"#;
        assert!(!serde_json::from_str::<Piece>(piece).unwrap().over);
    }
}
