//! What runs and waits, collapsed by the upload that it is for.

use std::collections::HashMap;

use proofhouse_core::db::GateCount;

use super::Wanted;
use crate::{live::Now, pages::filter::address, view::trigger_path};

/// So many have rows of their own: those of which most is open.
const MOST: usize = 20;
/// So many more are named.
const NAMED: usize = 1000;

/// Uploads for which something runs or waits.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    pub(super) first: Vec<TriggerSum>,
    /// Those of which less is open.
    pub(super) others: Vec<TriggerSum>,
    /// How many are not named.
    pub(super) more: usize,
}

/// What runs and waits for an upload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TriggerSum {
    pub(crate) name: String,
    /// Of its page.
    pub(super) path: Option<String>,
    /// Of what runs for it.
    pub(super) only: String,
    pub(crate) running: usize,
    pub(crate) waiting: i64,
}

impl Triggers {
    /// By the first upload of each run. Where a package is asked for nothing is known of what waits: then there are none.
    pub(crate) fn of(now: &Now, gates: &[GateCount], wanted: &Wanted) -> Self {
        if !wanted.package.is_empty() || !wanted.trigger.is_empty() || wanted.after.is_some() {
            return Self::default();
        }
        let is = |wanted: &str, one: &str| wanted.is_empty() || wanted == one;
        let fits = |release: &str, arch: &str, context: &str| {
            is(&wanted.release, release) && is(&wanted.arch, arch) && is(&wanted.context, context)
        };
        let mut sums: HashMap<&str, (usize, i64)> = HashMap::new();
        for live in now.runs.iter().filter(|live| fits(&live.release, &live.arch, &live.context)) {
            if let Some(trigger) = live.triggers().next() {
                sums.entry(trigger).or_default().0 += 1;
            }
        }
        let gates = gates.iter().filter(|gate| fits(&gate.release, &gate.arch, &gate.context));
        for gate in gates.filter(|gate| !gate.of.trigger.is_empty() && gate.of.waiting > 0) {
            sums.entry(&gate.of.trigger).or_default().1 += gate.of.waiting;
        }
        let sum = |(name, (running, waiting)): (&str, (usize, i64))| TriggerSum {
            name: name.to_owned(),
            path: trigger_path(name),
            only: address(
                "/running",
                &[
                    ("release", &wanted.release),
                    ("arch", &wanted.arch),
                    ("context", &wanted.context),
                    ("trigger", name),
                ],
            ),
            running,
            waiting,
        };
        let mut first: Vec<TriggerSum> = sums.into_iter().map(sum).collect();
        let all = |sum: &TriggerSum| sum.waiting.saturating_add_unsigned(sum.running as u64);
        first.sort_unstable_by(|one, other| (all(other), &one.name).cmp(&(all(one), &other.name)));
        let mut others = first.split_off(first.len().min(MOST));
        let more = others.len().saturating_sub(NAMED);
        others.truncate(NAMED);
        Self { first, others, more }
    }

    /// Those that are named, and how many are not.
    pub(crate) fn all(self) -> (impl Iterator<Item = TriggerSum>, usize) {
        (self.first.into_iter().chain(self.others), self.more)
    }
}
