//! Why a worker cannot work at all.

use std::path::PathBuf;

use proofhouse_core::bus::BusError;

/// Why a worker cannot work at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder or lock under the data folder cannot be made.
    #[error("{path} cannot be used")]
    Data {
        /// The folder or file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Too many workers of this name share the data folder.
    #[error("all names from {0} to {0}-999 are taken by workers of this data folder")]
    NoName(String),
    /// The settings name no program that starts the guards, or no slot, or no pool.
    #[error("the worker's settings are not usable: {0}")]
    Settings(&'static str),
    /// The bus refuses what every worker needs.
    #[error("the bus does not let this worker work")]
    Bus(#[from] BusError),
    /// A part of the worker ended by itself.
    #[error("the worker's {0} ended unexpectedly")]
    Task(&'static str),
}
