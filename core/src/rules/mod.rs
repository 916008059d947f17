//! Rules that read a log: whether archive and network failed, or the tested software broke its testbed.
//!
//! Facts: contract "Whose fault was it". [`Rules`] are data with names, [`Scanner`] reads a log while it streams by,
//! [`Findings::decide`] says which rule is about a run's end.

mod file;
mod line;
mod scan;
mod sections;

use std::{
    fs,
    path::Path,
    sync::{Arc, LazyLock},
};

use globset::GlobMatcher;
use regex::bytes::{RegexSet, RegexSetBuilder};
use serde::{Deserialize, Serialize};

pub use self::{
    file::BadRules,
    scan::{Findings, Match, Scanner},
};
use crate::{
    config::Mistake,
    names::Package,
    outcome::{Class, ExitCode, RuleHit, RuleVerdict},
};

/// The shipped rules, as the file that they are.
pub const SHIPPED: &str = include_str!("defaults.toml");

/// The shipped rule about testbeds whose kernel had to kill for want of memory.
pub const OUT_OF_MEMORY: &str = "out-of-memory";

static DEFAULTS: LazyLock<Rules> = LazyLock::new(|| {
    let shipped = file::shipped().expect("the shipped rules are read by a test");
    Rules::new(shipped).expect("the shipped rules are small")
});

/// Which lines of a log a rule reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reads {
    /// Those that no test printed: autopkgtest's own, and those of the commands that prepare the testbed.
    Autopkgtest,
    /// All: what a kernel says may stand in a test's output.
    Everything,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name, `[a-z0-9-]+`; results and pages say it.
    pub name: String,
    /// What it says where it matches.
    pub verdict: RuleVerdict,
    /// The regular expression that a line must match.
    pub pattern: String,
    /// The exit codes that it is about.
    pub exit_codes: Vec<ExitCode>,
    /// The lines that it reads.
    pub reads: Reads,
    /// Packages whose tests are about such things, as globs.
    pub not_for: Vec<String>,
    /// A sentence for people.
    pub why: String,
    /// True where it comes with the program.
    pub shipped: bool,
    globs: Vec<GlobMatcher>,
}

impl Rule {
    /// True where it says something about this exit code of this package.
    pub fn is_about(&self, exit_code: ExitCode, package: &Package) -> bool {
        self.exit_codes.contains(&exit_code) && !self.globs.iter().any(|glob| glob.is_match(package.as_str()))
    }

    fn hit(&self) -> RuleHit {
        RuleHit { name: self.name.clone(), verdict: self.verdict }
    }
}

/// The classes of exit codes that a verdict can change (see [`judge`](crate::outcome::judge)).
const fn class_of(verdict: RuleVerdict) -> Class {
    match verdict {
        RuleVerdict::Infrastructure => Class::Fail,
        RuleVerdict::Package => Class::Tmpfail,
    }
}

/// Rules in their order: the first that is about a run's end decides. Clones share everything, what the patterns need while
/// they are looked for included.
#[derive(Debug, Clone)]
pub struct Rules {
    rules: Arc<[Rule]>,
    patterns: Arc<RegexSet>,
}

impl Default for Rules {
    /// The shipped ones.
    fn default() -> Self {
        DEFAULTS.clone()
    }
}

impl Rules {
    fn new(rules: Vec<Rule>) -> Result<Self, regex::Error> {
        // Unicode's word boundaries would make every line with an umlaut slow.
        let patterns = RegexSetBuilder::new(rules.iter().map(|rule| &rule.pattern)).unicode(false).build()?;
        Ok(Self { rules: rules.into(), patterns: patterns.into() })
    }

    /// The rules of a file, and behind them the shipped ones that it does not switch off.
    ///
    /// # Errors
    /// All mistakes that were found, with their places.
    pub fn load(path: &Path) -> Result<Self, BadRules> {
        let text = fs::read_to_string(path).map_err(|error| {
            BadRules(vec![Mistake::new(format!("{}: cannot be read: {error}", path.display()))])
        })?;
        Self::parse(&text, path)
    }

    /// [`Rules::load`] of a text; `path` is for messages.
    ///
    /// # Errors
    /// All mistakes that were found, with their places.
    pub fn parse(text: &str, path: &Path) -> Result<Self, BadRules> {
        let rules = file::parse(text, path, Self::default().rules.to_vec())?;
        Self::new(rules).map_err(|error| BadRules(vec![Mistake::new(format!("{}: {error}", path.display()))]))
    }

    /// All rules, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_about_exit_codes_and_not_about_some_packages() {
        let text = "[[rule]]\nname = \"n\"\nverdict = \"infrastructure\"\nmatch = \"x\"\nwhy = \"w\"\n\
                    exit_codes = [4, 12]\nnot_for = [\"apt\", \"wget*\"]\n";
        let rules = Rules::parse(text, Path::new("r")).unwrap();
        let rule = rules.iter().next().unwrap();
        let about = |code, package: &str| rule.is_about(ExitCode(code), &package.parse().unwrap());
        assert!(about(4, "hello") && about(12, "apt-listchanges"));
        assert!(!about(6, "hello") && !about(4, "apt") && !about(4, "wget2"));
    }

    #[test]
    fn the_shipped_rules() {
        let rules = Rules::default();
        assert!(rules.iter().all(|rule| rule.shipped && rule.why.ends_with('.')));
        let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
        assert!(names.contains(&"name-resolution") && names.contains(&OUT_OF_MEMORY), "{names:?}");
        let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/rules.md");
        let reference = fs::read_to_string(reference).unwrap();
        let shown: Vec<&str> =
            reference.lines().filter(|line| line.starts_with("| `") && line.ends_with(". |")).collect();
        let verdict = |rule: &Rule| serde_json::to_value(rule.verdict).unwrap().as_str().unwrap().to_owned();
        let row = |rule: &Rule| format!("| `{}` | {} | {} |", rule.name, verdict(rule), rule.why);
        assert_eq!(shown, rules.iter().map(row).collect::<Vec<_>>());
    }
}
