//! What others write, given to the functions that read it: each target takes any bytes, and asserts what must hold of what
//! comes out. `make fuzz` looks for bytes that break it; `make test` tries those in `corpus/`.

mod archive;
mod config;
mod html;
mod listing;
mod log;
mod message;
mod names;
mod request;
mod result;

/// Takes any bytes; a panic is a fault.
pub type Target = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: [(&str, Target); 13] = [
    ("request", request::body),
    ("form", request::form),
    ("names", names::names),
    ("result-tar", result::tar),
    ("testinfo", result::testinfo),
    ("log", log::log),
    ("log-page", log::page),
    ("listing-swift", listing::swift),
    ("listing-s3", listing::s3),
    ("messages", message::messages),
    ("status", message::status),
    ("config", config::config),
    ("archive", archive::archive),
];

/// The first byte, which chooses how the rest is used.
fn choice(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (*first, rest))
}

/// gzip of some bytes.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    proofhouse_core::evidence::gzip(bytes).expect("memory takes what is written")
}
