//! Which part of an upload's matrix an address asks for.

use utoipa::IntoParams;

use super::cells::{Counts, GOOD, Matrix, Row, Section, Show, Shows, Test};
use crate::{
    failure::Failure,
    pages::filter::{Wildcard, address, text},
};

/// How many packages a part has.
pub(super) const PAGE: usize = 100;

/// What an address asks for.
#[derive(Debug, Clone, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only packages with such a test: blocking (fails, and did not fail before), known (failed before, too), pass, neutral,
    /// fail, tmpfail, error, denylisted, otherfail, parked, running or queued.
    #[param(value_type = Option<String>)]
    pub(super) show: Option<Show>,
    /// Only this release.
    #[param(required = false)]
    pub(super) release: String,
    /// Only this architecture.
    #[param(required = false)]
    pub(super) arch: String,
    /// Only packages of this name; `*` and `?` are wildcards.
    #[param(value_type = String, required = false)]
    pub(super) package: Wildcard,
    /// `package`: by name, not what blocks first.
    #[param(rename = "sort", value_type = Option<String>)]
    pub(super) by_name: bool,
    /// Only packages behind this place, as `next` has it.
    #[param(value_type = Option<String>)]
    pub(super) after: Option<Place>,
}

/// A place in the list: rank, package, release and container. By name the rank is 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) release: String,
    pub(super) container: String,
    pub(super) rank: u8,
    pub(super) package: String,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let [rank, package, release, container] = parts[..] else { return None };
        let rank = rank.parse().ok().filter(|rank| *rank <= GOOD)?;
        let [package, release, container] = [package, release, container].map(str::to_owned);
        Some(Self { release, container, rank, package })
    }

    fn text(&self) -> String {
        format!("{}/{}/{}/{}", self.rank, self.package, self.release, self.container)
    }
}

/// A package of a part.
#[derive(Debug)]
pub(super) struct Chosen<'a> {
    pub(super) section: &'a Section,
    pub(super) row: &'a Row,
    pub(super) tests: Vec<&'a Test>,
    pub(super) rank: u8,
}

/// A part of the matrix.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) rows: Vec<Chosen<'a>>,
    /// How many packages fit.
    pub(super) packages: usize,
    /// Of the tests of this release and architecture and these packages, whatever is shown.
    pub(super) counts: Counts,
    /// The place behind which there is more.
    pub(super) next: Option<Place>,
}

impl Wanted {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Failure> {
        let show = text(query, "show")?;
        let known = || Show::ALL.map(Show::as_str).join(", ");
        let show = match show.as_str() {
            "" => None,
            name => Some(Show::named(name).ok_or_else(|| {
                Failure::bad("What is to be shown is not known.", &format!("Known are {}.", known()))
            })?),
        };
        let by_name = match text(query, "sort")?.as_str() {
            "" | "problems" => false,
            "package" => true,
            _ => return Err(Failure::bad("sort must be problems or package.", "")),
        };
        let after = text(query, "after")?;
        let after = match after.as_str() {
            "" => None,
            place => Some(
                Place::parse(place)
                    .ok_or_else(|| Failure::bad("after is no place in the list.", "Follow its links."))?,
            ),
        };
        Ok(Self {
            show,
            release: text(query, "release")?,
            arch: text(query, "arch")?,
            package: Wildcard::read(query, "package")?,
            by_name,
            after,
        })
    }

    pub(super) fn is_filter(&self) -> bool {
        self.show.is_some() || !self.release.is_empty() || !self.arch.is_empty() || !self.package.is_empty()
    }

    /// The address of the same list, of its tests that are to be shown, from a place on.
    pub(super) fn at(&self, base: &str, show: Option<Show>, after: Option<&Place>) -> String {
        let after = after.map(Place::text).unwrap_or_default();
        let parameters = [
            ("show", show.map_or("", Show::as_str)),
            ("release", self.release.as_str()),
            ("arch", self.arch.as_str()),
            ("package", self.package.as_str()),
            ("sort", if self.by_name { "package" } else { "" }),
            ("after", after.as_str()),
        ];
        address(base, &parameters)
    }

