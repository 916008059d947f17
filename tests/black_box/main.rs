//! Black-box tests: the real binary and the real servers.

mod harness;
