//! proofhouse-worker: takes offers, runs autopkgtest on fresh testbeds, and stores the evidence.
//!
//! One process serves pools with a number of slots. It needs the bus and the store and nothing else. Each attempt goes the
//! way of the design's "life of a job": offer, grant, run under a lease, publication. The runner lives under a [`guard`],
//! which ends it when this process ends.

mod announce;
mod attempt;
mod command;
mod disk;
mod error;
mod evidence;
mod files;
mod guard;
mod guards;
mod kernel;
mod leader;
mod leases;
mod log;
mod memory;
mod name;
mod offers;
mod pace;
mod processes;
mod publish;
mod redact;
mod runner;
mod service;
mod settings;
mod state;
mod status;
mod testbed;
pub mod untrusted;
mod watch;
mod workdir;

pub use error::Error;
pub use guard::guard_main;
pub use name::{NameLock, claim_name};
pub use service::run;
pub use settings::{Limits, Lxd, Provider, Settings, Unshare};
pub use state::{Stop, WorkerState};
