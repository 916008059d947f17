//! What `result.tar` and `artifacts.tar.gz` tell people of a run beside its outcome. A test may have left anything in either:
//! all of it is bounded.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::LazyLock,
};

use flate2::read::MultiGzDecoder;
use regex::Regex;
use serde_json::{Map, Value};

use super::{MAX_MEMBER, damage_in, members};

/// More tests than any package has.
const MOST_TESTS: usize = 1000;
/// More packages than any testbed has.
const MOST_PACKAGES: usize = 20_000;
/// More than this of all tests of a run together are not kept: each is some hundred bytes.
const MOST_LISTED: usize = 200_000;
/// The longest name, version or reason, in characters.
const LONGEST: usize = 200;
/// So much of the artifacts is unpacked, in bytes: a small file can unpack to any size.
const MOST_UNPACKED: u64 = 64 << 20;

static END: LazyLock<Regex> = LazyLock::new(|| {
    // A line of autopkgtest's `report` (adtlog.py).
    Regex::new(r"^(\S+)[ \t]+(PASS|FAIL|SKIP|FLAKY|BROKEN)\b[ \t]*(.*)$").expect("a constant pattern")
});

/// How a test of a package ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Pass,
    /// It failed.
    Fail,
    /// It was not run, and said why.
    Skip,
    /// It failed, which its package says not to count.
    Flaky,
}

impl Verdict {
    /// The word that pages and JSON use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "skip",
            Self::Flaky => "flaky",
        }
    }
}

/// A test of a package, as the summary has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestEnd {
    /// Its name; `*` stands for all of them.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// Why, in autopkgtest's words; may be empty.
    pub reason: String,
}

/// Binary packages by their names, with their versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packages {
    /// By name.
    pub versions: BTreeMap<String, String>,
    /// False where the list was longer than is read.
    pub is_whole: bool,
}

impl Packages {
    /// Reads `dpkg-query`'s lines: name, tab, version.
    fn of(text: &str) -> Self {
        let is_short = (text.len() as u64) < MAX_MEMBER;
        let mut lines = text.lines().filter_map(|line| line.split_once('\t'));
        let versions = lines.by_ref().take(MOST_PACKAGES);
        let versions = versions.map(|(name, version)| (short(name), short(version))).collect();
        Self { versions, is_whole: is_short && lines.next().is_none() }
    }
}

/// What a `result.tar` says beside the outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// What is wrong with it, as [`super::damage`] says it.
    pub damage: Option<String>,
    /// How each test ended, in their order; none where there is no summary.
    pub tests: Option<Vec<TestEnd>>,
    /// How many tests are left out.
    pub more_tests: usize,
    /// What was installed before any test was prepared.
    pub packages: Option<Packages>,
    /// `testinfo.json`.
    pub info: Map<String, Value>,
}

impl Contents {
    /// Reads the bytes of a `result.tar`, as far as they go.
    pub fn of(bytes: &[u8]) -> Self {
        let (members, broken) = members(bytes);
        let damage = damage_in(&members, broken);
        // Old systems wrote `./` before the names.
        let member = |name: &str| members.get(name).or_else(|| members.get(&format!("./{name}")));
        let mut ends = member("summary").map(|text| text.lines().filter_map(test_end));
        let tests = ends.as_mut().map(|ends| ends.by_ref().take(MOST_TESTS).collect());
        Self {
            damage,
            tests,
            more_tests: ends.map_or(0, Iterator::count),
            packages: member("testbed-packages").map(|text| Packages::of(text)),
            info: member("testinfo.json")
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
        }
    }
}

fn test_end(line: &str) -> Option<TestEnd> {
    let found = END.captures(line)?;
    let verdict = match &found[2] {
        "PASS" => Verdict::Pass,
        "SKIP" => Verdict::Skip,
        "FLAKY" => Verdict::Flaky,
        _ => Verdict::Fail,
    };
    Some(TestEnd { name: short(&found[1]), verdict, reason: short(&found[3]) })
}

fn short(text: &str) -> String {
    text.trim().chars().take(LONGEST).collect()
}

/// What was installed for each test beside [`Contents::packages`], from the bytes of an `artifacts.tar.gz` or its beginning;
/// true where that is all of it.
pub fn test_packages(packed: &[u8]) -> (BTreeMap<String, Packages>, bool) {
    let mut tests = BTreeMap::new();
    let mut archive = tar::Archive::new(MultiGzDecoder::new(packed).take(MOST_UNPACKED));
    let is_read = read_packages(&mut archive, &mut tests).is_ok();
    // What is cut off where a member begins looks whole to who reads members.
    let is_whole = is_read && archive.into_inner().limit() > 0;
    (tests, is_whole)
}

