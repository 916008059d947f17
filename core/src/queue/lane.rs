//! A lane: jobs that are fair to each other by standing in line.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::names::{BadName, Context, Pair};

/// Where a job stands that is answered without a run.
pub const ANSWERS: &str = "!";
/// Where a job stands that came by the web or the command line, until the leader has sorted it.
pub const ASKED: &str = "?";
/// The level of jobs beside which nothing else is offered.
pub const EMERGENCY: i32 = 1000;
/// A longer key of a lane is cut, and told apart by a digest: the table's index takes no long ones.
const LONGEST_KEY: usize = 200;
/// Operators raise and lower by at most so much.
pub const MOST_RAISED: i32 = 100;

/// Who waits for a job, most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Somebody who asked by the web, the command line, a token, or with a `requester` on a queue.
    People,
    /// A program that decides by results.
    Gates,
    /// Whatever comes by the huge queues.
    Bulk,
}

impl Class {
    /// All, most urgent first.
    pub const ALL: [Self; 3] = [Self::People, Self::Gates, Self::Bulk];

    /// The word in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::People => "people",
            Self::Gates => "gates",
            Self::Bulk => "bulk",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Class {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|class| class.as_str() == text);
        found.ok_or_else(|| BadName::new("class", text, "people, gates or bulk"))
    }
}

/// What distinguishes a lane from others. As text: `LEVEL CLASS CONTEXT RELEASE/ARCH LABELS KEY`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// 0; greater where an operator raised it, smaller where lowered; [`EMERGENCY`].
    pub level: i32,
    /// Who waits.
    pub class: Class,
    /// Which of the pair's queues.
    pub context: Context,
    /// Release and arch.
    pub pair: Pair,
    /// Those of the job's labels that the rules of pools ask for, sorted, separated by commas; empty: none.
    pub labels: String,
    /// Whom it is fair to: the requester among people, or else the first trigger; empty where there is none.
    pub key: String,
}

impl Lane {
    /// The key of a lane that is fair to this requester or trigger.
    pub fn key_of(name: &str) -> String {
        if name.len() <= LONGEST_KEY {
            return name.to_owned();
        }
        let digest = hex::encode(Sha256::digest(name));
        name.chars().take(LONGEST_KEY / 5).chain("…".chars()).chain(digest[..32].chars()).collect()
    }

    /// The more urgent of two lanes that the same job could stand in.
    #[must_use]
    pub fn more_urgent(self, other: Self) -> Self {
        let level = self.level.max(other.level);
        let urgent = if other.class < self.class { other } else { self };
        Self { level, ..urgent }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, class, context, pair, labels, key } = self;
        let labels = if labels.is_empty() { "-" } else { labels };
        write!(f, "{level} {class} {context} {pair} {labels} {key}")
    }
}

impl FromStr for Lane {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadName::new("lane", text, "LEVEL CLASS CONTEXT RELEASE/ARCH LABELS KEY");
        let fields: Vec<&str> = text.splitn(6, ' ').collect();
        let [level, class, context, pair, labels, key] = fields[..] else { return Err(bad()) };
        Ok(Self {
            level: level.parse().map_err(|_| bad())?,
            class: class.parse()?,
            context: context.parse()?,
            pair: pair.parse()?,
            labels: if labels == "-" { String::new() } else { labels.to_owned() },
            key: key.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_round_trip() {
        for text in [
            "0 people ubuntu noble/amd64 - Joe Doe",
            "-3 gates ppa noble/amd64 big_packages,private green/2",
            "1000 bulk huge noble/amd64 - ",
        ] {
            assert_eq!(text.parse::<Lane>().unwrap().to_string(), text);
        }
        for text in
            ["", "!", "0 people ubuntu noble/amd64 -", "x people ubuntu noble/amd64 - k", "0 a b c d e"]
        {
            assert!(text.parse::<Lane>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn long_keys_are_cut_and_told_apart() {
        let long = "é".repeat(2000);
        let (one, other) = (Lane::key_of(&format!("{long}1")), Lane::key_of(&format!("{long}2")));
        assert!(one.len() <= LONGEST_KEY && one != other, "{one}");
        assert_eq!(Lane::key_of("green/2"), "green/2");
    }

    #[test]
    fn a_person_who_joins_makes_it_more_urgent_and_nobody_less() {
        let lane = |text: &str| text.parse::<Lane>().unwrap();
        let (gate, person) =
            (lane("7 gates ubuntu noble/amd64 - green/2"), lane("0 people ubuntu noble/amd64 - joe"));
        let both = lane("7 people ubuntu noble/amd64 - joe");
        assert_eq!(
            (gate.clone().more_urgent(person.clone()), person.more_urgent(gate)),
            (both.clone(), both)
        );
    }
}
