//! Which jobs are superseded: a newer push to the same branch or pull request has come.

use std::collections::{BTreeSet, HashMap};

use proofhouse_core::{db::OperatedRow, request::Request};

use super::super::pass::{Change, Verdict};

pub(super) const REASON: &str = "a newer push has come";
const NO_GIT: &str = "they are not of a git source";
const NEWEST: &str = "nothing newer has come";
/// The variable that names the commit: where the hook that asked reports its status. Contract "Web", heading "Hooks".
const OF_THE_PUSH: &str = "GITHUB_STATUSES_URL=";

/// What two pushes of one thing have in common: all that was asked for, but for the commit. What differs in more is another
/// variant of the test.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Thing {
    on: [String; 4],
    /// Repository and branch.
    test_git: Option<String>,
    build_git: Option<String>,
    test_bzr: Option<String>,
    /// In their order: of two of one name the later counts.
    env: Vec<String>,
    all_proposed: bool,
    testname: Option<String>,
    triggers: BTreeSet<String>,
    ppas: Vec<String>,
    reader: Option<String>,
    readable_by: Vec<String>,
}

/// None for what is not of a git source.
fn thing(job: &OperatedRow) -> Option<Thing> {
    let request: Request = job.request().ok()?;
    if request.test_git.is_none() && request.build_git.is_none() {
        return None;
    }
    let env = request.env.iter().map(ToString::to_string);
    Some(Thing {
        on: [&job.package, &job.release, &job.arch, &job.context].map(Clone::clone),
        test_git: request.test_git.map(|source| source.as_str().to_owned()),
        build_git: request.build_git.map(|source| source.as_str().to_owned()),
        test_bzr: request.test_bzr.map(|source| source.to_string()),
        env: env.filter(|variable| !variable.starts_with(OF_THE_PUSH)).collect(),
        all_proposed: request.all_proposed,
        testname: request.testname.map(|name| name.to_string()),
        triggers: request.triggers.iter().map(ToString::to_string).collect(),
        ppas: request.ppas.iter().map(proofhouse_core::params::Ppa::without_credentials).collect(),
        reader: request.swiftuser.map(|user| user.to_string()),
        readable_by: request.readable_by.iter().map(ToString::to_string).collect(),
    })
}

/// The greatest number of a job of each thing.
#[derive(Debug, Default)]
pub(super) struct Newest(HashMap<Thing, i64>);

impl Newest {
    pub(super) fn learn(&mut self, job: &OperatedRow) {
        if let Some(thing) = thing(job) {
            let newest = self.0.entry(thing).or_insert(job.id);
            *newest = job.id.max(*newest);
        }
    }

    pub(super) fn judge(&self, job: &OperatedRow) -> Verdict {
        match thing(job) {
            None => Verdict::Leave(NO_GIT),
            Some(thing) if self.0.get(&thing).is_some_and(|newest| *newest > job.id) => {
                Verdict::Change(Change::End)
            }
            Some(_) => Verdict::Leave(NEWEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::filter::tests::job, *};

    fn push(id: i64, more: &str) -> OperatedRow {
        job(id, &format!(r#"{{"build-git": "https://example.org/a.git#main"{more}}}"#))
    }

    /// Whether the second job has the first one dropped.
    fn drops(newer: &OperatedRow, older: &OperatedRow) -> bool {
        let mut newest = Newest::default();
        newest.learn(newer);
        newest.learn(older);
        newest.judge(older) == Verdict::Change(Change::End)
    }

    #[test]
    fn a_newer_push_of_the_same_thing() {
        let with = |number: u32, commit: &str| {
            format!(
                r#", "env": ["UPSTREAM_PULL_REQUEST={number}", "GITHUB_STATUSES_URL=https://x/{commit}"]"#
            )
        };
        assert!(drops(&push(2, ""), &push(1, "")));
        assert!(!drops(&push(1, ""), &push(2, "")));
        assert!(drops(&push(2, &with(7, "b")), &push(1, &with(7, "a"))));
        assert!(!drops(&push(2, &with(8, "b")), &push(1, &with(7, "a"))));
        assert!(!drops(&push(2, &with(7, "b")), &push(1, "")));
    }

    #[test]
    fn other_things_stay() {
        for more in [
            r#", "testname": "smoke""#,
            r#", "all-proposed": "1""#,
            r#", "env": ["FLAVOUR=b"]"#,
            r#", "test-bzr": "lp:green""#,
            r#", "swiftuser": "joe", "readable-by": "ann""#,
            r#", "triggers": ["green/2"]"#,
            r#", "ppas": ["joe/foo"]"#,
            r#", "test-git": "https://example.org/b.git""#,
        ] {
            assert!(!drops(&push(2, more), &push(1, "")), "{more}");
            assert!(drops(&push(2, more), &push(1, more)), "{more}");
        }
        let flavour = |name: &str| format!(r#", "env": ["UPSTREAM_PULL_REQUEST=7", "FLAVOUR={name}"]"#);
        assert!(!drops(&push(2, &flavour("b")), &push(1, &flavour("a"))));
        let elsewhere = |change: fn(&mut OperatedRow)| {
            let mut row = push(2, "");
            change(&mut row);
            row
        };
        assert!(!drops(&elsewhere(|row| row.arch = "arm64".to_owned()), &push(1, "")));
        assert!(!drops(&elsewhere(|row| row.context = "upstream".to_owned()), &push(1, "")));
        assert!(!drops(&elsewhere(|row| row.package = "other".to_owned()), &push(1, "")));
        assert!(!drops(&push(2, ""), &job(1, "{}")) && !drops(&job(2, "{}"), &job(1, "{}")));
    }
}
