//! What a process depends on, and whether it is there: the truth behind `/healthz` and `/readyz`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The state of one process. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    started: bool,
    conditions: BTreeMap<&'static str, Result<(), String>>,
}

/// Something that must hold for the process to do its work, such as a link to a server.
#[derive(Debug, Clone)]
pub struct Condition {
    name: &'static str,
    health: Health,
}

/// What can be said at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Everything that is configured exists and is served.
    pub started: bool,
    /// Each condition with the reason why it does not hold.
    pub conditions: Vec<(&'static str, Result<(), String>)>,
}

impl Report {
    /// True where the process can do its work.
    pub fn is_ready(&self) -> bool {
        self.started && self.conditions.iter().all(|(_, state)| state.is_ok())
    }
}

impl Health {
    /// A process that has not started.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a condition that does not hold yet. Of a name that is there already, the same one.
    pub fn condition(&self, name: &'static str) -> Condition {
        self.state().conditions.entry(name).or_insert_with(|| Err("not reached yet".to_owned()));
        Condition { name, health: self.clone() }
    }

    /// Everything that is configured exists now: `/healthz` answers 200 from here on.
    pub fn started(&self) {
        self.state().started = true;
    }

    /// What holds now.
    pub fn report(&self) -> Report {
        let state = self.state();
        let conditions = state.conditions.iter().map(|(name, c)| (*name, c.clone())).collect();
        Report { started: state.started, conditions }
    }
}

impl Condition {
    /// It holds. Logged when it is new.
    pub fn holds(&self) {
        if self.set(&Ok(())) {
            tracing::info!(condition.name = self.name, "{} is there", self.name);
        }
    }

    /// It does not, and why; no secrets. Logged when it is new, however often it is said.
    pub fn fails(&self, reason: impl Into<String>) {
        let reason = reason.into();
        if self.set(&Err(reason.clone())) {
            tracing::warn!(condition.name = self.name, condition.reason = reason, "{}: {reason}", self.name);
        }
    }

    fn set(&self, new: &Result<(), String>) -> bool {
        self.health.state().conditions.insert(self.name, new.clone()).as_ref() != Some(new)
    }
}
