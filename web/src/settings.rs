//! What the site has to know.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use proofhouse_core::{
    config::Network,
    intake::Intake,
    names::{Arch, Pair, Release},
    params::SwiftUser,
    queue::PoolRules,
};
use url::Url;

/// What the site has to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The site's address as people see it: links in answers to scripts begin with it.
    pub site: Url,
    /// The pairs that are served, those that are switched off among them.
    pub pairs: BTreeSet<Pair>,
    /// The pairs that are switched off: their requests are answered with exit code 99.
    pub disabled: BTreeSet<Pair>,
    /// The way in, shared with the dispatcher.
    pub intake: Arc<Intake>,
    /// Who may read private containers in the store; without one nobody can ask for a private run here.
    pub swiftuser: Option<SwiftUser>,
    /// Requests without a token are taken. Only on a loopback address: [`crate::run`] refuses any other.
    pub open: bool,
    /// After so long a parked job's gate is told of it, as the dispatcher is configured; none: never.
    pub parked_answer: Option<Duration>,
    /// Which pools may run what, as the dispatcher is configured.
    pub pools: Arc<PoolRules>,
    /// How many requests one person may make in an hour.
    pub requests_per_hour: i64,
    /// Proxies that are believed in whom they ask for.
    pub trusted_proxies: Vec<Network>,
    /// How many pages a second one address may ask for; 0: as many as it likes.
    pub address_rate: u32,
}

impl Settings {
    /// An absolute address of this site; `path` begins with `/`.
    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}{path}", self.site.as_str().trim_end_matches('/'))
    }

    /// The releases that are served.
    pub(crate) fn releases(&self) -> Vec<&Release> {
        let releases: BTreeSet<&Release> = self.pairs.iter().map(|p| &p.release).collect();
        releases.into_iter().collect()
    }

    /// The architectures that are served.
    pub(crate) fn arches(&self) -> Vec<&Arch> {
        let arches: BTreeSet<&Arch> = self.pairs.iter().map(|p| &p.arch).collect();
        arches.into_iter().collect()
    }
}
