//! What was done, or would be.

use std::{collections::BTreeMap, fmt::Write as _};

use proofhouse_core::db::OperatedRow;
use serde::Serialize;

use crate::print;

/// So many of the jobs are named.
const FIRST: usize = 5;

/// The words for what a command does: `raise`, `raised`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verb(pub(super) &'static str, pub(super) &'static str);

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) action: &'static str,
    /// Nothing was done about it.
    pub(super) dry_run: bool,
    /// The number of its entry in the audit log.
    pub(super) audit: Option<i64>,
    pub(super) jobs: usize,
    /// How many of them are answered, and how many end without an answer, where answers are asked for.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    answers: Option<Answers>,
    /// How many of each release, architecture and context.
    #[serde(serialize_with = "as_list")]
    by: BTreeMap<(String, String, String), usize>,
    first: Vec<Named>,
    /// How many that are meant stay as they are, by the reason.
    pub(super) left: BTreeMap<&'static str, usize>,
    #[serde(skip)]
    verb: Verb,
}

#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Answers {
    answered: usize,
    unanswered: usize,
}

#[derive(Debug, Serialize)]
struct Named {
    job: i64,
    uuid: String,
    release: String,
    arch: String,
    context: String,
    package: String,
    private: bool,
}

fn as_list<S: serde::Serializer>(
    by: &BTreeMap<(String, String, String), usize>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(by.iter().map(|((release, arch, context), jobs)| {
        serde_json::json!({"release": release, "arch": arch, "context": context, "jobs": jobs})
    }))
}

impl Report {
    /// `answers`: gates are to be answered.
    pub(super) fn begin(action: &'static str, verb: Verb, dry_run: bool, answers: bool) -> Self {
        let (by, left) = (BTreeMap::new(), BTreeMap::new());
        let answers = answers.then(Answers::default);
        Self { action, dry_run, audit: None, jobs: 0, answers, by, first: Vec::new(), left, verb }
    }

    /// `answered`: its gate is.
    pub(super) fn add(&mut self, job: &OperatedRow, answered: bool) {
        let OperatedRow { id, uuid, release, arch, context, package, private, .. } = job;
        self.jobs += 1;
        if let Some(answers) = &mut self.answers {
            *(if answered { &mut answers.answered } else { &mut answers.unanswered }) += 1;
        }
        *self.by.entry((release.clone(), arch.clone(), context.clone())).or_default() += 1;
        if self.first.len() < FIRST {
            self.first.push(Named {
                job: *id,
                uuid: uuid.clone(),
                release: release.clone(),
                arch: arch.clone(),
                context: context.clone(),
                package: package.clone(),
                private: *private,
            });
        }
    }

    pub(super) fn leave(&mut self, why: &'static str) {
        *self.left.entry(why).or_default() += 1;
    }

    pub(super) fn text(&self) -> String {
        let Verb(would, did) = self.verb;
        let jobs = count(self.jobs);
        let mut text = match (self.dry_run, self.audit) {
            (true, _) => format!("would {would} {jobs}\n"),
            (false, Some(audit)) => format!("{did} {jobs} (audit entry {audit})\n"),
            (false, None) => format!("{did} {jobs}\n"),
        };
        for ((release, arch, context), jobs) in &self.by {
            let _ = writeln!(text, "  {jobs:>7}  {release}/{arch} {context}");
        }
        if let Some(Answers { answered, unanswered }) = self.answers {
            let _ = writeln!(text, "with an answer to their gates: {answered}");
            if unanswered > 0 {
                let _ =
                    writeln!(text, "without one: {unanswered}, baselines or requests that cannot be read");
            }
        }
        if self.dry_run && !self.first.is_empty() {
            text.push_str("the first of them:\n");
            for job in &self.first {
                let Named { uuid, release, arch, package, private, .. } = job;
                let private = if *private { " (private)" } else { "" };
                let _ =
                    writeln!(text, "  {uuid}  {release}/{arch} {}{private}", print::one_line(package, 100));
            }
        }
        for (why, jobs) in &self.left {
            let _ = writeln!(text, "left as they are: {jobs}, {why}");
        }
        text
    }
}

/// `1 job`, `2 jobs`.
pub(super) fn count(jobs: usize) -> String {
    if jobs == 1 { "1 job".to_owned() } else { format!("{jobs} jobs") }
}

#[cfg(test)]
mod tests {
    use super::{super::filter::tests::job, *};

    #[test]
    fn rendered() {
        let mut report = Report::begin("raise", Verb("raise", "raised"), true, false);
        for id in 1..=7 {
            let arch = if id % 2 == 0 { "amd64" } else { "arm64" }.to_owned();
            report.add(&OperatedRow { arch, private: id == 2, ..job(id, "{}") }, false);
        }
        report.leave("they are an emergency");
        let dry = report.text();
        (report.dry_run, report.audit) = (false, Some(9));
        insta::assert_snapshot!(format!("{dry}\n{}", report.text()));
        insta::assert_snapshot!(serde_json::to_string(&report).unwrap());
    }

    #[test]
    fn how_many_are_answered() {
        let mut report = Report::begin("cancel", Verb("cancel", "cancelled"), true, true);
        for (id, answered) in [(1, true), (2, true), (3, false)] {
            report.add(&job(id, "{}"), answered);
        }
        let text = report.text();
        assert!(text.contains("with an answer to their gates: 2\nwithout one: 1, baselines"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["answered"], &json["unanswered"]), (&2.into(), &1.into()));
        let plain = serde_json::to_value(Report::begin("cancel", Verb("", ""), true, false)).unwrap();
        assert!(plain.get("answered").is_none());
    }
}
