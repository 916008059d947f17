//! Tests that `make verify` adds: they need root, or much time; and the figures of `make bench`.

mod bench;
mod browser;
mod containers;
mod leaders;
mod lxd;
mod storm;
