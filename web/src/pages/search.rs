//! `/search?q=`: from whatever one has at hand to its page: a package, a person, a PPA, an upload, a release, a run, a host.

use std::collections::BTreeSet;

use askama::Template;
use axum::{
    Json,
    extract::{RawQuery, State},
    response::{IntoResponse, Redirect, Response},
};
use jiff::Timestamp;
use proofhouse_core::{
    db::NameKind,
    names::Package,
    params::{Ppa, Trigger},
    run_id::RunId,
};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    filter::{address, text},
    packages::list::is_known,
    page,
};
use crate::{
    app::App,
    failure::Failure,
    private::{PublicJob, PublicResult},
    settings::Settings,
    view::{Crumb, ResultItem, package_path, path, ppa_path, release_path, user_path},
};

/// Longer names are not looked for, in characters.
const LONGEST: usize = 200;
/// How many of a kind are shown beside others,
const FEW: usize = 10;
/// and how many alone.
const MANY: usize = 200;

/// What is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Package,
    User,
    Ppa,
    Upload,
    Release,
    Run,
    Host,
}

impl Kind {
    /// Those of which there are lists.
    const LISTED: [Self; 6] = [Self::Package, Self::User, Self::Ppa, Self::Upload, Self::Release, Self::Host];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Package => "package",
            Self::User => "user",
            Self::Ppa => "ppa",
            Self::Upload => "upload",
            Self::Release => "release",
            Self::Run => "run",
            Self::Host => "host",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Package => "Packages",
            Self::User => "People",
            Self::Ppa => "PPAs",
            Self::Upload => "Uploads that set tests off",
            Self::Release => "Releases",
            Self::Run => "Runs",
            Self::Host => "Hosts of workers",
        }
    }

    fn path(self, name: &str) -> String {
        match self {
            Self::Package => package_path(name),
            Self::User => user_path(name),
            // Wherever the name is parted, it is the same PPA.
            Self::Ppa => match name.split_once('-') {
                Some((owner, name)) if !name.is_empty() => ppa_path(owner, name),
                _ => ppa_path(name, ""),
            },
            Self::Upload => {
                let (source, version) = name.split_once('/').unwrap_or((name, ""));
                path(&["trigger", source, version])
            }
            Self::Release => release_path(name),
            Self::Run => path(&["run", name]),
            Self::Host => address("/infrastructure", &[("host", name)]),
        }
    }

    fn hit(self, name: String) -> Hit {
        Hit { kind: self, path: self.path(&name), name }
    }
}

/// What an address asks for.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// A name or a part of it; `source/version`, `owner/ppa`, a uuid, a run id.
    #[param(required = false)]
    q: String,
    /// Only this kind: package, user, ppa, upload, release or host.
    #[param(value_type = Option<String>)]
    kind: Option<Kind>,
    /// Only what comes behind this name; where `kind` is given.
    #[param(required = false)]
    after: String,
}

impl Wanted {
    fn parse(query: Option<&str>) -> Result<Self, Failure> {
        let kind = match text(query, "kind")?.as_str() {
            "" => None,
            name => Some(Kind::LISTED.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| {
                let known = Kind::LISTED.map(Kind::as_str).join(", ");
                Failure::bad("This kind is not known.", &format!("Known are {known}."))
            })?),
        };
        let q = text(query, "q")?;
        if q.chars().count() > LONGEST {
            return Err(Failure::bad(
                format!("q is longer than {LONGEST} characters."),
                "No name is that long.",
            ));
        }
        Ok(Self { q, kind, after: text(query, "after")? })
    }

    fn at(&self, base: &str, kind: Kind, after: &str) -> String {
        let parameters = [("q", self.q.as_str()), ("kind", kind.as_str()), ("after", after)];
        address(&format!("{base}/search"), &parameters)
    }
}

/// Something that was found.
struct Hit {
    kind: Kind,
    name: String,
    path: String,
}

/// What was found of a kind.
struct Group {
    kind: Kind,
    hits: Vec<Hit>,
    /// Behind which there is more; empty: the list of this kind alone has more.
    next: Option<String>,
}

#[derive(Default)]
struct Found {
    /// What is called so.
    exact: Vec<Hit>,
    /// What is called nearly so.
    groups: Vec<Group>,
}

/// A run by its uuid, if everybody may see it.
async fn run(app: &App, uuid: Uuid) -> Result<bool, Failure> {
    if let Some(job) = app.db().job_by_uuid(uuid).await? {
        return Ok(PublicJob::of(job).is_some());
    }
    Ok(app.db().result_by_uuid(uuid).await?.and_then(PublicResult::of).is_some())
}

