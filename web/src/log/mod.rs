//! Logs: unpacked within limits, without what a terminal would act on, in sections.

mod plain;
mod read;
mod sections;
mod view;

pub(crate) use plain::plain;
pub(crate) use read::read_log;
use read::{Cut, Log, MOST_SCANNED};
use sections::{Section, sections};
pub(crate) use view::LogView;
