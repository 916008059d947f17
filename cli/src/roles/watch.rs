//! Keeps the conditions of health true to what can be reached.

use std::{future::Future, sync::Arc, time::Duration};

use proofhouse_core::{
    bus::Bus,
    db::Database,
    health::Condition,
    lifecycle::{BoxError, Shutdown},
    store::Store,
    telemetry::metrics::Metrics,
};

use super::chain;

/// How often a server that is there is asked, and how long it may take to answer.
const PERIOD: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(10);
/// How long the first link to the broker may take before it counts as away.
const FIRST_LINK: Duration = Duration::from_secs(3);
/// One that is away is asked sooner at first, and then more and more seldom.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Asks the job table for signs of life.
pub(super) fn database(shutdown: &Shutdown, condition: Condition, database: Database) {
    let check = move || {
        let database = database.clone();
        async move { database.check().await.map_err(|e| chain(&e)) }
    };
    shutdown.spawn_service("watch over the database", keep(condition, check));
}

/// Asks the store for signs of life.
pub(super) fn store(shutdown: &Shutdown, condition: Condition, store: Arc<dyn Store>) {
    let check = move || {
        let store = store.clone();
        async move { store.check().await.map_err(|e| chain(&e)) }
    };
    shutdown.spawn_service("watch over the store", keep(condition, check));
}

async fn keep<F: Future<Output = Result<(), String>>>(
    condition: Condition,
    check: impl Fn() -> F,
) -> Result<(), BoxError> {
    let mut pause = Duration::from_secs(1);
    loop {
        let seconds = LIMIT.as_secs();
        match tokio::time::timeout(LIMIT, check()).await {
            Ok(Ok(())) => {
                condition.holds();
                pause = PERIOD;
            }
            Ok(Err(reason)) => {
                condition.fails(reason);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(_) => {
                condition.fails(format!("no answer within {seconds} seconds"));
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// Follows the link to the broker.
pub(super) fn bus(shutdown: &Shutdown, condition: Condition, bus: &Arc<dyn Bus>, metrics: Arc<Metrics>) {
    let (mut link, bus) = (bus.link(), bus.clone());
    shutdown.spawn_service("watch over the bus", async move {
        // The first link takes a moment: nothing is wrong until then.
        let _ = tokio::time::timeout(FIRST_LINK, link.wait_for(|link| link.up)).await;
        loop {
            let now = *link.borrow_and_update();
            metrics.process.bus_up.set(now.up.into());
            metrics.process.bus_link_generation.set(i64::try_from(now.generation).unwrap_or(i64::MAX));
            if now.up {
                condition.holds();
            } else {
                let away = || format!("the broker at {} is away", bus.address());
                condition.fails(bus.trouble().unwrap_or_else(away));
            }
            if link.changed().await.is_err() {
                return Ok::<(), BoxError>(());
            }
        }
    });
}