/// Results with a run id. A few at most have the same.
async fn results(app: &App, run_id: &RunId) -> Result<Vec<Hit>, Failure> {
    let limit = i64::try_from(MANY).unwrap_or(i64::MAX);
    let rows = PublicResult::all(app.db().results_by_run_id(run_id, limit).await?);
    let hit = |item: ResultItem| Hit {
        kind: Kind::Run,
        name: format!("{} on {}/{}, {}", item.package, item.release, item.arch, item.run_id),
        path: item.path,
    };
    let mut hits: Vec<Hit> = ResultItem::list(&rows, Timestamp::now()).into_iter().map(hit).collect();
    if rows.len() == MANY {
        let before = format!("{run_id}{}", i64::MAX);
        let name = format!("all of {run_id}, and what is older");
        hits.push(Hit { kind: Kind::Run, name, path: address("/recent", &[("before", &before)]) });
    }
    Ok(hits)
}

/// Releases that are served, and those that have results.
async fn releases(app: &App) -> Result<BTreeSet<String>, Failure> {
    let served = app.settings().releases().into_iter().map(ToString::to_string);
    let counted = app.db().all_time("results").await?;
    Ok(counted.into_iter().map(|row| row.release).chain(served).collect())
}

/// What is called exactly so.
async fn exact(app: &App, q: &str) -> Result<Vec<Hit>, Failure> {
    if let Ok(uuid) = Uuid::try_parse(q) {
        let found = run(app, uuid).await?;
        return Ok(found.then(|| Kind::Run.hit(uuid.to_string())).into_iter().collect());
    }
    if let Ok(run_id) = q.parse::<RunId>().or_else(|_| format!("{q}@").parse()) {
        return results(app, &run_id).await;
    }
    let mut hits = Vec::new();
    if let Ok(package) = q.parse::<Package>()
        && is_known(app, &package).await?
    {
        hits.push(Kind::Package.hit(q.to_owned()));
    }
    let known = async |kind, name: &str| app.db().known_names(kind, &[name]).await.map(|all| !all.is_empty());
    if known(NameKind::User, q).await? || !app.db().open_jobs_by(q, 0, 1).await?.is_empty() {
        hits.push(Kind::User.hit(q.to_owned()));
    }
    if q.parse::<Trigger>().is_ok()
        && (app.db().triggers_from(q, "", 1).await?.first().is_some_and(|first| first == q)
            || app.db().is_open_trigger(q).await?)
    {
        hits.push(Kind::Upload.hit(q.to_owned()));
    }
    if let Ok(ppa) = q.parse::<Ppa>()
        && known(NameKind::Ppa, &format!("{}-{}", ppa.owner, ppa.name)).await?
    {
        hits.push(Hit { kind: Kind::Ppa, name: ppa.public(), path: ppa_path(&ppa.owner, &ppa.name) });
    }
    if releases(app).await?.contains(q) {
        hits.push(Kind::Release.hit(q.to_owned()));
    }
    if app.db().workers().await?.iter().any(|worker| worker.host == q) {
        hits.push(Kind::Host.hit(q.to_owned()));
    }
    Ok(hits)
}

/// Names of a kind, sorted, behind a name. A few: at first those that begin so.
async fn names(
    app: &App,
    kind: Kind,
    wanted: &Wanted,
    few: bool,
    limit: i64,
) -> Result<Vec<String>, Failure> {
    let Wanted { q, after, .. } = wanted;
    // As containers have it.
    let joined = q.replace('/', "-");
    let (of, q) = match kind {
        Kind::Package => (NameKind::Package, q),
        Kind::User => (NameKind::User, q),
        Kind::Ppa => (NameKind::Ppa, &joined),
        Kind::Upload => return Ok(app.db().triggers_from(q, after, limit).await?),
        Kind::Release => {
            let all = releases(app).await?.into_iter();
            return Ok(all.filter(|release| release.contains(q) && release > after).collect());
        }
        Kind::Run => return Ok(Vec::new()),
        Kind::Host => {
            let workers = app.db().workers().await?;
            let hosts = workers.into_iter().map(|worker| worker.host);
            let mut hosts: Vec<String> = hosts.filter(|host| host.contains(q) && host > after).collect();
            hosts.sort();
            hosts.dedup();
            return Ok(hosts);
        }
    };
    if !few {
        return Ok(app.db().names_with(of, q, after, limit).await?);
    }
    let mut names = app.db().names_from(of, q, "", limit).await?;
    if names.len() < FEW {
        let others = app.db().names_with(of, q, "", limit).await?;
        let others: Vec<String> = others.into_iter().filter(|name| !names.contains(name)).collect();
        names.extend(others);
    }
    Ok(names)
}

