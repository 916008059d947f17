//! Everything before the runner starts: the request with its credentials, the work folder, the testbed.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    sync::Arc,
};

use proofhouse_core::{
    outcome::Fault,
    params::{BzrSource, Ppa},
    request::Request,
    seal::SealKeys,
};

use super::{Attempt, Over, excess::takes_too_much};
use crate::{
    command::{self, CommandLine, Run},
    disk, files,
    guard::{Order, Report},
    redact::{self, Redactor},
    runner::Runner,
    settings::Provider,
    testbed::{self, session},
    workdir::WorkDir,
};

/// A run that can start.
pub(super) struct Prepared {
    /// As it came: with credentials sealed.
    pub(super) request: Request,
    pub(super) line: CommandLine,
    /// Where the runner looks for programs, if not where this process does.
    pub(super) path: Option<OsString>,
    pub(super) work: Arc<WorkDir>,
    secrets: Vec<String>,
}

impl Prepared {
    pub(super) fn redactor(&self) -> Redactor {
        Redactor::new(self.secrets.iter().cloned())
    }

    /// Removes the work folder; a whole testbed may be in it.
    pub(super) async fn clean_up(self) {
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

/// Makes a run ready.
pub(super) async fn prepare(attempt: &Attempt) -> Result<Prepared, Over> {
    let worker = |detail: String| Over::Fault(Fault::Worker, detail);
    let shared = &attempt.shared;
    let settings = &shared.settings;
    // No error of it holds a secret, but one could name a private run's parameters.
    let request = Request::parse(attempt.grant.body.as_bytes())
        .map_err(|error| worker(format!("the request cannot be read ({})", error.kind())))?;
    let opened = open(&request, settings.seal_keys.as_ref()).map_err(worker)?;
    let work = WorkDir::new(&settings.data, &shared.name, attempt.id()).map_err(|error| fault_of(&error))?;
    let tarball = match &settings.provider {
        Provider::Unshare(unshare) => {
            let tarball = testbed::tarball(shared, unshare, &attempt.grant.pair, &work);
            let tarball = attempt.unless_interrupted(tarball).await?;
            Some(tarball.map_err(|error| match error.io() {
                Some(io) if disk::is_full(io) => Over::Fault(Fault::DiskFull, error.to_string()),
                _ => worker(error.to_string()),
            })?)
        }
        Provider::Null { .. } | Provider::Lxd(_) => None,
    };
    let checkout = match &opened.test_bzr {
        Some(branch) => Some(attempt.unless_interrupted(checkout(attempt, branch, &work)).await??),
        None => None,
    };
    let line = command::command_line(&Run {
        settings,
        grant: &attempt.grant,
        request: &opened,
        worker: shared.name.as_str(),
        work: work.path(),
        tarball: tarball.as_deref(),
        checkout: checkout.as_deref(),
    });
    write_secret(&line, &work)?;
    let path = tarball.map(|_| session::path(work.path())).transpose().map_err(|error| fault_of(&error))?;
    Ok(Prepared { secrets: secrets(&opened), request, line, path, work: Arc::new(work) })
}

/// The request with its credentials opened.
fn open(request: &Request, keys: Option<&SealKeys>) -> Result<Request, String> {
    if !request.has_credentials() {
        return Ok(request.clone());
    }
    let keys = keys.ok_or("the request has credentials, and this worker has no seal key (seal_key_file)")?;
    let ppas: Vec<Ppa> = request.ppas.iter().map(|ppa| open_one(ppa, keys)).collect::<Result<_, String>>()?;
    Ok(Request { ppas, ..request.clone() })
}

fn open_one(ppa: &Ppa, keys: &SealKeys) -> Result<Ppa, String> {
    if ppa.credentials.is_none() {
        return Ok(ppa.clone());
    }
    let ppa = keys.open_ppa(ppa).map_err(|error| error.to_string())?;
    // It becomes one line of a file of arguments.
    if ppa.reveal().chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("a PPA's credentials hold white space".to_owned());
    }
    Ok(ppa)
}

/// What must not be seen in a log.
fn secrets(opened: &Request) -> Vec<String> {
    let credentials = opened.ppas.iter().filter_map(|ppa| ppa.credentials.as_ref());
    credentials.flat_map(redact::spellings).collect()
}

fn write_secret(line: &CommandLine, work: &WorkDir) -> Result<(), Over> {
    let Some(lines) = &line.secret else {
        return Ok(());
    };
    let text = lines.join(OsStr::new("\n"));
    files::write_new(&command::secret_file(work.path()), text.as_bytes(), 0o600)
        .map_err(|error| fault_of(&error))
}

/// A lightweight checkout of a bzr branch, for `test-bzr`.
async fn checkout(attempt: &Attempt, branch: &BzrSource, work: &WorkDir) -> Result<PathBuf, Over> {
    let path = work.path().join("checkout");
    let order = Order {
        program: "bzr".into(),
        args: vec!["checkout".into(), "--lightweight".into(), branch.as_str().into(), path.clone().into()],
        env: Vec::new(),
        folder: work.path().to_owned(),
        stderr: work.stderr(),
        threads: Some(attempt.limits().threads),
    };
    let failed =
        |why: String| Over::Fault(Fault::Worker, format!("the bzr branch cannot be checked out: {why}"));
    let mut runner = Runner::start(&attempt.shared.guards, order, work.path())
        .await
        .map_err(|error| failed(error.to_string()))?;
    let report = tokio::select! {
        report = runner.wait() => report,
        // It is gone with its runner.
        excess = takes_too_much(attempt, work) => return Err(failed(excess.words(attempt.limits()))),
    };
    match report {
        Report::Exited(0) => Ok(path),
        Report::Exited(code) => Err(failed(format!("bzr ended with exit code {code}"))),
        Report::Signalled(signal) => Err(failed(format!("bzr was killed by signal {signal}"))),
        Report::TooManyThreads => Err(failed("bzr was killed".to_owned())),
        Report::NotStarted(why) => Err(failed(why)),
    }
}

/// An error of our own files: a full disk is a fault of its own.
pub(super) fn fault_of(error: &io::Error) -> Over {
    let fault = if disk::is_full(error) { Fault::DiskFull } else { Fault::Worker };
    Over::Fault(fault, format!("the work folder cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_opened_and_kept_out_of_logs() {
        let keys = SealKeys::parse(&SealKeys::generate()).unwrap();
        let body = b"green {\"ppas\": [\"joe:s3cret@a/b\", \"c/d\"], \"swiftuser\": \"x\"}";
        let plain = Request::parse(body).unwrap();
        let sealed = plain.sealed(Some(&keys)).unwrap();
        assert_eq!(open(&sealed, Some(&keys)).unwrap(), plain);
        assert!(["joe:s3cret", "s3cret"].iter().all(|secret| secrets(&plain).iter().any(|s| s == secret)));
        assert!(open(&sealed, None).is_err());
        let other = SealKeys::parse(&SealKeys::generate()).unwrap();
        assert!(open(&sealed, Some(&other)).is_err());
        assert!(open(&Request::parse(b"green").unwrap(), None).is_ok());
    }
}
