//! `proofhouse run show`.

use std::fmt::Write as _;

use anyhow::Result;
use proofhouse_core::{
    db::{AttemptRow, JobRow, ResultRow},
    queue::Class,
};
use serde::Serialize;

use super::{Found, find};
use crate::{
    args::ShowArgs,
    connect,
    outcome::Evidence,
    print::{self, Paint},
    queue::JobLine,
    status::Status,
};

/// A run as JSON shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    uuid: Option<String>,
    release: String,
    arch: String,
    package: String,
    /// Where it stands; none for a result of another system.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobLine>,
    attempts: Vec<AttemptLine>,
    result: Option<Evidence>,
}

impl Run {
    /// Who waits for it.
    pub(crate) fn class(&self) -> Option<Class> {
        self.job.as_ref()?.class
    }
}

#[derive(Debug, Serialize)]
struct AttemptLine {
    attempt: i64,
    state: String,
    worker: String,
    host: String,
    granted: String,
    ended: Option<String>,
    exit_code: Option<i64>,
    version: Option<String>,
    duration_seconds: Option<i64>,
    fault: Option<String>,
    /// The rule of the log that matched.
    rule: Option<String>,
    detail: Option<String>,
}

impl From<&AttemptRow> for AttemptLine {
    fn from(row: &AttemptRow) -> Self {
        Self {
            attempt: row.attempt,
            state: row.state.clone(),
            worker: row.worker.clone(),
            host: row.host.clone(),
            granted: print::time(row.granted_us),
            ended: row.ended_us.map(print::time),
            exit_code: row.exit_code,
            version: row.version.clone(),
            duration_seconds: row.duration_seconds,
            fault: row.fault.clone(),
            rule: row.rule.clone(),
            detail: row.detail.clone().filter(|detail| !detail.is_empty()),
        }
    }
}

pub(crate) async fn main(args: ShowArgs) -> Result<Status> {
    let database = connect::existing_database(&args.servers.config()?).await?;
    let found = find(&database, &args.run).await?;
    let attempts = match &found.job {
        Some(job) => database.attempts_of(job.id).await?,
        None => Vec::new(),
    };
    let run = run(&found, &attempts);
    if args.json {
        print::json(&run)?;
    } else {
        print::text(&text(&run, Paint::stdout()))?;
    }
    Ok(Status::Done)
}

pub(crate) fn run(found: &Found, attempts: &[AttemptRow]) -> Run {
    let of_job = |job: &JobRow| (job.release.clone(), job.arch.clone(), job.package.clone());
    let of_result = |r: &ResultRow| (r.release.clone(), r.arch.clone(), r.package.clone());
    let names = found.job.as_ref().map(of_job).or_else(|| found.result.as_ref().map(of_result));
    let (release, arch, package) = names.unwrap_or_default();
    let uuid = found.job.as_ref().map(|job| job.uuid.clone());
    Run {
        uuid: uuid.or_else(|| found.result.as_ref().and_then(|r| r.uuid.clone())),
        release,
        arch,
        package,
        job: found.job.as_ref().map(JobLine::from),
        attempts: attempts.iter().map(AttemptLine::from).collect(),
        result: found.result.as_ref().map(Evidence::of),
    }
}

pub(crate) fn text(run: &Run, paint: Paint) -> String {
    let mut text = format!("{}\n", paint.bold(&format!("{} on {}/{}", run.package, run.release, run.arch)));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:9} {value}");
    };
    line("uuid", run.uuid.as_deref().unwrap_or("-"));
    if let Some(job) = &run.job {
        let reason = job.reason.as_ref().map(|reason| format!(": {}", print::one_line(reason, 300)));
        line("state", &format!("{}{}", job.state, reason.unwrap_or_default()));
        line("received", &job.received);
        if !job.requesters.is_empty() {
            line("asked by", &print::one_line(&job.requesters.join(", "), 300));
        }
        line("params", &print::one_line(&job.params.to_string(), 2000));
        if job.tried_before > 0 {
            line("retried", &format!("by an operator after attempt {}", job.tried_before));
        }
    }
    for attempt in &run.attempts {
        line(&format!("attempt {}", attempt.attempt), &attempt.text());
    }
    if let Some(r) = &run.result {
        let Evidence { class, version, exit_code, duration_seconds, container, folder, .. } = r;
        let verdict = format!(
            "{} {class}: version {version}, exit code {exit_code}, {duration_seconds} s",
            class.symbol()
        );
        line("result", &verdict);
        if let Some(decided) = r.decided() {
            line("decided", &print::one_line(&decided, 500));
        }
        line("stored", &format!("{container}/{folder}"));
    }
    text
}

impl AttemptLine {
    fn text(&self) -> String {
        let mut text = format!("{} on {}", self.state, self.worker);
        if self.host != self.worker {
            let _ = write!(text, " (host {})", print::one_line(&self.host, 100));
        }
        let _ = write!(text, " from {}", self.granted);
        if let Some(ended) = &self.ended {
            let _ = write!(text, " to {ended}");
        }
        let rule = self.rule.as_ref().map(|rule| format!("rule {rule}"));
        for reason in [&self.fault, &rule, &self.detail].into_iter().flatten() {
            let _ = write!(text, "; {}", print::one_line(reason, 300));
        }
        text
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{outcome, queue};

    /// One that failed.
    pub(crate) fn attempt() -> AttemptRow {
        AttemptRow {
            job_id: 7,
            attempt: 1,
            worker: "w-1".to_owned(),
            incarnation: String::new(),
            host: "h".to_owned(),
            granted_us: 1_795_239_394_000_000,
            absolute_end_us: 0,
            state: "ended".to_owned(),
            container: None,
            run_id: None,
            exit_code: Some(16),
            version: None,
            duration_seconds: Some(12),
            fault: Some("testbed".to_owned()),
            detail: Some("the last lines\nof the log".to_owned()),
            rule: Some("kernel-panic".to_owned()),
            ended_us: Some(1_795_239_406_000_000),
        }
    }

    #[test]
    fn rendered() {
        let job = JobRow { tried_before: 1, ..queue::tests::job() };
        let mut run = run(&Found { job: Some(job), result: None }, &[attempt()]);
        assert_eq!(run.class(), Some(Class::People), "it has a requester");
        insta::assert_snapshot!("waiting", text(&run, Paint::plain()));
        run.result = outcome::tests::outcome(Some(4)).result;
        insta::assert_snapshot!("result", text(&run, Paint::plain()));
        let called_off = Some("no machines".to_owned());
        run.result = run.result.map(|r| Evidence { rule: Some("cancelled".to_owned()), called_off, ..r });
        let off = text(&run, Paint::plain());
        assert!(off.contains("decided   called off by an operator: no machines\n"), "{off}");
        run.result = outcome::tests::outcome(Some(4)).result;
        insta::assert_snapshot!("json", serde_json::to_string_pretty(&run).unwrap());
    }
}
