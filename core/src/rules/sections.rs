//! Which lines of a log are a test's output.
//!
//! autopkgtest puts a test's output between two markers that name the test. Afterwards it shows the test's result and once
//! more what it wrote to stderr, until it prepares a testbed for the next test or shows all results. Output and markers
//! come by two pipes: on a busy machine the last of the output can follow its end. Facts: `run_test` in autopkgtest's
//! adt_testbed.py, `run_tests` and `process_actions` in its main program (5.28).
//!
//! A test can print markers too. So a test's output runs from the first opening marker of its name to the last closing
//! one, whatever stands between: a closing marker takes back what was believed since. More markers can only make more of
//! the log a test's output, never less.
//!
//! What it wrote to stderr is shown without what it wrote to stdout in between: there may be markers in it that were none
//! before. So a testbed counts as prepared for a test only where the results of all tests, which nothing follows, say that
//! it ran; without such results, the run ended before its tests did.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::Range,
    sync::LazyLock,
};

use regex::bytes::{Regex, RegexBuilder};

/// More names than any package has tests: then nothing is believed any more.
const MOST_NAMES: usize = 5000;

/// A test's name is a part of a file's name and has no blanks. The marker is a line's end: what a test printed before may
/// lack its newline.
static MARK: LazyLock<Regex> = LazyLock::new(|| {
    let what = r"\[-{23}|-{23}\]|preparing testbed";
    let line = format!(r"\[\d\d:\d\d:\d\d\]: (?:test ([^ \t]{{1,255}}): ({what})|@{{20}} summary)[ \r]*$");
    RegexBuilder::new(&line).unicode(false).build().expect("a constant pattern")
});

/// How a test that ran ended, among the results of all. One that was left out may be called as a test likes.
static ENDED: LazyLock<Regex> = LazyLock::new(|| {
    let line = r"^([^ \t]{1,255})[ \t]+(?:PASS|FAIL|FLAKY)\b";
    RegexBuilder::new(line).unicode(false).build().expect("a constant pattern")
});

/// What a line says of the log's sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark<'a> {
    /// A test's output begins.
    Opens(&'a [u8]),
    /// It ends.
    Closes(&'a [u8]),
    /// The results of all tests.
    Summary,
    /// The testbed is prepared for a test.
    Prepares(&'a [u8]),
}

impl<'a> Mark<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        let found = MARK.captures(line)?;
        let (Some(name), Some(what)) = (found.get(1), found.get(2)) else {
            return Some(Self::Summary);
        };
        let name = name.as_bytes();
        Some(match what.as_bytes()[0] {
            b'[' => Self::Opens(name),
            b'-' => Self::Closes(name),
            _ => Self::Prepares(name),
        })
    }
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// No test printed it, as far as one can tell by now.
    pub(super) own: bool,
    /// It shows that everything from this line on was a test's output.
    pub(super) not_since: Option<u64>,
}

/// Follows a log, line by line.
#[derive(Debug, Default)]
pub(super) struct Sections {
    /// In which line each test's output began.
    outputs: HashMap<Vec<u8>, u64>,
    /// The same of those that are open. In order, so that markers without end cost little each.
    open: BTreeSet<u64>,
    /// Since when results are shown, to which what a test wrote to stderr belongs.
    results: Option<u64>,
    /// For whom a testbed was prepared, and where what counts for nothing begins should that be said again: once said, it
    /// ends nothing any more.
    prepared: HashMap<Vec<u8>, u64>,
    /// Since when there was no test's output before it, and for whom a testbed is said to have been prepared then.
    prepares: Vec<(u64, Vec<u8>)>,
    /// Which tests ran, by the last results of all; none before there are any.
    ended: Option<HashSet<Vec<u8>>>,
    /// Whom a test named as one that a testbed is prepared for: the same line in its stderr ends nothing.
    printed: HashSet<Vec<u8>>,
}

impl Sections {
    /// The next line, by its number, its beginning and its end.
    pub(super) fn see(&mut self, number: u64, begin: &[u8], end: &[u8]) -> Place {
        let ended = self.ended.as_ref().map_or(0, HashSet::len);
        let known = self.outputs.len() + self.prepared.len() + self.printed.len() + ended;
        if known > MOST_NAMES {
            return Place { own: false, not_since: Some(0) };
        }
        if let Some(all) = &mut self.ended
            && let Some(found) = ENDED.captures(begin)
        {
            all.insert(found[1].to_owned());
        }
        let not_since = Mark::of(end).and_then(|mark| self.mark(number, mark));
        Place { own: !self.inside() && self.results.is_none(), not_since }
    }

