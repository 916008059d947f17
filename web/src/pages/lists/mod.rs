//! Lists of packages by how they fare: failing, flaky, slow, not run for long, stuck.

pub(crate) mod flaky;
pub(crate) mod standings;
pub(crate) mod stuck;

use super::filter::text;
use crate::{
    failure::Failure,
    view::{When, pair_path, run_path},
};

/// How many a list shows when nothing is said.
const USUAL: i64 = 50;
/// The most that one answer lists.
const MOST: i64 = 1000;

fn limit(query: Option<&str>) -> Result<i64, Failure> {
    super::recent::number("limit", &text(query, "limit")?, 1, MOST, USUAL)
}

/// As `limit` stands in addresses: nothing where it is the usual one.
fn limit_text(limit: i64) -> String {
    if limit == USUAL { String::new() } else { limit.to_string() }
}

/// One of these words; the first where nothing is said.
fn word<const N: usize>(name: &str, text: &str, known: [&'static str; N]) -> Result<&'static str, Failure> {
    if text.is_empty() {
        return Ok(known[0]);
    }
    known.into_iter().find(|word| *word == text).ok_or_else(|| {
        Failure::bad(format!("This {name} is not known."), &format!("Known are {}.", known.join(", ")))
    })
}

/// A place in a list, as `next` has it.
fn place<const N: usize>(text: &str) -> Result<Option<[String; N]>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let parts: Vec<String> = text.split(',').map(str::to_owned).collect();
    parts.try_into().map(Some).map_err(|_| bad_place())
}

fn bad_place() -> Failure {
    Failure::bad("after is no place in this list.", "Follow the links of the list.")
}

/// A run that a list leads to.
struct Run {
    path: String,
    id: String,
    when: Option<When>,
}

impl Run {
    fn new(package: &str, release: &str, arch: &str, run_id: &str, now: jiff::Timestamp) -> Self {
        let at = run_id.parse::<proofhouse_core::run_id::RunId>().ok().and_then(|id| id.time());
        Self {
            path: run_path(package, release, arch, run_id),
            id: run_id.to_owned(),
            when: at.map(|at| When::new(at, now)),
        }
    }
}

/// A package on a release and architecture.
struct Place {
    package: String,
    release: String,
    arch: String,
    package_path: String,
    pair_path: String,
}

impl Place {
    fn new(package: &str, release: &str, arch: &str) -> Self {
        Self {
            package_path: crate::view::package_path(package),
            pair_path: pair_path(package, release, arch),
            package: package.to_owned(),
            release: release.to_owned(),
            arch: arch.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_words() {
        assert_eq!(place::<2>("a,b").unwrap().unwrap(), ["a", "b"]);
        assert!(place::<2>("a").is_err() && place::<2>("").unwrap().is_none());
        assert_eq!(word("sort", "", ["x", "y"]).unwrap(), "x");
        assert!(word("sort", "z", ["x", "y"]).is_err());
    }
}
