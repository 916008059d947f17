//! `/recent`: results, newest first, narrowed down by what the address says.

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use jiff::Timestamp;
use proofhouse_core::{
    db::{RecentFilter, ResultRow},
    outcome::Class,
};
use url::form_urlencoded;
use utoipa::IntoParams;

use super::page;
use crate::{
    app::App,
    failure::Failure,
    feeds::{package_feed, release_feed, user_feed},
    private::PublicResult,
    view::{Crumb, ResultItem},
};

/// The most that one answer lists.
const MOST: i64 = 10_000;
/// So many can be skipped; what is older is found by `before`.
const FARTHEST: i64 = 100_000;
/// What it lists when nothing is said.
const USUAL: i64 = 100;

/// What an address asks for: the same for the page and the file.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// How many, up to 10000.
    #[param(required = false, default = 100, minimum = 1, maximum = 10_000)]
    pub(crate) limit: i64,
    /// Skip so many, up to 100000: for old links. `before` costs the same however far back it leads.
    #[param(required = false, default = 0, minimum = 0, maximum = 100_000)]
    pub(crate) offset: i64,
    /// Only this architecture.
    #[param(required = false)]
    pub(crate) arch: String,
    /// Only this release.
    #[param(required = false)]
    pub(crate) release: String,
    /// Only this package.
    #[param(required = false)]
    pub(crate) package: String,
    /// Only what this person or client asked for.
    #[param(required = false)]
    pub(crate) user: String,
    /// Only this outcome: pass, neutral, fail, tmpfail, error, denylisted or otherfail.
    #[param(value_type = Option<String>)]
    pub(crate) result: Option<Class>,
    /// Only results before this one: its run id, and behind that its number, as `next` has it.
    #[param(value_type = Option<String>)]
    pub(crate) before: Option<(String, i64)>,
}

impl Wanted {
    /// Reads a query. Names that are not known are skipped, as the old system does: links carry all kinds of them.
    pub(crate) fn parse(query: &str) -> Result<Self, Failure> {
        let mut wanted = Self {
            limit: USUAL,
            offset: 0,
            arch: String::new(),
            release: String::new(),
            package: String::new(),
            user: String::new(),
            result: None,
            before: None,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "limit" => wanted.limit = number("limit", &value, 1, MOST, USUAL)?,
                "offset" => wanted.offset = number("offset", &value, 0, FARTHEST, 0)?,
                "arch" => wanted.arch = plain(&value)?,
                "release" => wanted.release = plain(&value)?,
                "package" => wanted.package = plain(&value)?,
                "user" => wanted.user = plain(&value)?,
                "result" => wanted.result = class(&value)?,
                "before" => wanted.before = place("before", &value)?,
                _ => {}
            }
        }
        Ok(wanted)
    }

    fn filter(&self) -> RecentFilter {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        RecentFilter {
            release: some(&self.release),
            arch: some(&self.arch),
            package: some(&self.package),
            user: some(&self.user),
            class: self.result,
            before: self.before.clone(),
            offset: self.offset,
            limit: self.limit,
        }
    }

    /// The query of another part of the same list; none: of its begin.
    fn query(&self, before: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let result = self.result.map_or("", Class::as_str);
        let limit = if self.limit == USUAL { String::new() } else { self.limit.to_string() };
        for (name, value) in [
            ("release", self.release.as_str()),
            ("arch", &self.arch),
            ("package", &self.package),
            ("user", &self.user),
            ("result", result),
            ("limit", &limit),
            ("before", before.unwrap_or_default()),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }

    /// The query of the same list before a place.
    pub(crate) fn older(&self, place: &str) -> String {
        self.query(Some(place))
    }

    /// Somebody's results are narrowed down. Whose they are is no filter.
    pub(crate) const fn is_filter(&self) -> bool {
        !self.release.is_empty() || !self.arch.is_empty() || !self.package.is_empty() || self.result.is_some()
    }

    /// True where it begins with the newest.
    pub(crate) const fn is_first(&self) -> bool {
        self.offset == 0 && self.before.is_none()
    }
}

/// A result's place in a list: its run id, which ends in `@`, and its number.
pub(crate) fn place_of(row: &ResultRow) -> String {
    format!("{}{}", row.run_id, row.id)
}

/// The same, as an address has it.
pub(crate) fn place(name: &str, value: &str) -> Result<Option<(String, i64)>, Failure> {
    if value.is_empty() {
        return Ok(None);
    }
    let parts = value.rsplit_once('@').filter(|(run_id, _)| !run_id.contains('\0'));
    let place = parts.and_then(|(run_id, id)| Some((format!("{run_id}@"), id.parse().ok()?)));
    place.map(Some).ok_or_else(|| {
        Failure::bad(format!("{name} must be a run id and a number."), "Follow the links of the list.")
    })
}

fn plain(value: &str) -> Result<String, Failure> {
    // PostgreSQL has no NUL in texts.
    if value.contains('\0') {
        Err(Failure::bad("A filter holds a NUL.", ""))
    } else {
        Ok(value.trim().to_owned())
    }
}