    /// Once the log is over: the stretches that count for nothing, as they begin with a testbed for a test that did not run.
    pub(super) fn forged(&self) -> Vec<Range<u64>> {
        let Some(ended) = &self.ended else { return Vec::new() };
        let ends = self.prepares.iter().skip(1).map(|(since, _)| *since).chain([u64::MAX]);
        let stretches = self.prepares.iter().zip(ends);
        stretches
            .filter(|((_, name), _)| !ended.contains(name))
            .map(|((since, _), end)| *since..end)
            .collect()
    }

    fn inside(&self) -> bool {
        !self.open.is_empty()
    }

    fn mark(&mut self, number: u64, mark: Mark<'_>) -> Option<u64> {
        match mark {
            Mark::Opens(name) => {
                self.open.insert(*self.outputs.entry(name.to_owned()).or_insert(number));
                None
            }
            Mark::Closes(name) => {
                let first = *self.outputs.get(name)?;
                while self.open.last().is_some_and(|open| *open >= first) {
                    self.open.pop_last();
                }
                self.results.get_or_insert(number);
                Some(first)
            }
            Mark::Summary => {
                self.ended = Some(HashSet::new());
                if !self.inside() {
                    self.results.get_or_insert(number);
                }
                None
            }
            Mark::Prepares(name) if self.inside() => {
                self.printed.insert(name.to_owned());
                None
            }
            Mark::Prepares(name) => self.prepares(number, name),
        }
    }

