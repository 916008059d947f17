//! JSON files that scripts and old clients read (contract "The site").

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{RawQuery, State},
};
use proofhouse_core::{db::Demand, names::Context};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::{
    api::ResultData,
    app::App,
    failure::Failure,
    pages::recent,
    private::PublicJob,
    running::{PRIVATE_PACKAGE, PRIVATE_TAIL},
    view::python_str,
};

/// How many jobs are read at once.
const BATCH: i64 = 1000;
/// What stands for a private job's body.
const PRIVATE_JOB: &str = "private job";

/// Context, then release, then arch.
pub(crate) type Queues<T> = BTreeMap<Context, BTreeMap<String, BTreeMap<String, T>>>;

/// Every queue that is configured, empty.
fn empty<T: Default>(app: &App) -> Queues<T> {
    let mut queues = Queues::new();
    for context in Context::ALL {
        let releases = queues.entry(context).or_default();
        for pair in &app.settings().pairs {
            releases.entry(pair.release.to_string()).or_default().insert(pair.arch.to_string(), T::default());
        }
    }
    queues
}

/// JSON of one queue after the other, in the order of [`Context::ALL`].
fn to_json<T>(queues: &Queues<T>, leaf: impl Fn(&T) -> Value) -> Value {
    let contexts = queues.iter().map(|(context, releases)| {
        let releases = releases.iter().map(|(release, arches)| {
            (release.clone(), Value::Object(arches.iter().map(|(arch, v)| (arch.clone(), leaf(v))).collect()))
        });
        (context.as_str().to_owned(), Value::Object(releases.collect()))
    });
    Value::Object(contexts.collect())
}

/// The bodies of all that waits, as they came.
pub(crate) async fn bodies(app: &App) -> Result<Queues<Vec<String>>, Failure> {
    let mut queues: Queues<Vec<String>> = empty(app);
    let mut after = 0;
    loop {
        let rows = app.db().queued(after, BATCH).await?;
        let Some(last) = rows.last() else { return Ok(queues) };
        after = last.id;
        for row in rows {
            let (context, release, arch) = (row.context()?, row.release.clone(), row.arch.clone());
            let body = PublicJob::of(row).map_or_else(|| PRIVATE_JOB.to_owned(), |job| job.body.clone());
            queues
                .entry(context)
                .or_default()
                .entry(release)
                .or_default()
                .entry(arch)
                .or_default()
                .push(body);
        }
    }
}

/// `/queues.json`: context → release → arch → bodies.
pub(crate) async fn queues(State(app): State<App>) -> Result<Json<Value>, Failure> {
    Ok(Json(to_json(&*app.queued().await?, |bodies| json!(bodies))))
}

/// `/queued.json`: the same with sizes.
pub(crate) async fn queued(State(app): State<App>) -> Result<Json<Value>, Failure> {
    let queues = to_json(&*app.queued().await?, |bodies| json!({"size": bodies.len(), "requests": bodies}));
    let settings = app.settings();
    Ok(Json(json!({"releases": settings.releases(), "arches": settings.arches(), "queues": queues})))
}

/// `/queue_size.json`: context → release → arch → how many wait.
pub(crate) async fn queue_size(State(app): State<App>) -> Result<Json<Value>, Failure> {
    let mut queues: Queues<i64> = empty(&app);
    for count in app.queue_counts().await?.iter().filter(|c| c.waiting > 0) {
        let context: Context = count.context.parse().map_err(|_| Failure::internal())?;
        queues
            .entry(context)
            .or_default()
            .entry(count.release.clone())
            .or_default()
            .insert(count.arch.clone(), count.waiting);
    }
    Ok(Json(to_json(&queues, |n| json!(n))))
}

/// What is wanted of a pool's workers.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct DemandData {
    /// Jobs that wait and that it may run. What several pools may run counts for each.
    waiting: i64,
    /// Jobs that it runs.
    leased: i64,
    /// Both together.
    demand: i64,
}

/// What is wanted of each pool, for autoscalers
///
/// By the pool's name; private tests are counted.
#[utoipa::path(get, path = "/api/v1/demand", tag = "now", responses((status = OK, body = BTreeMap<String, DemandData>)))]
pub(crate) async fn demand(State(app): State<App>) -> Result<Json<BTreeMap<String, DemandData>>, Failure> {
    let (settings, mut found) = (app.settings(), BTreeMap::clone(&*app.demand().await?));
    for pool in settings.pools.pools(&settings.pairs) {
        found.entry(pool.to_string()).or_default();
    }
    let pools = found.into_iter().map(|(pool, Demand { waiting, leased })| {
        (pool, DemandData { waiting, leased, demand: waiting + leased })
    });
    Ok(Json(pools.collect()))
}

/// `key_value;` of the sorted parameters, joined.
fn runhash(params: &Map<String, Value>) -> String {
    let sorted: BTreeMap<&String, &Value> = params.iter().collect();
    let parts: Vec<String> =
        sorted.into_iter().map(|(key, value)| format!("{key}_{};", python_str(value))).collect();
    parts.concat()
}

/// `/static/running.json`: package → runhash → release → arch → parameters, duration, log tail.
pub(crate) async fn running(State(app): State<App>) -> Result<Json<Value>, Failure> {
    type Runs = BTreeMap<String, BTreeMap<String, BTreeMap<String, BTreeMap<String, Value>>>>;
    let now = app.now().await?;
    let mut runs = Runs::new();
    for run in &now.runs {
        let hashes = runs.entry(run.package.clone()).or_default();
        let arches = hashes.entry(runhash(&run.params)).or_default().entry(run.release.clone()).or_default();
        arches.insert(run.arch.clone(), json!([run.params, run.duration, run.logtail]));
    }
    // Nothing tells private runs of a release and arch apart, as in the old system.
    for (release, arch) in now.private.keys() {
        let hashes = runs.entry(PRIVATE_PACKAGE.to_owned()).or_default();
        let arches = hashes.entry(String::new()).or_default().entry(release.clone()).or_default();
        arches.insert(arch.clone(), json!([{}, 0, PRIVATE_TAIL]));
    }
    Ok(Json(json!(runs)))
}

/// `/api/experimental/recent.json`: what `/recent` shows.
pub(crate) async fn recent(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<ResultData>>, Failure> {
    let wanted = recent::Wanted::parse(query.as_deref().unwrap_or_default())?;
    let rows = recent::all_results(&app, wanted).await?;
    Ok(Json(ResultData::list(app.settings(), &rows)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runhash_as_the_old_system_makes_it() {
        let params = json!({"triggers": ["green/2", "a/1"], "all-proposed": "1"});
        let Value::Object(params) = params else { unreachable!() };
        assert_eq!(runhash(&params), "all-proposed_1;triggers_['green/2', 'a/1'];");
        assert_eq!(runhash(&Map::new()), "");
    }
}
