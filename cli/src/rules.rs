//! `proofhouse rules`: the rules of the log, and what they say of one.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _},
    path::PathBuf,
};

use anyhow::Result;
use flate2::read::MultiGzDecoder;
use proofhouse_core::{
    names::Package,
    outcome::{ExitCode, Fault, RuleVerdict, Seen, judge},
    rules::{Findings, Rule, Rules, Scanner},
};
use serde_json::{Value, json};

use crate::{
    args::{RulesLsArgs, RulesTestArgs},
    print,
    status::{Misuse, Status},
};

const CHUNK: usize = 64 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Where no exit code is given: what a failing one gets, and what a failed testbed gets.
const BOTH: [ExitCode; 2] = [ExitCode(4), ExitCode::TESTBED];

/// Lists all rules in their order.
pub(crate) fn ls(args: &RulesLsArgs) -> Result<Status> {
    let rules = args.settings.config()?.worker.rules;
    if args.json {
        print::json(&rules.iter().map(rule_json).collect::<Vec<_>>())?;
    } else {
        let row = |rule: &Rule| {
            let codes: Vec<String> = rule.exit_codes.iter().map(ToString::to_string).collect();
            [
                rule.name.clone(),
                word(rule.verdict).to_owned(),
                codes.join(","),
                print::one_line(&rule.why, 200),
            ]
        };
        let rows: Vec<_> = rules.iter().map(row).collect();
        print::text(&print::table(["NAME", "VERDICT", "EXIT CODES", "WHY"], &rows))?;
    }
    Ok(Status::Done)
}

const fn word(verdict: RuleVerdict) -> &'static str {
    match verdict {
        RuleVerdict::Infrastructure => "infrastructure",
        RuleVerdict::Package => "package",
    }
}

fn rule_json(rule: &Rule) -> Value {
    json!({
        "name": rule.name, "verdict": rule.verdict, "match": rule.pattern, "exit_codes": rule.exit_codes,
        "reads": rule.reads, "not_for": rule.not_for, "why": rule.why, "shipped": rule.shipped,
    })
}

/// Says what the rules find in a log, and what comes of it.
pub(crate) fn test(args: &RulesTestArgs) -> Result<Status> {
    let rules = args.settings.config()?.worker.rules;
    let findings = read(&args.log, rules.clone())
        .map_err(|error| Misuse(format!("{} cannot be read: {error}", args.log.display())))?;
    let codes = args.exit_code.map_or(BOTH.to_vec(), |code| vec![ExitCode(code)]);
    let decisions: Vec<Decision> =
        codes.into_iter().map(|code| Decision::of(code, &findings, &rules, &args.package)).collect();
    if args.json {
        let decisions: Vec<Value> = decisions.iter().map(Decision::json).collect();
        let matches: Vec<Value> = findings
            .matches()
            .iter()
            .map(|m| json!({ "line": m.line, "rule": m.rule, "verdict": m.verdict, "text": m.text }))
            .collect();
        print::json(&json!({ "matches": matches, "decisions": decisions }))?;
    } else {
        print::text(&text(&findings, &decisions))?;
    }
    Ok(Status::Done)
}

/// Reads a log, packed or not.
fn read(path: &PathBuf, rules: Rules) -> io::Result<Findings> {
    let mut file = BufReader::new(File::open(path)?);
    let mut start = Vec::new();
    file.by_ref().take(2).read_to_end(&mut start)?;
    file.rewind()?;
    let mut log: Box<dyn Read> =
        if start == GZIP { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let (mut scanner, mut chunk) = (Scanner::new(rules), vec![0; CHUNK]);
    loop {
        match log.read(&mut chunk)? {
            0 => return Ok(scanner.finish()),
            n => scanner.push(&chunk[..n]),
        }
    }
}

/// What an exit code comes to with this log.
struct Decision {
    exit_code: ExitCode,
    rule: Option<String>,
    /// The rule's own reason.
    why: Option<String>,
    /// A class, or a fault's name.
    verdict: &'static str,
    sentence: String,
}

impl Decision {
    fn of(exit_code: ExitCode, findings: &Findings, rules: &Rules, package: &Package) -> Self {
        let rule = findings.decide(exit_code, package);
        let seen = Seen { exit_code, has_version: true, fault: None, rule: rule.as_ref(), baseline: false };
        let (verdict, sentence) = match judge(&seen) {
            Ok(class) => (class.as_str(), format!("a result: {class}")),
            Err(Fault::BrokeTestbed) => (
                Fault::BrokeTestbed.as_str(),
                "tried again, and a failure of the package once it happened on every attempt".to_owned(),
            ),
            Err(fault) => (fault.as_str(), format!("no result, tried again: {}", fault.sentence())),
        };
        let why = rule.as_ref().and_then(|hit| rules.iter().find(|rule| rule.name == hit.name));
        let why = why.map(|rule| rule.why.clone()).filter(|why| !why.is_empty());
        Self { exit_code, rule: rule.map(|rule| rule.name), why, verdict, sentence }
    }

    fn json(&self) -> Value {
        json!({ "exit_code": self.exit_code, "rule": self.rule, "why": self.why, "verdict": self.verdict })
    }

    fn text(&self) -> String {
        let rule = self.rule.as_ref().map_or_else(String::new, |rule| format!(", by the rule {rule}"));
        let why = self.why.as_ref().map(|why| format!("  {}\n", print::one_line(why, 300)));
        format!("exit code {}: {}{rule}\n{}", self.exit_code, self.sentence, why.unwrap_or_default())
    }
}

fn text(findings: &Findings, decisions: &[Decision]) -> String {
    let row = |found: &proofhouse_core::rules::Match| {
        let text = print::one_line(&found.text, 160);
        [found.line.to_string(), found.rule.clone(), word(found.verdict).to_owned(), text]
    };
    let rows: Vec<_> = findings.matches().iter().map(row).collect();
    let matches = if rows.is_empty() {
        "no rule matches\n".to_owned()
    } else {
        print::table(["LINE", "RULE", "VERDICT", "TEXT"], &rows)
    };
    matches + &decisions.iter().map(Decision::text).collect::<String>()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LOG: &str = "x\nE: Failed to fetch http://archive.example/x  Could not connect to archive.example:80\n\
                       Kernel panic - not syncing: \x1b[31mx\n";

    #[test]
    fn a_log_packed_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, packed) = (dir.path().join("log"), dir.path().join("log.gz"));
        std::fs::write(&plain, LOG).unwrap();
        let mut gzip =
            flate2::write::GzEncoder::new(File::create(&packed).unwrap(), flate2::Compression::fast());
        gzip.write_all(LOG.as_bytes()).unwrap();
        gzip.finish().unwrap();
        for file in [plain, packed] {
            let findings = read(&file, Rules::default()).unwrap();
            let package = "hello".parse().unwrap();
            let decisions = BOTH.map(|code| Decision::of(code, &findings, &Rules::default(), &package));
            insta::allow_duplicates! { insta::assert_snapshot!(text(&findings, &decisions)) }
            assert_eq!(decisions[1].json()["verdict"], "broke-testbed");
        }
        let nothing = Scanner::new(Rules::default()).finish();
        let decision = Decision::of(ExitCode(4), &nothing, &Rules::default(), &"hello".parse().unwrap());
        assert_eq!(text(&nothing, &[decision]), "no rule matches\nexit code 4: a result: fail\n");
    }
}
