//! `/badge/…`: how a package fares, as a small picture for other people's pages.

use std::fmt::Write as _;

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State, rejection::PathRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use proofhouse_core::{db::Standing, names::Package, outcome::Class, run_id::RunId};

use crate::{
    app::App,
    failure::Failure,
    log::plain,
    pages::{packages::list::is_known, parameter},
    settings::Settings,
    validate::dated,
    view::{package_path, pair_path, path},
};

/// A longer label is cut.
const LONGEST: usize = 60;

#[derive(Template)]
#[template(path = "badge.svg", escape = "html")]
struct Badge {
    label: String,
    message: String,
    colour: &'static str,
    left: usize,
    right: usize,
}

/// What an address asks about.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    package: Package,
    release: Option<String>,
    arch: Option<String>,
}

impl Wanted {
    /// `{package}.svg`, `{package}/{release}.svg` or `{package}/{release}/{arch}.svg`.
    fn parse(path: &str) -> Option<Self> {
        let mut parts = path.strip_suffix(".svg")?.split('/').map(str::to_owned);
        let package = parts.next()?.parse().ok()?;
        let (release, arch) = (parts.next(), parts.next());
        parts.next().is_none().then_some(Self { package, release, arch })
    }

    /// Without a release: those that are served.
    fn fits(&self, standing: &Standing, settings: &Settings) -> bool {
        let release = match &self.release {
            Some(release) => *release == standing.release,
            None => settings.releases().iter().any(|served| served.as_str() == standing.release),
        };
        release && self.arch.as_ref().is_none_or(|arch| *arch == standing.arch)
    }
}

/// `/badge/{*path}`.
pub(crate) async fn get(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let Path(path) = path?;
    let wanted = Wanted::parse(&path).ok_or_else(|| Failure::not_found("There is no such badge."))?;
    let mut standings = app.db().standings_of(&wanted.package).await?;
    standings.retain(|standing| wanted.fits(standing, app.settings()));
    let (message, colour) = if standings.is_empty() && !is_known(&app, &wanted.package).await? {
        ("unknown".to_owned(), "#6b7280")
    } else {
        said(&standings)
    };
    let status = if message == "unknown" { StatusCode::NOT_FOUND } else { StatusCode::OK };
    let label = parameter(query.as_deref(), "label").unwrap_or_else(|| "autopkgtest".to_owned());
    let label: String = plain(&label).chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    let (left, right) = (width(&label), width(&message));
    let svg = Badge { label, message, colour, left, right }.render()?;
    // Whoever shows it asks again soon enough.
    let kind = [(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "public, max-age=60")];
    let mut response = (status, kind, svg).into_response();
    let newest = standings.iter().map(|standing| standing.run_id.as_str()).max();
    if let Some(at) = newest.and_then(|id| id.parse::<RunId>().ok()?.time()) {
        dated(response.headers_mut(), at);
    }
    Ok(response)
}

/// Word and colour: white on it is read well enough.
fn said(standings: &[Standing]) -> (String, &'static str) {
    let count = |class: Class| standings.iter().filter(|standing| standing.class == class.as_str()).count();
    let [pass, neutral, fail] = [Class::Pass, Class::Neutral, Class::Fail].map(count);
    let colour = match (fail, pass, neutral) {
        (1.., ..) => "#b3261e",
        (_, 1.., _) => "#19692c",
        (.., 1..) => "#5b6570",
        _ => "#8a5300",
    };
    match standings {
        [] => ("no result".to_owned(), "#5b6570"),
        [one] => (one.class.clone(), colour),
        all if pass == all.len() => ("pass".to_owned(), colour),
        all if neutral == all.len() => ("neutral".to_owned(), colour),
        all => (format!("{} of {} pass", pass + neutral, all.len()), colour),
    }
}

/// About as wide as a text is in 11 pixels; the drawing then makes it exactly so.
fn width(text: &str) -> usize {
    let tenths = |c: char| match c {
        'i' | 'l' | 'j' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 33,
        'f' | 't' | 'r' | ' ' | '(' | ')' | '[' | ']' | '/' | '-' => 43,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 102,
        'A'..='Z' => 77,
        c if c.is_ascii() => 67,
        _ => 110,
    };
    text.chars().map(tenths).sum::<usize>() / 10 + 12
}

/// The badges of a package, with what shows them elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Badges {
    /// The picture's address.
    pub(crate) path: String,
    pub(crate) html: String,
    pub(crate) markdown: String,
}

impl Badges {
    /// Of a package, or of it on a release and architecture.
    pub(crate) fn of(settings: &Settings, package: &str, pair: Option<(&str, &str)>) -> Self {
        let (path, page) = match pair {
            None => (path(&["badge", &format!("{package}.svg")]), package_path(package)),
            Some((release, arch)) => (
                path(&["badge", package, release, &format!("{arch}.svg")]),
                pair_path(package, release, arch),
            ),
        };
        let (image, page) = (settings.link(&path), settings.link(&page));
        let mut html = String::new();
        // Both addresses are encoded: nothing in them ends an attribute. Writing to a String cannot fail.
        let _ = write!(html, "<a href=\"{page}\"><img src=\"{image}\" alt=\"autopkgtest\"></a>");
        Self { path, html, markdown: format!("[![autopkgtest]({image})]({page})") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(class: &str) -> Standing {
        Standing {
            release: "noble".to_owned(),
            arch: "amd64".to_owned(),
            package: "green".to_owned(),
            class: class.to_owned(),
            run_id: String::new(),
            version: String::new(),
            duration_seconds: 0,
            passed_run_id: None,
            passed_version: None,
            failing_since: None,
            runs: 1,
        }
    }

    #[test]
    fn what_an_address_asks_about() {
        let wanted = Wanted::parse("green/noble/amd64.svg").unwrap();
        assert_eq!((wanted.release.as_deref(), wanted.arch.as_deref()), (Some("noble"), Some("amd64")));
        let wanted = Wanted::parse("libx++3.0.svg").unwrap();
        assert_eq!((wanted.package.as_str(), wanted.release), ("libx++3.0", None));
        for bad in ["green", "green/noble/amd64/x.svg", ".svg", "green/noble", "gr een.svg"] {
            assert_eq!(Wanted::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_it_says() {
        let say = |classes: &[&str]| said(&classes.iter().map(|class| standing(class)).collect::<Vec<_>>()).0;
        assert_eq!(say(&[]), "no result");
        assert_eq!(say(&["tmpfail"]), "tmpfail");
        assert_eq!(say(&["pass", "pass"]), "pass");
        assert_eq!(say(&["pass", "neutral", "fail"]), "2 of 3 pass");
    }
}
