//! What a `result.tar` says of its run, as far as it can be read.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{evidence::members, outcome::decided_by};

/// The longest text of one line that is kept, in characters.
const MAX_TEXT: usize = 1000;
/// The longest name of somebody who asked, in characters: it is a key of an index, which databases bound.
const MAX_NAME: usize = 200;
/// What stands for a version that is not known.
const UNKNOWN: &str = "unknown";

/// What a `result.tar` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// autopkgtest's exit code, or one that stands for it.
    pub exit_code: i32,
    /// What was tested; `unknown` where that is missing, as after a testbed's failure in old systems.
    pub version: String,
    /// Separated by blanks.
    pub triggers: Option<String>,
    /// `all-proposed=1,testname=x`.
    pub env: String,
    /// Who asked.
    pub requester: Option<String>,
    /// Whole seconds; 0 where it is missing.
    pub duration_seconds: i64,
    /// The run's name; old systems have none.
    pub uuid: Option<Uuid>,
    /// What decided that it is a result; none where another system wrote it.
    pub rule: Option<String>,
}

impl Said {
    /// Reads the bytes of a `result.tar`. Only the exit code must be there.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(bytes: &[u8]) -> Result<Self, String> {
        let (members, broken) = members(bytes);
        // Old systems wrote `./` before the names.
        let member = |name: &str| members.get(name).or_else(|| members.get(&format!("./{name}")));
        let text = |name: &str| member(name).map(|text| clean(text)).filter(|text| !text.is_empty());
        let code =
            text("exitcode").ok_or_else(|| broken.unwrap_or_else(|| "it has no exitcode".to_owned()))?;
        let exit_code = code.parse().map_err(|_| "its exitcode is no number".to_owned())?;
        let info = member("testinfo.json").map(|text| testinfo(text)).unwrap_or_default();
        let word =
            |key: &str| info.get(key).and_then(Value::as_str).map(clean).filter(|text| !text.is_empty());
        let version =
            text("testpkg-version").and_then(|text| Some(text.split_once(' ')?.1.trim().to_owned()));
        // Attempts are counted by us alone. Where nothing else decided, the exit code did.
        let ours = info.contains_key("attempts").then(|| decided_by::EXIT_CODE.to_owned());
        Ok(Self {
            exit_code,
            version: version.unwrap_or_else(|| UNKNOWN.to_owned()),
            triggers: triggers(&info),
            env: env(&info),
            requester: text("requester").map(|name| name.chars().take(MAX_NAME).collect()),
            duration_seconds: text("duration")
                .and_then(|text| text.parse().ok())
                .map_or(0, |s: i64| s.max(0)),
            uuid: word("uuid").and_then(|text| Uuid::try_parse(&text).ok()),
            rule: word("rule").or(ours),
        })
    }
}

fn testinfo(text: &str) -> Map<String, Value> {
    match serde_json::from_str(text) {
        Ok(Value::Object(info)) => info,
        _ => Map::new(),
    }
}

fn triggers(info: &Map<String, Value>) -> Option<String> {
    let mut variables = info.get("custom_environment")?.as_array()?.iter().filter_map(Value::as_str);
    let text = variables.find_map(|variable| variable.strip_prefix("ADT_TEST_TRIGGERS="))?;
    let triggers: Vec<String> = text.split_whitespace().map(clean).filter(|text| !text.is_empty()).collect();
    (!triggers.is_empty()).then(|| triggers.join(" "))
}

/// What sets a run apart from one of the same triggers.
fn env(info: &Map<String, Value>) -> String {
    let pair = |key: &str| {
        let value = match info.get(key)? {
            Value::String(text) => clean(text),
            Value::Bool(false) | Value::Null => return None,
            Value::Bool(true) => "1".to_owned(),
            other => clean(&other.to_string()),
        };
        Some(format!("{key}={value}"))
    };
    ["all-proposed", "testname"].into_iter().filter_map(pair).collect::<Vec<_>>().join(",")
}

