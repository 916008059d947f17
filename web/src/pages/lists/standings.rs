//! `/failing`, `/slow`, `/stale`: packages by how they fare on each release and architecture.

use askama::Template;
use axum::{
    Json,
    extract::{RawQuery, State},
    response::Response,
};
use jiff::Timestamp;
use proofhouse_core::{
    db::{Rank, Standing, StandingKey, StandingList, StandingsFilter},
    names::{BadName, Package, Pair},
    outcome::Class,
};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{Place, Run, bad_place, limit, limit_text, place, word};
use crate::{
    api::StandingData,
    app::App,
    failure::Failure,
    pages::{
        filter::{address, text},
        page,
        recent::choices,
    },
    view::{Crumb, Outcome, duration},
};

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Failing,
    Slow,
    Stale,
}

impl Kind {
    const fn path(self) -> &'static str {
        match self {
            Self::Failing => "/failing",
            Self::Slow => "/slow",
            Self::Stale => "/stale",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Failing => "Failing packages",
            Self::Slow => "Slow packages",
            Self::Stale => "Packages that were not run for long",
        }
    }

    /// In which orders it is listed, the usual one first.
    const fn orders(self) -> [&'static str; 2] {
        match self {
            Self::Failing => ["newest", "oldest"],
            Self::Slow => ["slowest", "fastest"],
            Self::Stale => ["oldest", "newest"],
        }
    }

    /// What an empty list means.
    const fn none(self) -> &'static str {
        match self {
            Self::Failing => "No package fails.",
            Self::Slow | Self::Stale => "No package has a result.",
        }
    }
}

/// What an address asks for.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only this release; otherwise all that are served.
    #[param(required = false)]
    release: String,
    /// Only this architecture.
    #[param(required = false)]
    arch: String,
    /// Only this package.
    #[param(value_type = Option<String>)]
    package: Option<Package>,
    /// In which order: `newest` or `oldest`; where the list is by length, `slowest` or `fastest`.
    #[param(value_type = Option<String>)]
    sort: &'static str,
    /// How many, up to 1000.
    #[param(required = false, default = 50, minimum = 1, maximum = 1000)]
    limit: i64,
    /// Only what comes behind this place, as `next` has it.
    #[param(value_type = Option<String>)]
    after: Option<StandingKey>,
    #[param(ignore)]
    passed: &'static str,
}

fn package(text: &str) -> Result<Option<Package>, Failure> {
    let package = Some(text).filter(|text| !text.is_empty()).map(str::parse).transpose();
    package.map_err(|error: BadName| Failure::bad(format!("{error}."), ""))
}

/// Whether they passed before.
const PASSED: [&str; 3] = ["", "before", "never"];

impl Wanted {
    fn parse(kind: Kind, query: Option<&str>) -> Result<Self, Failure> {
        let passed = if kind == Kind::Failing { text(query, "passed")? } else { String::new() };
        let rank = |text: String| match kind {
            Kind::Slow => text.parse().map(Rank::Seconds).map_err(|_| bad_place()),
            Kind::Failing | Kind::Stale => Ok(Rank::Run(text)),
        };
        let after = match place(&text(query, "after")?)? {
            None => None,
            Some([first, package, release, arch]) => {
                Some(StandingKey { rank: rank(first)?, package, release, arch })
            }
        };
        Ok(Self {
            release: text(query, "release")?,
            arch: text(query, "arch")?,
            package: package(&text(query, "package")?)?,
            sort: word("order", &text(query, "sort")?, kind.orders())?,
            limit: limit(query)?,
            after,
            passed: word("filter", &passed, PASSED)?,
        })
    }

    fn list(&self, kind: Kind) -> StandingList {
        let has_passed = match self.passed {
            "before" => Some(true),
            "never" => Some(false),
            _ => None,
        };
        match kind {
            Kind::Failing => StandingList::Failing { has_passed },
            Kind::Slow => StandingList::Slow,
            Kind::Stale => StandingList::Stale,
        }
    }

    fn is_filter(&self) -> bool {
        [self.release.as_str(), &self.arch, self.package(), self.passed].iter().any(|text| !text.is_empty())
    }

    fn package(&self) -> &str {
        self.package.as_ref().map_or("", Package::as_str)
    }

