//! `/packages/{package}/{release}/{arch}`: all runs, newest first, with what is queued and runs on top.

use std::collections::HashMap;

use askama::Template;
use axum::response::Response;
use jiff::Timestamp;
use proofhouse_core::{
    db::DbError,
    names::{Package, Pair},
    outcome::Class,
    run_id::RunId,
};
use url::form_urlencoded;

use crate::{
    app::App,
    badge::Badges,
    failure::Failure,
    feeds::package_feed,
    pages::{
        compare::compare_path,
        open::{Open, OpenPart, open_after, read_limit},
        page, parameter,
        recent::{place, place_of},
    },
    private::{PublicJob, PublicResult},
    reproduce::{Reproduce, request_of},
    view::{Chart, Crumb, ResultItem, crumbs, pair_path, shown_params},
};

/// How many results a page has.
const PAGE: usize = 50;
/// So many results are looked through for those of one outcome; behind them the next page goes on.
const LOOKED_THROUGH: usize = 1000;

#[derive(Template)]
#[template(path = "packages/runs.html")]
struct Page {
    crumbs: Vec<Crumb>,
    package: Package,
    pair: Pair,
    path: String,
    open: Open,
    classes: Vec<(&'static str, bool)>,
    wanted: Wanted,
    runs: Vec<(ResultItem, Asked)>,
    /// How many results were looked through for these.
    looked: usize,
    chart: Option<Chart>,
    badges: Badges,
    feed: String,
    newest: Option<String>,
    older: Option<String>,
    /// What is otherwise than when it passed, where it failed since.
    changed: Option<String>,
}

/// Parameters that stand in another column.
const SHOWN: [&str; 3] = ["triggers", "all-proposed", "testname"];

/// What was asked for beside the triggers, and the way to ask for it again.
struct Asked {
    params: Vec<(String, String)>,
    again: Option<String>,
}

/// What an address asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    before: Option<(String, i64)>,
    result: Option<Class>,
}

impl Wanted {
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, Failure> {
        let text = |name: &str| parameter(query, name).filter(|text| !text.is_empty());
        // A run id alone, too, as addresses had it.
        let before = |text: String| match text.parse::<RunId>() {
            Ok(run_id) => Ok(Some((run_id.to_string(), i64::MIN))),
            Err(_) => place(&text),
        };
        let class = |text: String| Class::ALL.into_iter().find(|class| class.as_str() == text).ok_or(());
        Ok(Self {
            before: text("before").map_or(Ok(None), before)?,
            result: text("result").map(class).transpose().map_err(|()| {
                let all = Class::ALL.map(Class::as_str).join(", ");
                Failure::bad("result is no outcome.", &format!("It can be {all}."))
            })?,
        })
    }

    /// Only of this outcome.
    fn result(&self) -> Option<&'static str> {
        self.result.map(Class::as_str)
    }

    pub(crate) const fn is_first(&self) -> bool {
        self.before.is_none()
    }

    /// The address of the same list before another run; none: from the newest on.
    pub(crate) fn at(&self, base: &str, before: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(class) = self.result {
            query.append_pair("result", class.as_str());
        }
        if let Some(before) = before {
            query.append_pair("before", before);
        }
        let query = query.finish();
        if query.is_empty() { base.to_owned() } else { format!("{base}?{query}") }
    }
}

/// A part of all runs.
pub(crate) struct Part {
    pub(crate) rows: Vec<PublicResult>,
    /// How many were looked through for these.
    looked: usize,
    /// The place behind which there is more.
    pub(crate) next: Option<String>,
}

/// Reads at most `most` runs. Those of one outcome are looked for among the next [`LOOKED_THROUGH`]: however seldom it is, no
/// page costs more.
pub(crate) async fn part(
    app: &App,
    package: &Package,
    pair: &Pair,
    wanted: &Wanted,
    most: usize,
) -> Result<Part, DbError> {
    let look = if wanted.result.is_some() { LOOKED_THROUGH.max(most) } else { most };
    let limit = i64::try_from(look + 1).unwrap_or(i64::MAX);
    let mut rows = app.db().results_of(package, pair, true, wanted.before.clone(), limit).await?;
    let mut has_more = rows.len() > look;
    rows.truncate(look);
    let (looked, mut last) = (rows.len(), rows.last().map(place_of));
    let mut rows = PublicResult::all(rows);
    rows.retain(|row| wanted.result.is_none_or(|class| row.class() == class));
    if rows.len() > most {
        rows.truncate(most);
        has_more = true;
        last = rows.last().map(|row| place_of(row));
    }
    Ok(Part { rows, looked, next: last.filter(|_| has_more) })
}

