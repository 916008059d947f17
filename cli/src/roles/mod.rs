//! The roles: one skeleton starts every one of them.

pub(crate) mod dispatcher;
mod lock;
mod process;
pub(crate) mod provider;
pub(crate) mod up;
mod watch;
pub(crate) mod web;
pub(crate) mod worker;

use self::process::chain;
pub(crate) use self::{lock::UpFile, process::make_folder};

/// The hidden subcommand that a worker starts for each of its runners.
pub(crate) const GUARD: &str = "guard";
