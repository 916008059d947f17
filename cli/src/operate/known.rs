//! Names of which nothing is known here: they are taken, for what they name may come, and said on stderr.

use anyhow::Result;
use proofhouse_core::{config::Config, db::Database, queue::Pause};

/// Says so where no pair that a pause names is configured, and no job of it waits or runs.
pub(super) async fn pair(config: &Config, database: &Database, pause: &Pause) -> Result<()> {
    let is = |wanted: &Option<String>, one: &str| wanted.as_deref().is_none_or(|wanted| wanted == one);
    let mut served = config.served.pairs();
    let jobs = database.queue_counts().await?;
    let known = served
        .any(|pair| is(&pause.release, pair.release.as_str()) && is(&pause.arch, pair.arch.as_str()))
        || jobs.iter().any(|count| is(&pause.release, &count.release) && is(&pause.arch, &count.arch));
    if !known && (pause.release.is_some() || pause.arch.is_some()) {
        let any = |part: &Option<String>| part.clone().unwrap_or_else(|| "*".to_owned());
        eprintln!(
            "proofhouse: {}/{} is not configured here, and no job of it waits or runs: is the name right?",
            any(&pause.release),
            any(&pause.arch)
        );
    }
    Ok(())
}

/// Says so where no pair and no rule has that pool, no worker serves it, and nothing runs in it.
pub(super) async fn pool(config: &Config, database: &Database, name: &str) -> Result<()> {
    let configured = config.pool_rules.pools(config.served.pairs());
    let known = name == "*"
        || configured.iter().any(|pool| pool.as_str() == name)
        || database.workers().await?.iter().any(|worker| worker.pools.split(' ').any(|pool| pool == name))
        || database.demand(&config.pool_rules).await?.contains_key(name);
    if !known {
        eprintln!(
            "proofhouse: no pool {name} is configured here, and no worker serves it: is the name right?"
        );
    }
    Ok(())
}
