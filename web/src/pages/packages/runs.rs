//! `/packages/{package}/{release}/{arch}`: all runs, newest or oldest first, with what is queued and runs on top.

use std::collections::HashMap;

use askama::Template;
use axum::response::Response;
use jiff::Timestamp;
use proofhouse_core::{
    db::{DbError, Order},
    names::{Package, Pair},
    outcome::Class,
    run_id::RunId,
};

use crate::{
    app::App,
    badge::Badges,
    failure::Failure,
    feeds::package_feed,
    pages::{
        compare::compare_path,
        filter::{address, text},
        open::{Open, OpenPart, open_after, read_limit},
        page,
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
    /// The same list from its other end, and from its begin, where it does not begin there.
    turned: String,
    first: Option<String>,
    next: Option<String>,
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
    order: Order,
    /// Behind which the list goes on.
    place: Option<(String, i64)>,
    result: Option<Class>,
    /// A source package, or one with its version.
    trigger: String,
    user: String,
}

impl Wanted {
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, Failure> {
        let order = match &*text(query, "sort")? {
            "" | "newest" => Order::Newest,
            "oldest" => Order::Oldest,
            _ => return Err(Failure::bad("This order is not known.", "Known are newest and oldest.")),
        };
        // A run id alone, too, as addresses had it.
        let (name, beside) = if order == Order::Newest { ("before", i64::MIN) } else { ("after", i64::MAX) };
        let behind = text(query, name)?;
        let result = text(query, "result")?;
        let class = Class::ALL.into_iter().find(|class| class.as_str() == result);
        if class.is_none() && !result.is_empty() {
            let all = Class::ALL.map(Class::as_str).join(", ");
            return Err(Failure::bad("result is no outcome.", &format!("It can be {all}.")));
        }
        Ok(Self {
            order,
            place: match behind.parse::<RunId>() {
                Ok(run_id) => Some((run_id.to_string(), beside)),
                Err(_) => place(name, &behind)?,
            },
            result: class,
            trigger: text(query, "trigger")?,
            user: text(query, "user")?,
        })
    }

    fn is_filter(&self) -> bool {
        self.result.is_some() || !self.trigger.is_empty() || !self.user.is_empty()
    }

    fn fits(&self, row: &PublicResult) -> bool {
        let is_trigger = |name: &str| {
            name.strip_prefix(&*self.trigger).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.result.is_none_or(|class| row.class() == class)
            && (self.trigger.is_empty() || row.triggers.iter().flat_map(|all| all.split(' ')).any(is_trigger))
            && (self.user.is_empty() || row.requester.as_deref() == Some(&self.user))
    }

    const fn is_oldest(&self) -> bool {
        matches!(self.order, Order::Oldest)
    }

    const fn is_first(&self) -> bool {
        self.place.is_none()
    }

    /// The address of the same list in an order, behind a run; none: from its begin.
    fn ordered(&self, base: &str, order: Order, behind: Option<&str>) -> String {
        let (sort, name) = match order {
            Order::Newest => ("", "before"),
            Order::Oldest => ("oldest", "after"),
        };
        let result = self.result.map_or("", Class::as_str);
        let behind = (name, behind.unwrap_or_default());
        address(
            base,
            &[("result", result), ("trigger", &self.trigger), ("user", &self.user), ("sort", sort), behind],
        )
    }

    /// The address of the same list behind a run; none: from its begin.
    pub(crate) fn at(&self, base: &str, behind: Option<&str>) -> String {
        self.ordered(base, self.order, behind)
    }

    /// The address of the same list from its other end.
    fn turned(&self, base: &str) -> String {
        let order = if self.is_oldest() { Order::Newest } else { Order::Oldest };
        self.ordered(base, order, None)
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

/// Reads at most `most` runs. Those that fit a filter are looked for among the next [`LOOKED_THROUGH`]: however few do, no page
/// costs more.
pub(crate) async fn part(
    app: &App,
    package: &Package,
    pair: &Pair,
    wanted: &Wanted,
    most: usize,
) -> Result<Part, DbError> {
    let look = if wanted.is_filter() { LOOKED_THROUGH.max(most) } else { most };
    let limit = i64::try_from(look + 1).unwrap_or(i64::MAX);
    let mut rows =
        app.db().results_of(package, pair, true, wanted.order, wanted.place.clone(), limit).await?;
    let mut has_more = rows.len() > look;
    rows.truncate(look);
    let (looked, mut last) = (rows.len(), rows.last().map(place_of));
    let mut rows = PublicResult::all(rows);
    rows.retain(|row| wanted.fits(row));
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
        changed: since_it_passed(&rows).filter(|_| !wanted.is_oldest()),
        turned: wanted.turned(&path),
        first: (!wanted.is_first()).then(|| wanted.at(&path, None)),
        next: next.map(|place| wanted.at(&path, Some(&place))),
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
        assert_eq!(wanted.turned("/b"), "/b?result=fail&sort=oldest");
        let oldest =
            Wanted::parse(Some("sort=oldest&after=20261121_053634_abcde@7&trigger=glibc&user=a%26b"))
                .unwrap();
        assert_eq!(oldest.place, Some(("20261121_053634_abcde@".to_owned(), 7)));
        assert_eq!(oldest.at("/b", Some("x@7")), "/b?trigger=glibc&user=a%26b&sort=oldest&after=x%407");
        assert_eq!(oldest.turned("/b"), "/b?trigger=glibc&user=a%26b");
        assert_eq!(Wanted::parse(Some("result=&before=&sort=newest")).unwrap(), Wanted::default());
        for bad in ["result=green", "before=x", "sort=oldest&after=x", "sort=random", "trigger=a%00"] {
            assert!(Wanted::parse(Some(bad)).is_err(), "{bad}");
        }
    }
}
