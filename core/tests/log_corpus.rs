//! Every log of the corpus gets the verdict that its script was written for, by the rule with that name.

use std::{fs, path::PathBuf};

use proofhouse_core::{
    names::Package,
    outcome::{ExitCode, Seen, judge},
    rules::{Rules, Scanner},
};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    exit_code: i32,
    has_version: bool,
    package: Package,
    rule: Option<String>,
    verdict: String,
}

/// The rule's name and the verdict that a log gets.
fn decided(log: &[u8], expected: &Expected, piece: usize) -> (Option<String>, String) {
    let mut scanner = Scanner::new(Rules::default());
    log.chunks(piece).for_each(|piece| scanner.push(piece));
    let findings = scanner.finish();
    let exit_code = ExitCode(expected.exit_code);
    let rule = findings.decide(exit_code, &expected.package);
    let has_version = expected.has_version;
    let seen = Seen { exit_code, has_version, fault: None, rule: rule.as_ref(), baseline: false };
    let verdict =
        judge(&seen).map_or_else(|fault| fault.as_str().to_owned(), |class| class.as_str().to_owned());
    (rule.map(|rule| rule.name), verdict)
}

#[test]
fn every_log_gets_its_verdict() {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/logs");
    let (mut seen, mut rules, mut wrong) = (0, Vec::new(), Vec::new());
    for folder in fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).filter(|p| p.is_dir()) {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let expected = fs::read_to_string(folder.join("expect.toml")).unwrap();
        let expected: Expected = toml::from_str(&expected).unwrap_or_else(|e| panic!("{name}: {e}"));
        let log = fs::read(folder.join("log")).unwrap_or_else(|e| panic!("{name}: {e}"));
        for piece in [log.len(), 1 << 10, 7] {
            let wanted = (expected.rule.clone(), expected.verdict.clone());
            let got = decided(&log, &expected, piece);
            if got != wanted {
                wrong.push(format!("{name}: {got:?} in the place of {wanted:?}"));
            }
        }
        rules.extend(expected.rule);
        seen += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen >= 20, "only {seen} logs in {}", corpus.display());
    for rule in Rules::default().iter() {
        assert!(rules.contains(&rule.name), "no log is decided by the rule {}", rule.name);
    }
}
