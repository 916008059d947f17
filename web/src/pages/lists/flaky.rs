//! `/flaky`: packages whose results differ for the same inputs.

use askama::Template;
use axum::{
    Json,
    extract::{RawQuery, State},
    response::Response,
};
use jiff::{SignedDuration, Timestamp};
use proofhouse_core::db::{FlakyFilter, FlakyKey, FlakyRow};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{Place, Run, bad_place, limit, limit_text, place, word};
use crate::{
    app::App,
    failure::Failure,
    pages::{
        filter::{address, text},
        page,
        recent::choices,
    },
    settings::Settings,
    view::{Crumb, pair_path},
};

/// So many days can be looked back on, the usual number first.
const DAYS: [&str; 3] = ["7", "1", "30"];
/// In which orders it is listed, the usual one first.
const ORDERS: [&str; 2] = ["often", "newest"];

/// What an address asks for.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only this release.
    #[param(required = false)]
    release: String,
    /// Only this architecture.
    #[param(required = false)]
    arch: String,
    /// Only this package.
    #[param(required = false)]
    package: String,
    /// So many days back: 1, 7 (which is usual) or 30.
    #[param(value_type = Option<u8>)]
    days: &'static str,
    /// Those with most first (`often`, which is usual), or those of which the last is the newest (`newest`).
    #[param(value_type = Option<String>)]
    sort: &'static str,
    /// How many, up to 1000.
    #[param(required = false, default = 50, minimum = 1, maximum = 1000)]
    limit: i64,
    /// Only what comes behind this place, as `next` has it.
    #[param(value_type = Option<String>)]
    after: Option<FlakyKey>,
}

impl Wanted {
    fn parse(query: Option<&str>) -> Result<Self, Failure> {
        let after = match place(&text(query, "after")?)? {
            None => None,
            Some([flips, last_run_id, package, release, arch]) => {
                let flips = flips.parse().map_err(|_| bad_place())?;
                Some(FlakyKey { flips, last_run_id, package, release, arch })
            }
        };
        Ok(Self {
            release: text(query, "release")?,
            arch: text(query, "arch")?,
            package: text(query, "package")?,
            days: word("number of days", &text(query, "days")?, DAYS)?,
            sort: word("order", &text(query, "sort")?, ORDERS)?,
            limit: limit(query)?,
            after,
        })
    }

    fn filter(&self, now: Timestamp) -> FlakyFilter {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        let hours = self.days.parse::<i64>().unwrap_or(1) * 24;
        let from = now.checked_sub(SignedDuration::from_hours(hours)).unwrap_or_default();
        FlakyFilter {
            release: some(&self.release),
            arch: some(&self.arch),
            package: some(&self.package),
            // Run ids begin with their time.
            from: from.strftime("%Y%m%d_%H%M%S").to_string(),
            newest_first: self.sort == "newest",
            after: self.after.clone(),
            limit: self.limit + 1,
        }
    }

    fn is_filter(&self) -> bool {
        [&self.release, &self.arch, &self.package].iter().any(|text| !text.is_empty())
    }

    /// The address of the same list, from a place on.
    fn at(&self, base: &str, after: Option<&FlakyKey>) -> String {
        let usual = |word: &'static str, usual| if word == usual { "" } else { word };
        let after = after.map(|key| {
            let flips = key.flips.to_string();
            [flips.as_str(), &key.last_run_id, &key.package, &key.release, &key.arch].join(",")
        });
        let parameters = [
            ("release", self.release.as_str()),
            ("arch", &self.arch),
            ("package", &self.package),
            ("days", usual(self.days, DAYS[0])),
            ("sort", usual(self.sort, ORDERS[0])),
            ("limit", &limit_text(self.limit)),
            ("after", after.as_deref().unwrap_or_default()),
        ];
        address(&format!("{base}/flaky"), &parameters)
    }
}

/// Packages whose results differ for the same inputs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Flaky {
    /// In the order that was asked for.
    packages: Vec<FlakyData>,
    /// The address of the part behind.
    next: Option<String>,
}

