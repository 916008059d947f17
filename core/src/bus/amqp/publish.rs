//! Publishing with confirms.

use lapin::{
    BasicProperties, Channel, Confirmation, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::sync::Mutex;

use super::{
    channel,
    declare::declare_all,
    errors::{Failure, NOT_FOUND},
    link::{Live, Shared},
    pauses::Pauses,
};
use crate::bus::{BusError, Message, Target, no_queue};

/// A channel with confirms, opened when it is first used.
#[derive(Default)]
pub(super) struct Outlet(Mutex<Option<Channel>>);

impl Outlet {
    async fn send(
        &self,
        connection: &Connection,
        target: &Target,
        message: &Message,
    ) -> lapin::Result<Confirmation> {
        // lapin counts a message before it queues its frames: two at once could take each other's confirm.
        let mut slot = self.0.lock().await;
        let channel = match slot.as_ref() {
            Some(channel) if channel.status().connected() => channel,
            _ => slot.insert(open(connection).await?),
        };
        let confirm = write(channel, target, message).await?;
        drop(slot);
        confirm.await
    }
}

async fn open(connection: &Connection) -> lapin::Result<Channel> {
    let channel = channel::open(connection).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

async fn write(
    channel: &Channel,
    target: &Target,
    message: &Message,
) -> lapin::Result<lapin::PublisherConfirm> {
    let (exchange, key) = match target {
        Target::Queue(queue) | Target::ExistingQueue(queue) => ("", queue.as_str()),
        Target::Fanout(exchange) => (exchange.as_str(), ""),
    };
    let mandatory = matches!(target, Target::ExistingQueue(_));
    let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
    channel.basic_publish(exchange.into(), key.into(), options, &message.body, properties(message)).await
}

/// Contract "Body": UTF-8, and delivery mode 2 for what is to last. A request's body is no JSON: it begins with the package.
fn properties(message: &Message) -> BasicProperties {
    let mut properties = BasicProperties::default()
        .with_content_encoding("UTF-8".into())
        .with_delivery_mode(if message.persistent { 2 } else { 1 });
    if message.body.starts_with(b"{") {
        properties = properties.with_content_type("application/json".into());
    }
    if let Some(ttl) = message.ttl {
        // RabbitMQ takes 32 bits of milliseconds.
        let millis = ttl.as_millis().min(u128::from(u32::MAX));
        properties = properties.with_expiration(millis.to_string().into());
    }
    properties
}

/// Sends until it is confirmed, or refused for good.
pub(super) async fn publish(shared: &Shared, target: &Target, message: &Message) -> Result<(), BusError> {
    let mut pauses = Pauses::new();
    loop {
        let live = shared.live().await?;
        match attempt(shared, &live, target, message).await {
            Ok(true) => return Ok(()),
            // The broker could not take charge of it, or the link broke.
            Ok(false) | Err(Failure::Broken(_)) => {}
            Err(Failure::Refused { text, .. }) => return Err(shared.refused(text)),
        }
        pauses.wait().await;
    }
}

async fn attempt(shared: &Shared, live: &Live, target: &Target, message: &Message) -> Result<bool, Failure> {
    let outlet = match target {
        Target::Queue(_) | Target::ExistingQueue(_) => &live.to_queues,
        Target::Fanout(_) => &live.to_exchanges,
    };
    match live.run(outlet.send(&live.connection, target, message)).await {
        Ok(confirmation) => taken(target, &confirmation),
        // The channel was closed over one of the messages on it, perhaps another one: ask about this one alone.
        Err(Failure::Refused { .. }) => alone(shared, live, target, message).await,
        Err(broken) => Err(broken),
    }
}

/// What a confirm says. Where a queue must exist, a message comes back with the confirm when it does not.
fn taken(target: &Target, confirmation: &Confirmation) -> Result<bool, Failure> {
    match (target, confirmation) {
        (Target::ExistingQueue(queue), Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => {
            Err(Failure::Refused { code: NOT_FOUND, text: no_queue(queue) })
        }
        _ => Ok(confirmation.is_ack()),
    }
}

/// Sends on a channel of its own. An exchange that is ours and vanished is declared again.
async fn alone(shared: &Shared, live: &Live, target: &Target, message: &Message) -> Result<bool, Failure> {
    let outlet = Outlet::default();
    let refused = match live.run(outlet.send(&live.connection, target, message)).await {
        Ok(confirmation) => return taken(target, &confirmation),
        Err(failure) => failure,
    };
    let Target::Fanout(exchange) = target else { return Err(refused) };
    let ours = shared.declared_as(std::slice::from_ref(exchange));
    if !refused.is(NOT_FOUND) || ours.is_empty() {
        return Err(refused);
    }
    live.run(declare_all(&live.connection, &ours)).await?;
    Ok(false)
}
