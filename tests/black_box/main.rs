//! Black-box tests: the real binary and the real servers.

mod bus;
mod ends;
mod faults;
mod harness;
mod journey;
mod real;
mod rejected;