    /// The address of the same list, from a place on.
    fn at(&self, kind: Kind, base: &str, after: Option<&StandingKey>) -> String {
        let after = after.map(|key| {
            let rank = match &key.rank {
                Rank::Run(run_id) => run_id.clone(),
                Rank::Seconds(seconds) => seconds.to_string(),
            };
            [rank.as_str(), &key.package, &key.release, &key.arch].join(",")
        });
        let parameters = [
            ("release", self.release.as_str()),
            ("arch", &self.arch),
            ("package", self.package()),
            ("passed", self.passed),
            ("sort", if self.sort == kind.orders()[0] { "" } else { self.sort }),
            ("limit", &limit_text(self.limit)),
            ("after", after.as_deref().unwrap_or_default()),
        ];
        address(&format!("{base}{}", kind.path()), &parameters)
    }
}

/// What one answer shows.
struct Part {
    standings: Vec<Standing>,
    /// Behind which there is more.
    next: Option<StandingKey>,
    /// All that can be chosen.
    releases: Vec<String>,
    arches: Vec<String>,
}

async fn part(app: &App, kind: Kind, wanted: &Wanted) -> Result<Part, Failure> {
    let counts = app.db().all_time("packages").await?.into_iter();
    let fails = Class::Fail.as_str();
    let counts = counts.filter(|row| row.n > 0 && (kind != Kind::Failing || row.name == fails));
    let mut known: Vec<Pair> =
        counts.filter_map(|row| format!("{}/{}", row.release, row.arch).parse().ok()).collect();
    known.sort();
    known.dedup();
    let settings = app.settings();
    let mut releases: Vec<String> = settings.releases().into_iter().map(ToString::to_string).collect();
    let mut arches: Vec<String> = settings.arches().into_iter().map(ToString::to_string).collect();
    for pair in &known {
        for (all, one) in [(&mut releases, pair.release.as_str()), (&mut arches, pair.arch.as_str())] {
            if !all.iter().any(|known| known == one) {
                all.push(one.to_owned());
            }
        }
    }
    known.retain(|pair| {
        let of_release = if wanted.release.is_empty() {
            settings.pairs.contains(pair)
        } else {
            pair.release.as_str() == wanted.release
        };
        of_release && (wanted.arch.is_empty() || pair.arch.as_str() == wanted.arch)
    });
    let list = wanted.list(kind);
    let filter = StandingsFilter {
        list,
        pairs: known,
        package: wanted.package.clone(),
        ascending: matches!((kind, wanted.sort), (Kind::Failing | Kind::Stale, "oldest") | (_, "fastest")),
        after: wanted.after.clone(),
        limit: wanted.limit + 1,
    };
    let mut standings = app.db().standings(&filter).await?;
    let shown = usize::try_from(wanted.limit).unwrap_or_default();
    let more = standings.len() > shown;
    standings.truncate(shown);
    let next = standings.last().filter(|_| more).map(|last| list.key(last));
    Ok(Part { standings, next, releases, arches })
}

/// Packages and how they fare, by distribution runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Standings {
    /// In the order that was asked for.
    packages: Vec<StandingData>,
    /// The address of the part behind.
    next: Option<String>,
}

async fn as_json(app: &App, kind: Kind, query: Option<&str>) -> Result<Json<Standings>, Failure> {
    let wanted = Wanted::parse(kind, query)?;
    let Part { standings, next, .. } = part(app, kind, &wanted).await?;
    let settings = app.settings();
    Ok(Json(Standings {
        packages: standings.into_iter().map(|standing| StandingData::new(settings, standing)).collect(),
        next: next.map(|key| wanted.at(kind, "/api/v1", Some(&key))),
    }))
}

/// Packages that fail
///
/// Those whose newest run in which the test had its say failed, by the first failure since they passed. Of all releases that
/// are served, or of one.
#[utoipa::path(get, path = "/api/v1/failing", tag = "past",
    params(Wanted, ("passed" = Option<String>, Query, description = "Only those that passed before (`before`) or never did (`never`).")),
    responses((status = OK, body = Standings)))]
