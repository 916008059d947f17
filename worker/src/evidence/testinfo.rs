//! `testinfo.json`: what autopkgtest wrote, and what readers of a result need beside it (contract "Objects").

use std::path::Path;

use proofhouse_core::{arguments::adt_test_triggers, outcome::ExitCode, request::Request};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::result_tar::MAX_TESTINFO;
use crate::files;

/// autopkgtest writes some hundred bytes and the processor's flags.
const MAX_BYTES: u64 = 1 << 18;
const ENVIRONMENT: &str = "custom_environment";

/// What only the worker knows of a run.
#[derive(Debug, Clone)]
pub(crate) struct RunInfo {
    pub(crate) uuid: Uuid,
    pub(crate) worker: String,
    /// Which attempt of its job it was, from 1.
    pub(crate) attempt: i32,
    /// What decided that it is a result.
    pub(crate) rule: Option<String>,
    /// What the runner ended with, whatever the result says.
    pub(crate) runner_exit_code: ExitCode,
}

/// The text of `testinfo.json`: what is in `path`, where that is readable, with our fields.
pub(crate) fn augment(path: &Path, request: &Request, run: &RunInfo, exit_code: ExitCode) -> String {
    let found = files::read_regular(path, MAX_BYTES).unwrap_or_default();
    augment_bytes(&found, request, run, exit_code)
}

/// [`augment`] of a file's content. What does not fit into `result.tar` with our fields is left out: without them nobody
/// knows what the run was about.
pub(crate) fn augment_bytes(found: &[u8], request: &Request, run: &RunInfo, exit_code: ExitCode) -> String {
    let text = with_ours(read(found), request, run, exit_code);
    if text.len() <= MAX_TESTINFO { text } else { with_ours(Map::new(), request, run, exit_code) }
}

fn with_ours(mut info: Map<String, Value>, request: &Request, run: &RunInfo, exit_code: ExitCode) -> String {
    let environment = environment(info.get(ENVIRONMENT), request);
    info.shift_remove(ENVIRONMENT);
    if !environment.is_empty() {
        info.insert(ENVIRONMENT.to_owned(), environment.into());
    }
    let mut info = proofhouse_core::evidence::testinfo(Some(info), request, run.uuid);
    info.insert("worker".to_owned(), run.worker.as_str().into());
    info.insert("attempts".to_owned(), run.attempt.into());
    if let Some(rule) = &run.rule {
        info.insert("rule".to_owned(), rule.as_str().into());
    }
    if run.runner_exit_code != exit_code {
        info.insert("runner-exitcode".to_owned(), run.runner_exit_code.0.into());
    }
    let mut text = format!("{:#}", json!(info));
    text.push('\n');
    text
}

fn read(found: &[u8]) -> Map<String, Value> {
    match serde_json::from_slice(found) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// What autopkgtest noted of the environment, but the triggers are the request's, whatever the file says of them.
fn environment(noted: Option<&Value>, request: &Request) -> Vec<String> {
    let noted =
        noted.and_then(Value::as_array).map_or(&[][..], Vec::as_slice).iter().filter_map(Value::as_str);
    noted
        .filter(|variable| !variable.starts_with("ADT_TEST_TRIGGERS="))
        .map(str::to_owned)
        .chain(adt_test_triggers(&request.triggers))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn augmented(before: Option<&str>, body: &str) -> Value {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("testinfo.json");
        if let Some(text) = before {
            std::fs::write(&path, text).unwrap();
        }
        let runner_exit_code = ExitCode(4);
        let run =
            RunInfo { uuid: Uuid::nil(), worker: "w".to_owned(), attempt: 3, rule: None, runner_exit_code };
        let request = Request::parse(body.as_bytes()).unwrap();
        serde_json::from_str(&augment(&path, &request, &run, runner_exit_code)).unwrap()
    }

    const OURS: &str =
        "\"uuid\": \"00000000-0000-0000-0000-000000000000\", \"worker\": \"w\", \"attempts\": 3";

    fn expected(more: &str) -> Value {
        serde_json::from_str(&format!("{{{more}{OURS}}}")).unwrap()
    }

    #[test]
    fn what_autopkgtest_wrote_is_kept() {
        let before = r#"{"nproc": "2", "custom_environment": ["AB=1", "ADT_TEST_TRIGGERS=a/1 b/2"]}"#;
        assert_eq!(
            augmented(
                Some(before),
                r#"green {"triggers": ["a/1", "b/2"], "testname": "t", "all-proposed": 1}"#
            ),
            expected(
                r#""nproc": "2", "custom_environment": ["AB=1", "ADT_TEST_TRIGGERS=a/1 b/2"], "testname": "t", "all-proposed": "1", "#
            )
        );
        assert_eq!(augmented(Some("{}"), "green"), expected(""));
    }

    #[test]
    fn what_is_damaged_or_missing_is_made() {
        let body = r#"green {"triggers": ["a/1"]}"#;
        let made = expected(r#""custom_environment": ["ADT_TEST_TRIGGERS=a/1"], "#);
        for before in [
            None,
            Some(""),
            Some("{"),
            Some("[1]"),
            Some(r#"{"custom_environment": 1}"#),
            Some(r#"{"custom_environment": [1, {}]}"#),
            Some(r#"{"custom_environment": ["ADT_TEST_TRIGGERS=other/9"], "uuid": 7, "worker": []}"#),
        ] {
            assert_eq!(augmented(before, body), made, "{before:?}");
        }
        let deep = "[".repeat(200_000);
        assert_eq!(augmented(Some(&deep), body), made);
        // Each of these has a line of its own, far to the right.
        let wide = format!("{{\"x\": {}{}1{}}}", "[".repeat(100), "1,".repeat(100_000), "]".repeat(100));
        assert!(u64::try_from(wide.len()).unwrap() < MAX_BYTES);
        assert_eq!(augmented(Some(&wide), body), made);
    }
}