/// The first line without what no database keeps and no page shows, and not longer than it may be.
pub(super) fn clean(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let clean: String = line.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect();
    clean.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evidence::result_tar;

    fn said(members: &[(&str, &str)]) -> Said {
        Said::of(&tar(members)).unwrap()
    }

    fn tar(members: &[(&str, &str)]) -> Vec<u8> {
        let members: Vec<(&str, Vec<u8>)> =
            members.iter().map(|(n, text)| (*n, text.as_bytes().to_vec())).collect();
        result_tar(&members).unwrap()
    }

    const INFO: &str = r#"{"custom_environment": ["AB=1", "ADT_TEST_TRIGGERS=a/1  b/2"], "nproc": "4", "all-proposed": "1",
        "testname": "smoke", "uuid": "6A1D4C5E-94c5-4f8e-9b1c-3a8d1b7a2c11", "worker": "w", "attempts": 2, "rule": "parked"}"#;

    #[test]
    fn a_whole_one() {
        let all = said(&[
            ("exitcode", "16\n"),
            ("testpkg-version", "green 1:2.0-1\n"),
            ("duration", "77\n"),
            ("testinfo.json", INFO),
            ("requester", "joe\n"),
            ("summary", "x PASS\n"),
        ]);
        let expected = Said {
            exit_code: 16,
            version: "1:2.0-1".to_owned(),
            triggers: Some("a/1 b/2".to_owned()),
            env: "all-proposed=1,testname=smoke".to_owned(),
            requester: Some("joe".to_owned()),
            duration_seconds: 77,
            uuid: Some("6a1d4c5e-94c5-4f8e-9b1c-3a8d1b7a2c11".parse().unwrap()),
            rule: Some("parked".to_owned()),
        };
        assert_eq!(all, expected);
    }

    #[test]
    fn old_and_poor_ones_are_read_as_they_are() {
        let poor = said(&[("./exitcode", "20")]);
        assert_eq!((poor.exit_code, poor.version.as_str(), poor.duration_seconds), (20, "unknown", 0));
        assert_eq!((poor.triggers, poor.requester, poor.uuid, poor.rule), (None, None, None, None));
        for info in
            ["", "{", "[]", r#"{"custom_environment": 1, "uuid": 7, "rule": []}"#, &"[".repeat(200_000)]
        {
            let odd = [
                ("exitcode", "4"),
                ("testpkg-version", "green"),
                ("duration", "1.5"),
                ("testinfo.json", info),
            ];
            let odd = said(&odd);
            assert_eq!(
                (odd.triggers, odd.version.as_str(), odd.env.as_str()),
                (None, "unknown", ""),
                "{info}"
            );
        }
        let ours = said(&[("exitcode", "0"), ("testinfo.json", r#"{"attempts": 1}"#)]);
        assert_eq!(ours.rule.as_deref(), Some("exit-code"));
        let hostile = said(&[
            ("exitcode", "0"),
            ("requester", "a\0b\u{7f}\nc"),
            ("testpkg-version", "g 1\0\x1b[31m\nx"),
        ]);
        assert_eq!((hostile.requester.as_deref(), hostile.version.as_str()), (Some("ab"), "1[31m"));
    }

    #[test]
    fn a_damaged_one_is_read_as_far_as_it_goes() {
        let bytes = tar(&[("exitcode", "4\n"), ("testpkg-version", "green 2\n"), ("testinfo.json", INFO)]);
        let cut = Said::of(&bytes[..1540]).unwrap();
        assert_eq!((cut.exit_code, cut.version.as_str(), cut.triggers), (4, "unknown", None));
        assert_eq!(Said::of(&bytes[..2048]).unwrap().version, "2");
        for bad in [
            &bytes[..100],
            b"nonsense".as_slice(),
            b"",
            &tar(&[("exitcode", "x")]),
            &tar(&[("duration", "1")]),
        ] {
            assert!(Said::of(bad).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(start in 0usize..4096, noise in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut bytes = tar(&[("exitcode", "4\n"), ("testinfo.json", INFO)]);
            let start = start.min(bytes.len());
            let end = (start + noise.len()).min(bytes.len());
            bytes[start..end].copy_from_slice(&noise[..end - start]);
            if let Ok(said) = Said::of(&bytes) {
                prop_assert!(!said.version.chars().any(char::is_control));
            }
        }
    }
}