async fn group(app: &App, kind: Kind, wanted: &Wanted) -> Result<Group, Failure> {
    let few = wanted.kind.is_none();
    let most = if few { FEW } else { MANY };
    let limit = i64::try_from(most + 1).unwrap_or(i64::MAX);
    let mut names = names(app, kind, wanted, few, limit).await?;
    let more = names.len() > most;
    names.truncate(most);
    let next = names.last().filter(|_| more).map(|last| if few { String::new() } else { last.clone() });
    Ok(Group { kind, hits: names.into_iter().map(|name| kind.hit(name)).collect(), next })
}

async fn found(app: &App, wanted: &Wanted) -> Result<Found, Failure> {
    let mut found = Found::default();
    if wanted.q.is_empty() {
        return Ok(found);
    }
    if wanted.kind.is_none() {
        found.exact = exact(app, &wanted.q).await?;
    }
    for kind in Kind::LISTED.into_iter().filter(|kind| wanted.kind.is_none_or(|wanted| wanted == *kind)) {
        let mut group = group(app, kind, wanted).await?;
        group.hits.retain(|hit| !found.exact.iter().any(|exact| exact.path == hit.path));
        if !group.hits.is_empty() || group.next.is_some() {
            found.groups.push(group);
        }
    }
    Ok(found)
}

/// What a search found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FoundData {
    /// What is called so.
    exact: Vec<HitData>,
    /// What begins so or holds it, by kind.
    groups: Vec<GroupData>,
}

/// What was found of a kind.
#[derive(Debug, Serialize, ToSchema)]
struct GroupData {
    /// package, user, ppa, upload, release or host.
    kind: &'static str,
    /// Ten at most, or two hundred where one kind was asked for.
    hits: Vec<HitData>,
    /// The address of more.
    next: Option<String>,
}

/// Something that was found.
#[derive(Debug, Serialize, ToSchema)]
struct HitData {
    /// package, user, ppa, upload, release, run or host.
    kind: &'static str,
    /// What it is called; a PPA as containers have it.
    name: String,
    /// Its page.
    url: String,
}

impl HitData {
    fn list(settings: &Settings, hits: Vec<Hit>) -> Vec<Self> {
        let data = |hit: Hit| Self { kind: hit.kind.as_str(), url: settings.link(&hit.path), name: hit.name };
        hits.into_iter().map(data).collect()
    }
}

/// Packages, people, PPAs, uploads, releases, runs and hosts by a name or a part of it
///
/// Uploads by the beginning of `source/version`, runs by their whole uuid or run id.
#[utoipa::path(get, path = "/api/v1/search", tag = "past", params(Wanted), responses((status = OK, body = FoundData)))]
pub(crate) async fn json(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Json<FoundData>, Failure> {
    let wanted = Wanted::parse(query.as_deref())?;
    let Found { exact, groups } = found(&app, &wanted).await?;
    let settings = app.settings();
    let group = |group: Group| GroupData {
        kind: group.kind.as_str(),
        next: group.next.map(|after| wanted.at("/api/v1", group.kind, &after)),
        hits: HitData::list(settings, group.hits),
    };
    Ok(Json(FoundData {
        exact: HitData::list(settings, exact),
        groups: groups.into_iter().map(group).collect(),
    }))
}

#[derive(Template)]
#[template(path = "search.html")]
struct Page {
    crumbs: Vec<Crumb>,
    wanted: Wanted,
    exact: Vec<Hit>,
    /// With the address of more.
    groups: Vec<(Group, Option<String>)>,
}

/// `/search`.
pub(crate) async fn get(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let wanted = Wanted::parse(query.as_deref())?;
    let Found { exact, groups } = found(&app, &wanted).await?;
    if let [only] = &exact[..] {
        return Ok(Redirect::to(&only.path).into_response());
    }
    let more = |group: Group| {
        let next = group.next.as_ref().map(|after| wanted.at("", group.kind, after));
        (group, next)
    };
    let groups = groups.into_iter().map(more).collect();
    page(&Page { crumbs: vec![], exact, groups, wanted })
}
