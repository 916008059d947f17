//! Logs: unpacked within limits, without what a terminal would act on, in sections.

mod plain;
mod read;
mod sections;

pub(crate) use plain::plain;
pub(crate) use read::{Cut, MOST_SCANNED, read_log};
pub(crate) use sections::{Section, sections};
