//! What is held back as a whole, for pages that everybody sees: who, since when, why.

use super::{
    super::{Cap, CapKind},
    Reason, Situation, timestamp,
};
use crate::names::Pool;

impl Situation {
    /// A sentence for each pause, for each cap that is reached, and for emergencies. None of them names a package, a trigger
    /// or a requester: it may be a private run's.
    pub fn held_back(&self) -> Vec<String> {
        let pauses = self.controls.pauses.iter().map(|pause| Reason::paused(pause).to_string());
        let mut pools: Vec<Pool> = self.serving.iter().flat_map(|worker| worker.pools.clone()).collect();
        pools.extend(self.lanes.iter().flat_map(|load| load.pools.iter().cloned()));
        pools.sort();
        pools.dedup();
        pools.retain(|pool| self.has_emergency(pool));
        let emergency = (!pools.is_empty()).then(|| Reason::Emergency { pools }.to_string());
        let caps = self.controls.caps.iter().filter(|cap| self.is_reached(cap)).map(in_words);
        let mut all: Vec<String> = emergency.into_iter().chain(pauses).chain(caps).collect();
        // Caps of several triggers read the same.
        all.dedup();
        all
    }

    /// True where it lets nothing more run, of at least one.
    fn is_reached(&self, cap: &Cap) -> bool {
        let Ok(kind) = cap.kind.parse::<CapKind>() else { return false };
        if cap.name != "*" {
            return self.told(kind, &cap.name).is_some();
        }
        let own =
            |name: &str| self.controls.caps.iter().any(|other| other.kind == cap.kind && other.name == name);
        cap.most <= 0 || self.in_use.names(kind).any(|name| !own(name) && self.told(kind, name).is_some())
    }
}

fn in_words(cap: &Cap) -> String {
    let since = timestamp(cap.since_us).strftime("%F %R UTC");
    let what = match cap.kind.as_str() {
        "pool" if cap.name != "*" => format!("in pool {}", cap.name),
        "pool" => "in each pool".to_owned(),
        kind if cap.name == "*" => format!("of each {kind}"),
        kind => format!("of one {kind}"),
    };
    match cap.most {
        ..=0 => format!("{} lets nothing {what} run, since {since}.", cap.person),
        most => format!("{} lets no more than {most} {what} run at once, since {since}.", cap.person),
    }
}
