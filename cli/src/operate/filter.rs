//! Which jobs are meant: the options that all these commands share.

use std::str::FromStr;

use clap::Args;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use proofhouse_core::{
    db::OperatedRow,
    names::{Arch, Context, Package, Release},
    params::Trigger,
    queue::Class,
};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{args::text, parked::PackageGlob, queue::class, status::Misuse};

#[derive(Debug, Default, Args)]
pub(super) struct Filter {
    /// Only this release
    #[arg(long)]
    pub(super) release: Option<Release>,
    /// Only this architecture
    #[arg(long)]
    pub(super) arch: Option<Arch>,
    /// Only this context: ubuntu, huge, ppa or upstream
    #[arg(long)]
    pub(super) context: Option<Context>,
    /// Only those for which these wait: people (asked for by the web, the command line, a token, or with a requester on a
    /// queue), gates (came by a queue without a requester) or bulk (came by a huge queue)
    #[arg(long)]
    pub(super) class: Option<Class>,
    /// Only packages of this name; a glob
    #[arg(long, value_name = "GLOB")]
    pub(super) package: Option<PackageGlob>,
    /// Only those with this trigger: a source and its version, or a source of any version
    #[arg(long, value_name = "SRC[/VER]")]
    pub(super) trigger: Option<TriggerName>,
    /// Only those that this person or client asked for
    #[arg(long, value_name = "NAME", value_parser = text)]
    pub(super) requester: Option<String>,
    /// Only this run; may be given several times
    #[arg(long, value_name = "UUID")]
    pub(super) uuid: Vec<Uuid>,
    /// Only those received longer ago: 90m, 12h, 3d
    #[arg(long, value_name = "DURATION")]
    pub(super) older_than: Option<Ago>,
    /// Only those received since then
    #[arg(long, value_name = "DURATION")]
    pub(super) newer_than: Option<Ago>,
    /// All of them; needed where nothing else says which
    #[arg(long, conflicts_with_all = ["release", "arch", "context", "class", "package", "trigger", "requester", "uuid",
        "older_than", "newer_than"])]
    pub(super) all: bool,
}

/// A trigger, or a source of any version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TriggerName {
    Exact(Trigger),
    Source(Package),
}

impl FromStr for TriggerName {
    type Err = proofhouse_core::names::BadName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('/') { text.parse().map(Self::Exact) } else { text.parse().map(Self::Source) }
    }
}

impl TriggerName {
    fn matches(&self, trigger: &Trigger) -> bool {
        match self {
            Self::Exact(exact) => exact == trigger,
            Self::Source(source) => *source == trigger.source,
        }
    }
}

/// So long ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ago {
    text: String,
    pub(super) us: i64,
}

impl FromStr for Ago {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let span = text.parse::<Span>().ok();
        let duration = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
        let us =
            duration.filter(|d| *d >= SignedDuration::ZERO).and_then(|d| i64::try_from(d.as_micros()).ok());
        let us = us.ok_or("durations are written as 90m, 12h, 3d or 2w")?;
        Ok(Self { text: text.to_owned(), us })
    }
}

impl Filter {
    /// Nothing is meant by accident.
    pub(super) fn check(&self) -> Result<(), Misuse> {
        if self.all || self.narrows() {
            return Ok(());
        }
        Err(Misuse("say which jobs by an option such as --release or --trigger, or --all".to_owned()))
    }

    /// True where options name some of the jobs: that there are none of these is a surprise.
    pub(super) fn narrows(&self) -> bool {
        !self.all && !self.said().is_empty()
    }

    /// What was typed, for the audit log.
    pub(super) fn said(&self) -> Map<String, Value> {
        let text = |value: Option<String>| value.map(Value::from);
        let trigger = self.trigger.as_ref().map(|trigger| match trigger {
            TriggerName::Exact(trigger) => trigger.to_string(),
            TriggerName::Source(source) => source.to_string(),
        });
        let uuids: Vec<String> = self.uuid.iter().map(ToString::to_string).collect();
        let said = [
            ("release", text(self.release.as_ref().map(ToString::to_string))),
            ("arch", text(self.arch.as_ref().map(ToString::to_string))),
            ("context", text(self.context.map(|context| context.to_string()))),
            ("class", text(self.class.map(|class| class.to_string()))),
            ("package", text(self.package.as_ref().map(|package| package.text().to_owned()))),
            ("trigger", text(trigger)),
            ("requester", text(self.requester.clone())),
            ("uuid", (!uuids.is_empty()).then(|| uuids.into())),
            ("older_than", text(self.older_than.as_ref().map(|ago| ago.text.clone()))),
            ("newer_than", text(self.newer_than.as_ref().map(|ago| ago.text.clone()))),
            ("all", self.all.then_some(Value::Bool(true))),
        ];
        said.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }

