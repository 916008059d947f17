//! How a job ended, for people, for scripts and as an exit status.

use std::fmt::Write as _;

use proofhouse_core::{
    db::{JobRow, JobState, ResultRow},
    layout::file,
    outcome::{Class, decided_by},
};
use serde::Serialize;

use crate::{print::Paint, status::Status};

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Outcome {
    pub(crate) uuid: String,
    pub(crate) release: String,
    pub(crate) arch: String,
    pub(crate) package: String,
    pub(crate) state: JobState,
    /// Why there is no result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(flatten)]
    pub(crate) result: Option<Evidence>,
    /// Its page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page: Option<String>,
}

/// A result and where it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Evidence {
    pub(crate) exit_code: i64,
    pub(crate) class: Class,
    pub(crate) version: String,
    pub(crate) duration_seconds: i64,
    pub(crate) run_id: String,
    pub(crate) container: String,
    /// The run's folder in the container.
    pub(crate) folder: String,
    /// What decided that it is a result: `exit-code`, or a rule; none where another system wrote it.
    pub(crate) rule: Option<String>,
    /// Why an operator called it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) called_off: Option<String>,
}

impl Evidence {
    /// What decided that it is a result, in words; none where another system wrote it.
    pub(crate) fn decided(&self) -> Option<String> {
        let rule = self.rule.as_ref()?;
        Some(if rule == decided_by::CANCELLED {
            format!("called off by {}", decided_by::called_off_by(self.called_off.as_deref()))
        } else {
            format!("by {rule}")
        })
    }

    pub(crate) fn of(result: &ResultRow) -> Self {
        Self {
            exit_code: result.exit_code,
            class: result.class(),
            version: result.version.clone(),
            duration_seconds: result.duration_seconds,
            run_id: result.run_id.clone(),
            container: result.container.clone(),
            folder: folder(result),
            rule: result.rule.clone(),
            called_off: result.called_off.clone(),
        }
    }
}

/// The run's folder in its container.
pub(crate) fn folder(result: &ResultRow) -> String {
    let ResultRow { release, arch, package, run_id, .. } = result;
    let prefix = package.parse().map(|p: proofhouse_core::names::Package| p.prefix().to_owned());
    format!("{release}/{arch}/{}/{package}/{run_id}", prefix.unwrap_or_default())
}

impl Outcome {
    /// Of a job that is over; `site`: where pages are.
    pub(crate) fn of(job: &JobRow, result: Option<&ResultRow>, site: Option<&str>) -> Self {
        Self {
            uuid: job.uuid.clone(),
            release: job.release.clone(),
            arch: job.arch.clone(),
            package: job.package.clone(),
            state: job.state(),
            reason: job.reason.clone().filter(|_| result.is_none()),
            result: result.map(Evidence::of),
            page: site.map(|site| format!("{}/run/{}", site.trim_end_matches('/'), job.uuid)),
        }
    }

    /// 0 for pass and neutral, 1 for fail, 4 where infrastructure kept it from running.
    pub(crate) fn status(&self) -> Status {
        match self.result.as_ref().map(|result| result.class) {
            Some(Class::Pass | Class::Neutral) => Status::Done,
            Some(Class::Fail) => Status::Failed,
            Some(Class::Tmpfail | Class::Error | Class::Denylisted | Class::Otherfail) | None => {
                Status::NotRun
            }
        }
    }

    fn paint(&self, paint: Paint, text: &str) -> String {
        match self.status() {
            Status::Done => paint.green(text),
            Status::Failed => paint.red(text),
            Status::NotRun | Status::Usage | Status::Away => paint.yellow(text),
        }
    }

    /// Some lines for people.
    pub(crate) fn text(&self, paint: Paint) -> String {
        let what = format!("{} on {}/{}", self.package, self.release, self.arch);
        let mut text = String::new();
        if let Some(Evidence { class, version, exit_code, duration_seconds, container, folder, .. }) =
            &self.result
        {
            let verdict = self.paint(paint, &format!("{} {class}", class.symbol()));
            let _ = writeln!(
                text,
                "{verdict}: {what}, version {version}, exit code {exit_code}, {duration_seconds} s"
            );
            let _ = writeln!(text, "  result: {container}/{folder}/{}", file::RESULT);
        } else {
            let verdict = self.paint(paint, &format!("⚠ {}", self.state));
            let _ = writeln!(text, "{verdict}: {what}: {}", self.reason.as_deref().unwrap_or("no result"));
            if self.state == JobState::Parked {
                let _ = writeln!(text, "  log:    proofhouse parked show {} --log", self.uuid);
            }
        }
        if let Some(page) = &self.page {
            let _ = writeln!(text, "  page:   {page}");
        }
        text
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A job that is over.
    pub(crate) fn outcome(code: Option<i32>) -> Outcome {
        let class = |code: i32| proofhouse_core::outcome::ExitCode(code).class();
        Outcome {
            uuid: "3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e".to_owned(),
            release: "noble".to_owned(),
            arch: "amd64".to_owned(),
            package: "hello".to_owned(),
            state: if code.is_some() { JobState::Done } else { JobState::Parked },
            reason: code.is_none().then(|| "the testbed failed (exit code 16)".to_owned()),
            result: code.map(|code| Evidence {
                exit_code: code.into(),
                class: class(code),
                version: "2.10-3".to_owned(),
                duration_seconds: 29,
                run_id: "20261121_053634_abcde@".to_owned(),
                container: "autopkgtest-noble".to_owned(),
                folder: "noble/amd64/h/hello/20261121_053634_abcde@".to_owned(),
                rule: Some("exit-code".to_owned()),
                called_off: None,
            }),
            page: Some("http://127.0.0.1:8080/run/3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e".to_owned()),
        }
    }

    #[test]
    fn exit_statuses() {
        for (codes, status) in [
            (&[0, 2, 8][..], Status::Done),
            (&[4, 6, 12, 14], Status::Failed),
            (&[16, 20, 99, -9, 137, 1], Status::NotRun),
        ] {
            for code in codes {
                assert_eq!(outcome(Some(*code)).status(), status, "{code}");
            }
        }
        assert_eq!(outcome(None).status(), Status::NotRun);
    }

    #[test]
    fn rendered() {
        let texts = [Some(0), Some(4), Some(20), None].map(|code| outcome(code).text(Paint::plain()));
        insta::assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn one_json_object() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&outcome(Some(0))).unwrap());
    }
}