    /// The part of a matrix that is asked for.
    pub(super) fn part<'a>(&self, matrix: &'a Matrix) -> Part<'a> {
        let mut fitting: Vec<&Test> = Vec::new();
        let mut all: Vec<Chosen<'a>> = Vec::new();
        let is = |wanted: &str, one: &str| wanted.is_empty() || wanted == one;
        for section in matrix.sections.iter().filter(|section| is(&self.release, &section.release)) {
            for row in section.rows.iter().filter(|row| self.package.fits(&row.package)) {
                let tests = row.tests.iter().filter(|test| is(&self.arch, &section.arches[test.arch]));
                let tests: Vec<&Test> = tests.collect();
                let shows = tests.iter().fold(Shows::default(), |all, test| all.and(test.shows));
                fitting.extend(&tests);
                if !tests.is_empty() && self.show.is_none_or(|show| shows.has(show)) {
                    all.push(Chosen { section, row, tests, rank: shows.rank() });
                }
            }
        }
        if !self.by_name {
            all.sort_by(|one, other| (one.section.key(), one.rank).cmp(&(other.section.key(), other.rank)));
        }
        let packages = all.len();
        let begin =
            self.after.as_ref().map_or(0, |after| all.partition_point(|one| self.place(one) <= *after));
        let mut rows: Vec<Chosen<'a>> = all.into_iter().skip(begin).take(PAGE + 1).collect();
        let more = rows.len() > PAGE;
        rows.truncate(PAGE);
        let next = rows.last().filter(|_| more).map(|last| self.place(last));
        Part { packages, counts: Counts::of(fitting.into_iter()), next, rows }
    }

    fn place(&self, chosen: &Chosen<'_>) -> Place {
        Place {
            release: chosen.section.release.clone(),
            container: chosen.section.container.clone(),
            rank: if self.by_name { 0 } else { chosen.rank },
            package: chosen.row.package.clone(),
        }
    }
}

impl Section {
    fn key(&self) -> (&str, &str) {
        (&self.release, &self.container)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proofhouse_core::db::UploadResult;

    use super::{super::cells::Folds, *};

    fn matrix(packages: usize) -> Matrix {
        let result = |n: usize| UploadResult {
            id: i64::try_from(n).unwrap(),
            container: "autopkgtest-noble".to_owned(),
            release: "noble".to_owned(),
            arch: "amd64".to_owned(),
            package: format!("p{n:03}"),
            run_id: "2026".to_owned(),
            exit_code: if n % 2 == 1 { 16 } else { 0 },
        };
        Folds::new((0..packages).map(result).collect(), vec![]).finish(Timestamp::UNIX_EPOCH, false, None)
    }

    #[test]
    fn problems_first_and_each_package_once() {
        let matrix = matrix(250);
        for (sort, first) in [("", "p001"), ("sort=package", "p000")] {
            let mut wanted = Wanted::parse(Some(sort)).unwrap();
            let mut seen = Vec::new();
            loop {
                let part = wanted.part(&matrix);
                assert_eq!((part.packages, part.counts.some().count()), (250, 2));
                seen.extend(part.rows.iter().map(|chosen| chosen.row.package.clone()));
                let Some(next) = part.next else { break };
                let address = wanted.at("", None, Some(&next));
                wanted = Wanted::parse(address.strip_prefix('?')).unwrap();
            }
            assert_eq!((seen.len(), seen[0].as_str()), (250, first));
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 250);
        }
    }

    #[test]
    fn filters_and_bad_ones() {
        let matrix = matrix(20);
        let packages = |query: &str| Wanted::parse(Some(query)).unwrap().part(&matrix).packages;
        assert_eq!(packages("show=pass&package=p01*"), 5);
        assert_eq!((packages("arch=arm64"), packages("release=noble&arch=amd64")), (0, 20));
        for bad in ["show=green", "sort=x", "after=x", "after=9/a/b/c", "arch=%00", "package=%5B"] {
            assert!(Wanted::parse(Some(bad)).is_err(), "{bad}");
        }
    }
}
