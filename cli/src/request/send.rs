//! The two ways in: by the broker as any client, or straight through intake into the job table.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use futures::future::join_all;
use proofhouse_core::{
    bus::{Bus, BusError, Message, Target},
    config::Config,
    db::{Database, Prepared, Taken},
    intake::Intake,
    names::Pair,
    request::BadRequest,
};
use uuid::Uuid;

use super::lines::Wanted;
use crate::{connect, roles::UpFile, status::Away};

/// How long the broker may take to answer.
const LIMIT: Duration = Duration::from_secs(15);

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    /// What it is followed by.
    pub(super) uuid: Uuid,
    /// It is part of a job that was there already; only the job table tells.
    pub(super) merged: bool,
}

/// Where requests go.
pub(super) enum Way {
    /// By the broker; the dispatcher takes them in.
    Broker(Arc<dyn Bus>),
    /// Into the job table.
    Table { database: Database, intake: Box<Intake> },
}

impl Way {
    /// The broker's where one is configured.
    pub(super) async fn open(config: &Config) -> Result<Self> {
        if config.bus.is_some() {
            let bus = connect::bus(config, "proofhouse request")?;
            connect::up(&*bus, LIMIT).await?;
            return Ok(Self::Broker(bus));
        }
        let database = connect::existing_database(config).await?;
        let intake = Intake { served: served(config), keys: seal_keys(config)?, answered: BTreeSet::new() };
        Ok(Self::Table { database, intake: Box::new(intake) })
    }

    /// Sends some requests; the reason stands in the place of one that is refused.
    pub(super) async fn send(&self, wanted: &[Wanted]) -> Result<Vec<Result<Sent, String>>> {
        match self {
            Self::Broker(bus) => join_all(wanted.iter().map(|w| publish(bus, w))).await.into_iter().collect(),
            Self::Table { database, intake } => take(database, intake, wanted).await,
        }
    }

    /// Ends the link.
    pub(super) async fn close(self) {
        match self {
            Self::Broker(bus) => bus.close().await,
            Self::Table { database, .. } => database.close().await,
        }
    }
}

async fn publish(bus: &Arc<dyn Bus>, wanted: &Wanted) -> Result<Result<Sent, String>> {
    let mut request = wanted.request.clone();
    let uuid = *request.uuid.get_or_insert_with(Uuid::new_v4);
    let target = Target::ExistingQueue(wanted.queue.to_string());
    let published = bus.publish(&target, Message::persistent(request.to_body()));
    match tokio::time::timeout(LIMIT, published).await {
        Ok(Ok(())) => Ok(Ok(Sent { uuid, merged: false })),
        Ok(Err(BusError::Refused { reason, .. })) => {
            Ok(Err(format!("the broker refuses: {reason}; is {} served?", wanted.queue.pair)))
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            Err(Away(format!("the broker at {} did not confirm; perhaps it was sent", bus.address())).into())
        }
    }
}

async fn take(database: &Database, intake: &Intake, wanted: &[Wanted]) -> Result<Vec<Result<Sent, String>>> {
    let mut outcomes: Vec<Result<Sent, String>> = Vec::with_capacity(wanted.len());
    let mut batch = Vec::new();
    for wanted in wanted {
        match prepare(intake, wanted) {
            Ok(prepared) => {
                batch.push((outcomes.len(), prepared));
                outcomes.push(Err("the job table did not take it".to_owned()));
            }
            Err(error) => outcomes.push(Err(error.to_string())),
        }
    }
    let (places, prepared): (Vec<usize>, Vec<Prepared>) = batch.into_iter().unzip();
    // Without digests nothing is remembered for redeliveries, so no session is needed.
    let (taken, _) = intake.take(database, None, &prepared).await?;
    for (place, taken) in places.into_iter().zip(taken) {
        match taken {
            Taken::New { uuid, .. } => outcomes[place] = Ok(Sent { uuid, merged: false }),
            Taken::Merged { uuid, .. } => outcomes[place] = Ok(Sent { uuid, merged: true }),
            Taken::Again | Taken::Rejected => {}
        }
    }
    Ok(outcomes)
}

fn prepare(intake: &Intake, wanted: &Wanted) -> Result<Prepared, BadRequest> {
    // Where nobody said what is served, the job waits until somebody serves it.
    if !intake.served.is_empty() && !intake.served.contains(&wanted.queue.pair) {
        return Err(BadRequest::NotServed(wanted.queue.pair.clone()));
    }
    let job = intake.job(&wanted.queue, &wanted.request, None)?;
    let queue = wanted.queue.to_string();
    Ok(Prepared { queue, digest: None, redelivered: false, what: Ok(Box::new(job)) })
}

/// What is served: as configured here, or as the `up` of the data folder said.
fn served(config: &Config) -> BTreeSet<Pair> {
    let configured: BTreeSet<Pair> = config.served.pairs().cloned().collect();
    if configured.is_empty()
        && let Some(up) = UpFile::read(&config.data)
    {
        return up.pairs.into_iter().collect();
    }
    configured
}

/// As configured, or those that `up` made in the data folder.
fn seal_keys(config: &Config) -> Result<Option<proofhouse_core::seal::SealKeys>> {
    if config.seal_keys.is_some() || !config.data.join("seal.key").exists() {
        return Ok(config.seal_keys.clone());
    }
    let keys = proofhouse_core::config::make_seal_keys(&config.data);
    keys.map(Some).context("the seal key under --data cannot be read")
}
