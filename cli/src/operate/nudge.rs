//! Wakes the leader.

use std::time::Duration;

use anyhow::Result;
use proofhouse_core::{
    bus::{Message, Target},
    config::Config,
    protocol::{ASKS, Ask, Asked},
};

use crate::connect;

const LIMIT: Duration = Duration::from_secs(5);

/// Tells the leader that an operator changed something. Where it does not hear of that, it sees so by itself.
pub(super) async fn leader(config: &Config) {
    if config.bus.is_none() {
        return;
    }
    if let Err(error) = send(config).await {
        eprintln!("proofhouse: the dispatcher could not be woken, and sees it within seconds: {error:#}");
    }
}

async fn send(config: &Config) -> Result<()> {
    let bus = connect::bus(config, "proofhouse queue")?;
    connect::up(&*bus, LIMIT).await?;
    let body = serde_json::to_vec(&Asked { from: None, ask: Ask::Nudge })?;
    let message = Message::passing(body, LIMIT);
    tokio::time::timeout(LIMIT, bus.publish(&Target::Queue(ASKS.to_owned()), message)).await??;
    bus.close().await;
    Ok(())
}
