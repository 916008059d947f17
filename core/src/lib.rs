//! proofhouse-core: the nouns and the contracts, and what every role stands on. No role is in here.

pub mod admin;
pub mod backoff;
pub mod bus;
pub mod config;
pub mod db;
pub mod evidence;
pub mod health;
pub mod host_health;
pub mod index;
pub mod intake;
pub mod layout;
pub mod lifecycle;
pub mod lists;
pub mod names;
pub mod outcome;
pub mod params;
pub mod protocol;
pub mod published;
pub mod redact;
pub mod request;
pub mod rules;
pub mod run_id;
pub mod seal;
pub mod store;
pub mod telemetry;
pub mod tls;
