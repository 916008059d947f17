//! Logs: unpacked within limits, without what a terminal would act on, in sections, in parts.

mod feed;
mod index;
mod known;
mod lines;
mod marks;
mod part;
mod plain;
mod styled;
mod view;
mod wanted;

pub(crate) use known::Logs;
pub(crate) use lines::{Lines, Raw};
pub(crate) use marks::Marks;
pub(crate) use plain::plain;
pub(crate) use view::{Item, LineView, LogView};
pub(crate) use wanted::LONGEST_QUERY;
