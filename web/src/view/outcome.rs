//! Outcomes and states as people tell them apart: symbol, word, then colour.

use std::fmt;

use askama::filters::HtmlSafe;
use proofhouse_core::{db::JobState, outcome::Class};

/// Symbol, word and colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) symbol: &'static str,
    pub(crate) word: &'static str,
}

impl From<Class> for Outcome {
    fn from(class: Class) -> Self {
        Self { symbol: class.symbol(), word: class.as_str() }
    }
}

impl From<JobState> for Outcome {
    fn from(state: JobState) -> Self {
        let (symbol, word) = match state {
            JobState::Waiting => ("◷", "queued"),
            JobState::Running => ("▶", "running"),
            JobState::Publishing | JobState::Storing => ("▶", "storing"),
            JobState::Done => ("✔", "done"),
            JobState::Parked => ("⚠", "parked"),
            JobState::Cancelled => ("⊘", "cancelled"),
            JobState::Obsolete => ("⊘", "obsolete"),
        };
        Self { symbol, word }
    }
}

impl Outcome {
    /// What runs in another system: only its messages say so.
    pub(crate) const RUNNING: Self = Self { symbol: "▶", word: "running" };
}

impl fmt::Display for Outcome {
    /// As HTML: both parts are constants of this program.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { symbol, word } = self;
        write!(f, "<span class=\"o {word}\"><span aria-hidden=\"true\">{symbol}</span> {word}</span>")
    }
}

impl HtmlSafe for Outcome {}
