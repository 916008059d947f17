//! What pages and JSON say of what a run left.

use proofhouse_core::evidence::{Contents, TestEnd, Verdict};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{log::plain, view};

/// The longest text of an archive that is shown, in characters.
const LONGEST: usize = 300;
/// More variables than any request has.
pub(super) const MOST_VARIABLES: usize = 1000;

/// What a test wrote, as a line that is no more than text.
pub(super) fn shown(text: &str) -> String {
    plain(text).lines().next().unwrap_or_default().chars().take(LONGEST).collect()
}

/// A file of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FileData {
    /// Its name.
    pub(crate) name: String,
    /// Its address.
    pub(crate) url: String,
    /// Its length in bytes.
    pub(crate) length: u64,
    #[serde(skip)]
    pub(crate) path: String,
}

impl FileData {
    /// Its length as people read it.
    pub(crate) fn size(&self) -> String {
        view::size(self.length)
    }
}

/// A test of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct TestData {
    /// Its name; `*` stands for all of them.
    pub(crate) name: String,
    /// `pass`, `fail`, `skip`, or `flaky`: it failed, which its package says not to count.
    pub(crate) result: &'static str,
    /// Why, in autopkgtest's words; may be empty.
    pub(crate) reason: String,
    /// How long it took, in seconds, by the log's time stamps; null where they do not say.
    pub(crate) seconds: Option<i64>,
}

impl TestData {
    pub(super) fn new(end: &TestEnd, seconds: Option<i64>) -> Self {
        let (name, reason) = (shown(&end.name), shown(&end.reason));
        Self { name, result: end.verdict.as_str(), reason, seconds }
    }

    pub(crate) fn is_failure(&self) -> bool {
        self.result == Verdict::Fail.as_str()
    }

    /// It neither failed nor was flaky: pages fold it.
    pub(crate) fn is_quiet(&self) -> bool {
        self.result == Verdict::Pass.as_str()
    }

    /// How long it took, as people read it.
    pub(crate) fn took(&self) -> Option<String> {
        self.seconds.map(view::duration)
    }

    /// Class of the style sheet.
    pub(crate) fn class(&self) -> &'static str {
        mark(self.result).0
    }

    pub(crate) fn symbol(&self) -> &'static str {
        mark(self.result).1
    }
}

/// Class and symbol of a test's end.
pub(crate) fn mark(result: &str) -> (&'static str, &'static str) {
    match result {
        "pass" => ("pass", "✔"),
        "skip" => ("neutral", "−"),
        "flaky" => ("tmpfail", "⚠"),
        _ => ("fail", "✘"),
    }
}

/// What a run ran on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct TestbedData {
    /// The testbed, as autopkgtest was told to make it.
    pub(crate) provider: Option<String>,
    /// Its kernel.
    pub(crate) kernel: Option<String>,
    /// Its processor.
    pub(crate) processor: Option<String>,
    /// How many processors it had.
    pub(crate) processors: Option<String>,
    /// Who ran it.
    pub(crate) worker: Option<String>,
    /// Variables of the test, but its triggers.
    pub(crate) variables: Vec<String>,
    /// How many packages were installed before the tests' own.
    pub(crate) packages: Option<usize>,
}

/// Variables of the test as autopkgtest noted them, but its triggers.
pub(super) fn variables(contents: &Contents) -> impl Iterator<Item = &str> {
    let all = contents.info.get("custom_environment").and_then(Value::as_array);
    let all = all.into_iter().flatten().filter_map(Value::as_str);
    all.filter(|text| !text.starts_with("ADT_TEST_TRIGGERS="))
}

impl TestbedData {
    pub(super) fn of(contents: &Contents) -> Self {
        let text = |key: &str| {
            let text = match contents.info.get(key)? {
                Value::String(text) => shown(text),
                Value::Number(number) => number.to_string(),
                Value::Array(items) => {
                    let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
                    shown(&items.join(", "))
                }
                _ => return None,
            };
            (!text.is_empty()).then_some(text)
        };
        Self {
            provider: text("virt_server"),
            kernel: text("test_kernel_versions").or_else(|| text("kernel_version")),
            processor: text("cpu_model"),
            processors: text("nproc"),
            worker: text("worker"),
            variables: variables(contents).take(MOST_VARIABLES).map(shown).collect(),
            packages: contents.packages.as_ref().map(|packages| packages.versions.len()),
        }
    }

    /// Names for people, and what is known.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("Kernel", self.kernel.clone()),
            ("Testbed", self.provider.clone()),
            ("Processor", self.processor.clone()),
            ("Processors", self.processors.clone()),
            ("Worker", self.worker.clone()),
            ("Variables", (!self.variables.is_empty()).then(|| self.variables.join(" "))),
            ("Packages", self.packages.map(|n| n.to_string())),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}