    /// Whether a job is meant, its uuid apart.
    pub(super) fn matches(&self, job: &OperatedRow, now_us: i64) -> bool {
        let age = now_us.saturating_sub(job.received_us);
        self.release.as_ref().is_none_or(|r| r.as_str() == job.release)
            && self.arch.as_ref().is_none_or(|a| a.as_str() == job.arch)
            && self.context.is_none_or(|c| c.as_str() == job.context)
            && self.package.as_ref().is_none_or(|p| p.matches(&job.package))
            && self.requester.as_ref().is_none_or(|r| job.requesters.lines().any(|name| name == r))
            && self.older_than.as_ref().is_none_or(|ago| age > ago.us)
            && self.newer_than.as_ref().is_none_or(|ago| age < ago.us)
            && self.class.is_none_or(|wanted| {
                class(job.lane.as_deref(), &job.context, !job.requesters.is_empty()) == wanted
            })
            // The dearest comes last: it reads the body.
            && self.trigger.as_ref().is_none_or(|wanted| {
                job.request().is_ok_and(|request| request.triggers.iter().any(|t| wanted.matches(t)))
            })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        filter: Filter,
    }

    pub(in crate::operate) fn filter(line: &str) -> Filter {
        let words = std::iter::once("x").chain(line.split(' ').filter(|word| !word.is_empty()));
        Line::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).filter
    }

    pub(in crate::operate) fn job(id: i64, params: &str) -> OperatedRow {
        OperatedRow {
            id,
            uuid: "3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e".to_owned(),
            context: "ubuntu".to_owned(),
            release: "noble".to_owned(),
            arch: "amd64".to_owned(),
            package: "linux-meta".to_owned(),
            body: format!("linux-meta\n{params}"),
            private: false,
            requesters: "joe\nann".to_owned(),
            state: "waiting".to_owned(),
            lane: Some("0 gates ubuntu noble/amd64 - glibc/2".to_owned()),
            received_us: 1_000_000_000,
        }
    }

    #[test]
    fn each_option_narrows() {
        let row = job(1, r#"{"triggers": ["glibc/2", "perl/5"]}"#);
        let now = 1_000_000_000 + 3_600_000_000;
        for line in [
            "--all",
            "--release noble --arch amd64 --context ubuntu --class gates",
            "--package linux-* --requester ann",
            "--trigger glibc/2",
            "--trigger perl",
            "--older-than 59m --newer-than 61m",
            "--newer-than 1d",
        ] {
            assert!(filter(line).matches(&row, now), "{line}");
        }
        for line in [
            "--release jammy",
            "--arch arm64",
            "--context ppa",
            "--class people",
            "--package linux",
            "--trigger glibc/2.1",
            "--trigger gli",
            "--requester an",
            "--older-than 2h",
            "--newer-than 30m",
            "--release noble --arch s390x",
        ] {
            assert!(!filter(line).matches(&row, now), "{line}");
        }
    }

    #[test]
    fn nothing_is_meant_by_accident() {
        assert!(filter("").check().is_err() && filter("--all").check().is_ok());
        assert!(filter("--arch arm64").check().is_ok());
        assert!(Line::try_parse_from(["x", "--all", "--arch", "arm64"]).is_err());
        for option in ["--release", "--arch", "--package", "--trigger", "--requester"] {
            assert!(Line::try_parse_from(["x", option, ""]).is_err(), "{option}");
        }
        assert!(Line::try_parse_from(["x", "--requester", " "]).is_err());
    }

    #[test]
    fn options_that_name_jobs_are_told_from_those_that_take_all() {
        assert!(filter("--arch arm64").narrows() && !filter("--all").narrows() && !filter("").narrows());
    }

    #[test]
    fn what_was_typed() {
        let uuid = "3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e";
        let line = format!(
            "--release noble --arch amd64 --context ppa --class bulk --package a* --trigger b/1 --requester c \
             --uuid {uuid} --older-than 3d --newer-than 2w"
        );
        let expected = serde_json::json!({
            "release": "noble", "arch": "amd64", "context": "ppa", "class": "bulk", "package": "a*", "trigger": "b/1",
            "requester": "c", "uuid": [uuid], "older_than": "3d", "newer_than": "2w",
        });
        assert_eq!(Value::Object(filter(&line).said()), expected);
        assert_eq!(Value::Object(filter("--all").said()), serde_json::json!({"all": true}));
    }

    #[test]
    fn durations() {
        let us = |text: &str| text.parse::<Ago>().map(|ago| ago.us);
        assert_eq!((us("90m"), us("1h 30m")), (Ok(5_400_000_000), Ok(5_400_000_000)));
        assert_eq!((us("3d"), us("2w")), (Ok(259_200_000_000), Ok(1_209_600_000_000)));
        assert!(us("-3d").is_err() && us("3").is_err() && us("1mo").is_err());
    }
}
