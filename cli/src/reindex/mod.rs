//! `proofhouse reindex`: the index, rebuilt from the store alone, while everything serves.

mod patience;
mod progress;
mod rebuild;
mod summary;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use proofhouse_core::{
    db::Database,
    index::{CONTAINERS, holds_results},
    layout::Container,
    lifecycle::Shutdown,
    names::Release,
    store::Store,
};
use tokio::sync::Semaphore;

use self::{progress::Progress, rebuild::Rebuild, summary::Summary};
use crate::{
    connect, print,
    servers::Servers,
    status::{Misuse, Status},
};

/// More names than these nobody reads.
const MOST_NAMES: usize = 20;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proofhouse reindex
  proofhouse reindex --release noble --jobs 64
  proofhouse reindex --container autopkgtest-noble-owner-ppa --again --json
It may run while everything serves. Stopped by Ctrl-C or by a server that is away, the next one goes on from there.
Exit status: 0 all that was asked for is in the index, 1 not all could be read, or it was stopped, 2 there is no such \
release in the store, 3 a server is away.";

#[derive(Debug, Args)]
pub(crate) struct ReindexArgs {
    /// Only this container; can be repeated
    #[arg(long = "container", value_name = "NAME")]
    containers: Vec<Container>,
    /// Only the containers of this release, those of its PPAs too; can be repeated
    #[arg(long = "release", value_name = "RELEASE", conflicts_with = "containers")]
    releases: Vec<Release>,
    /// Begin anew: what was stopped before it was finished, and all sums. Right where results were deleted
    #[arg(long)]
    again: bool,
    /// How many results are read at once
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000))]
    jobs: u16,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    servers: Servers,
}

pub(crate) async fn main(args: ReindexArgs) -> Result<Status> {
    if let Some(other) = args.containers.iter().find(|container| !holds_results(container)) {
        let said = format!(
            "{other} holds no results: they lie in containers named autopkgtest-… or private-autopkgtest-…"
        );
        return Err(Misuse(said).into());
    }
    let config = args.servers.config()?;
    let database = connect::existing_database(&config).await?;
    let store = connect::store(&config)?;
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("signals cannot be heard")?;
    let containers = containers(store.as_ref(), &args).await?;
    let rebuild = Rebuild {
        database: database.clone(),
        store,
        permits: Arc::new(Semaphore::new(args.jobs.into())),
        progress: Progress::begin(containers.len()),
        stop: shutdown.drain().clone(),
    };
    let summary = all(&Arc::new(rebuild), &containers, args.again).await?;
    if summary.finished {
        database.close().await;
    }
    if args.json {
        print::json(&summary)?;
    } else {
        print::text(&summary.text())?;
    }
    Ok(summary.status())
}

/// Those that are asked for; all that hold results where nothing is said.
async fn containers(store: &dyn Store, args: &ReindexArgs) -> Result<Vec<Container>> {
    if !args.containers.is_empty() {
        return Ok(args.containers.clone());
    }
    let mut all = Vec::new();
    for prefix in CONTAINERS {
        all.extend(store.containers(prefix).await.context("the containers cannot be listed")?);
    }
    if args.releases.is_empty() {
        return Ok(all);
    }
    if let Some(release) = args.releases.iter().find(|release| !all.iter().any(|c| is_of(c, release))) {
        let said = format!("the store holds no container of the release {release}: {}", there_are(&all));
        return Err(Misuse(said).into());
    }
    all.retain(|container| args.releases.iter().any(|release| is_of(container, release)));
    Ok(all)
}

/// The containers that there are, private ones as a count.
fn there_are(all: &[Container]) -> String {
    if all.is_empty() {
        return "there is none with results".to_owned();
    }
    let public: Vec<&str> =
        all.iter().filter(|c| !c.is_private()).map(Container::as_str).take(MOST_NAMES).collect();
    let more = match all.len() - public.len() {
        0 => String::new(),
        n if public.is_empty() => format!("{n} private"),
        n => format!(" and {n} more"),
    };
    format!("there are {}{more}", public.join(", "))
}

