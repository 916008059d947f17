//! What a run ended with, and how the web, gates and forges read it.
//!
//! Facts: autopkgtest's exit codes; classes and names as the old system shows them (contract "Exit codes").

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::BadName;

/// autopkgtest's exit code, or ours (99), or the negative number of the signal that killed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExitCode(pub i32);

impl ExitCode {
    /// Not run: a list says so, or the pair is not served.
    pub const NOT_RUN: Self = Self(99);
    /// The testbed failed.
    pub const TESTBED: Self = Self(16);
    /// Any other unexpected failure.
    pub const UNEXPECTED: Self = Self(20);

    /// The class that pages show.
    pub const fn class(self) -> Class {
        match self.0 {
            0 | 2 => Class::Pass,
            8 => Class::Neutral,
            4 | 6 | 12 | 14 => Class::Fail,
            16 => Class::Tmpfail,
            20 => Class::Error,
            99 => Class::Denylisted,
            _ => Class::Otherfail,
        }
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The class of an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// 0, 2: passed, some perhaps skipped.
    Pass,
    /// 8: no test ran.
    Neutral,
    /// 4, 6, 12, 14: a test, or the package, failed.
    Fail,
    /// 16: the testbed failed.
    Tmpfail,
    /// 20: another unexpected failure.
    Error,
    /// 99: not run.
    Denylisted,
    /// Anything else: killed.
    Otherfail,
}

impl Class {
    /// All classes, in the order of filters.
    pub const ALL: [Self; 7] = [
        Self::Pass,
        Self::Neutral,
        Self::Fail,
        Self::Tmpfail,
        Self::Error,
        Self::Denylisted,
        Self::Otherfail,
    ];

    /// The word that pages and scripts use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Neutral => "neutral",
            Self::Fail => "fail",
            Self::Tmpfail => "tmpfail",
            Self::Error => "error",
            Self::Denylisted => "denylisted",
            Self::Otherfail => "otherfail",
        }
    }

    /// A sign that tells the class without colour.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Pass => "✔",
            Self::Neutral => "−",
            Self::Fail => "✘",
            Self::Tmpfail | Self::Error | Self::Otherfail => "⚠",
            Self::Denylisted => "⊘",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an attempt's end is no result (contract "Whose fault was it").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Exit code 16.
    Testbed,
    /// Exit code 20.
    Unexpected,
    /// A signal, or a code that autopkgtest does not have.
    Killed,
    /// A failing code without `testpkg-version`: the package was never got. Of a baseline, any code without it.
    NoVersion,
    /// A failing code, and a rule of the log says that the archive or the network failed.
    LogRule,
    /// Exit code 16, and a rule of the log says that the tested software broke the testbed. Or the run took too much and was
    /// killed, where that is no result by itself.
    BrokeTestbed,
    /// What was tested is older than the run's own trigger: a mirror lags.
    OldVersion,
    /// The run went past its absolute end.
    TimedOut,
    /// The worker's disk was full.
    DiskFull,
    /// The evidence could not be stored.
    Store,
    /// The lease ran out: the worker died or was cut off.
    LeaseLost,
    /// The worker stopped hard, or could not start the runner.
    Worker,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 12] = [
        Self::Testbed,
        Self::Unexpected,
        Self::Killed,
        Self::NoVersion,
        Self::LogRule,
        Self::BrokeTestbed,
        Self::OldVersion,
        Self::TimedOut,
        Self::DiskFull,
        Self::Store,
        Self::LeaseLost,
        Self::Worker,
    ];

    /// The name in the database, in JSON and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Testbed => "testbed",
            Self::Unexpected => "unexpected",
            Self::Killed => "killed",
            Self::NoVersion => "no-version",
            Self::LogRule => "log-rule",
            Self::BrokeTestbed => "broke-testbed",
            Self::OldVersion => "old-version",
            Self::TimedOut => "timed-out",
            Self::DiskFull => "disk-full",
            Self::Store => "store",
            Self::LeaseLost => "lease-lost",
            Self::Worker => "worker",
        }
    }

    /// What a person reads.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Testbed => "the testbed failed (exit code 16)",
            Self::Unexpected => "autopkgtest failed in an unexpected way (exit code 20)",
            Self::Killed => "the runner was killed",
            Self::NoVersion => {
                "the run ended before the package's version was known, as where no archive has it"
            }
            Self::LogRule => "the archive or the network failed during the run",
            Self::BrokeTestbed => "the testbed broke or had to be killed, perhaps by what was tested",
            Self::OldVersion => "the version that was tested is older than the run's own trigger",
            Self::TimedOut => "the run went past the end that its timeouts allow",
            Self::DiskFull => "the worker's disk was full",
            Self::Store => "the evidence could not be stored",
            Self::LeaseLost => "the worker was not heard of until its lease ended",
            Self::Worker => "the worker could not run the test",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Fault {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|fault| fault.as_str() == text)
            .ok_or_else(|| BadName::new("fault", text, "a reason why an attempt is no result"))
    }
}

