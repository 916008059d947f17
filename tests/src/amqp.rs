//! An AMQP client that behaves as the clients of the contract do.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use lapin::{
    BasicProperties, Connection, ConnectionProperties, Consumer,
    options::{BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};

/// A connection to a broker.
#[derive(Debug)]
pub struct AmqpClient {
    connection: Connection,
}

impl AmqpClient {
    /// Connects.
    pub async fn connect(url: &str) -> Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        Ok(Self { connection })
    }

    /// Publishes a request as britney does (contract "Queues", "Body"): to the default exchange, with content encoding
    /// and delivery mode and nothing else, without a declaration or a confirm. Returns once the broker has read it.
    pub async fn publish(&self, queue: &str, body: &[u8]) -> Result<()> {
        let channel = self.connection.create_channel().await?;
        let properties =
            BasicProperties::default().with_content_encoding("UTF-8".into()).with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        channel.basic_publish("".into(), queue.into(), options, body, properties).await?.await?;
        // The broker answers after it has read what came before on the channel.
        channel.close(200, "published".into()).await?;
        Ok(())
    }

    /// Declares a queue as the contract has it: durable, not auto-deleted, no arguments.
    pub async fn declare(&self, queue: &str) -> Result<()> {
        let channel = self.connection.create_channel().await?;
        channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), FieldTable::default()).await?;
        channel.close(200, "declared".into()).await?;
        Ok(())
    }

    /// How many messages wait in a queue (delivered and unacknowledged ones do not count); none where it does not exist.
    pub async fn depth(&self, queue: &str) -> Result<Option<u32>> {
        // Asking for a queue that is missing closes the channel, so each question has its own.
        let channel = self.connection.create_channel().await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let Ok(answer) = channel.queue_declare(queue.into(), options, FieldTable::default()).await else {
            anyhow::ensure!(self.connection.status().connected(), "the connection is gone");
            return Ok(None);
        };
        channel.close(200, "counted".into()).await?;
        Ok(Some(answer.message_count()))
    }

    /// Takes the next message of a queue out of it, if there is one.
    pub async fn take(&self, queue: &str) -> Result<Option<Vec<u8>>> {
        let channel = self.connection.create_channel().await?;
        let options = lapin::options::BasicGetOptions { no_ack: true };
        let message = channel.basic_get(queue.into(), options).await?;
        channel.close(200, "taken".into()).await?;
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
        Ok(self.connection.close(200, "done".into()).await?)
    }
}

/// What comes by a fanout exchange.
#[derive(Debug)]
pub struct Listener {
    consumer: Consumer,
}

impl Listener {
    /// The next message.
    pub async fn next(&mut self, timeout: Duration) -> Result<Vec<u8>> {
        let next = tokio::time::timeout(timeout, self.consumer.next()).await;
        let message = next.with_context(|| format!("no message within {timeout:?}"))?;
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
        tokio::time::timeout(timeout, search).await.context("no such message came")?
    }
}
