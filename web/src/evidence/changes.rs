//! What differs between two runs of a test: one row for each thing, never a raw difference of files.

use std::collections::{BTreeMap, BTreeSet};

use proofhouse_core::{
    evidence::{Contents, Packages},
    request::Request,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Found, TestData, TestbedData,
    data::{mark, shown},
};
use crate::{
    private::PublicResult,
    view::{duration, shown_params},
};

/// What is no parameter of a run.
const NO_PARAMETERS: [&str; 8] =
    ["Result", "Version", "Duration", "Kernel", "Testbed", "Processor", "Processors", "Worker"];

/// What both runs say of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FactChange {
    /// What it is about.
    pub(crate) name: String,
    /// What the earlier run has; null: nothing.
    pub(crate) before: Option<String>,
    /// What the later run has; null: nothing.
    pub(crate) after: Option<String>,
}

/// A test that ended otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct TestChange {
    /// Its name.
    pub(crate) name: String,
    /// How it ended in the earlier run; null: it was not there.
    pub(crate) before: Option<&'static str>,
    /// How it ended in the later run; null: it was not there.
    pub(crate) after: Option<&'static str>,
    /// Why it ended so in the later run; may be empty.
    pub(crate) reason: String,
}

impl TestChange {
    /// Class, symbol and word of both ends.
    pub(crate) fn marks(&self) -> [(&'static str, &'static str, &'static str); 2] {
        [self.before, self.after].map(|end| match end {
            Some(word) => (mark(word).0, mark(word).1, word),
            None => ("idle", "–", "not there"),
        })
    }
}

/// A binary package that another version was installed of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct PackageChange {
    /// Its name.
    pub(crate) name: String,
    /// The version in the earlier run; null: it was not installed.
    pub(crate) before: Option<String>,
    /// The version in the later run; null: it was not installed.
    pub(crate) after: Option<String>,
    /// The tests that had it installed; empty: it was there before all tests.
    pub(crate) tests: Vec<String>,
    /// A trigger of the later run that has the same version: most likely the package is of it.
    pub(crate) trigger: Option<String>,
}

/// What differs between two runs of a test.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Changes {
    /// Triggers that only the later run has.
    pub(crate) triggers_added: Vec<String>,
    /// Triggers that only the earlier run had.
    pub(crate) triggers_removed: Vec<String>,
    /// What else differs: version, duration, parameters, kernel, testbed.
    pub(crate) facts: Vec<FactChange>,
    /// Tests that ended otherwise.
    pub(crate) tests: Vec<TestChange>,
    /// Packages with other versions; those of the triggers first.
    pub(crate) packages: Vec<PackageChange>,
    /// How many packages are the same in both.
    pub(crate) same_packages: usize,
    /// What could not be compared, and why.
    pub(crate) gaps: Vec<String>,
}

/// What each test had installed; true where that is all of it.
pub(crate) type TestPackages = (BTreeMap<String, Packages>, bool);

/// One of two runs.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) row: &'a PublicResult,
    /// As it was asked for, where that is known.
    pub(crate) request: Option<&'a Request>,
    pub(crate) contents: &'a Found<Contents>,
    /// None where it could not be read.
    pub(crate) packages: Option<&'a TestPackages>,
}