/// The page that compares the newest of these with the one that last passed, where that failed.
fn since_it_passed(rows: &[PublicResult]) -> Option<String> {
    let newest = rows.first().filter(|row| row.class() == Class::Fail)?;
    let passed = |row: &&PublicResult| {
        row.container == newest.container && matches!(row.class(), Class::Pass | Class::Neutral)
    };
    rows.iter().find(passed).map(|passed| compare_path(passed, newest))
}

/// What of each was asked for.
async fn asked(app: &App, rows: &[PublicResult], pair: &Pair) -> Result<Vec<Asked>, DbError> {
    let ids: Vec<i64> = rows.iter().filter_map(|row| row.job_id).collect();
    let jobs = if ids.is_empty() { Vec::new() } else { app.db().jobs(&ids).await? };
    let jobs: HashMap<i64, PublicJob> =
        jobs.into_iter().filter_map(PublicJob::of).map(|job| (job.id, job)).collect();
    let one = |row: &PublicResult| {
        let job = row.job_id.and_then(|id| jobs.get(&id));
        let request = request_of(row, job);
        // Without a job the result's own text has all that is known.
        let params = request.as_ref().filter(|_| job.is_some()).map(shown_params).unwrap_or_default();
        Asked {
            params: params.into_iter().filter(|(key, _)| !SHOWN.contains(&key.as_str())).collect(),
            again: request.and_then(|request| Reproduce::of(&request, pair)).and_then(|run| run.again),
        }
    };
    Ok(rows.iter().map(one).collect())
}

pub(super) async fn get(
    app: &App,
    package: Package,
    pair: Pair,
    query: Option<&str>,
) -> Result<Response, Failure> {
    let wanted = Wanted::parse(query)?;
    let Part { rows, looked, next } = part(app, &package, &pair, &wanted, PAGE).await?;
    let after = open_after(query)?;
    let open = app.db().open_jobs_of(&package, Some(&pair), after, read_limit()).await?;
    let open = OpenPart::of(app, open).await?;
    if looked == 0 && open.jobs.is_empty() && wanted.is_first() && after == 0 {
        return Err(Failure::not_found(format!("No run of {package} on {pair} is known.")));
    }
    let (release, arch) = (pair.release.as_str(), pair.arch.as_str());
    let path = pair_path(package.as_str(), release, arch);
    let now = Timestamp::now();
    let results = ResultItem::list(&rows, now);
    page(&Page {
        crumbs: crumbs(package.as_str(), Some((release, arch)), None),
        open: Open::of(app, &open, &path, after).await?,
        classes: Class::ALL.map(|class| (class.as_str(), wanted.result == Some(class))).into(),
        chart: Chart::durations(&results),
        badges: Badges::of(app.settings(), package.as_str(), Some((release, arch))),
        feed: package_feed(package.as_str()),
        runs: results.into_iter().zip(asked(app, &rows, &pair).await?).collect(),
        looked,
        changed: since_it_passed(&rows),
        newest: (!wanted.is_first()).then(|| wanted.at(&path, None)),
        older: next.map(|place| wanted.at(&path, Some(&place))),
        path,
        wanted,
        package,
        pair,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_address_asks_for() {
        let wanted = Wanted::parse(Some("result=fail&before=20261121_053634_abcde@&x=y")).unwrap();
        assert_eq!(wanted.at("/b", None), "/b?result=fail");
        assert_eq!(wanted.at("/b", Some("2026@")), "/b?result=fail&before=2026%40");
        assert_eq!(Wanted::parse(Some("result=&before=")).unwrap(), Wanted::default());
        for bad in ["result=green", "before=x"] {
            assert!(Wanted::parse(Some(bad)).is_err(), "{bad}");
        }
    }
}