/// True for `[private-]autopkgtest-{release}` and those of its PPAs: no release's name holds a `-`.
fn is_of(container: &Container, release: &Release) -> bool {
    let rest = CONTAINERS.iter().find_map(|prefix| container.as_str().strip_prefix(prefix));
    rest.is_some_and(|rest| rest.split('-').next() == Some(release.as_str()))
}

/// One after the other. Once all are done the next rebuild begins at the start.
async fn all(rebuild: &Arc<Rebuild>, containers: &[Container], again: bool) -> Result<Summary> {
    let database: &Database = &rebuild.database;
    if again {
        for container in containers {
            database.reindex_anew(container).await?;
        }
        database.sum_up_anew().await?;
    }
    let mut summary = Summary { asked: containers.len() as u64, ..Summary::default() };
    for container in containers {
        rebuild.progress.container_begins(container, &summary);
        let done = rebuild.container(container, &mut summary).await;
        if !matches!(done, Ok(true)) {
            rebuild.progress.end();
        }
        if !done.context("`proofhouse reindex` with the same options goes on from here")? {
            eprintln!("stopped; `proofhouse reindex` with the same options goes on from here");
            return Ok(summary);
        }
        summary.containers += 1;
        rebuild.progress.container_done(&summary);
    }
    for container in containers {
        database.reindex_anew(container).await?;
    }
    rebuild.progress.end();
    summary.finished = true;
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use proofhouse_core::{evidence, store::folder::Folder};
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn what_begins_again_is_summed_up_anew() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&format!("sqlite://{}/x.db", folder.path().display()), None).unwrap();
        database.prepare().await.unwrap();
        let epoch = database.take_leadership("test", false).await.unwrap().unwrap();
        let store = folder.path().join("store");
        let tar = evidence::result_tar(&[("exitcode", b"0\n".to_vec())]).unwrap();
        for run_id in ["20261121_053634_abcde@", "20261122_053634_abcde@"] {
            let run = store.join("autopkgtest-noble/noble/amd64/g/green").join(run_id);
            std::fs::create_dir_all(&run).unwrap();
            std::fs::write(run.join("result.tar"), &tar).unwrap();
        }
        let rebuild = Arc::new(Rebuild {
            database: database.clone(),
            store: Arc::new(Folder::new(store)),
            permits: Arc::new(Semaphore::new(1)),
            progress: Progress::begin(1),
            stop: CancellationToken::new(),
        });
        let containers: [Container; 1] = ["autopkgtest-noble".parse().unwrap()];
        // As the leader does, until nothing is new.
        let summed_up_after = async |again: bool| {
            assert!(all(&rebuild, &containers, again).await.unwrap().finished);
            let mut number = 0;
            for _ in 0..3 {
                database.next_edition(epoch, 10).await.unwrap();
                number += database.sum_up(epoch, 10).await.unwrap();
            }
            number
        };
        assert_eq!((summed_up_after(false).await, summed_up_after(false).await), (2, 0));
        assert_eq!((summed_up_after(true).await, summed_up_after(false).await), (2, 0));
    }

    #[test]
    fn the_containers_that_there_are() {
        let of =
            |names: &[&str]| there_are(&names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(of(&[]), "there is none with results");
        assert_eq!(
            of(&["autopkgtest-noble", "autopkgtest-plucky"]),
            "there are autopkgtest-noble, autopkgtest-plucky"
        );
        assert_eq!(
            of(&["autopkgtest-noble", "private-autopkgtest-x"]),
            "there are autopkgtest-noble and 1 more"
        );
        assert_eq!(of(&["private-autopkgtest-x"]), "there are 1 private");
    }

    #[test]
    fn containers_of_a_release() {
        let is_of = |container: &str| is_of(&container.parse().unwrap(), &"noble".parse().unwrap());
        for name in ["autopkgtest-noble", "private-autopkgtest-noble", "autopkgtest-noble-owner-ppa"] {
            assert!(is_of(name), "{name}");
        }
        for name in ["autopkgtest-nobler", "autopkgtest-plucky-noble-ppa", "noble", "proofhouse-attempts"] {
            assert!(!is_of(name), "{name}");
        }
    }
}
