//! What a run ended with, and how the web, gates and forges read it.
//!
//! Facts: autopkgtest's exit codes; classes and names as the old system shows them (contract "Exit codes").

use std::fmt;

use serde::{Deserialize, Serialize};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Exit code 16.
    Testbed,
    /// Exit code 20.
    Unexpected,
    /// A signal, or a code that autopkgtest does not have.
    Killed,
    /// A failing code without `testpkg-version`: the package was never got.
    NoVersion,
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
    pub const ALL: [Self; 9] = [
        Self::Testbed,
        Self::Unexpected,
        Self::Killed,
        Self::NoVersion,
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
            Self::NoVersion => "the run failed before the package's version was known",
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

/// Tells a result from a failure of ours: what gates may be told, and what must be tried again.
///
/// # Errors
/// The fault, when the end of the run says nothing about the package.
pub const fn judge(code: ExitCode, has_version: bool) -> Result<Class, Fault> {
    match code.class() {
        class @ (Class::Pass | Class::Neutral | Class::Denylisted) => Ok(class),
        Class::Fail if has_version => Ok(Class::Fail),
        Class::Fail => Err(Fault::NoVersion),
        Class::Tmpfail => Err(Fault::Testbed),
        Class::Error => Err(Fault::Unexpected),
        Class::Otherfail => Err(Fault::Killed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_faults() {
        for code in -64..=255 {
            let class = ExitCode(code).class();
            match code {
                0 | 2 => assert_eq!((class, judge(ExitCode(code), false)), (Class::Pass, Ok(Class::Pass))),
                8 => assert_eq!(class, Class::Neutral),
                4 | 6 | 12 | 14 => {
                    assert_eq!(judge(ExitCode(code), true), Ok(Class::Fail));
                    assert_eq!(judge(ExitCode(code), false), Err(Fault::NoVersion));
                }
                16 => assert_eq!(judge(ExitCode(code), true), Err(Fault::Testbed)),
                20 => assert_eq!(judge(ExitCode(code), true), Err(Fault::Unexpected)),
                99 => assert_eq!(class, Class::Denylisted),
                _ => assert_eq!(judge(ExitCode(code), true), Err(Fault::Killed)),
            }
        }
    }
}
