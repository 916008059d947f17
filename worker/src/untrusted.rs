//! What a test and a bus say, read without either: the readers themselves, for `fuzz/`.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use proofhouse_core::{
    bus::local::Local,
    outcome::ExitCode,
    protocol::{Offer, WorkerId},
    request::Request,
    rules::{Findings, Rules},
};
use uuid::Uuid;

use crate::{
    evidence::{RunInfo, augment_bytes},
    leader::Leader,
    log::{Sink, Tail},
    offers,
    redact::Redactor,
};

/// `testinfo.json` as it is stored, where a test left these bytes.
pub fn testinfo(found: &[u8], request: &Request, uuid: Uuid) -> String {
    let code = ExitCode(4);
    let run = RunInfo { uuid, worker: "w".to_owned(), attempt: 1, rule: None, runner_exit_code: code };
    augment_bytes(found, request, &run, code)
}

/// What is made of a log.
pub struct Logged {
    /// The log as it is stored.
    pub packed: Vec<u8>,
    /// What status messages show.
    pub tail: String,
    /// What the shipped rules found.
    pub findings: Findings,
}

/// Reads a log that comes in these pieces, and takes the secrets out.
pub fn log<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, secrets: &[&str]) -> io::Result<Logged> {
    let tail = Arc::new(Mutex::new(Tail::default()));
    let redactor = Redactor::new(secrets.iter().map(|secret| (*secret).to_owned()));
    let mut packed = Vec::new();
    let mut sink = Sink::new(&mut packed, redactor, Rules::default(), tail.clone());
    pieces.into_iter().try_for_each(|piece| sink.push(piece))?;
    let findings = sink.finish(None)?;
    let tail = tail.lock().unwrap_or_else(PoisonError::into_inner).text();
    Ok(Logged { packed, tail, findings })
}

/// An offer on a pool's queue.
pub fn offer(body: &[u8]) -> Option<Offer> {
    offers::read(body)
}

/// Takes answers of a dispatcher, one after the other.
pub fn answers<'a>(bodies: impl IntoIterator<Item = &'a [u8]>) {
    let name = "w".parse().unwrap_or_else(|_| unreachable!("a letter is a worker's name"));
    let leader = Leader::new(Arc::new(Local::new()), WorkerId { name, incarnation: Uuid::nil() });
    for body in bodies {
        leader.hear(body);
    }
}
