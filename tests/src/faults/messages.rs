//! Messages between dispatchers and workers that come twice, late and out of order, or cut short. The broker's own tracing shows
//! them; they are sent again by the queues they came by.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use lapin::{
    BasicProperties,
    options::{BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::time::{Instant, timeout_at};

use super::strikes::Quake;
use crate::amqp;

use super::parts::Parts;

/// A message, and the queue that it came by.
pub(super) struct Heard {
    queue: String,
    body: Vec<u8>,
}

/// Listens for a while to what dispatchers and workers say to each other. A request that came twice would be two requests.
pub(super) async fn overhear(parts: &Parts, lasts: Duration, let_go: impl FnOnce()) -> Result<Vec<Heard>> {
    let connection = amqp::connection(&parts.bus).await?;
    let channel = connection.create_channel().await?;
    let own = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), own, FieldTable::default()).await?.name().clone();
    let bind = QueueBindOptions::default();
    channel
        .queue_bind(
            queue.clone(),
            "amq.rabbitmq.trace".into(),
            "publish.".into(),
            bind,
            FieldTable::default(),
        )
        .await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut came = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
    parts.rabbit.eval("rabbit_trace:start(<<\"/\">>).").await?;
    let_go();
    let (mut heard, until) = (Vec::new(), Instant::now() + lasts);
    while let Ok(Some(Ok(delivery))) = timeout_at(until, came.next()).await {
        let keys =
            delivery.properties.headers().as_ref().and_then(|headers| headers.inner().get("routing_keys"));
        let Some(AMQPValue::FieldArray(keys)) = keys else { continue };
        let Some(AMQPValue::LongString(key)) = keys.as_slice().first() else { continue };
        let queue = key.to_string();
        if queue.starts_with("proofhouse.") {
            heard.push(Heard { queue, body: delivery.data });
        }
    }
    parts.rabbit.eval("rabbit_trace:stop(<<\"/\">>).").await?;
    connection.close(200, "done".into()).await?;
    Ok(heard)
}

/// Sends it again; returns how many there were.
pub(super) async fn play(parts: &Parts, how: Quake, heard: &[Heard], mut dice: u64) -> Result<usize> {
    let connection = amqp::connection(&parts.bus).await?;
    let channel = connection.create_channel().await?;
    let mut again: Vec<&Heard> = heard.iter().collect();
    if how == Quake::Reordered {
        for at in (1..again.len()).rev() {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let other = usize::try_from(dice >> 33)? % (at + 1);
            again.swap(at, other);
        }
    }
    for one in &again {
        let body = match how {
            Quake::Truncated => one.body.get(..one.body.len() / 2).context("a body")?,
            _ => &one.body[..],
        };
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        channel.basic_publish("".into(), one.queue.clone().into(), options, body, properties).await?.await?;
    }
    connection.close(200, "done".into()).await?;
    Ok(again.len())
}