impl Side<'_> {
    fn triggers(&self) -> BTreeSet<&str> {
        self.row.triggers.iter().flat_map(|text| text.split(' ')).filter(|text| !text.is_empty()).collect()
    }

    fn tests(&self) -> Option<Vec<TestData>> {
        let Found::Here(contents) = self.contents else { return None };
        Some(contents.tests.as_ref()?.iter().map(|end| TestData::new(end, None)).collect())
    }

    /// What was installed, and for which tests; those of the tests only where both runs have them.
    fn installed(&self, with_tests: bool) -> Option<BTreeMap<String, (String, BTreeSet<String>)>> {
        let Found::Here(Contents { packages: Some(testbed), .. }) = self.contents else { return None };
        let of_testbed = testbed.versions.iter();
        let mut all: BTreeMap<String, (String, BTreeSet<String>)> =
            of_testbed.map(|(name, version)| (name.clone(), (version.clone(), BTreeSet::new()))).collect();
        let tests = self.packages.filter(|_| with_tests).map(|(tests, _)| tests);
        for (test, packages) in tests.into_iter().flatten() {
            for (name, version) in &packages.versions {
                let of_test = || (version.clone(), BTreeSet::new());
                all.entry(name.clone()).or_insert_with(of_test).1.insert(test.clone());
            }
        }
        Some(all)
    }

    /// The list of what was installed before all tests is complete.
    fn knows_testbed(&self) -> bool {
        matches!(self.contents, Found::Here(Contents { packages: Some(packages), .. }) if packages.is_whole)
    }

    /// Everything that tests had installed could be read.
    fn knows_tests(&self) -> bool {
        self.packages.is_some_and(|(tests, is_whole)| *is_whole && tests.values().all(|p| p.is_whole))
    }

    /// Names and values, in the same order for both.
    fn facts(&self, with_request: bool) -> Vec<(String, String)> {
        let testbed = match self.contents {
            Found::Here(contents) => TestbedData::of(contents),
            Found::Missing | Found::Away => TestbedData::default(),
        };
        let mut facts = vec![
            ("Result".to_owned(), self.row.class().to_string()),
            ("Version".to_owned(), self.row.version.clone()),
            ("Duration".to_owned(), duration(self.row.duration_seconds)),
        ];
        match self.request.filter(|_| with_request) {
            Some(request) => {
                facts.extend(shown_params(request).into_iter().filter(|(key, _)| key != "triggers"));
            }
            None => facts.extend(self.row.env.iter().map(|env| ("Parameters".to_owned(), env.clone()))),
        }
        // How many packages there are, the packages themselves tell.
        let of_testbed = testbed.facts().into_iter().filter(|(name, _)| *name != "Packages");
        facts.extend(of_testbed.map(|(name, value)| (name.to_owned(), value)));
        facts
    }
}

impl Changes {
    /// What the later run has otherwise than the earlier.
    pub(crate) fn of(before: &Side<'_>, after: &Side<'_>) -> Self {
        let own = |set: BTreeSet<&str>, other: &BTreeSet<&str>| -> Vec<String> {
            set.difference(other).map(|text| (*text).to_owned()).collect()
        };
        let mut changes = Self {
            triggers_added: own(after.triggers(), &before.triggers()),
            triggers_removed: own(before.triggers(), &after.triggers()),
            ..Self::default()
        };
        let with_requests = before.request.is_some() && after.request.is_some();
        changes.facts = facts(before.facts(with_requests), after.facts(with_requests));
        match (before.tests(), after.tests()) {
            (Some(old), Some(new)) => changes.tests = tests(&old, &new),
            _ => changes.gaps.push(gap("how each test ended", before, after)),
        }
        changes.compare_packages(before, after);
        changes
    }

    fn compare_packages(&mut self, before: &Side<'_>, after: &Side<'_>) {
        let with_tests = before.knows_tests() && after.knows_tests();
        let (Some(mut old), Some(mut new)) = (before.installed(with_tests), after.installed(with_tests))
        else {
            self.gaps.push(gap("what was installed", before, after));
            return;
        };
        if !with_tests {
            self.gaps.push(
                "What was installed for single tests is not compared: the artifacts of a run have no list of it, are not in \
                 the store, or are too large to be looked through."
                    .to_owned(),
            );
        }
        if !before.knows_testbed() || !after.knows_testbed() {
            self.gaps.push(
                "A list of packages is longer than is read: only those are compared that are in both."
                    .to_owned(),
            );
            old.retain(|name, _| new.contains_key(name));
            new.retain(|name, _| old.contains_key(name));
        }
        let triggers = after.triggers();
        for (name, (version, tests)) in new {
            let was = old.remove(&name).map(|(version, _)| version);
            if was.as_ref() == Some(&version) {
                self.same_packages += 1;
                continue;
            }
            let is_of = |trigger: &&&str| trigger.split_once('/').is_some_and(|(_, v)| v == version);
            let trigger = triggers.iter().find(is_of).map(|trigger| (*trigger).to_owned());
            self.packages.push(PackageChange::new(&name, was, Some(version), &tests, trigger));
        }
        let gone = old
            .into_iter()
            .map(|(name, (version, tests))| PackageChange::new(&name, Some(version), None, &tests, None));
        self.packages.extend(gone);
        self.packages.sort_by(|a, b| (a.trigger.is_none(), &a.name).cmp(&(b.trigger.is_none(), &b.name)));
    }