    fn prepares(&mut self, number: u64, name: &[u8]) -> Option<u64> {
        let since = self.results.unwrap_or(number);
        let before = self.prepared.get(name).copied();
        if before.is_none() {
            self.prepared.insert(name.to_owned(), since);
            self.prepares.push((since, name.to_owned()));
            if !self.printed.contains(name) {
                self.results = None;
            }
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: &str = "autopkgtest [10:11:12]: test N: [-----------------------";
    const CLOSE: &str = "autopkgtest [10:11:12]: test N: -----------------------]";
    const PREPARE: &str = "autopkgtest [10:11:12]: test N: preparing testbed";
    const SUMMARY: &str = "autopkgtest [10:11:12]: @@@@@@@@@@@@@@@@@@@@ summary";

    /// `[a`, `]a`, `+a` (preparing), `summary`, `=a` (it failed), `~a` (it was left out); anything else stands for itself.
    fn line(word: &str) -> String {
        match word.split_at(1) {
            ("[", name) => OPEN.replace('N', name),
            ("]", name) => CLOSE.replace('N', name),
            ("+", name) => PREPARE.replace('N', name),
            ("=", name) => format!("{name}                    FAIL non-zero exit status 1"),
            ("~", name) => format!("{name}                    SKIP it cannot run here"),
            _ => match word {
                "summary" => SUMMARY.to_owned(),
                _ => word.to_owned(),
            },
        }
    }

    /// The upper-case words that count in the end. Where the results of all tests say nothing, a, b and c ran.
    fn counted(log: &str) -> String {
        let log = if log.ends_with("summary") { format!("{log} =a =b =c") } else { log.to_owned() };
        let (mut sections, mut counted) = (Sections::default(), Vec::new());
        for (number, word) in (1_u64..).zip(log.split_whitespace()) {
            let text = line(word);
            let place = sections.see(number, text.as_bytes(), text.as_bytes());
            if let Some(since) = place.not_since {
                counted.retain(|(number, _)| *number < since);
            }
            if place.own && word.chars().all(char::is_uppercase) {
                counted.push((number, word));
            }
        }
        let forged = sections.forged();
        counted.retain(|(number, _)| !forged.iter().any(|stretch| stretch.contains(number)));
        counted.into_iter().map(|(_, word)| word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn marks() {
        for (line, mark) in [
            (OPEN.to_owned(), Some(Mark::Opens(b"N"))),
            (CLOSE.to_owned(), Some(Mark::Closes(b"N"))),
            (PREPARE.to_owned(), Some(Mark::Prepares(b"N"))),
            (SUMMARY.to_owned(), Some(Mark::Summary)),
            (format!(" 12s {CLOSE}\r"), Some(Mark::Closes(b"N"))),
            (format!("no newline{CLOSE}"), Some(Mark::Closes(b"N"))),
            (format!("[10:00:00]: test x: {CLOSE}"), Some(Mark::Closes(b"N"))),
            (format!("[10:00:00]: test {CLOSE}"), Some(Mark::Closes(b"N"))),
            (OPEN.replace("autopkgtest", "adt-run"), Some(Mark::Opens(b"N"))),
            (OPEN.replace('N', "upstream-tests.sh:1"), Some(Mark::Opens(b"upstream-tests.sh:1"))),
            (format!("{OPEN} x"), None),
            (OPEN.replace('N', "a b"), None),
            ("autopkgtest [10:11:12]: test N: echo".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(Mark::of(line.as_bytes()), mark, "{line:?}");
        }
    }

    #[test]
    fn what_a_sound_log_says() {
        assert_eq!(counted("A +a B [a x X ]a X results X stderr X +b C [b X ]b X summary =a =b X"), "A B C");
        assert_eq!(counted("A +a B [a X"), "A B", "the testbed died in mid-test");
        assert_eq!(counted("A"), "A");
    }

    #[test]
    fn a_forged_end_does_not_help() {
        assert_eq!(counted("A +a [a ]a X ]a results +b B [b ]b summary"), "A B");
        assert_eq!(counted("A +a [a ]a X [a X ]a results +b B [b ]b summary"), "A B");
        assert_eq!(counted("A +a [a ]b X ]a results +b B [b ]b summary"), "A B", "the end of another");
        assert_eq!(counted("A +a [a ]a results +z X [z X ]z results X ]a results +b B [b ]b"), "A B");
    }

    #[test]
    fn a_forged_opening_does_not_hide_the_end() {
        assert_eq!(counted("A +a [a ]a [z X ]a results +b B [b X ]b results summary"), "A B");
        assert_eq!(counted("A +a [a [z X ]a results +b B [b X ]b results summary"), "A B");
    }

    #[test]
    fn the_name_of_a_later_or_an_earlier_test() {
        assert_eq!(counted("A +a [a ]a [b X ]b X ]a results +b B [b X ]b results summary"), "A");
        assert_eq!(counted("A +a [a ]a results +b B [b ]a X ]b results +c C [c ]c summary"), "A C");
    }

    #[test]
    fn what_stderr_shows_once_more() {
        assert_eq!(counted("A +a [a +z X ]a results stderr +z X +b B [b ]b summary"), "A B");
        assert_eq!(counted("A +a [a +b X ]a results stderr +b X +b B [b ]b summary"), "A");
        assert_eq!(counted("A +a [a x ]a results stderr +b X +b B [b ]b +c C [c ]c summary"), "A B C");
        assert_eq!(counted("A +a [a summary ]a results stderr summary X +b B [b ]b summary"), "A B");
        assert_eq!(counted("A +a [a ]a +z X ]a results stderr ]a +z X +b B [b ]b summary"), "A B");
        assert_eq!(counted("A +a [a ]a +b X ]a results stderr ]a +b X +b B [b ]b summary"), "A");
        assert_eq!(counted("A +a [a [z ]z ]a results stderr [z X ]z X ]a X +b B [b ]b summary"), "A B");
    }

    #[test]
    fn what_stderr_alone_shows() {
        // Something on stdout stood in the marker when both came together.
        assert_eq!(counted("A +a B [a ]a results stderr +z X summary =a"), "A B");
        assert_eq!(counted("A +a B [a ]a results stderr +z X [z ]z summary =a"), "A B");
        assert_eq!(counted("A +a B [a ]a results stderr +z X summary =z summary =a"), "A B");
        assert_eq!(counted("A +a B [a ]a results stderr +z X summary =a ~z"), "A B", "z did not run");
        assert_eq!(counted("A +a B [a ]a results stderr +z X +y X +b C [b ]b summary =a =b"), "A B C");
        assert_eq!(
            counted("A +a B [a ]a results +b C [b ]b +c D [c ]c summary =a ~b =c"),
            "A B D",
            "b left itself out"
        );
        assert_eq!(counted("A +a B [a ]a results +b C"), "A B C", "the testbed died");
    }

    #[test]
    fn names_without_end() {
        let mut sections = Sections::default();
        for number in 1..=20_000 {
            sections.see(number, b"", OPEN.replace('N', &number.to_string()).as_bytes());
        }
        assert_eq!(sections.outputs.len(), MOST_NAMES + 1);
        let nothing = Place { own: false, not_since: Some(0) };
        assert_eq!(sections.see(20_001, b"", CLOSE.replace('N', "1").as_bytes()), nothing);
    }
    #[test]
    fn markers_without_end_cost_little() {
        let mut sections = Sections::default();
        let names: Vec<_> = (0..MOST_NAMES).map(|name| name.to_string().into_bytes()).collect();
        for (number, name) in (0..).zip(&names) {
            sections.mark(number, Mark::Opens(name));
        }
        let (last, begun) = (names.last().unwrap(), std::time::Instant::now());
        for number in 0..100_000 {
            assert_eq!(sections.mark(number, Mark::Closes(last)), u64::try_from(MOST_NAMES - 1).ok());
            sections.mark(number, Mark::Opens(last));
        }
        assert_eq!(sections.open.len(), MOST_NAMES);
        // A thousand times longer than it takes.
        assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    }
}
