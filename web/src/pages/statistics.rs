//! `/statistics`: how much was tested on every release and architecture, and what happened over time.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::{
    Json,
    extract::{RawQuery, State},
    response::Response,
};
use jiff::Timestamp;
use proofhouse_core::{
    db::{HOUR_US, StepBy},
    outcome::Class,
};
use serde::Serialize;
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};

use super::{page, parameter, recent::choices};
use crate::{
    app::App,
    failure::Failure,
    view::{Axis, Chart, Crumb, Picture, Sums, Unit},
};

/// Days that can be looked back on, and how long a step of each picture is then, in hours.
const SPANS: [(u16, i64); 5] = [(1, 1), (7, 2), (30, 6), (90, 24), (365, 48)];
/// What is shown when nothing is said.
const USUAL: u16 = 7;

/// What an address asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// So many days back: 1, 7, 30, 90 or 365.
    #[param(required = false, default = 7)]
    pub(crate) days: u16,
    /// Pictures of this release alone.
    #[param(required = false)]
    pub(crate) release: String,
}

impl Wanted {
    fn parse(query: Option<&str>) -> Result<Self, Failure> {
        let text = |name: &str| parameter(query, name).unwrap_or_default().trim().to_owned();
        let days = match text("days").as_str() {
            "" => USUAL,
            days => {
                days.parse().ok().filter(|days| SPANS.iter().any(|(known, _)| known == days)).ok_or_else(
                    || {
                        let known = SPANS.map(|(days, _)| days.to_string()).join(", ");
                        Failure::bad("This number of days is not known.", &format!("Known are {known}."))
                    },
                )?
            }
        };
        let release = text("release");
        // PostgreSQL has no NUL in texts.
        if release.contains('\0') {
            return Err(Failure::bad("A filter holds a NUL.", ""));
        }
        Ok(Self { days, release })
    }

    fn axis(&self, now: Timestamp) -> Axis {
        let hours = SPANS.iter().find(|(days, _)| *days == self.days).map_or(2, |(_, hours)| *hours);
        let steps = usize::try_from(i64::from(self.days) * 24 / hours).unwrap_or_default();
        Axis::until(now.as_microsecond(), hours * HOUR_US, steps)
    }

    fn release(&self) -> Option<&str> {
        Some(self.release.as_str()).filter(|release| !release.is_empty())
    }

    /// The address of the same with another number of days.
    fn over(&self, days: u16) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("days", &days.to_string());
        if let Some(release) = self.release() {
            query.append_pair("release", release);
        }
        format!("/statistics?{}", query.finish())
    }
}

/// How much was tested.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Statistics {
    /// By release and architecture; distribution runs alone where packages are counted.
    pub(crate) pairs: Vec<PairCount>,
    /// Results by outcome.
    pub(crate) outcomes: Picture,
    /// How many jobs waited on average, by architecture.
    pub(crate) waiting: Picture,
    /// How long the jobs that began had waited on average, by architecture.
    pub(crate) waited: Picture,
    /// Tests that ran at once on average, by pool; of all releases.
    pub(crate) busy: Picture,
    /// Slots that were there on average, by pool; of all releases.
    pub(crate) slots: Picture,
    /// Attempts that were no result, by what went wrong.
    pub(crate) faults: Picture,
}

/// How much was tested on a release and architecture.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct PairCount {
    /// The release.
    pub(crate) release: String,
    /// The architecture.
    pub(crate) arch: String,
    /// It is configured here.
    pub(crate) served: bool,
    /// How many packages have a result.
    pub(crate) packages: i64,
    /// Those whose newest said that they passed, or that there was nothing to test.
    pub(crate) passing: i64,
    /// Those whose newest said that they failed.
    pub(crate) failing: i64,
    /// How many results there are, those with PPAs among them.
    pub(crate) runs: i64,
}

impl PairCount {
    /// In percent.
    pub(super) fn share(&self) -> String {
        if self.packages == 0 {
            "–".to_owned()
        } else {
            format!("{} %", self.passing * 100 / self.packages)
        }
    }
}

pub(super) async fn pairs(app: &App) -> Result<Vec<PairCount>, Failure> {
    let mut pairs: BTreeMap<(String, String), PairCount> = BTreeMap::new();
    let served = app.settings().pairs.iter().map(|pair| (pair.release.to_string(), pair.arch.to_string()));
    for key in served {
        pairs.insert(key, PairCount { served: true, ..PairCount::default() });
    }
    for row in app.db().all_time("packages").await?.into_iter().filter(|row| row.n > 0) {
        let pair = pairs.entry((row.release, row.arch)).or_default();
        pair.packages += row.n;
        match row.name.as_str() {
            "pass" | "neutral" => pair.passing += row.n,
            "fail" => pair.failing += row.n,
            _ => {}
        }
    }
    for row in app.db().all_time("results").await? {
        pairs.entry((row.release, row.arch)).or_default().runs += row.n;
    }
    let all = pairs.into_iter().map(|((release, arch), pair)| PairCount { release, arch, ..pair });
    let mut all: Vec<PairCount> = all.collect();
    // What is configured first.
    all.sort_by_key(|pair| !pair.served);
    Ok(all)
}

