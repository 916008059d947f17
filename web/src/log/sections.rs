//! A log in sections: set-up, each test, summary, as autopkgtest's own lines mark them.
//!
//! Any test can print such a line: it moves a heading, nothing else.

use std::{collections::HashMap, sync::LazyLock};

use regex::Regex;

use super::{plain::plain, read::Log};

/// More sections than any log has: what is behind them is one.
const MOST_SECTIONS: usize = 1000;
/// Longest heading, in characters.
const LONGEST_TITLE: usize = 120;

static MARK: LazyLock<Regex> = LazyLock::new(|| {
    // Newer versions write the seconds since the start before each line.
    Regex::new(
        r"^(?:\s*\d+s )?autopkgtest \[\d\d:\d\d:\d\d\]: (?:@{10,} ?(?P<part>.*)|test (?P<test>[^:]+): .*)$",
    )
    .expect("a constant pattern")
});
static SUMMARY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:\s*\d+s )?(?P<test>\S+)\s+(?P<word>PASS|FAIL|SKIP|FLAKY)\b").expect("a constant pattern")
});

/// A part of a log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) title: String,
    /// What the summary says of the test.
    pub(crate) verdict: Option<Verdict>,
    /// Failures open, successes fold.
    pub(crate) open: bool,
    pub(crate) lines: Vec<Line>,
    test: Option<String>,
}

/// A test's end, as autopkgtest says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Fail,
    Skip,
    Flaky,
}

impl Verdict {
    fn parse(word: &str) -> Self {
        match word {
            "PASS" => Self::Pass,
            "SKIP" => Self::Skip,
            "FLAKY" => Self::Flaky,
            _ => Self::Fail,
        }
    }

    /// Class of the style sheet.
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "neutral",
            Self::Flaky => "tmpfail",
        }
    }

    /// Symbol and word.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Pass => "✔ pass",
            Self::Fail => "✘ fail",
            Self::Skip => "− skip",
            Self::Flaky => "⚠ flaky",
        }
    }
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// From 1; none for the note that lines were left out.
    pub(crate) number: Option<usize>,
    pub(crate) text: String,
}

/// Divides a log.
pub(crate) fn sections(log: &Log) -> Vec<Section> {
    let mut parts = Parts::default();
    parts.take(&log.head);
    if let Some(cut) = log.cut {
        parts.note(format!("… {} lines left out …", cut.lines));
        parts.number += cut.lines;
        parts.take(&log.tail);
    }
    parts.finish()
}

struct Parts {
    number: usize,
    all: Vec<Section>,
}

impl Default for Parts {
    fn default() -> Self {
        Self { number: 0, all: vec![section("start".to_owned(), None)] }
    }
}

fn section(title: String, test: Option<String>) -> Section {
    Section { title, verdict: None, open: false, lines: Vec::new(), test }
}

impl Parts {
    fn current(&mut self) -> &mut Section {
        if self.all.is_empty() {
            self.all.push(section("start".to_owned(), None));
        }
        let last = self.all.len() - 1;
        &mut self.all[last]
    }

    fn take(&mut self, text: &str) {
        for line in plain(text).lines() {
            self.number += 1;
            if let Some((title, test)) = self.heading(line) {
                self.all.push(section(title, test));
            }
            let number = Some(self.number);
            self.current().lines.push(Line { number, text: line.to_owned() });
        }
    }

    fn note(&mut self, text: String) {
        self.current().lines.push(Line { number: None, text });
    }

    /// The section that a line begins.
    fn heading(&mut self, line: &str) -> Option<(String, Option<String>)> {
        if self.all.len() >= MOST_SECTIONS {
            return None;
        }
        let mark = MARK.captures(line)?;
        let cut = |text: &str| text.trim().chars().take(LONGEST_TITLE).collect::<String>();
        match (mark.name("part"), mark.name("test")) {
            (Some(part), _) => Some((cut(part.as_str()), None)),
            (None, Some(test)) if self.current().test.as_deref() != Some(test.as_str()) => {
                Some((format!("test {}", cut(test.as_str())), Some(test.as_str().to_owned())))
            }
            _ => None,
        }
    }

    fn finish(mut self) -> Vec<Section> {
        self.all.retain(|s| !s.lines.is_empty());
        let verdicts = self.verdicts();
        for section in &mut self.all {
            section.verdict = section.test.as_ref().and_then(|t| verdicts.get(t)).copied();
            section.open = section.verdict == Some(Verdict::Fail) || section.title == "summary";
        }
        // Where no summary came, the run ended in the last section.
        let ended_well = self.all.iter().any(|s| s.title == "summary");
        if !ended_well && let Some(last) = self.all.last_mut() {
            last.open = true;
        }
        self.all
    }

    fn verdicts(&self) -> HashMap<String, Verdict> {
        let summary = self.all.iter().rev().find(|s| s.title == "summary");
        let lines = summary.iter().flat_map(|s| &s.lines);
        lines
            .filter_map(|line| SUMMARY.captures(&line.text))
            .map(|found| (found["test"].to_owned(), Verdict::parse(&found["word"])))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
autopkgtest [08:00:00]: starting date and time: 2026-11-21 08:00:00+0000
autopkgtest [08:00:01]: @@@@@@@@@@@@@@@@@@@@ test bed setup
Get:1 http://archive
autopkgtest [08:00:09]: test good: preparing testbed
autopkgtest [08:00:10]: test good: [-----------------------
fine
autopkgtest [08:00:10]: test good: -----------------------]
good                 PASS
 12s autopkgtest [08:00:11]: test bad: [-----------------------
<b>broken</b>
autopkgtest [08:00:12]: @@@@@@@@@@@@@@@@@@@@ summary
good                 PASS
 13s bad                  FAIL non-zero exit status 1
";

    fn of(text: &str) -> Vec<Section> {
        sections(&Log { head: text.to_owned(), ..Log::default() })
    }

    #[test]
    fn failures_open_and_successes_fold() {
        let found: Vec<_> =
            of(LOG).into_iter().map(|s| (s.title, s.verdict, s.open, s.lines[0].number)).collect();
        let expected = [
            ("start", None, false, 1),
            ("test bed setup", None, false, 2),
            ("test good", Some(Verdict::Pass), false, 4),
            ("test bad", Some(Verdict::Fail), true, 9),
            ("summary", None, true, 11),
        ];
        assert_eq!(
            found,
            expected.map(|(title, verdict, open, n)| (title.to_owned(), verdict, open, Some(n)))
        );
    }

    #[test]
    fn a_log_that_breaks_off_opens_where_it_ends() {
        let cut = LOG.split("autopkgtest [08:00:12]").next().unwrap();
        let sections = of(cut);
        assert!(sections.last().unwrap().open);
        assert_eq!(sections.iter().filter(|s| s.open).count(), 1);
        assert!(of("").is_empty());
    }

    #[test]
    fn numbers_go_on_behind_a_cut() {
        let cut = Some(super::super::read::Cut { bytes: 5, lines: 7 });
        let log = Log { head: "a\nb\n".into(), cut, tail: "z\n".into(), ..Log::default() };
        let numbers: Vec<_> = sections(&log)[0].lines.iter().map(|l| l.number).collect();
        assert_eq!(numbers, [Some(1), Some(2), None, Some(10)]);
    }

    #[test]
    fn a_flood_of_headings_ends() {
        let line = "autopkgtest [08:00:01]: @@@@@@@@@@@@@@@@@@@@ x\n";
        assert!(of(&line.repeat(MOST_SECTIONS * 3)).len() <= MOST_SECTIONS);
    }
}
