//! An AMQP client that behaves as the clients of the contract do.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer,
    options::{
        BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions,
    },
    tcp::OwnedTLSConfig,
    types::FieldTable,
};

use crate::{certificates::authority, wait::within};

/// A call that the broker's death interrupts may never return (lapin 4.12), so none is waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gate, and somebody who may look at everything.
#[derive(Debug)]
pub struct AmqpClient {
    gate: Connection,
    connection: Connection,
}

/// A connection, with TLS where the URL says so.
pub async fn connection(url: &str) -> Result<Connection> {
    let tls = OwnedTLSConfig { identity: None, cert_chain: Some(authority()?.pem().to_owned()) };
    let properties = ConnectionProperties::default();
    let made = Connection::connect_with_config(url, properties, tls, lapin::runtime::default_runtime()?);
    Ok(within("connecting to the broker", PATIENCE, made).await??)
}

impl AmqpClient {
    /// Connects as one user.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_as(url, url).await
    }

    /// Publishes as one user, and does all else as another.
    pub async fn connect_as(gate: &str, url: &str) -> Result<Self> {
        Ok(Self { gate: connection(gate).await?, connection: connection(url).await? })
    }

    /// Publishes a request as britney does (contract "Queues", "Body"): to the default exchange, with content encoding
    /// and delivery mode and nothing else, without a declaration or a confirm. Returns once the broker has read it.
    pub async fn publish(&self, queue: &str, body: &[u8]) -> Result<()> {
        on_channel(&self.gate, "publishing", async |channel| {
            let properties =
                BasicProperties::default().with_content_encoding("UTF-8".into()).with_delivery_mode(2);
            let options = BasicPublishOptions::default();
            channel.basic_publish("".into(), queue.into(), options, body, properties).await?.await?;
            Ok(())
        })
        .await
    }

    /// Declares a queue as the contract has it: durable, not auto-deleted, no arguments.
    pub async fn declare(&self, queue: &str) -> Result<()> {
        on_channel(&self.connection, "declaring a queue", async |channel| {
            let options = QueueDeclareOptions::durable();
            channel.queue_declare(queue.into(), options, FieldTable::default()).await.map(drop)
        })
        .await
    }

    /// How many messages wait in a queue (delivered and unacknowledged ones do not count); none where it does not exist.
    pub async fn depth(&self, queue: &str) -> Result<Option<u32>> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = on_channel(&self.connection, "counting messages", async |channel| {
            channel.queue_declare(queue.into(), options, FieldTable::default()).await
        })
        .await;
        match asked {
            Ok(queue) => Ok(Some(queue.message_count())),
            Err(e) if e.to_string().contains("NOT_FOUND") => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Takes the next message of a queue out of it, if there is one.
    pub async fn take(&self, queue: &str) -> Result<Option<Vec<u8>>> {
        let options = BasicGetOptions { no_ack: true };
        let get = async |channel: &Channel| channel.basic_get(queue.into(), options).await;
        let message = on_channel(&self.connection, "taking a message", get).await?;
        Ok(message.map(|message| message.delivery.data))
    }

    /// Listens to a fanout exchange, which must exist. What is sent after this returned is collected.
    pub async fn listen(&self, exchange: &str) -> Result<Listener> {
        let channel = self.connection.create_channel().await?;
        let options =
            QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
        let name = queue.name().clone();
        let bind = QueueBindOptions::default();
        channel.queue_bind(name.clone(), exchange.into(), "".into(), bind, FieldTable::default()).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(name, "".into(), options, FieldTable::default()).await?;
        Ok(Listener { consumer })
    }

    /// Closes the connection.
    pub async fn close(self) -> Result<()> {
        within("closing", PATIENCE, self.gate.close(200, "done".into())).await??;
        Ok(within("closing", PATIENCE, self.connection.close(200, "done".into())).await??)
    }
}

/// Each call has a channel of its own, for the broker closes it with an error. After the channel's end the broker has
/// read all that went before.
async fn on_channel<T>(
    connection: &Connection,
    what: &str,
    call: impl AsyncFnOnce(&Channel) -> lapin::Result<T>,
) -> Result<T> {
    let whole = async {
        let channel = connection.create_channel().await?;
        let answer = call(&channel).await?;
        channel.close(200, "done".into()).await?;
        Ok(answer)
    };
    within(what, PATIENCE, whole).await?
}

/// What comes by a fanout exchange.
#[derive(Debug)]
pub struct Listener {
    consumer: Consumer,
}

impl Listener {
    /// The next message.
    pub async fn next(&mut self, timeout: Duration) -> Result<Vec<u8>> {
        let message = within("waiting for a message", timeout, self.consumer.next()).await?;
        Ok(message.context("the connection is gone")??.data)
    }

    /// The next message that is JSON and has what is wanted; others are skipped.
    pub async fn next_json(
        &mut self,
        timeout: Duration,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> Result<serde_json::Value> {
        let search = async {
            loop {
                let value = serde_json::from_slice(&self.next(timeout).await?)?;
                if wanted(&value) {
                    return Ok(value);
                }
            }
        };
        within("waiting for such a message", timeout, search).await?
    }
}
