//! The job table: the truth about what is still to do. PostgreSQL or SQLite behind one repository.
//!
//! Statements are shared by the two: common types, `$n` placeholders, times in microseconds.

mod alerts;
mod attempts;
mod audit;
mod connection;
mod editions;
mod explain;
mod gates;
mod holds;
mod hosts;
mod index;
mod intake;
mod jobs;
mod leadership;
mod line;
mod nodelay;
mod operate;
mod outbox;
mod parked;
mod past;
mod people;
mod publish;
mod queue;
mod rejected;
mod results;
mod sets;
mod standings;
mod stuck;
mod summary;
mod tokens;
mod upload;
mod workers;

pub use alerts::AlertRow;
pub use attempts::{AttemptRow, GrantOutcome, OpenAttempt, WorkerRef};
pub use audit::AuditRow;
pub use connection::{Database, DbError, SchemaState};
pub use editions::PublishedRow;
pub use gates::{GateCount, GateFilter, GateRow};
pub use holds::Capped;
pub use hosts::HostRecord;
pub use index::Reindexed;
pub use intake::{IntakeSession, NewJob, NewRejection, Prepared, Taken};
pub use jobs::{Candidate, DuplicateKind, JobRow, JobState, QueueCount};
pub use leadership::LEADERSHIP_SECONDS;
pub use line::{LaneLoad, QueueFilter};
pub use operate::{LaneMove, OPERATED_AT_ONCE, OperatedRow};
pub use outbox::{OutboxKind, OutboxRow};
pub use parked::{ParkedFilter, ParkedRow};
pub use past::{HourRow, NameKind, StepBy, StepRow};
pub use publish::{Completed, Publication, PublishOutcome, SyntheticOutcome, SyntheticResult};
pub use queue::{Demand, LaneCount};
pub use rejected::RejectedRow;
pub use results::{LOOKED_THROUGH, LatestRow, Order, RecentFilter, ResultRow};
pub use standings::{FlakyFilter, FlakyKey, FlakyRow, Rank, StandingKey, StandingList, StandingsFilter};
pub use stuck::{StuckFilter, StuckRow};
pub use summary::{Count, HOUR_US, HourKey, Standing, hour_of};
pub use tokens::{TokenRow, token_hash};
pub use upload::{SaidBefore, TestBefore, UploadJob, UploadResult};
pub use workers::{HeldJob, HeldRow, WorkerRow};

#[cfg(any(test, feature = "behaviour"))]
#[expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test that other crates run")]
pub mod tests;
