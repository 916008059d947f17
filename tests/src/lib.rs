//! The harness of the black-box tests: real servers, the real binary, and means to hurt both.
//!
//! Everything listens on loopback, on ports of its own, with its data in a temporary folder, and is gone when the
//! test process is gone, however that ended (see [`keeper`]). `tests/setup/install.sh test` installs the servers.

pub mod amqp;
pub mod browser;
pub mod certificates;
pub mod checkers;
pub mod cluster;
pub mod disk;
pub mod faults;
pub mod front;
pub mod hostile;
pub mod keeper;
pub mod keystone;
pub mod lxd;
pub mod moto;
pub mod ports;
pub mod postgres;
pub mod proofhouse;
pub mod proxy;
pub mod rabbit;
pub mod roles;
pub mod shared;
pub mod shown;
pub mod storm;
pub mod stream;
pub mod succession;
pub mod swift;
pub mod wait;