/// One that only a newer release has is a fault of ours all the same: its worker must not ask in vain.
impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(text.parse().unwrap_or(Self::Worker))
    }
}

/// What a rule of the log says when it matches (contract "Whose fault was it").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleVerdict {
    /// A failing code says nothing about the package: archive or network failed.
    Infrastructure,
    /// An exit code 16 is the package's own doing, once it happened on every attempt. A failing one is at once: the run was
    /// killed because it took too much.
    Package,
}

/// A rule of the log that matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleHit {
    /// The rule's name.
    pub name: String,
    /// What it says.
    pub verdict: RuleVerdict,
}

/// What decided on a result where no rule of the log did.
pub mod decided_by {
    /// The runner's exit code.
    pub const EXIT_CODE: &str = "exit-code";
    /// The list `never_run`.
    pub const NEVER_RUN: &str = "never-run";
    /// The pair is switched off.
    pub const SWITCHED_OFF: &str = "switched-off";
    /// A request that could not be read whole.
    pub const BAD_REQUEST: &str = "bad-request";
    /// It was parked for as long as gates are to wait.
    pub const PARKED: &str = "parked";
    /// An operator called it off, with an answer to its gate.
    pub const CANCELLED: &str = "cancelled";
    /// The run had too many threads, and was killed.
    pub const RUN_THREADS: &str = "run-threads";
    /// It took too much of the disk.
    pub const RUN_DISK: &str = "run-disk";
    /// Its log and artifacts did.
    pub const RUN_OUTPUT: &str = "run-output";
    /// The reason where the operator gave none.
    pub const NO_REASON: &str = "an operator called it off";

    /// Who called a run off, and why: `an operator: no machines this week`.
    pub fn called_off_by(reason: Option<&str>) -> String {
        match reason.filter(|reason| *reason != NO_REASON) {
            Some(reason) => format!("an operator: {reason}"),
            None => "an operator".to_owned(),
        }
    }

    /// All of them: no rule of the log may be called so.
    pub const ALL: [&str; 9] = [
        EXIT_CODE,
        NEVER_RUN,
        SWITCHED_OFF,
        BAD_REQUEST,
        PARKED,
        CANCELLED,
        RUN_THREADS,
        RUN_DISK,
        RUN_OUTPUT,
    ];
}

/// What is known of a run's end.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The runner's exit code.
    pub exit_code: ExitCode,
    /// True where `testpkg-version` could be read.
    pub has_version: bool,
    /// What the worker knows went wrong beside the exit code.
    pub fault: Option<Fault>,
    /// The rule of the log that matched.
    pub rule: Option<&'a RuleHit>,
    /// A baseline publishes only what a test said.
    pub baseline: bool,
}

