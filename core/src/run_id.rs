//! Run ids: `YYYYMMDD_HHMMSS_xxxxx@`.
//!
//! Facts: contract "Results", heading "Objects". Readers parse the first 15 characters as the time and list by `@`.

use std::{fmt, str::FromStr};

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::names::{BadName, Pair};

/// The name of a result's folder, `YYYYMMDD_HHMMSS_xxxxx@`; very old ones lack `_xxxxx`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// Five hex digits that tell runs of one second apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunHash(String);

impl RunHash {
    /// The first five hex digits of sha1(request body + arch + release).
    pub fn of(body: &[u8], pair: &Pair) -> Self {
        let digest = Sha1::new()
            .chain_update(body)
            .chain_update(pair.arch.as_str())
            .chain_update(pair.release.as_str())
            .finalize();
        Self(hex::encode(digest)[..5].to_owned())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads digits that the database kept; anything else becomes `00000`.
    pub fn from_stored(text: &str) -> Self {
        let good = text.len() == 5 && text.bytes().all(|b| b.is_ascii_hexdigit());
        Self(if good { text } else { "00000" }.to_owned())
    }
}

impl RunId {
    /// The id for a publication that is granted `now`: later than `last`, by moving the time on where it must be.
    pub fn next(now: Timestamp, hash: &RunHash, last: Option<&Self>) -> Self {
        let now = match last.and_then(Self::time) {
            // A store can hold a run of the last second of all: then there is no later one.
            Some(last) if last.as_second() >= now.as_second() => {
                last.checked_add(SignedDuration::from_secs(1)).unwrap_or(last)
            }
            _ => now,
        };
        Self(format!("{}_{}@", now.strftime("%Y%m%d_%H%M%S"), hash.0))
    }

    /// The time in it, to the second, UTC.
    pub fn time(&self) -> Option<Timestamp> {
        let time = DateTime::strptime("%Y%m%d_%H%M%S", self.0.get(..15)?).ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = Self(text.to_owned());
        let rest = text.get(15..).and_then(|rest| rest.strip_suffix('@'));
        let good = text.is_ascii()
            && id.time().is_some()
            && rest.is_some_and(|r| {
                r.is_empty()
                    || (r.len() <= 65
                        && r.starts_with('_')
                        && r[1..].bytes().all(|b| b.is_ascii_alphanumeric()))
            });
        if good { Ok(id) } else { Err(BadName::new("run id", text, "YYYYMMDD_HHMMSS_xxxxx@")) }
    }
}

impl TryFrom<String> for RunId {
    type Error = BadName;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair() -> Pair {
        "noble/amd64".parse().unwrap()
    }

    #[test]
    fn made_as_clients_read_it() {
        let hash = RunHash::of(b"green\n{}", &pair());
        let now: Timestamp = "2026-11-21T05:36:34.9Z".parse().unwrap();
        let id = RunId::next(now, &hash, None);
        assert_eq!(id.as_str(), format!("20261121_053634_{}@", hash.as_str()));
        assert_eq!(id.as_str().len(), 22);
        assert_eq!(id.time().unwrap().as_second(), now.as_second());
        assert_eq!(id.as_str().parse::<RunId>().unwrap(), id);
    }

    #[test]
    fn old_and_bad_ones() {
        assert!("20130101_000000@".parse::<RunId>().is_ok());
        for bad in [
            "",
            "@",
            "20261121_053634_aaaaa",
            "20261321_053634_aaaaa@",
            "../../x@",
            "20261121_053634_a/b@",
            "20261121_053634aaaaa@",
            "äääääääääääääää@",
        ] {
            assert!(bad.parse::<RunId>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn always_greater_than_the_last(times in proptest::collection::vec(1_700_000_000i64..1_700_000_020, 1..40), bodies in proptest::collection::vec(any::<u64>(), 40)) {
            let mut last: Option<RunId> = None;
            for (second, body) in times.into_iter().zip(bodies) {
                let id = RunId::next(Timestamp::from_second(second).unwrap(), &RunHash::of(&body.to_be_bytes(), &pair()), last.as_ref());
                if let Some(last) = &last { prop_assert!(id > *last); }
                prop_assert_eq!(&id.as_str().parse::<RunId>().unwrap(), &id);
                last = Some(id);
            }
        }
    }
}
