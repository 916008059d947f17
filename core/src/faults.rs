//! Places at which the fault bench (`make faults`) strikes, and errors that it must find. Without the feature `faults` none of this
//! does anything: what is released has no way to be told to fail.

/// A step in the life of a job, in the process that comes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A dispatcher has a batch of requests in hand.
    Received,
    /// Their jobs are in the table.
    Committed,
    /// Their acknowledgements are sent.
    Acknowledged,
    /// A dispatcher decided to offer an attempt.
    Offered,
    /// An attempt is granted in the table; nobody has heard of it.
    Granted,
    /// A worker's runner has started.
    Started,
    /// A worker is about to renew its leases.
    Renewed,
    /// A runner has ended; nobody has heard of it.
    Ended,
    /// A publication is open in the table; nobody has heard of it.
    PublicationGranted,
    /// A worker has stored one object of a run's evidence.
    Uploaded,
    /// A worker is about to say that all is stored.
    CompletionSent,
    /// A result is in the table.
    Recorded,
    /// Its `result.tar` is in the store.
    ResultWritten,
    /// Its completion message is sent.
    Announced,
    /// An edition of the published database is written, and not yet shown.
    DatabasePublished,
}

impl Step {
    /// All, in the order of a job's life.
    pub const ALL: [Self; 15] = [
        Self::Received,
        Self::Committed,
        Self::Acknowledged,
        Self::Offered,
        Self::Granted,
        Self::Started,
        Self::Renewed,
        Self::Ended,
        Self::PublicationGranted,
        Self::Uploaded,
        Self::CompletionSent,
        Self::Recorded,
        Self::ResultWritten,
        Self::Announced,
        Self::DatabasePublished,
    ];

    /// Its name in orders and in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Committed => "committed",
            Self::Acknowledged => "acknowledged",
            Self::Offered => "offered",
            Self::Granted => "granted",
            Self::Started => "started",
            Self::Renewed => "renewed",
            Self::Ended => "ended",
            Self::PublicationGranted => "publication-granted",
            Self::Uploaded => "uploaded",
            Self::CompletionSent => "completion-sent",
            Self::Recorded => "recorded",
            Self::ResultWritten => "result-written",
            Self::Announced => "announced",
            Self::DatabasePublished => "database-published",
        }
    }
}

/// An error that is built in to see whether the bench reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// Requests are acknowledged before they are committed.
    AcknowledgesFirst,
    /// A dispatcher asks neither table nor clock whether it still leads.
    NoFencing,
}

#[cfg(not(feature = "faults"))]
mod imp {
    use super::{Planted, Step};

    /// Does nothing.
    pub const fn reached(_: Step) {}

    /// False.
    pub const fn is_planted(_: Planted) -> bool {
        false
    }
}

#[cfg(feature = "faults")]
mod imp {
    use std::{fs, path::PathBuf, sync::LazyLock, time::Duration};

    use super::{Planted, Step};

    /// Orders: files named as the step, and where a process waits, its process id behind that.
    static ORDERS: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| std::env::var_os("PROOFHOUSE_FAULTS").map(PathBuf::from));
    static PLANTED: LazyLock<String> =
        LazyLock::new(|| std::env::var("PROOFHOUSE_PLANTED").unwrap_or_default());
    const LOOK: Duration = Duration::from_millis(2);
    /// Whoever gave the order is gone.
    const LIMIT: u32 = 60_000;

    /// Where there is an order for this step, takes it and waits until it is carried out: until its file is gone. The thread waits,
    /// as if the process were frozen in this place.
    pub fn reached(step: Step) {
        let Some(orders) = &*ORDERS else { return };
        let mine = orders.join(format!("{}.{}", step.as_str(), std::process::id()));
        if fs::rename(orders.join(step.as_str()), &mine).is_err() {
            return;
        }
        for _ in 0..LIMIT {
            if !mine.exists() {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Whether this error was asked for.
    pub fn is_planted(planted: Planted) -> bool {
        *PLANTED
            == match planted {
                Planted::AcknowledgesFirst => "acknowledges-first",
                Planted::NoFencing => "no-fencing",
            }
    }
}

pub use imp::{is_planted, reached};