pub(super) fn number(name: &str, value: &str, least: i64, most: i64, usual: i64) -> Result<i64, Failure> {
    if value.is_empty() {
        return Ok(usual);
    }
    value.parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(|| {
        let advice =
            if name == "offset" { "Follow the links to what is older, or give before=." } else { "" };
        Failure::bad(format!("{name} must be a number from {least} to {most}."), advice)
    })
}

fn class(value: &str) -> Result<Option<Class>, Failure> {
    if value.is_empty() {
        return Ok(None);
    }
    Class::ALL.into_iter().find(|c| c.as_str() == value).map(Some).ok_or_else(|| {
        let known = Class::ALL.map(Class::as_str).join(", ");
        Failure::bad("This result is not known.", &format!("Known are {known}."))
    })
}

/// The results that an address asks for, and the place before which there may be more.
pub(crate) async fn results(
    app: &App,
    wanted: &Wanted,
) -> Result<(Vec<PublicResult>, Option<String>), Failure> {
    let filter = wanted.filter();
    let rows = app.db().recent(&filter).await?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|n| n >= wanted.limit);
    let older = match rows.last().filter(|_| is_full) {
        Some(last) => Some(place_of(last)),
        None => app.db().looked_to(&filter).await?.map(|(run_id, id)| format!("{run_id}{id}")),
    };
    Ok((PublicResult::all(rows), older))
}

#[derive(Template)]
#[template(path = "recent.html")]
struct Recent {
    crumbs: Vec<Crumb>,
    wanted: Wanted,
    releases: Vec<String>,
    arches: Vec<String>,
    /// Word, and whether it is chosen.
    classes: Vec<(&'static str, bool)>,
    results: Vec<ResultItem>,
    most: i64,
    /// Of the package, the user or the release that the list is narrowed down to.
    feed: Option<String>,
    /// The address of the newest, where these are not.
    newest: Option<String>,
    older: Option<String>,
    /// Not all that there is was looked through for these.
    looked: bool,
}

/// The choices of a filter: what is configured, and what the address already says.
pub(super) fn choices(known: impl Iterator<Item = String>, chosen: &str) -> Vec<String> {
    let mut all: Vec<String> = known.collect();
    if !chosen.is_empty() && !all.iter().any(|c| c == chosen) {
        all.push(chosen.to_owned());
    }
    all
}

/// So many parts are looked through for a list that has no second one.
const PARTS: usize = 100;

/// The same, looked for until there are as many as are asked for.
pub(crate) async fn all_results(app: &App, mut wanted: Wanted) -> Result<Vec<PublicResult>, Failure> {
    let mut all = Vec::new();
    for _ in 0..PARTS {
        let (rows, older) = results(app, &wanted).await?;
        let came = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        all.extend(rows);
        wanted.limit -= came;
        // What was skipped among those that were looked through is not known.
        let Some(older) = older.filter(|_| wanted.limit > 0 && wanted.offset == 0) else { break };
        wanted.before = place("before", &older)?;
    }
    Ok(all)
}

/// `/recent`.
pub(crate) async fn get(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let wanted = Wanted::parse(query.as_deref().unwrap_or_default())?;
    let (rows, older) = results(&app, &wanted).await?;
    let settings = app.settings();
    page(&Recent {
        crumbs: vec![],
        releases: choices(settings.releases().into_iter().map(ToString::to_string), &wanted.release),
        arches: choices(settings.arches().into_iter().map(ToString::to_string), &wanted.arch),
        classes: Class::ALL.map(|c| (c.as_str(), wanted.result == Some(c))).into(),
        results: ResultItem::list(&rows, Timestamp::now()),
        most: MOST,
        feed: match (wanted.package.as_str(), wanted.user.as_str(), wanted.release.as_str()) {
            ("", "", "") => None,
            ("", "", release) => Some(release_feed(release)),
            ("", user, _) => Some(user_feed(user)),
            (package, ..) => Some(package_feed(package)),
        },
        newest: (!wanted.is_first()).then(|| format!("/recent?{}", wanted.query(None))),
        looked: older.is_some() && i64::try_from(rows.len()).is_ok_and(|n| n < wanted.limit),
        older: older.map(|place| format!("/recent?{}", wanted.older(&place))),
        wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_address_asks_for() {
        let usual = Wanted::parse("").unwrap();
        assert_eq!((usual.limit, usual.offset), (100, 0));
        let wanted = Wanted::parse("limit=10000&offset=5&arch=amd64&user=a%26b&result=fail&x=y").unwrap();
        assert_eq!(wanted.query(Some("x@7")), "arch=amd64&user=a%26b&result=fail&limit=10000&before=x%407");
        assert_eq!(Wanted::parse("before=2026%407").unwrap().before, Some(("2026@".to_owned(), 7)));
        for bad in [
            "limit=0",
            "limit=10001",
            "limit=x",
            "offset=-1",
            "result=green",
            "user=a%00",
            "before=7",
            "before=x%40",
        ] {
            assert!(Wanted::parse(bad).is_err(), "{bad}");
        }
    }
}