/// Tells a result from a failure of ours: what gates may be told, and what must be tried again.
///
/// # Errors
/// The fault, when the end of the run says nothing about the package.
pub fn judge(seen: &Seen<'_>) -> Result<Class, Fault> {
    if let Some(fault) = seen.fault {
        return Err(fault);
    }
    let says = |verdict| seen.rule.is_some_and(|rule| rule.verdict == verdict);
    match seen.exit_code.class() {
        Class::Pass | Class::Neutral | Class::Denylisted if seen.baseline && !seen.has_version => {
            Err(Fault::NoVersion)
        }
        Class::Denylisted if seen.baseline => Err(Fault::Unexpected),
        class @ (Class::Pass | Class::Neutral | Class::Denylisted) => Ok(class),
        Class::Fail if says(RuleVerdict::Infrastructure) => Err(Fault::LogRule),
        // It had to be killed, by its own doing: no test said that, as a baseline's must.
        Class::Fail if says(RuleVerdict::Package) && (seen.baseline || !seen.has_version) => {
            Err(Fault::BrokeTestbed)
        }
        Class::Fail if seen.has_version => Ok(Class::Fail),
        Class::Fail => Err(Fault::NoVersion),
        Class::Tmpfail if says(RuleVerdict::Package) => Err(Fault::BrokeTestbed),
        Class::Tmpfail => Err(Fault::Testbed),
        Class::Error => Err(Fault::Unexpected),
        Class::Otherfail => Err(Fault::Killed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(code: i32) -> Seen<'static> {
        Seen { exit_code: ExitCode(code), has_version: true, fault: None, rule: None, baseline: false }
    }

    #[test]
    fn classes_and_faults() {
        for code in -64..=255 {
            let (with, without) = (seen(code), Seen { has_version: false, ..seen(code) });
            match code {
                0 | 2 => assert_eq!(judge(&without), Ok(Class::Pass)),
                8 => assert_eq!(judge(&without), Ok(Class::Neutral)),
                4 | 6 | 12 | 14 => {
                    assert_eq!(judge(&with), Ok(Class::Fail));
                    assert_eq!(judge(&without), Err(Fault::NoVersion));
                }
                16 => assert_eq!(judge(&with), Err(Fault::Testbed)),
                20 => assert_eq!(judge(&with), Err(Fault::Unexpected)),
                99 => assert_eq!(judge(&with), Ok(Class::Denylisted)),
                _ => assert_eq!(judge(&with), Err(Fault::Killed)),
            }
        }
    }

    #[test]
    fn a_baseline_publishes_only_what_a_test_said() {
        for code in -64..=255 {
            let baseline = Seen { baseline: true, ..seen(code) };
            assert_eq!(judge(&baseline).is_ok(), [0, 2, 4, 6, 8, 12, 14].contains(&code), "{code}");
            assert!(judge(&Seen { has_version: false, ..baseline }).is_err(), "{code}");
        }
    }

    #[test]
    fn a_rule_changes_only_the_codes_that_it_is_about() {
        let hit = |verdict| RuleHit { name: "r".to_owned(), verdict };
        let (ours, theirs) = (hit(RuleVerdict::Infrastructure), hit(RuleVerdict::Package));
        for code in [0, 2, 4, 6, 8, 12, 14, 16, 20, 99, -9] {
            let plain = judge(&seen(code));
            let failing = matches!(code, 4 | 6 | 12 | 14);
            let by_ours = judge(&Seen { rule: Some(&ours), ..seen(code) });
            assert_eq!(by_ours, if failing { Err(Fault::LogRule) } else { plain }, "{code}");
            let by_theirs = judge(&Seen { rule: Some(&theirs), ..seen(code) });
            assert_eq!(by_theirs, if code == 16 { Err(Fault::BrokeTestbed) } else { plain }, "{code}");
        }
        for code in [4, 6, 12, 14] {
            let killed = Seen { rule: Some(&theirs), ..seen(code) };
            assert_eq!(judge(&Seen { baseline: true, ..killed }), Err(Fault::BrokeTestbed), "{code}");
            assert_eq!(judge(&Seen { has_version: false, ..killed }), Err(Fault::BrokeTestbed), "{code}");
        }
        let old = Seen { fault: Some(Fault::OldVersion), ..seen(0) };
        assert_eq!(judge(&old), Err(Fault::OldVersion));
    }

    #[test]
    fn a_fault_of_a_newer_release_is_read() {
        for fault in Fault::ALL {
            let json = serde_json::to_string(&fault).unwrap();
            assert_eq!(
                (serde_json::from_str::<Fault>(&json).unwrap(), fault.as_str()),
                (fault, json.trim_matches('"'))
            );
        }
        assert_eq!(serde_json::from_str::<Fault>("\"from-the-future\"").unwrap(), Fault::Worker);
    }
}
