//! Logs: unpacked within limits, without what a terminal would act on, in sections.

mod plain;
mod read;
mod sections;
mod view;

pub(crate) use plain::plain;
use read::{Cut, MOST_SCANNED, read_log};
use sections::{Section, sections};
pub(crate) use view::LogView;
