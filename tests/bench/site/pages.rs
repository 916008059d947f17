//! The pages that are measured.

use anyhow::{Context, Result};

use super::{
    made::{BEFORE_LARGE, LARGE, Line, Made},
    now::{Much, waiting_uuid},
};

/// A page's name, and its address with the names of [`Sights`] in braces. What is not there yet is told at the end.
pub(crate) const PAGES: &[(&str, &str)] = &[
    ("front page", "/"),
    ("package", "/packages/{package}"),
    ("package that is seldom tested", "/packages/{seldom}"),
    ("runs of a test", "/packages/{package}/{release}/{arch}"),
    ("runs of a test, old", "/packages/{package}/{release}/{arch}?before={old}"),
    ("run", "/packages/{ran}/{ran_release}/{ran_arch}/{run_id}"),
    ("run by its uuid", "/run/{uuid}"),
    ("run that waits", "/run/{waiting}"),
    ("compared", "/compare/{ran}/{ran_release}/{ran_arch}/{earlier}/{run_id}"),
    ("search for a beginning", "/packages?q=lib"),
    ("search", "/search?q=gra"),
    ("recent", "/recent"),
    ("recent, 1,000", "/recent?limit=1000"),
    ("recent failures on a pair", "/recent?release={release}&arch={arch}&result=fail"),
    ("recent, seldom outcome", "/recent?result=denylisted"),
    ("recent of a busy person", "/recent?user={busy}"),
    ("recent of a busy person, seldom outcome", "/recent?user={busy}&result=denylisted"),
    ("recent of another person", "/recent?user={other}"),
    ("recent of nobody", "/recent?user=nobody-there"),
    ("recent, old", "/recent?before={old}7"),
    ("failing", "/failing"),
    ("failing on a pair", "/failing?release={release}&arch={arch}"),
    ("flaky", "/flaky"),
    ("slow", "/slow"),
    ("not run for long", "/stale"),
    ("stuck", "/stuck"),
    ("parked", "/parked"),
    ("release", "/release/{release}"),
    ("user", "/user/{busy}/"),
    ("user's PPAs", "/user/{owner}/ppa"),
    ("PPA", "/user/{owner}/ppa/fixes"),
    ("largest upload", "/trigger/{large}"),
    ("small upload", "/trigger/{small}"),
    ("running", "/running"),
    ("waiting", "/waiting"),
    ("queue", "/queue/ubuntu/{release}/{arch}"),
    ("statistics", "/statistics"),
    ("statistics of a year", "/statistics?days=365"),
    ("infrastructure", "/infrastructure"),
    ("feed of a package", "/feeds/package/{package}.atom"),
    ("feed of a release", "/feeds/release/{release}.atom"),
    ("feed of a release, changes", "/feeds/release/{release}.atom?transitions=1"),
    ("feed of a person", "/feeds/user/{other}.atom"),
    ("feed of the largest upload", "/feeds/trigger/{large}.atom"),
    ("badge", "/badge/{package}.svg"),
    ("description of the API", "/api"),
    ("JSON: results", "/api/v1/results"),
    ("JSON: packages", "/api/v1/packages"),
    ("JSON: package", "/api/v1/packages/{package}"),
    ("JSON: runs of a test", "/api/v1/packages/{package}/{release}/{arch}"),
    ("JSON: run", "/api/v1/runs/{uuid}"),
    ("JSON: queues", "/api/v1/queues"),
    ("JSON: demand", "/api/v1/demand"),
    ("JSON: statistics", "/api/v1/statistics"),
    ("JSON: recent, as it was", "/api/experimental/recent.json"),
    ("JSON: sizes of queues, as it was", "/queue_size.json"),
];

/// Those that most people look at.
pub(crate) const COMMON: [&str; 4] = ["front page", "package", "runs of a test", "run"];

/// Among so many results before a run another of the same test is looked for.
const LOOKED_THROUGH: u64 = 20_000;

/// Two runs of a test of the distribution that everybody may see, the newer one first.
pub(crate) fn runs(made: &Made, results: u64) -> Result<[Line; 2]> {
    let pair = |age: u64| {
        let ran = made.result(age);
        let is_same = |other: &Line| {
            other.run_id < ran.run_id
                && [&other.container, &other.package] == [&ran.container, &ran.package]
                && other.arch == ran.arch
        };
        let is_own = ran.container == format!("autopkgtest-{}", ran.release);
        let mut before = (age + 1..results.min(age + LOOKED_THROUGH)).map(|age| made.result(age));
        let earlier = before.find(is_same).filter(|_| is_own)?;
        Some([ran, earlier])
    };
    (10..BEFORE_LARGE).find_map(pair).context("no test ran twice")
}

/// What is looked at.
pub(crate) struct Sights(Vec<(&'static str, String)>);

impl Sights {
    /// In an index of so many results.
    pub(crate) fn of(made: &Made, results: u64, much: Much) -> Result<Self> {
        let [ran, earlier] = runs(made, results)?;
        // The package of the upload's results that come first of all.
        let tested = made.result(BEFORE_LARGE);
        let small = made.upload(0, 40);
        Ok(Self(vec![
            ("package", tested.package),
            ("seldom", made.package(made.large - 1)),
            ("release", tested.release.to_owned()),
            ("arch", tested.arch.to_owned()),
            ("old", made.result(results / 2).run_id),
            ("ran", ran.package),
            ("ran_release", ran.release.to_owned()),
            ("ran_arch", ran.arch.to_owned()),
            ("run_id", ran.run_id),
            ("earlier", earlier.run_id),
            ("uuid", ran.uuid.to_string()),
            ("waiting", waiting_uuid(much)),
            ("busy", Made::person(0)),
            ("other", Made::person(300)),
            ("owner", Made::ppa_owner(0)),
            ("large", LARGE.to_owned()),
            ("small", small),
        ]))
    }

    /// The address of a page.
    pub(crate) fn address(&self, page: &str) -> String {
        self.0.iter().fold(page.to_owned(), |page, (name, value)| page.replace(&format!("{{{name}}}"), value))
    }
}
