//! A log in sections: set-up, each test, summary, as autopkgtest's own lines mark them.
//!
//! Any test can print such a line: it moves a heading, nothing else.

use std::{collections::HashMap, sync::LazyLock};

use memchr::memmem::Finder;
use regex::Regex;

use super::{lines::Raw, plain::plain};

/// More sections than any log has: what is behind them is one.
const MOST_SECTIONS: usize = 1000;
/// So many tests' ends are taken from a summary.
const MOST_ENDS: usize = 1000;
/// Longest heading, in characters.
const LONGEST_TITLE: usize = 120;
/// Longest name of a test that is told from others, in characters.
const LONGEST_TEST: usize = 500;
/// What each line that marks something holds near its beginning, behind the clock of newer versions.
static PROGRAM: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"autopkgtest ["));
/// How far from the beginning.
const NEAR: usize = 64;
/// The last section of a run that ended well.
const SUMMARY_TITLE: &str = "summary";

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) title: String,
    /// The number of its first line.
    pub(crate) first: u64,
    /// What the summary says of the test.
    pub(crate) verdict: Option<Verdict>,
    /// Failures open, successes fold.
    pub(crate) open: bool,
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

/// Finds the sections of a log whose lines stream by.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    sections: Vec<Section>,
    /// What the last summary says.
    ends: HashMap<String, Verdict>,
}

impl Marks {
    /// Reads a line; returns the section that it begins.
    pub(crate) fn read(&mut self, line: Raw<'_>) -> Option<&Section> {
        let is_near = PROGRAM.find(&line.text[..line.text.len().min(NEAR)]).is_some();
        let in_summary = self.sections.last().is_some_and(|section| section.title == SUMMARY_TITLE);
        if (is_near || in_summary) && self.sections.len() < MOST_SECTIONS {
            let text = plain(&String::from_utf8_lossy(line.text));
            if let Some((title, test)) = self.heading(&text) {
                return Some(self.begin(line.number, title, test));
            }
            if in_summary
                && self.ends.len() < MOST_ENDS
                && let Some(found) = SUMMARY.captures(&text)
            {
                let name = found["test"].chars().take(LONGEST_TEST).collect();
                self.ends.insert(name, Verdict::parse(&found["word"]));
            }
        }
        let is_first = self.sections.is_empty();
        is_first.then(|| self.begin(line.number, "start".to_owned(), None))
    }

    /// The sections so far.
    pub(crate) fn begun(&self) -> &[Section] {
        &self.sections
    }

    fn begin(&mut self, first: u64, title: String, test: Option<String>) -> &Section {
        if title == SUMMARY_TITLE {
            self.ends.clear();
        }
        let at = self.sections.len();
        self.sections.push(Section { title, first, verdict: None, open: false, test });
        &self.sections[at]
    }

    /// The section that a line begins.
    fn heading(&self, line: &str) -> Option<(String, Option<String>)> {
        let mark = MARK.captures(line)?;
        let cut = |text: &str| text.trim().chars().take(LONGEST_TITLE).collect::<String>();
        let current = self.sections.last().and_then(|section| section.test.as_deref());
        let test = |name: &str| name.chars().take(LONGEST_TEST).collect::<String>();
        match (mark.name("part"), mark.name("test")) {
            (Some(part), _) => Some((cut(part.as_str()), None)),
            (None, Some(name)) if current != Some(&test(name.as_str())) => {
                Some((format!("test {}", cut(name.as_str())), Some(test(name.as_str()))))
            }
            _ => None,
        }
    }

    /// The sections, with what the summary says of each test.
    pub(crate) fn finish(self) -> Vec<Section> {
        let Self { mut sections, ends } = self;
        for section in &mut sections {
            section.verdict = section.test.as_ref().and_then(|test| ends.get(test)).copied();
            section.open = section.verdict == Some(Verdict::Fail) || section.title == SUMMARY_TITLE;
        }
        // Where no summary came, the run ended in the last section.
        let ended_well = sections.iter().any(|section| section.title == SUMMARY_TITLE);
        if !ended_well && let Some(last) = sections.last_mut() {
            last.open = true;
        }
        sections
    }
}

#[cfg(test)]
mod tests {
    use super::{super::lines::Lines, *};

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
        let (mut lines, mut marks) = (Lines::default(), Marks::default());
        lines.push(text.as_bytes(), |line| {
            marks.read(line);
            true
        });
        marks.finish()
    }

    #[test]
    fn failures_open_and_successes_fold() {
        let found: Vec<_> = of(LOG).into_iter().map(|s| (s.title, s.verdict, s.open, s.first)).collect();
        let expected = [
            ("start", None, false, 1),
            ("test bed setup", None, false, 2),
            ("test good", Some(Verdict::Pass), false, 4),
            ("test bad", Some(Verdict::Fail), true, 9),
            ("summary", None, true, 11),
        ];
        assert_eq!(found, expected.map(|(title, verdict, open, n)| (title.to_owned(), verdict, open, n)));
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
    fn a_flood_of_headings_ends() {
        let line = "autopkgtest [08:00:01]: @@@@@@@@@@@@@@@@@@@@ x\n";
        assert!(of(&line.repeat(MOST_SECTIONS * 3)).len() <= MOST_SECTIONS);
    }
}
