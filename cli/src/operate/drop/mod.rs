//! `proofhouse queue drop-obsolete` and `drop-superseded`: what nobody waits for any more.

mod obsolete;
mod superseded;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow, bail};
use clap::Args;
use proofhouse_core::{
    config::Config,
    db::{Database, JobState, OperatedRow},
};
use proofhouse_dispatcher::published::{Archive, Current};
use serde_json::Map;

use self::superseded::Newest;
use super::{
    SelectArgs,
    filter::Filter,
    pass::{self, Deed, Reach, Verdict},
    report::Verb,
};
use crate::{
    connect,
    servers::{OfArchive, Part},
    status::{Misuse, Status},
};

/// Many: a pass reads them once.
const PAGE: i64 = 1000;

#[derive(Debug, Args)]
pub(crate) struct ObsoleteArgs {
    #[command(flatten)]
    filter: Filter,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Part<OfArchive>,
}

pub(super) async fn obsolete(args: ObsoleteArgs) -> Result<Status> {
    args.filter.check()?;
    let config = args.settings.config()?;
    let archive = archive(&config)?;
    let database = connect::existing_database(&config).await?;
    let (current, unknown) = indexes(&archive, releases(&database, &args.filter).await?).await?;
    let judge = |job: &OperatedRow| match current.get(&job.release) {
        Some(current) => obsolete::judge(job, current.as_of_us(), |trigger| current.has(trigger)),
        None => Verdict::Leave(obsolete::UNKNOWN),
    };
    let deed = deed("drop-obsolete", obsolete::REASON, &judge);
    let (dry_run, json) = (args.dry_run, args.json);
    let done = pass::run(&config, &database, &args.filter, dry_run, json, deed).await?;
    Ok(if unknown { Status::Failed } else { done })
}

pub(super) async fn superseded(args: SelectArgs) -> Result<Status> {
    args.filter.check()?;
    let config = args.how.servers.config()?;
    let database = connect::existing_database(&config).await?;
    let newest = newest(&database).await?;
    let judge = |job: &OperatedRow| newest.judge(job);
    let deed = deed("drop-superseded", superseded::REASON, &judge);
    pass::run(&config, &database, &args.filter, args.how.dry_run, args.how.json, deed).await
}

fn deed<'a>(action: &'static str, reason: &'a str, judge: &'a dyn Fn(&OperatedRow) -> Verdict) -> Deed<'a> {
    Deed {
        action,
        verb: Verb("drop", "dropped"),
        reach: Reach::Waiting,
        // Nothing to drop is as good.
        nothing: None,
        end: JobState::Obsolete,
        reason,
        // Nobody waits.
        answer: None,
        said: Map::new(),
        judge,
    }
}

fn archive(config: &Config) -> Result<Archive, Misuse> {
    let url = config.published.archive.as_ref();
    let url = url.ok_or_else(|| Misuse("say which archive to ask: --archive URL".to_owned()))?;
    Ok(Archive {
        url: url.as_str().to_owned(),
        components: config.published.components.clone(),
        authorities: config.authorities.clone(),
    })
}

/// The releases of which any job waits that may be meant.
async fn releases(database: &Database, filter: &Filter) -> Result<BTreeSet<String>> {
    let counts = database.queue_counts().await?;
    let waiting = counts.into_iter().filter(|count| count.waiting > 0).map(|count| count.release);
    Ok(waiting.filter(|name| filter.release.as_ref().is_none_or(|r| r.as_str() == name)).collect())
}

/// What the archive holds of each release. True: of some it is not known; their jobs stay.
async fn indexes(archive: &Archive, releases: BTreeSet<String>) -> Result<(BTreeMap<String, Current>, bool)> {
    let (mut current, mut unknown) = (BTreeMap::new(), false);
    for release in releases {
        match Current::fetch(archive, &release).await {
            Ok(found) => drop(current.insert(release, found)),
            Err(error) => {
                eprintln!("proofhouse: nothing of {release} is dropped: {:#}", anyhow!(error));
                unknown = true;
            }
        }
    }
    if unknown && current.is_empty() {
        bail!("the archive's indexes are known of no release");
    }
    Ok((current, unknown))
}

/// The newest job of each git source.
async fn newest(database: &Database) -> Result<Newest> {
    let (mut newest, mut after) = (Newest::default(), 0);
    loop {
        let page = database.from_first_waiting_git(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(newest) };
        after = last.id;
        for job in &page {
            newest.learn(job);
        }
    }
}
