//! Black-box tests: the real binary and the real servers.

#[cfg_attr(not(feature = "verify"), expect(dead_code, reason = "the long faults are for `make verify`"))]
mod bus;
mod ends;
mod exposure;
mod faults;
mod harness;
mod hostile;
mod journey;
mod leaders;
mod operate;
mod private;
mod privilege;
mod published;
mod real;
mod rebuild;
mod rejected;
mod retries;
mod rolling;
mod secure;
mod shown;
mod struck;
mod waiting;
mod workers;
