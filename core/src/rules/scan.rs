//! A log that streams by, and what its rules find.

use super::{Reads, Rules, line::Line, sections::Sections};
use crate::{
    names::Package,
    outcome::{ExitCode, RuleHit, RuleVerdict},
};

/// So many of a rule's matches are kept: the first ones.
const KEPT: usize = 10;
/// What is shown of a line, in bytes.
const SHOWN: usize = 300;

/// A line that a rule matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The line's number, from 1.
    pub line: u64,
    /// The rule's name.
    pub rule: String,
    /// What the rule says.
    pub verdict: RuleVerdict,
    /// The line; the rest of a long one is cut off.
    pub text: String,
}

/// Reads a log. Its memory does not grow with the log.
#[derive(Debug)]
pub struct Scanner {
    rules: Rules,
    line: Line,
    /// Lines that are over.
    number: u64,
    sections: Sections,
    /// For each rule the first matches.
    matches: Vec<Vec<(u64, String)>>,
}

impl Scanner {
    /// At a log's beginning.
    pub fn new(rules: Rules) -> Self {
        let matches = vec![Vec::new(); rules.rules.len()];
        Self { rules, line: Line::default(), number: 0, sections: Sections::default(), matches }
    }

    /// Reads on; pieces may end anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            self.line.push(&rest[..end]);
            self.end_line();
            rest = &rest[end + 1..];
        }
        self.line.push(rest);
    }

    /// The log is over.
    pub fn finish(mut self) -> Findings {
        if !self.line.is_empty() {
            self.end_line();
        }
        let forged = self.sections.forged();
        self.take_back(|line| forged.iter().any(|stretch| stretch.contains(&line)));
        Findings { rules: self.rules, matches: self.matches }
    }

    fn end_line(&mut self) {
        self.number += 1;
        let place = self.sections.see(self.number, self.line.head(), self.line.tail());
        if let Some(since) = place.not_since {
            self.take_back(|line| line >= since);
        }
        let head = self.line.head();
        for n in &self.rules.patterns.matches(head) {
            let counts = place.own || self.rules.rules[n].reads == Reads::Everything;
            if counts && self.matches[n].len() < KEPT {
                let shown = &head[..head.len().min(SHOWN)];
                self.matches[n].push((self.number, String::from_utf8_lossy(shown).into_owned()));
            }
        }
        self.line.clear();
    }

    /// These lines were a test's output after all.
    fn take_back(&mut self, were: impl Fn(u64) -> bool) {
        for (rule, matches) in self.rules.rules.iter().zip(&mut self.matches) {
            if rule.reads == Reads::Autopkgtest {
                matches.retain(|(line, _)| !were(*line));
            }
        }
    }
}

/// What the rules found in a log.
#[derive(Debug)]
pub struct Findings {
    rules: Rules,
    matches: Vec<Vec<(u64, String)>>,
}

impl Findings {
    /// The rule that says something about a run's end: the first, in the rules' order, that matched and is about the exit
    /// code and the package.
    pub fn decide(&self, exit_code: ExitCode, package: &Package) -> Option<RuleHit> {
        let matched = self.rules.rules.iter().zip(&self.matches).filter(|(_, matches)| !matches.is_empty());
        matched.map(|(rule, _)| rule).find(|rule| rule.is_about(exit_code, package)).map(super::Rule::hit)
    }

    /// The first matches of each rule, in the log's order.
    pub fn matches(&self) -> Vec<Match> {
        let all = self.rules.rules.iter().zip(&self.matches).flat_map(|(rule, matches)| {
            matches.iter().map(|(line, text)| Match {
                line: *line,
                rule: rule.name.clone(),
                verdict: rule.verdict,
                text: text.clone(),
            })
        });
        let mut all: Vec<Match> = all.collect();
        all.sort_by_key(|found| found.line);
        all
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn rules() -> Rules {
        let rule = |name: &str, verdict: &str, pattern: &str| {
            format!("[[rule]]\nname = '{name}'\nverdict = '{verdict}'\nmatch = '{pattern}'\nwhy = 'w'\n")
        };
        let text = [
            rule("kernel", "package", "^Oops:"),
            rule("first", "infrastructure", "^E: one"),
            rule("second", "infrastructure", "^E: "),
        ];
        Rules::parse(&text.concat(), Path::new("r")).unwrap()
    }

    fn scan(log: &str, size: usize) -> Findings {
        let mut scanner = Scanner::new(rules());
        log.as_bytes().chunks(size).for_each(|piece| scanner.push(piece));
        scanner.finish()
    }

    const LOG: &str = "E: two\nx\n[1]\n  3s E: one\nOops:\n[2]\nE: one\n[3]\n  9s E: one";

    fn log() -> String {
        let mark = |mark: &str| format!("autopkgtest [10:00:00]: test a: {mark}");
        LOG.replace("[1]", &mark("[-----------------------"))
            .replace("[3]", "autopkgtest [10:00:00]: test b: preparing testbed")
            .replace("[2]", &format!("no newline{}", mark("-----------------------]")))
    }

    #[test]
    fn matches_have_line_numbers_and_a_tests_output_is_for_some_rules_alone() {
        for size in [1, 3, 1000] {
            let found: Vec<(u64, String)> =
                scan(&log(), size).matches().into_iter().map(|m| (m.line, m.rule)).collect();
            let expected = [(1, "second"), (5, "kernel"), (9, "first"), (9, "second")];
            assert_eq!(found, expected.map(|(line, rule)| (line, rule.to_owned())), "pieces of {size}");
        }
    }

    #[test]
    fn the_first_rule_in_order_that_is_about_the_code_decides() {
        let findings = scan(&log(), 1000);
        let decide = |code| findings.decide(ExitCode(code), &"hello".parse().unwrap()).map(|hit| hit.name);
        assert_eq!(decide(4).as_deref(), Some("first"));
        assert_eq!(decide(16).as_deref(), Some("kernel"));
        assert_eq!(decide(0), None);
        assert_eq!(scan("", 1).decide(ExitCode(4), &"hello".parse().unwrap()), None);
    }

    #[test]
    fn what_a_rule_matches_again_and_again_costs_nothing() {
        let findings = scan(&"E: one\n".repeat(100_000), 1 << 16);
        assert_eq!(findings.matches().len(), 2 * KEPT);
        let long = format!("E: {}", "x".repeat(100_000));
        assert_eq!(scan(&long, 100).matches()[0].text.len(), SHOWN);
        assert_eq!(scan(&format!("{}E: one", "x".repeat(100_000)), 100).matches(), []);
    }
}
