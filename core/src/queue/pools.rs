//! Which pools may run a job: rules from release, arch, context, lists and labels to pools.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Class, Lane};
use crate::{
    names::{Arch, Context, Pair, Pool, Release},
    protocol::Listed,
    request::Request,
};

/// The rules, by pool. A pool may run what its rule names; several pools may run one job.
///
/// An architecture that has no rule under its own name is a pool of this name, which runs everything of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolRules {
    rules: BTreeMap<Pool, Rule>,
    asked: BTreeSet<String>,
}

/// What a pool takes. An empty list asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Rule {
    arches: BTreeSet<Arch>,
    releases: BTreeSet<Release>,
    contexts: BTreeSet<Context>,
    /// `big_packages`, or `!big_packages` for what is not on that list.
    lists: BTreeSet<String>,
    /// `private`, `!private`.
    labels: BTreeSet<String>,
}

/// What is wrong with a file of pool rules.
#[derive(Debug, thiserror::Error)]
pub enum BadPools {
    /// Not TOML, or not of this form.
    #[error("{0}")]
    Form(#[from] toml::de::Error),
    /// A pool's name.
    #[error(transparent)]
    Name(#[from] crate::names::BadName),
    /// Nothing is on such a list, or has such a label.
    #[error("pool {pool}: there is no {what} {name:?}; there are {known}")]
    Unknown {
        /// Whose rule.
        pool: Pool,
        /// "list" or "label".
        what: &'static str,
        /// What the rule says.
        name: String,
        /// What can be said.
        known: String,
    },
}

const LISTS: [&str; 3] = ["big_packages", "long_tests", "vm_packages"];
const LABELS: [&str; 7] = ["people", "gates", "bulk", "baseline", "git", "ppa", "private"];

/// What is said of a job by lists and by its request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(BTreeSet<&'static str>);

impl Labels {
    /// Of a request.
    pub fn of(request: &Request, class: Class, listed: Listed) -> Self {
        let all = [
            ("big_packages", listed.big),
            ("long_tests", listed.long),
            ("vm_packages", listed.vm),
            (class.as_str(), true),
            ("baseline", request.is_baseline()),
            ("git", request.is_volatile()),
            ("ppa", !request.ppas.is_empty()),
            ("private", request.is_private()),
        ];
        Self(all.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect())
    }
}

impl PoolRules {
    /// Reads a file: a table for each pool, with `arches`, `releases`, `contexts`, `lists`, `labels`.
    pub fn parse(text: &str) -> Result<Self, BadPools> {
        let named: BTreeMap<String, Rule> = toml::from_str(text)?;
        let mut rules = Self::default();
        for (name, rule) in named {
            let pool: Pool = name.parse()?;
            for (what, said, known) in
                [("list", &rule.lists, &LISTS[..]), ("label", &rule.labels, &LABELS[..])]
            {
                for name in said {
                    let plain = name.trim_start_matches('!');
                    if !known.contains(&plain) {
                        let (name, known) = (name.clone(), known.join(", "));
                        return Err(BadPools::Unknown { pool, what, name, known });
                    }
                    rules.asked.insert(plain.to_owned());
                }
            }
            rules.rules.insert(pool, rule);
        }
        Ok(rules)
    }

    /// All pools of these pairs.
    pub fn pools<'a>(&self, pairs: impl IntoIterator<Item = &'a Pair>) -> BTreeSet<Pool> {
        let arches = pairs.into_iter().map(|pair| Self::pool_of(&pair.arch));
        self.rules.keys().cloned().chain(arches).collect()
    }

    /// The pool that an architecture is where no rule says otherwise.
    pub fn pool_of(arch: &Arch) -> Pool {
        arch.as_str().parse().unwrap_or_else(|_| unreachable!("an architecture's name is a pool's name"))
    }

    /// Those labels that a rule asks for, as a lane has them.
    pub fn lane_labels(&self, labels: &Labels) -> String {
        let asked: Vec<&str> = labels.0.iter().copied().filter(|l| self.asked.contains(*l)).collect();
        asked.join(",")
    }

    /// The pools that may run what stands in a lane.
    pub fn pools_of(&self, lane: &Lane) -> Vec<Pool> {
        let mut pools: Vec<Pool> =
            self.rules.iter().filter(|(_, rule)| rule.takes(lane)).map(|(pool, _)| pool.clone()).collect();
        let own = Self::pool_of(&lane.pair.arch);
        if !self.rules.contains_key(&own) {
            pools.push(own);
        }
        pools
    }
}

impl Rule {
    fn takes(&self, lane: &Lane) -> bool {
        fn among<T: Ord>(allowed: &BTreeSet<T>, one: &T) -> bool {
            allowed.is_empty() || allowed.contains(one)
        }
        let has = |label: &str| lane.labels.split(',').any(|l| l == label);
        let fits = |asked: &String| asked.strip_prefix('!').map_or_else(|| has(asked), |label| !has(label));
        among(&self.arches, &lane.pair.arch)
            && among(&self.releases, &lane.pair.release)
            && among(&self.contexts, &lane.context)
            && self.lists.iter().chain(&self.labels).all(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(rules: &PoolRules, lane: &str) -> Vec<String> {
        rules.pools_of(&lane.parse().unwrap()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_arch_is_a_pool_where_nothing_else_is_said() {
        assert_eq!(pools(&PoolRules::default(), "0 gates ubuntu noble/amd64 - green/2"), ["amd64"]);
    }

    #[test]
    fn rules_by_everything_a_lane_says() {
        let rules = PoolRules::parse(
            "[big]\narches = ['amd64']\nlists = ['big_packages']\n[amd64]\narches = ['amd64']\nlists = ['!big_packages']\n\
             [fast]\nreleases = ['noble']\ncontexts = ['ubuntu']\nlabels = ['!private']\n",
        )
        .unwrap();
        for (lane, expected) in [
            ("0 gates ubuntu noble/amd64 - green/2", &["amd64", "fast"][..]),
            ("0 gates ubuntu noble/amd64 big_packages green/2", &["big", "fast"]),
            ("0 gates ppa noble/amd64 private green/2", &["amd64"]),
            ("0 gates ubuntu noble/arm64 - green/2", &["fast", "arm64"]),
        ] {
            assert_eq!(pools(&rules, lane), expected, "{lane}");
        }
        let request = Request::plain("green".parse().unwrap());
        let labels =
            Labels::of(&request, Class::Gates, Listed { big: true, long: true, ..Listed::default() });
        assert_eq!(rules.lane_labels(&labels), "big_packages");
    }

    #[test]
    fn what_does_not_exist_is_named() {
        let error = PoolRules::parse("[a]\nlabels = ['privat']").unwrap_err().to_string();
        assert!(error.contains("\"privat\"") && error.contains("private"), "{error}");
        assert!(PoolRules::parse("[a]\nlist = []").is_err() && PoolRules::parse("['a b']").is_err());
    }
}
