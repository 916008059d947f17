//! The closed list of reasons. Their names in JSON are stable; see docs/reference/waiting.md.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    super::{CapKind, Pause},
    timestamp,
};
use crate::names::Pool;

/// Why a job waits. None of it names anything of a private run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Reason {
    /// For a free slot in one of these pools.
    Slot {
        /// Those with workers that take work.
        pools: Vec<Pool>,
    },
    /// An operator holds it back.
    Paused {
        /// What is paused: `all of noble/amd64`.
        what: String,
        /// Who did it.
        by: String,
        /// Why.
        why: String,
        /// Since when.
        since: Timestamp,
    },
    /// No worker serves a pool that could run it.
    NoWorker {
        /// The pools that could.
        pools: Vec<Pool>,
    },
    /// All workers of these pools drain, or cannot take work.
    WorkersUnable {
        /// The pools.
        pools: Vec<Pool>,
    },
    /// As many run as may.
    Cap {
        /// What the cap counts by.
        kind: CapKind,
        /// Of which one; none where that is a private run's.
        name: Option<String>,
        /// So many run.
        running: usize,
        /// So many may.
        most: usize,
    },
    /// The last attempt failed for a reason that is not the package's; the next one comes after a pause.
    NextAttempt {
        /// When it may be offered again.
        at: Timestamp,
    },
    /// Slots are free on hosts on which it failed, or which are set aside; it waits for another host.
    HostsAside {
        /// The pools.
        pools: Vec<Pool>,
    },
    /// An emergency waits or runs in all pools that may run it.
    Emergency {
        /// The pools.
        pools: Vec<Pool>,
    },
    /// No dispatcher has looked at it yet.
    Unsorted {
        /// One leads: it will look at once.
        leader: bool,
    },
    /// It is answered without a run, once another publication of its series is stored.
    Answer,
}

impl Reason {
    pub(super) fn paused(pause: &Pause) -> Self {
        Self::Paused {
            what: pause.in_words(),
            by: pause.person.clone(),
            why: pause.reason.clone(),
            since: timestamp(pause.since_us),
        }
    }

    /// The names in JSON.
    pub const NAMES: [&str; 10] = [
        "slot",
        "paused",
        "no-worker",
        "workers-unable",
        "cap",
        "next-attempt",
        "hosts-aside",
        "emergency",
        "unsorted",
        "answer",
    ];

    /// Its name in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Slot { .. } => "slot",
            Self::Paused { .. } => "paused",
            Self::NoWorker { .. } => "no-worker",
            Self::WorkersUnable { .. } => "workers-unable",
            Self::Cap { .. } => "cap",
            Self::NextAttempt { .. } => "next-attempt",
            Self::HostsAside { .. } => "hosts-aside",
            Self::Emergency { .. } => "emergency",
            Self::Unsorted { .. } => "unsorted",
            Self::Answer => "answer",
        }
    }
}

/// `pool amd64`, `pools amd64 and big`.
struct Pools<'a>(&'a [Pool]);

impl fmt::Display for Pools<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("any pool"),
            [one] => write!(f, "pool {one}"),
            [rest @ .., last] => {
                let rest: Vec<&str> = rest.iter().map(AsRef::as_ref).collect();
                write!(f, "pools {} and {last}", rest.join(", "))
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot { pools } => write!(f, "It waits for a free slot in {}.", Pools(pools)),
            Self::Paused { what, by, why, since } => {
                let stop = if why.ends_with(['.', '!', '?']) { "" } else { "." };
                write!(f, "{by} paused {what} at {}: {why}{stop}", since.strftime("%F %R UTC"))
            }
            Self::NoWorker { pools } => write!(f, "No worker serves {}.", Pools(pools)),
            Self::WorkersUnable { pools } => {
                write!(f, "The workers of {} take no new work just now.", Pools(pools))
            }
            Self::Cap { kind: CapKind::Pool, name, most: 0, .. } => {
                write!(f, "A cap lets nothing run in {}.", name.as_deref().unwrap_or("its pool"))
            }
            Self::Cap { kind, name, most: 0, .. } => match name {
                Some(name) => write!(f, "A cap lets nothing of {kind} {name} run."),
                None => write!(f, "A cap lets nothing of its {kind} run."),
            },
            Self::Cap { kind: CapKind::Pool, name, running, most } => {
                let name = name.as_deref().unwrap_or("its pool");
                write!(f, "{running} run in {name}, and no more than {most} may at once.")
            }
            Self::Cap { kind, name, running, most } => {
                let name = name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
                write!(f, "{running} of the same {kind}{name} run, and no more than {most} may at once.")
            }
            Self::NextAttempt { at } => write!(
                f,
                "The last attempt failed for a reason that is not the package's. It is tried again at {}.",
                at.strftime("%F %T UTC")
            ),
            Self::HostsAside { pools } => write!(
                f,
                "It waits for another host in {}: it failed on those that are free, or they are set aside.",
                Pools(pools)
            ),
            Self::Emergency { pools } => {
                write!(f, "An emergency goes first in {}; nothing else starts there.", Pools(pools))
            }
            Self::Unsorted { leader: true } => f.write_str("The dispatcher is about to look at it."),
            Self::Unsorted { leader: false } => {
                f.write_str("No dispatcher leads; one has to look at it first.")
            }
            Self::Answer => f.write_str(
                "It is answered without a run, once what is being published of the same package is stored.",
            ),
        }
    }
}
