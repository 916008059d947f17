//! Tests that `make verify` adds: they need root, or much time.

mod lxd;
