//! `/packages/{package}`: the latest outcome on every release and arch.

use std::collections::BTreeSet;

use askama::Template;
use axum::response::Response;
use jiff::Timestamp;
use proofhouse_core::{
    db::LatestRow,
    names::Package,
    outcome::{Class, ExitCode},
    run_id::RunId,
};

use crate::{
    app::App,
    badge::Badges,
    failure::Failure,
    feeds::package_feed,
    pages::{
        filter::address,
        open::{Open, OpenPart, open_after, read_limit},
        page,
    },
    view::{Crumb, Outcome, When, crumbs, package_path, pair_path, run_path},
};

#[derive(Template)]
#[template(path = "packages/package.html")]
struct Page {
    crumbs: Vec<Crumb>,
    package: Package,
    open: Open,
    uploads: String,
    recent: String,
    releases: Vec<String>,
    rows: Vec<Row>,
    latest: Vec<Latest>,
    badges: Badges,
    feed: String,
}

/// An arch.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    arch: String,
    /// Colours of the cells: they stand at the row, for scripts match the bare cells (contract "The site").
    classes: String,
    words: Vec<&'static str>,
}

/// The latest run on a release and arch.
struct Latest {
    release: String,
    arch: String,
    pair_path: String,
    path: String,
    outcome: Outcome,
    version: String,
    when: Option<When>,
}

fn class(row: &LatestRow) -> Class {
    ExitCode(i32::try_from(row.exit_code).unwrap_or(i32::MIN)).class()
}

/// The table of releases and arches: those that are served, and those that have results.
fn table(served: BTreeSet<(String, String)>, latest: &[LatestRow]) -> (Vec<String>, Vec<Row>) {
    let mut pairs = served;
    pairs.extend(latest.iter().map(|l| (l.release.clone(), l.arch.clone())));
    let releases: BTreeSet<&String> = pairs.iter().map(|(release, _)| release).collect();
    let arches: BTreeSet<&String> = pairs.iter().map(|(_, arch)| arch).collect();
    let row = |arch: &String| {
        let of =
            |release: &String| latest.iter().find(|l| l.release == *release && l.arch == *arch).map(class);
        let cells: Vec<Option<Class>> = releases.iter().map(|r| of(r)).collect();
        let classes: Vec<String> =
            cells.iter().enumerate().filter_map(|(n, c)| c.map(|c| format!("{c}-{}", n + 1))).collect();
        let words = cells.into_iter().map(|c| c.map_or("-", Class::as_str)).collect();
        Row { arch: arch.clone(), classes: classes.join(" "), words }
    };
    let rows = arches.into_iter().map(row).collect();
    (releases.into_iter().cloned().collect(), rows)
}

pub(super) async fn get(app: &App, package: Package, query: Option<&str>) -> Result<Response, Failure> {
    let now = Timestamp::now();
    let latest = app.db().latest_of(&package, &app.settings().pairs).await?;
    let after = open_after(query)?;
    let open = OpenPart::of(app, app.db().open_jobs_of(&package, None, after, read_limit()).await?).await?;
    let open = Open::of(app, &open, &package_path(package.as_str()), after).await?;
    // With PPAs alone, too.
    let known =
        after > 0 || !latest.is_empty() || !open.items.is_empty() || app.db().has_results(&package).await?;
    if !known {
        return Err(Failure::not_found(format!("No run of a package {package} is known.")));
    }
    let served = app.settings().pairs.iter().map(|p| (p.release.to_string(), p.arch.to_string())).collect();
    let (releases, rows) = table(served, &latest);
    let item = |row: &LatestRow| Latest {
        pair_path: pair_path(package.as_str(), &row.release, &row.arch),
        path: run_path(package.as_str(), &row.release, &row.arch, &row.run_id),
        release: row.release.clone(),
        arch: row.arch.clone(),
        outcome: class(row).into(),
        version: row.version.clone(),
        when: row.run_id.parse::<RunId>().ok().and_then(|id| id.time()).map(|at| When::new(at, now)),
    };
    page(&Page {
        crumbs: crumbs(package.as_str(), None, None),
        open,
        uploads: address("/search", &[("q", &format!("{package}/")), ("kind", "upload")]),
        recent: address("/recent", &[("package", package.as_str())]),
        releases,
        rows,
        latest: latest.iter().map(item).collect(),
        badges: Badges::of(app.settings(), package.as_str(), None),
        feed: package_feed(package.as_str()),
        package,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_served_pair_has_a_cell() {
        let latest = LatestRow {
            release: "noble".into(),
            arch: "arm64".into(),
            run_id: "20261121_053634_abcde@".into(),
            version: "1".into(),
            exit_code: 4,
        };
        let served = BTreeSet::from([("jammy".to_owned(), "amd64".to_owned())]);
        let (releases, rows) = table(served, &[latest]);
        assert_eq!(releases, ["jammy", "noble"]);
        let words: Vec<_> =
            rows.iter().map(|r| (r.arch.as_str(), r.words.clone(), r.classes.as_str())).collect();
        assert_eq!(words, [("amd64", vec!["-", "-"], ""), ("arm64", vec!["-", "fail"], "fail-2")]);
    }
}
