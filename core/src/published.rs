//! The published database in the store, and which of its editions is shown when.
//!
//! The object [`POINTER`] of the container [`Container::published`](crate::layout::Container::published) lists pairs of
//! file and digest, each with the moment **from** which it is shown. The leading dispatcher writes it, webs read it.
//!
//! **A digest from one web and the file from another are equal.** A client asks for the digest and then, within
//! [`GAP_US`], for the file; nothing in the second request tells which digest it had. So one moment for both is not
//! enough: who asked just before it has the old digest and would get the new file. Therefore
//!
//! 1. a pair is announced [`LEAD_US`] before its moment, and no web looks at a pointer older than [`CACHE`]: every web
//!    knows of the moment at the latest [`HOLD_US`] before it, even where writing the pointer took some seconds;
//! 2. in the [`HOLD_US`] before the moment no web gives out a digest: who asks for one waits for the moment, and gets the
//!    new one. An old digest was thus given out at least `HOLD_US` before the moment;
//! 3. the moment is by the job table's clock, which webs and dispatcher share. What they may still be apart,
//!    [`SKEW_US`], is waited for with files too: who asks for one so shortly before the moment gets the new one.
//!
//! An old digest is followed by its file when that is asked for until `SKEW_US` before the moment, which is `GAP_US` after
//! the last old digest; a new digest is given out at the moment or later, and every file from `SKEW_US` before it is new.
//! A download that has begun goes on: older pairs stay in the store for [`KEEP_US`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The object that says what is shown.
pub const POINTER: &str = "current";
/// The longest pointer that is read, in bytes.
pub const MAX_POINTER: u64 = 64 << 10;
/// How long before its moment a pair is announced, in microseconds.
pub const LEAD_US: i64 = 15_000_000;
/// How long before a moment no digest is given out, in microseconds.
pub const HOLD_US: i64 = 5_000_000;
/// How far two readers of one clock may be apart, in microseconds.
pub const SKEW_US: i64 = 1_000_000;
/// How soon after a digest its file must be asked for, in microseconds.
pub const GAP_US: i64 = HOLD_US - 2 * SKEW_US;
/// How old a pointer may be that a web looks at.
pub const CACHE: Duration = Duration::from_secs(2);
/// How long a pair stays in the store after another took its place, in microseconds.
pub const KEEP_US: i64 = 600_000_000;

/// A file and its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// SHA-256 of the file, 64 hex digits.
    pub digest: String,
    /// When it is shown, in microseconds since 1970 by the job table's clock.
    pub from_us: i64,
}

impl Pair {
    /// The name of the file's object.
    pub fn file(&self) -> String {
        format!("{}.db", self.digest)
    }

    /// The name of the digest's object.
    pub fn digest_file(&self) -> String {
        format!("{}.db.sha256", self.digest)
    }
}

/// What the published database holds of all results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The releases, sorted.
    pub releases: Vec<String>,
    /// How old results may be, in days; 0: any age.
    pub days: u32,
}

impl Scope {
    /// True where nothing is missing in a file of this scope that one of `other` holds.
    pub fn covers(&self, other: &Self) -> bool {
        let long_enough = self.days == 0 || (other.days != 0 && other.days <= self.days);
        long_enough && other.releases.iter().all(|release| self.releases.contains(release))
    }
}

/// What [`POINTER`] holds, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// The job table that the newest pair was written from.
    pub lineage: String,
    /// The newest pair's edition.
    pub edition: i64,
    /// The newest pair's scope.
    pub scope: Scope,
    /// Newest first; what was shown within [`KEEP_US`].
    pub pairs: Vec<Pair>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The digest.
    Digest,
    /// The file.
    File,
}

/// What a web does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown<'a> {
    /// It shows this pair.
    Pair(&'a Pair),
    /// It waits for so many microseconds, and looks again.
    Wait(i64),
    /// There is nothing.
    Nothing,
}