    /// In a few words, without what is only noise: `other triggers, 3 packages changed`. None: nothing.
    pub(crate) fn summary(&self) -> Option<String> {
        let differs = |name: &str| self.facts.iter().any(|fact| fact.name == name);
        let mut parts: Vec<String> = Vec::new();
        if differs("Version") {
            parts.push("another version of the package".to_owned());
        }
        if !self.triggers_added.is_empty() || !self.triggers_removed.is_empty() {
            parts.push("other triggers".to_owned());
        }
        if self.facts.iter().any(|fact| !NO_PARAMETERS.contains(&fact.name.as_str())) {
            parts.push("other parameters".to_owned());
        }
        if differs("Kernel") {
            parts.push("another kernel".to_owned());
        }
        match self.packages.len() {
            0 => {}
            1 => parts.push("1 package changed".to_owned()),
            n => parts.push(format!("{n} packages changed")),
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

impl PackageChange {
    fn new(
        name: &str,
        before: Option<String>,
        after: Option<String>,
        tests: &BTreeSet<String>,
        trigger: Option<String>,
    ) -> Self {
        Self {
            name: shown(name),
            before: before.map(|version| shown(&version)),
            after: after.map(|version| shown(&version)),
            tests: tests.iter().map(|test| shown(test)).collect(),
            trigger,
        }
    }

    /// What happened to it.
    pub(crate) fn deed(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        }
    }
}

/// Those that differ, in the order of the later run, then those that only the earlier has.
fn facts(before: Vec<(String, String)>, after: Vec<(String, String)>) -> Vec<FactChange> {
    let mut old: BTreeMap<String, String> = before.iter().cloned().collect();
    let mut changes: Vec<FactChange> = Vec::new();
    for (name, after) in after {
        let before = old.remove(&name);
        changes.push(FactChange { name, before, after: Some(after) });
    }
    let gone = before.into_iter().filter(|(name, _)| old.contains_key(name));
    changes.extend(gone.map(|(name, value)| FactChange { name, before: Some(value), after: None }));
    changes.retain(|change| change.before != change.after);
    changes
}

/// Those that ended otherwise, failures first.
fn tests(before: &[TestData], after: &[TestData]) -> Vec<TestChange> {
    let mut old: BTreeMap<&str, &TestData> = before.iter().map(|test| (test.name.as_str(), test)).collect();
    let mut changes: Vec<TestChange> = Vec::new();
    for test in after {
        let was = old.remove(test.name.as_str()).map(|test| test.result);
        if was != Some(test.result) {
            let (name, reason) = (test.name.clone(), test.reason.clone());
            changes.push(TestChange { name, before: was, after: Some(test.result), reason });
        }
    }
    let gone = before.iter().filter(|test| old.contains_key(test.name.as_str()));
    changes.extend(gone.map(|test| TestChange {
        name: test.name.clone(),
        before: Some(test.result),
        after: None,
        reason: String::new(),
    }));
    changes.sort_by_key(|change| change.after != Some("fail"));
    changes
}

/// Why two runs could not be compared.
fn gap(what: &str, before: &Side<'_>, after: &Side<'_>) -> String {
    let (which, left) = match (before.contents, after.contents) {
        (Found::Here(Contents { packages: Some(_), tests: Some(_), .. }), other) => ("later", other),
        (other, _) => ("earlier", other),
    };
    let why = match left {
        Found::Here(_) => "does not say it",
        Found::Missing => "is not in the store any more",
        Found::Away => "cannot be read: the store does not answer just now",
    };
    format!("Nobody knows whether {what} differs: the result.tar of the {which} run {why}.")
}

#[cfg(test)]
mod tests {
    use proofhouse_core::{
        db::ResultRow,
        evidence::{gzip, result_tar, test_packages},
    };

    use super::*;

    fn row(triggers: &str) -> PublicResult {
        let row = ResultRow {
            id: 1,
            job_id: None,
            container: "autopkgtest-noble".into(),
            release: "noble".into(),
            arch: "amd64".into(),
            package: "green".into(),
            run_id: "20261121_053634_abcde@".into(),
            uuid: None,
            version: "1".into(),
            triggers: Some(triggers.into()),
            env: None,
            requester: None,
            exit_code: 0,
            duration_seconds: 7,
            private: false,
            readable_by: String::new(),
            rule: None,
            called_off: None,
        };
        PublicResult::of(row).unwrap()
    }

    /// Of `name=value name=value`.
    fn contents(summary: &str, packages: &str, kernel: &str) -> Found<Contents> {
        let lines = |text: &str| text.replace(' ', "\n").replace('=', "\t").into_bytes();
        let info = format!("{{\"kernel_version\": \"{kernel}\", \"cpu_flags\": \"{packages}\"}}");
        let members = [
            ("summary", lines(summary)),
            ("testbed-packages", lines(packages)),
            ("testinfo.json", info.into()),
        ];
        Found::Here(Contents::of(&result_tar(&members).unwrap()))
    }

    fn packages(of_one: &str) -> TestPackages {
        let tar = result_tar(&[("one-packages", of_one.replace('=', "\t").into_bytes())]).unwrap();
        test_packages(&gzip(&tar).unwrap())
    }

    #[test]
    fn one_row_for_each_thing() {
        let (old, new) = (row("a/7 b/7"), row("b/7 libc/2.40"));
        let (of_old, of_new) = (packages("extra=1"), packages("extra=2"));
        let before = Side {
            row: &old,
            request: None,
            contents: &contents("one=PASS two=PASS gone=SKIP", "libc6=2.39 old=1 same=1", "6.8"),
            packages: Some(&of_old),
        };
        let after = Side {
            row: &new,
            request: None,
            contents: &contents("one=PASS two=FAIL", "aaa=1 libc6=2.40 same=1", "6.9"),
            packages: Some(&of_new),
        };
        let changes = Changes::of(&before, &after);
        assert_eq!(
            (&changes.triggers_added, &changes.triggers_removed),
            (&vec!["libc/2.40".to_owned()], &vec!["a/7".to_owned()])
        );
        let rows: Vec<_> =
            changes.packages.iter().map(|p| (p.name.as_str(), p.deed(), p.tests.len())).collect();
        assert_eq!(
            rows,
            [("libc6", "changed", 0), ("aaa", "added", 0), ("extra", "changed", 1), ("old", "removed", 0)]
        );
        assert_eq!(changes.packages[0].trigger.as_deref(), Some("libc/2.40"));
        let tests: Vec<_> = changes.tests.iter().map(|t| (t.name.as_str(), t.before, t.after)).collect();
        assert_eq!(tests, [("two", Some("pass"), Some("fail")), ("gone", Some("skip"), None)]);
        assert_eq!(changes.facts.len(), 1, "{:?}", changes.facts);
        assert_eq!((changes.same_packages, changes.gaps.len()), (1, 0));
        assert_eq!(changes.summary().unwrap(), "other triggers, another kernel, 4 packages changed");
        let same = Changes::of(&before, &before);
        assert_eq!((same.summary(), same.same_packages), (None, 4));
    }

    #[test]
    fn what_is_not_there_is_said() {
        let row = row("a/1");
        let (left, of_one) = (contents("one=PASS", "a=1", "6"), packages("x=1"));
        let whole = Side { row: &row, request: None, contents: &left, packages: Some(&of_one) };
        let away = Side { contents: &Found::Away, ..whole };
        let changes = Changes::of(&whole, &away);
        assert!(changes.packages.is_empty() && changes.tests.is_empty());
        assert!(
            changes.gaps.len() == 2 && changes.gaps[0].contains("later run cannot be read"),
            "{changes:?}"
        );
        let without = Side { contents: &contents("one=PASS", "a=2", "6"), packages: None, ..whole };
        let changes = Changes::of(&whole, &without);
        assert_eq!((changes.packages.len(), changes.gaps.len()), (1, 1), "no gap adds or removes anything");
    }
}
