//! How long each test of a package took, by the time stamps of autopkgtest's own lines in the log.
//!
//! Any test can print such a line: it makes a number wrong, nothing else.

use std::{collections::HashMap, io::Read, sync::LazyLock};

use flate2::read::MultiGzDecoder;
use regex::bytes::Regex;

/// So much of a log is looked through, in bytes: a small file can unpack to any size, and a page is not to wait for a long one.
const MOST_UNPACKED: u64 = 8 << 20;
/// More marks than the tests of any package leave.
const MOST_MARKS: usize = 20_000;
const DAY: i64 = 86_400;

static MARK: LazyLock<Regex> = LazyLock::new(|| {
    let mark = r"(?-u)autopkgtest \[(\d\d):(\d\d):(\d\d)\]: test ([^ \t\n]{1,200}): (\[-{23}|-{23}\])";
    Regex::new(mark).expect("a constant pattern")
});

/// What a log tells of the tests' times.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// By the tests' names, in seconds.
    pub(super) seconds: HashMap<String, i64>,
    /// The log was looked through to its end.
    pub(super) is_whole: bool,
}

impl Times {
    /// Looks through a packed log, or its beginning.
    pub(super) fn of(packed: &[u8]) -> Self {
        let mut text = Vec::new();
        let mut unpacked = MultiGzDecoder::new(packed).take(MOST_UNPACKED);
        // What could be unpacked is there.
        let is_good = unpacked.read_to_end(&mut text).is_ok();
        Self { seconds: seconds(&text), is_whole: is_good && unpacked.limit() > 0 }
    }
}

fn seconds(log: &[u8]) -> HashMap<String, i64> {
    let mut began: HashMap<&[u8], i64> = HashMap::new();
    let mut seconds = HashMap::new();
    let mut clock = Clock::default();
    for mark in MARK.captures_iter(log).take(MOST_MARKS) {
        let number = |n: usize| std::str::from_utf8(&mark[n]).ok().and_then(|text| text.parse::<i64>().ok());
        let [Some(h), Some(m), Some(s)] = [number(1), number(2), number(3)] else { continue };
        let at = clock.at(3600 * h + 60 * m + s);
        let Some(name) = mark.get(4).map(|name| name.as_bytes()) else { continue };
        if mark[5].starts_with(b"[") {
            began.entry(name).or_insert(at);
        } else if let Some(began) = began.get(name) {
            seconds.insert(String::from_utf8_lossy(name).into_owned(), (at - began).max(0));
        }
    }
    seconds
}

/// Follows the time of day over midnight.
#[derive(Default)]
struct Clock {
    last: Option<i64>,
    days: i64,
}

impl Clock {
    fn at(&mut self, of_day: i64) -> i64 {
        // A little back is two lines out of order; more is the next day.
        if self.last.is_some_and(|last| of_day < last - DAY / 24) {
            self.days += 1;
        }
        self.last = Some(of_day);
        DAY * self.days + of_day
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::gzip;

    fn of(log: &str) -> Vec<(String, i64)> {
        let mut all: Vec<_> = Times::of(&gzip(log)).seconds.into_iter().collect();
        all.sort();
        all
    }

    #[test]
    fn by_the_clock_also_over_midnight() {
        let log = "autopkgtest [23:59:50]: test one: preparing testbed
autopkgtest [23:59:58]: test one: [-----------------------
no newlineautopkgtest [00:01:03]: test one: -----------------------]
 75s autopkgtest [00:01:03]: test two: [-----------------------
 90s autopkgtest [00:01:02]: test two: -----------------------]
autopkgtest [00:01:03]: test three: [-----------------------
it never ends
";
        assert_eq!(of(log), [("one".to_owned(), 65), ("two".to_owned(), 0)]);
    }

    #[test]
    fn hostile_logs_cost_and_say_little() {
        let bomb = Times::of(&gzip(&"a".repeat(usize::try_from(MOST_UNPACKED).unwrap() + 1)));
        assert_eq!(bomb, Times::default());
        assert!(!Times::of(b"no gzip").is_whole && Times::of(&gzip("x\n")).is_whole);
        let forged = "autopkgtest [99:99:99]: test a: [-----------------------\n\
                      autopkgtest [00:00:00]: test a: -----------------------]\n";
        assert!(of(forged)[0].1 < 2 * DAY);
    }
}