impl Pointer {
    /// What is shown at `now_us` by the job table's clock.
    pub fn shown(&self, wanted: Wanted, now_us: i64) -> Shown<'_> {
        let hold = match wanted {
            Wanted::Digest => HOLD_US,
            Wanted::File => SKEW_US,
        };
        let before = self.pairs.last().map(|pair| pair.from_us);
        for pair in &self.pairs {
            // The first pair of all takes the place of none.
            if pair.from_us <= now_us || Some(pair.from_us) == before {
                return Shown::Pair(pair);
            }
            if pair.from_us - hold <= now_us {
                return Shown::Wait(pair.from_us - now_us);
            }
        }
        Shown::Nothing
    }

    /// True once the newest pair is shown: only then another may be announced.
    pub fn may_move(&self, now_us: i64) -> bool {
        self.pairs.first().is_none_or(|newest| newest.from_us <= now_us)
    }

    /// Announces a file, and forgets what nobody can need any more.
    pub fn announce(&mut self, digest: String, now_us: i64) {
        let from_us = if self.pairs.is_empty() { now_us } else { now_us + LEAD_US };
        self.pairs.insert(0, Pair { digest, from_us });
        // A pair's time ends with its successor's moment.
        let needed = self.pairs.iter().position(|pair| pair.from_us < now_us - KEEP_US);
        self.pairs.truncate(needed.map_or(usize::MAX, |last| last + 1));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;

    fn pointer() -> Pointer {
        let scope = Scope { releases: vec![], days: 0 };
        Pointer { lineage: String::new(), edition: 0, scope, pairs: vec![] }
    }

    #[test]
    fn the_first_is_shown_at_once_and_later_ones_at_their_moment() {
        let mut pointer = pointer();
        assert_eq!(pointer.shown(Wanted::File, 0), Shown::Nothing);
        pointer.announce("a".to_owned(), 100 * SECOND);
        let shown = |pointer: &Pointer, wanted, second: i64| match pointer.shown(wanted, second * SECOND) {
            Shown::Pair(pair) => pair.digest.clone(),
            Shown::Wait(us) => format!("{} s", us / SECOND),
            Shown::Nothing => "nothing".to_owned(),
        };
        assert_eq!(shown(&pointer, Wanted::Digest, 100), "a");
        // A clock that is behind.
        assert_eq!(shown(&pointer, Wanted::Digest, 1), "a");
        pointer.announce("b".to_owned(), 130 * SECOND);
        assert!(!pointer.may_move(144 * SECOND) && pointer.may_move(145 * SECOND));
        for (second, digest, file) in
            [(139, "a", "a"), (140, "5 s", "a"), (144, "1 s", "1 s"), (145, "b", "b")]
        {
            assert_eq!(shown(&pointer, Wanted::Digest, second), digest, "{second}");
            assert_eq!(shown(&pointer, Wanted::File, second), file, "{second}");
        }
    }

    #[test]
    fn what_was_shown_lately_is_kept() {
        let mut pointer = pointer();
        for n in 0..100 {
            pointer.announce(n.to_string(), n * 30 * SECOND);
        }
        // Shown until 600 s ago at the latest: 20 periods, and the announced one.
        assert!((20..=22).contains(&pointer.pairs.len()), "{}", pointer.pairs.len());
        pointer.announce("late".to_owned(), 100_000 * SECOND);
        assert_eq!(pointer.pairs.len(), 2);
    }

    #[test]
    fn scopes() {
        let scope = |releases: &[&str], days| Scope {
            releases: releases.iter().map(|r| (*r).to_owned()).collect(),
            days,
        };
        let all = scope(&["a", "b"], 0);
        assert!(all.covers(&all) && all.covers(&scope(&["b"], 7)) && !all.covers(&scope(&["c"], 7)));
        let week = scope(&["a"], 7);
        assert!(
            week.covers(&scope(&["a"], 6))
                && !week.covers(&scope(&["a"], 8))
                && !week.covers(&scope(&["a"], 0))
        );
    }

    /// A web: its clock, and how old the pointer is that it looks at.
    #[derive(Debug, Clone)]
    struct Web {
        skew: i64,
        stale: i64,
    }

    /// Pointers by the time at which they could be read.
    type History = Vec<(i64, Pointer)>;

    /// What a web answers at `now`, and when.
    fn ask(web: &Web, history: &History, wanted: Wanted, mut now: i64) -> (String, i64) {
        loop {
            let read = now - web.stale;
            let (_, pointer) = history.iter().rev().find(|(at, _)| *at <= read).unwrap();
            match pointer.shown(wanted, now + web.skew) {
                Shown::Pair(pair) => return (pair.digest.clone(), now),
                Shown::Wait(us) => now += us,
                Shown::Nothing => unreachable!(),
            }
        }
    }

    fn web() -> impl Strategy<Value = Web> {
        let stale = i64::try_from(CACHE.as_micros()).unwrap();
        (-SKEW_US / 2..=SKEW_US / 2, 0..=stale).prop_map(|(skew, stale)| Web { skew, stale })
    }

    proptest! {
        #[test]
        fn a_digest_and_a_file_of_two_webs_are_equal(
            pauses in proptest::collection::vec((30 * SECOND..90 * SECOND, 0..6 * SECOND), 1..8),
            (one, other) in (web(), web()),
            asks in proptest::collection::vec((10 * SECOND..400 * SECOND, 0..GAP_US), 1..60),
        ) {
            let mut pointer = pointer();
            pointer.announce("0".to_owned(), 0);
            let (mut history, mut now) = (vec![(0, pointer.clone())], 0);
            for (n, (pause, writing)) in pauses.into_iter().enumerate() {
                now += pause;
                prop_assert!(pointer.may_move(now));
                pointer.announce((n + 1).to_string(), now);
                history.push((now + writing, pointer.clone()));
            }
            for (at, gap) in asks {
                let (digest, answered) = ask(&one, &history, Wanted::Digest, at);
                let (file, _) = ask(&other, &history, Wanted::File, answered + gap);
                prop_assert_eq!(digest, file, "asked at {}, then after {}", at, gap);
            }
        }
    }
}