async fn read(app: &App, wanted: &Wanted) -> Result<Statistics, Failure> {
    let axis = wanted.axis(Timestamp::now());
    let sums = async |what, by, release| {
        let rows = app.db().steps(what, by, axis.from_us, axis.step_us, release).await?;
        Ok::<_, Failure>(Sums::of(&rows, axis))
    };
    let samples = sums("samples", StepBy::Name, None).await?;
    let of = wanted.release();
    let classes = Class::ALL.map(Class::as_str);
    Ok(Statistics {
        pairs: pairs(app).await?,
        outcomes: sums("results", StepBy::Name, of).await?.counts(axis).sorted(&classes),
        waiting: sums("waiting", StepBy::Arch, of).await?.over(&samples, axis),
        waited: sums("waited", StepBy::Arch, of).await?.means(Unit::Seconds, axis),
        busy: sums("busy", StepBy::Name, None).await?.over(&samples, axis),
        slots: sums("slots", StepBy::Name, None).await?.over(&samples, axis),
        faults: sums("faults", StepBy::Name, of).await?.counts(axis),
    })
}

/// Read once for all who ask for the same.
async fn statistics(app: &App, query: Option<&str>) -> Result<(Wanted, Arc<Statistics>), Failure> {
    let wanted = Wanted::parse(query)?;
    // Any number of releases can be made up: what is read of one that is known is kept.
    let known = wanted.release.is_empty()
        || app.settings().releases().iter().any(|release| release.as_str() == wanted.release)
        || app.db().all_time("results").await?.iter().any(|row| row.release == wanted.release);
    if !known {
        let text = format!("No result on a release {} is counted.", wanted.release);
        return Err(Failure::not_found(text));
    }
    let read = {
        let (app, wanted) = (app.clone(), wanted.clone());
        async move { read(&app, &wanted).await }
    };
    let statistics = app.statistics(&wanted).get(read).await?;
    Ok((wanted, statistics))
}

/// What `/statistics` shows
///
/// Every picture as the numbers behind it.
#[utoipa::path(get, path = "/api/v1/statistics", tag = "past", params(Wanted), responses((status = OK, body = Statistics)))]
pub(crate) async fn json(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Json<Statistics>, Failure> {
    let (_, statistics) = statistics(&app, query.as_deref()).await?;
    Ok(Json(Statistics::clone(&statistics)))
}

#[derive(Template)]
#[template(path = "statistics.html")]
struct Page {
    crumbs: Vec<Crumb>,
    wanted: Wanted,
    releases: Vec<String>,
    /// Days, address, and whether it is shown.
    spans: Vec<(u16, String, bool)>,
    pairs: Vec<PairCount>,
    charts: Vec<Chart>,
}

/// `/statistics`.
pub(crate) async fn get(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let (wanted, statistics) = statistics(&app, query.as_deref()).await?;
    let settings = app.settings();
    let Statistics { pairs, outcomes, waiting, waited, busy, slots, faults } = &*statistics;
    let charts = vec![
        Chart::stacked(outcomes, "Results", "How many came, by outcome."),
        Chart::lines(waiting, "Queue length", "How many tests waited on average, by architecture."),
        Chart::lines(
            waited,
            "Waiting time",
            "How long the tests that began had waited on average, by architecture.",
        ),
        Chart::lines(
            busy,
            "Slots in use",
            "How many tests ran at once on average, by pool; of all releases.",
        ),
        Chart::lines(slots, "Slots", "How many were there on average, by pool; of all releases."),
        Chart::stacked(
            faults,
            "Faults",
            "Attempts that were no result, by what went wrong: they say nothing of a package.",
        ),
    ];
    page(&Page {
        crumbs: vec![],
        releases: choices(settings.releases().into_iter().map(ToString::to_string), &wanted.release),
        spans: SPANS.map(|(days, _)| (days, wanted.over(days), days == wanted.days)).into(),
        pairs: pairs.clone(),
        charts,
        wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_address_asks_for() {
        let wanted = Wanted::parse(Some("days=30&release=noble")).unwrap();
        assert_eq!((wanted.days, wanted.over(1).as_str()), (30, "/statistics?days=1&release=noble"));
        assert_eq!(Wanted::parse(None).unwrap().days, USUAL);
        for bad in ["days=2", "days=x", "release=%00"] {
            assert!(Wanted::parse(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_span_ends_now_and_has_few_steps() {
        let now: Timestamp = "2026-11-21T05:36:34Z".parse().unwrap();
        for (days, hours) in SPANS {
            let axis = Wanted { days, release: String::new() }.axis(now);
            assert!(axis.steps <= 183 && axis.steps >= 24, "{days}");
            let end = axis.from_us + axis.step_us * i64::try_from(axis.steps).unwrap();
            assert!((1..=hours * HOUR_US).contains(&(end - now.as_microsecond())), "{days}");
        }
    }
}
