//! The exit status, and how an error ends a command.

use std::{fmt, process::ExitCode};

use proofhouse_core::{bus::BusError, config::BadConfig, db::DbError, store::StoreError};

/// What a command ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    /// Done; with `--wait`: passed, or nothing to test.
    Done,
    /// With `--wait`: infrastructure kept the test from running.
    NotRun,
    /// What was asked for failed.
    Failed,
    /// Wrong usage or configuration.
    Usage,
    /// A server that is needed is away.
    Away,
}

impl Status {
    const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Away => 3,
            Self::NotRun => 4,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        status.code().into()
    }
}

/// Wrong usage that only shows when the command runs.
#[derive(Debug)]
pub(crate) struct Misuse(pub(crate) String);

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

/// A server that did not answer.
#[derive(Debug)]
pub(crate) struct Away(pub(crate) String);

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Away {}

/// Writes an error with its causes to stderr.
pub(crate) fn report(error: &anyhow::Error) -> Status {
    eprintln!("proofhouse: {error:#}");
    status_of(error)
}

fn status_of(error: &anyhow::Error) -> Status {
    error.chain().find_map(status_of_cause).unwrap_or(Status::Failed)
}

fn status_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Status> {
    if cause.is::<BadConfig>() || cause.is::<Misuse>() {
        return Some(Status::Usage);
    }
    if cause.is::<Away>() {
        return Some(Status::Away);
    }
    if let Some(error) = cause.downcast_ref::<DbError>() {
        return match error {
            DbError::Away { .. } | DbError::Unsafe { .. } => Some(Status::Away),
            DbError::Url(_) | DbError::Schema { .. } | DbError::Forbidden { .. } => Some(Status::Usage),
            _ => None,
        };
    }
    if let Some(error) = cause.downcast_ref::<BusError>() {
        return match error {
            BusError::Away { .. } => Some(Status::Away),
            BusError::Url(_) => Some(Status::Usage),
            _ => None,
        };
    }
    match cause.downcast_ref::<StoreError>()? {
        StoreError::Away { .. } => Some(Status::Away),
        StoreError::Configuration(_) => Some(Status::Usage),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    fn of(error: impl Into<anyhow::Error>) -> u8 {
        status_of(&error.into().context("while it was tried")).code()
    }

    #[test]
    fn each_kind_of_error_has_its_status() {
        let address = || "sqlite:///x".to_owned();
        assert_eq!(of(anyhow!("no such run")), 1);
        assert_eq!(of(BadConfig(Vec::new())), 2);
        assert_eq!(of(Misuse("no".to_owned())), 2);
        assert_eq!(of(DbError::Schema { address: address(), found: 1, needed: 2, advice: "" }), 2);
        assert_eq!(of(BusError::Away { address: "h".to_owned(), reason: "gone".to_owned() }), 3);
        assert_eq!(of(BusError::Refused { address: "h".to_owned(), reason: "no".to_owned() }), 1);
        assert_eq!(of(Away("the broker did not answer".to_owned())), 3);
        assert_eq!(of(StoreError::Configuration("x".to_owned())), 2);
        assert_eq!(of(DbError::Value("x".to_owned())), 1);
    }

    #[test]
    fn the_worst_of_several_outcomes_is_the_greatest() {
        let all = [Status::Done, Status::Failed, Status::NotRun];
        assert_eq!(all.into_iter().max(), Some(Status::Failed));
        assert_eq!([Status::Done, Status::NotRun].into_iter().max().map(Status::code), Some(4));
    }

    #[test]
    fn a_context_hides_no_status() {
        let error = Err::<(), _>(Misuse("no".to_owned())).context("a").context("b").unwrap_err();
        assert_eq!(status_of(&error), Status::Usage);
    }
}