fn read_packages(
    archive: &mut tar::Archive<impl Read>,
    tests: &mut BTreeMap<String, Packages>,
) -> io::Result<()> {
    for entry in archive.entries()? {
        let mut entry = entry?;
        // A sparse member of a few bytes says that it unpacks to any length.
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path()?.display().to_string();
        let name = name.strip_prefix("./").unwrap_or(&name);
        let Some(test) = name.strip_suffix("-packages").filter(|test| !test.contains('/')) else { continue };
        let listed: usize = tests.values().map(|packages| packages.versions.len()).sum();
        if tests.len() == MOST_TESTS || listed > MOST_LISTED {
            return Err(io::Error::other("more tests, or more packages of theirs, than are read"));
        }
        let (test, size) = (short(test), entry.size());
        let mut lines = Vec::new();
        entry.by_ref().take(MAX_MEMBER).read_to_end(&mut lines)?;
        if (lines.len() as u64) < size.min(MAX_MEMBER) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        tests.insert(test, Packages::of(&String::from_utf8_lossy(&lines)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{gzip, result_tar},
        *,
    };

    fn tar(members: &[(&str, &str)]) -> Vec<u8> {
        let members: Vec<(&str, Vec<u8>)> =
            members.iter().map(|(name, text)| (*name, text.as_bytes().to_vec())).collect();
        result_tar(&members).unwrap()
    }

    #[test]
    fn tests_packages_and_the_testbed() {
        let summary = "one                  PASS (superficial)\ntwo FAIL badpkg\nblame: two\nbadpkg: x\n\
                       three                FLAKY non-zero exit status 1\n* SKIP no tests\n";
        let contents = Contents::of(&tar(&[
            ("exitcode", "4\n"),
            ("testpkg-version", "green 2\n"),
            ("testbed-packages", "libc6\t2.39\nno version\nzlib1g\t1:1\n"),
            ("testinfo.json", r#"{"nproc": "2"}"#),
            ("./summary", summary),
        ]));
        assert_eq!((contents.damage, contents.more_tests), (None, 0));
        let ends: Vec<_> = contents.tests.unwrap();
        let ends: Vec<_> =
            ends.iter().map(|t| (t.name.as_str(), t.verdict.as_str(), t.reason.as_str())).collect();
        assert_eq!(
            ends,
            [
                ("one", "pass", "(superficial)"),
                ("two", "fail", "badpkg"),
                ("three", "flaky", "non-zero exit status 1"),
                ("*", "skip", "no tests")
            ]
        );
        let packages = contents.packages.unwrap();
        assert_eq!((packages.versions.len(), packages.versions["zlib1g"].as_str()), (2, "1:1"));
        assert!(packages.is_whole && contents.info["nproc"] == "2");
        let nothing = Contents::of(b"nonsense");
        assert!(nothing.damage.is_some() && nothing.tests.is_none() && nothing.packages.is_none());
    }

    #[test]
    fn what_is_too_long_is_bounded_and_said() {
        let long = "x".repeat(5000);
        let summary = format!("t FAIL {long}\n").repeat(MOST_TESTS + 5);
        let packages: Vec<String> = (0..=MOST_PACKAGES).map(|n| format!("p{n}\t1")).collect();
        let packages = packages.join("\n");
        let summary = &summary[..usize::try_from(MAX_MEMBER).unwrap()];
        let contents = Contents::of(&tar(&[("summary", summary), ("testbed-packages", &packages)]));
        let tests = contents.tests.unwrap();
        assert!(tests.len() <= MOST_TESTS && tests.iter().all(|t| t.reason.len() <= LONGEST));
        let packages = contents.packages.unwrap();
        assert_eq!((packages.versions.len(), packages.is_whole), (MOST_PACKAGES, false));
    }

    #[test]
    fn packages_of_tests_are_among_the_artifacts() {
        let bytes = tar(&[
            ("./one-packages", "libfoo\t2\n"),
            ("artifacts/x-packages", "no\t1\n"),
            ("one-stdout", "x"),
        ]);
        let packed = gzip(&bytes).unwrap();
        let (tests, is_whole) = test_packages(&packed);
        assert_eq!((tests.len(), tests["one"].versions["libfoo"].as_str(), is_whole), (1, "2", true));
        let (_, is_whole) = test_packages(&packed[..packed.len() / 2]);
        assert!(!is_whole);
        assert!(!test_packages(b"nonsense").1);
        let lines = (0..MOST_PACKAGES).map(|n| format!("p{n}\t1")).collect::<Vec<_>>().join("\n");
        let members: Vec<(String, &str)> =
            (0..100).map(|n| (format!("t{n}-packages"), lines.as_str())).collect();
        let members: Vec<(&str, &str)> = members.iter().map(|(name, text)| (name.as_str(), *text)).collect();
        let (tests, is_whole) = test_packages(&gzip(&tar(&members)).unwrap());
        let listed: usize = tests.values().map(|packages| packages.versions.len()).sum();
        assert!(!is_whole && listed <= MOST_LISTED + MOST_PACKAGES, "{listed}");
    }
}
