//! Declaring queues and exchanges on a link, without getting in the way of whoever made them first.

use lapin::{
    Channel, Connection, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use tracing::warn;

use super::{
    channel,
    errors::{ACCESS_REFUSED, Failure, NOT_FOUND},
    foreign::{self, DIFFERENT},
};
use crate::{bus::Declaration, protocol::BOOT_EXCHANGE};

/// Declares all of them, one after the other; the first that fails ends it.
pub(super) async fn declare_all(
    connection: &Connection,
    declarations: &[Declaration],
) -> Result<(), Failure> {
    let mut declarer = Declarer { connection, channel: None };
    for declaration in declarations {
        let outcome = match declaration {
            Declaration::Request(queue) => declarer.queue(&queue.to_string()).await,
            Declaration::Queue(name) => declarer.queue(name).await,
            Declaration::Bound { queue, exchange } => declarer.bound(queue, exchange).await,
            Declaration::Fanout { name, durable } => declarer.fanout(name, *durable).await,
        };
        outcome.map_err(|failure| foreign::explain(declaration, failure))?;
    }
    Ok(())
}

/// Makes, or asks for, an exchange that does not outlive the broker's process; nothing is ever sent to it.
pub(super) async fn boot(connection: &Connection, passive: bool) -> Result<(), Failure> {
    let mut declarer = Declarer { connection, channel: None };
    let options = ExchangeDeclareOptions { passive, durable: false, ..ExchangeDeclareOptions::default() };
    declarer.fanout_with(BOOT_EXCHANGE, options).await
}

/// A refusal closes the channel, so there is a new one after each.
struct Declarer<'a> {
    connection: &'a Connection,
    channel: Option<Channel>,
}

impl Declarer<'_> {
    async fn channel(&mut self) -> lapin::Result<Channel> {
        match &self.channel {
            Some(channel) if channel.status().connected() => Ok(channel.clone()),
            _ => Ok(self.channel.insert(channel::open(self.connection).await?).clone()),
        }
    }

    /// Who may not configure is content with a queue that is there.
    async fn queue(&mut self, name: &str) -> Result<(), Failure> {
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        match self.queue_with(name, durable).await {
            Err(refused) if refused.is(ACCESS_REFUSED) => {
                let passive = QueueDeclareOptions { passive: true, ..durable };
                self.queue_with(name, passive).await.map_err(|failure| match failure {
                    Failure::Refused { .. } => refused,
                    broken @ Failure::Broken(_) => broken,
                })
            }
            other => other,
        }
    }

    async fn queue_with(&mut self, name: &str, options: QueueDeclareOptions) -> Result<(), Failure> {
        self.channel().await?.queue_declare(name.into(), options, FieldTable::default()).await?;
        Ok(())
    }

    /// Who may not bind is content with what is there: somebody else bound it.
    async fn bound(&mut self, queue: &str, exchange: &str) -> Result<(), Failure> {
        self.queue(queue).await?;
        let channel = self.channel().await?;
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        let bound = channel.queue_bind(queue.into(), exchange.into(), "".into(), options, arguments).await;
        match bound.map_err(Failure::from) {
            Err(refused) if refused.is(ACCESS_REFUSED) => {
                warn!("{queue} may not be bound to {exchange} by this user: somebody else must have done it");
                Ok(())
            }
            other => other,
        }
    }

    /// An older system may have made the exchange with another durability: what is there is right, if it is a fanout.
    async fn fanout(&mut self, name: &str, durable: bool) -> Result<(), Failure> {
        let active = ExchangeDeclareOptions { durable, ..ExchangeDeclareOptions::default() };
        let passive = ExchangeDeclareOptions { passive: true, ..active };
        match self.fanout_with(name, passive).await {
            Err(missing) if missing.is(NOT_FOUND) => self.fanout_with(name, active).await,
            // The passive declaration does not compare. The active one compares the type before anything else; who may not
            // make exchanges is not told.
            Ok(()) => match self.fanout_with(name, active).await {
                Err(refused) if refused.is(ACCESS_REFUSED) || differs_otherwise(&refused) => Ok(()),
                other => other,
            },
            other => other,
        }
    }

    async fn fanout_with(&mut self, name: &str, options: ExchangeDeclareOptions) -> Result<(), Failure> {
        let channel = self.channel().await?;
        Ok(channel
            .exchange_declare(name.into(), ExchangeKind::Fanout, options, FieldTable::default())
            .await?)
    }
}

/// True where an exchange is of the right type, and something else about it is not as we would make it.
fn differs_otherwise(refused: &Failure) -> bool {
    matches!(refused, Failure::Refused { code: DIFFERENT, text } if !text.contains("arg 'type'"))
}