/// A package whose results differ for the same inputs: version, triggers and parameters.
#[derive(Debug, Serialize, ToSchema)]
struct FlakyData {
    /// The package.
    package: String,
    /// The release.
    release: String,
    /// The architecture.
    arch: String,
    /// How often a result said otherwise than the one before.
    flips: i64,
    /// The last one that did.
    last_run_id: String,
    /// The page of its runs.
    url: String,
}

impl FlakyData {
    fn new(settings: &Settings, row: FlakyRow) -> Self {
        Self {
            url: settings.link(&pair_path(&row.package, &row.release, &row.arch)),
            package: row.package,
            release: row.release,
            arch: row.arch,
            flips: row.flips,
            last_run_id: row.last_run_id,
        }
    }
}

/// What one answer shows, and the place behind which there is more.
async fn part(app: &App, wanted: &Wanted) -> Result<(Vec<FlakyRow>, Option<FlakyKey>), Failure> {
    let mut rows = app.db().flaky(&wanted.filter(Timestamp::now())).await?;
    let shown = usize::try_from(wanted.limit).unwrap_or_default();
    let more = rows.len() > shown;
    rows.truncate(shown);
    let next = rows.last().filter(|_| more).cloned().map(|row| FlakyKey {
        flips: row.flips,
        last_run_id: row.last_run_id,
        package: row.package,
        release: row.release,
        arch: row.arch,
    });
    Ok((rows, next))
}

/// Packages whose results differ for the same inputs
///
/// The same version, triggers and parameters, and yet now a pass and now a failure. Runs with PPAs are among them.
#[utoipa::path(get, path = "/api/v1/flaky", tag = "past", params(Wanted), responses((status = OK, body = Flaky)))]
pub(crate) async fn json(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Json<Flaky>, Failure> {
    let wanted = Wanted::parse(query.as_deref())?;
    let (rows, next) = part(&app, &wanted).await?;
    let settings = app.settings();
    Ok(Json(Flaky {
        packages: rows.into_iter().map(|row| FlakyData::new(settings, row)).collect(),
        next: next.map(|key| wanted.at("/api/v1", Some(&key))),
    }))
}

#[derive(Template)]
#[template(path = "lists/flaky.html")]
struct Page {
    crumbs: Vec<Crumb>,
    wanted: Wanted,
    releases: Vec<String>,
    arches: Vec<String>,
    items: Vec<Item>,
    first: Option<String>,
    next: Option<String>,
}

struct Item {
    place: Place,
    flips: i64,
    last: Run,
}

/// `/flaky`.
pub(crate) async fn get(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let wanted = Wanted::parse(query.as_deref())?;
    let (rows, next) = part(&app, &wanted).await?;
    let (settings, now) = (app.settings(), Timestamp::now());
    let item = |row: FlakyRow| Item {
        place: Place::new(&row.package, &row.release, &row.arch),
        flips: row.flips,
        last: Run::new(&row.package, &row.release, &row.arch, &row.last_run_id, now),
    };
    page(&Page {
        crumbs: vec![],
        releases: choices(settings.releases().into_iter().map(ToString::to_string), &wanted.release),
        arches: choices(settings.arches().into_iter().map(ToString::to_string), &wanted.arch),
        items: rows.into_iter().map(item).collect(),
        first: wanted.after.is_some().then(|| wanted.at("", None)),
        next: next.map(|key| wanted.at("", Some(&key))),
        wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_address_asks_for() {
        let wanted =
            Wanted::parse(Some("package=a&days=30&sort=newest&after=7,2026%40,a,noble,amd64")).unwrap();
        let again = wanted.at("", wanted.after.as_ref());
        assert_eq!(again, "/flaky?package=a&days=30&sort=newest&after=7%2C2026%40%2Ca%2Cnoble%2Camd64");
        let now = "2026-11-21T05:36:34Z".parse().unwrap();
        assert_eq!(wanted.filter(now).from, "20261022_053634");
        assert_eq!(Wanted::parse(None).unwrap().days, "7");
        for bad in ["days=2", "sort=x", "after=x,a,b,c,d", "after=1,a"] {
            assert!(Wanted::parse(Some(bad)).is_err(), "{bad}");
        }
    }
}
