//! Results without a run: a list says so, the pair is switched off, or a bad request is answered.

use std::collections::BTreeSet;

use proofhouse_core::{
    db::{JobRow, SyntheticResult},
    evidence,
    lists::Lists,
    names::{Package, Pair},
    outcome::decided_by,
    request::Request,
};

/// What to do with a waiting job before it is offered to anyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Screened {
    /// Run it.
    Run,
    /// Publish this result.
    Answer(Answer),
    /// Nobody gains by a result: a baseline of a package that is never run would open the gate.
    Obsolete(&'static str),
}

/// A result without a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) exit_code: i32,
    pub(crate) version: &'static str,
    pub(crate) log: String,
    /// What decided on it.
    pub(crate) rule: &'static str,
}

/// Decides by the lists and the pairs that are switched off.
pub(crate) fn screen(request: &Request, pair: &Pair, lists: &Lists, off: &BTreeSet<Pair>) -> Screened {
    let never = lists.of(&request.package, pair).never;
    let (version, rule, log) = if never {
        (
            "blacklisted",
            decided_by::NEVER_RUN,
            format!("{} is on the never_run list for {pair}: it is not tested there.\n", request.package),
        )
    } else if off.contains(pair) {
        ("unknown", decided_by::SWITCHED_OFF, format!("Tests for {pair} are switched off.\n"))
    } else {
        return Screened::Run;
    };
    if request.is_baseline() {
        return Screened::Obsolete("a baseline of what is not run publishes nothing");
    }
    Screened::Answer(Answer { exit_code: 99, version, log, rule })
}

/// What was decided when it was taken in, or when an operator called it off: its gate is to have an answer.
pub(crate) fn decided_before(job: &JobRow) -> Option<Answer> {
    let (code, log) = (job.answer_code?, job.answer_log.clone()?);
    let rule = if job.cancel.is_some() { decided_by::CANCELLED } else { decided_by::BAD_REQUEST };
    Some(Answer { exit_code: i32::try_from(code).unwrap_or(20), version: "unknown", log, rule })
}

/// The files of such a result.
pub(crate) struct Files {
    pub(crate) result: SyntheticResult,
    pub(crate) result_tar: Vec<u8>,
    pub(crate) log_gz: Vec<u8>,
}

/// Makes `result.tar` and `log.gz`.
pub(crate) fn files(job: &JobRow, request: &Request, answer: &Answer) -> std::io::Result<Files> {
    let &Answer { exit_code, version, rule, ref log } = answer;
    let package: &Package = &request.package;
    let uuid = job.uuid.parse().unwrap_or_default();
    let mut testinfo = evidence::testinfo(None, request, uuid);
    testinfo.insert("rule".to_owned(), rule.into());
    let mut members = vec![
        ("exitcode", format!("{exit_code}\n").into_bytes()),
        ("testpkg-version", format!("{package} {version}").into_bytes()),
        ("duration", b"0\n".to_vec()),
        ("testinfo.json", serde_json::to_vec(&testinfo)?),
    ];
    if let Some(requester) = job.requesters.lines().next().filter(|r| !r.is_empty()) {
        members.push(("requester", format!("{requester}\n").into_bytes()));
    }
    Ok(Files {
        result: SyntheticResult {
            job: job.id,
            exit_code,
            version: version.to_owned(),
            rule,
            from: job.state(),
        },
        result_tar: evidence::result_tar(&members)?,
        log_gz: evidence::gzip(log.as_bytes())?,
    })
}
