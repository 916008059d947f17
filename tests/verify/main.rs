//! Tests that `make verify` adds: they need root, or much time.

mod browser;
mod containers;
mod hostile;
mod leaders;
mod lxd;
mod storm;
mod upgrade;
