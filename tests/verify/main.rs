//! Tests that `make verify` adds: they need root, or much time.

mod accessible;
mod browser;
mod containers;
mod hostile;
mod journeys;
mod leaders;
mod lxd;
mod storm;
mod upgrade;