pub(crate) async fn failing_json(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Json<Standings>, Failure> {
    as_json(&app, Kind::Failing, query.as_deref()).await
}

/// Packages by how long their newest run took
///
/// Of all releases that are served, or of one.
#[utoipa::path(get, path = "/api/v1/slow", tag = "past", params(Wanted), responses((status = OK, body = Standings)))]
pub(crate) async fn slow_json(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Json<Standings>, Failure> {
    as_json(&app, Kind::Slow, query.as_deref()).await
}

/// Packages that were not run for long
///
/// By the newest run in which the test had its say. Of all releases that are served, or of one.
#[utoipa::path(get, path = "/api/v1/stale", tag = "past", params(Wanted), responses((status = OK, body = Standings)))]
pub(crate) async fn stale_json(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Json<Standings>, Failure> {
    as_json(&app, Kind::Stale, query.as_deref()).await
}

#[derive(Template)]
#[template(path = "lists/standings.html")]
struct Page {
    crumbs: Vec<Crumb>,
    kind: Kind,
    wanted: Wanted,
    releases: Vec<String>,
    arches: Vec<String>,
    items: Vec<Item>,
    first: Option<String>,
    next: Option<String>,
}

struct Item {
    place: Place,
    outcome: Outcome,
    version: String,
    newest: Run,
    took: String,
    runs: i64,
    since: Option<Run>,
    /// The version that last passed, and its run.
    passed: Option<(String, Run)>,
}

impl Item {
    fn new(standing: &Standing, now: Timestamp) -> Self {
        let Standing { package, release, arch, .. } = standing;
        let run = |run_id: &String| Run::new(package, release, arch, run_id, now);
        let class = Class::ALL.into_iter().find(|class| class.as_str() == standing.class);
        Self {
            place: Place::new(package, release, arch),
            outcome: class.unwrap_or(Class::Otherfail).into(),
            version: standing.version.clone(),
            newest: run(&standing.run_id),
            took: duration(standing.duration_seconds),
            runs: standing.runs,
            since: standing.failing_since.as_ref().map(run),
            passed: standing.passed_version.clone().zip(standing.passed_run_id.as_ref().map(run)),
        }
    }
}

async fn list(app: &App, kind: Kind, query: Option<&str>) -> Result<Response, Failure> {
    let wanted = Wanted::parse(kind, query)?;
    let Part { standings, next, releases, arches } = part(app, kind, &wanted).await?;
    let now = Timestamp::now();
    page(&Page {
        crumbs: vec![],
        kind,
        releases: choices(releases.into_iter(), &wanted.release),
        arches: choices(arches.into_iter(), &wanted.arch),
        items: standings.iter().map(|standing| Item::new(standing, now)).collect(),
        first: wanted.after.is_some().then(|| wanted.at(kind, "", None)),
        next: next.map(|key| wanted.at(kind, "", Some(&key))),
        wanted,
    })
}

/// `/failing`.
pub(crate) async fn failing(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    list(&app, Kind::Failing, query.as_deref()).await
}

/// `/slow`.
pub(crate) async fn slow(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    list(&app, Kind::Slow, query.as_deref()).await
}

/// `/stale`.
pub(crate) async fn stale(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    list(&app, Kind::Stale, query.as_deref()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_address_asks_for() {
        let query =
            "release=noble&package=g%2B%2B&passed=never&sort=oldest&limit=5&after=2026%40,a,noble,amd64";
        let wanted = Wanted::parse(Kind::Failing, Some(query)).unwrap();
        let again = wanted.at(Kind::Failing, "/api/v1", wanted.after.as_ref());
        assert_eq!(
            again,
            "/api/v1/failing?release=noble&package=g%2B%2B&passed=never&sort=oldest&limit=5&after=2026%40%2Ca%2Cnoble%2Camd64"
        );
        let slow = Wanted::parse(Kind::Slow, Some("after=7,a,b,c&passed=x")).unwrap();
        assert_eq!(slow.at(Kind::Slow, "", slow.after.as_ref()), "/slow?after=7%2Ca%2Cb%2Cc");
        for bad in
            ["sort=slowest", "passed=x", "limit=0", "limit=1001", "after=x", "release=%00", "package=a/b"]
        {
            assert!(Wanted::parse(Kind::Failing, Some(bad)).is_err(), "{bad}");
        }
        assert!(Wanted::parse(Kind::Slow, Some("after=x,a,b,c")).is_err());
    }
}
