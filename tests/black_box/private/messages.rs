//! Everything that goes over a vhost of the broker, by its tracer.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use lapin::{
    Connection,
    message::Delivery,
    options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use proofhouse_tests::{amqp, shared};

use super::words::{Mark, tokens};

/// A message as it was published.
#[derive(Debug, Clone)]
struct Traced {
    exchange: String,
    key: String,
    body: Vec<u8>,
}

/// Listens to all that is published until it is dropped.
pub(crate) struct Tracer {
    heard: Arc<Mutex<Vec<Traced>>>,
    _connection: Connection,
}

impl Tracer {
    /// On the shared broker.
    pub(crate) async fn start(bus: &str) -> Result<Self> {
        let url = url::Url::parse(bus)?;
        let vhost = url.path().trim_start_matches('/');
        shared::rabbit().await?.eval(&format!("rabbit_trace:start(<<\"{vhost}\">>).")).await?;
        let connection = amqp::connection(bus).await?;
        let channel = connection.create_channel().await?;
        let options =
            QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?.name().clone();
        let (trace, key) = ("amq.rabbitmq.trace".into(), "publish.#".into());
        let bind = QueueBindOptions::default();
        channel.queue_bind(queue.clone(), trace, key, bind, FieldTable::default()).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
        let heard: Arc<Mutex<Vec<Traced>>> = Arc::default();
        let into = heard.clone();
        tokio::spawn(async move {
            while let Some(Ok(delivery)) = consumer.next().await {
                into.lock().unwrap_or_else(PoisonError::into_inner).push(traced(delivery));
            }
        });
        Ok(Self { heard, _connection: connection })
    }

    fn heard(&self) -> Vec<Traced> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who may bind sees nothing of a private run and all of a public one; what only our roles may read has no token.
    pub(crate) fn search(&self, hidden: &Mark, open: &Mark) -> Result<()> {
        let all = self.heard();
        let ours = all.iter().filter(|m| !m.key.starts_with("debci-"));
        for Traced { exchange, key, body } in ours {
            let text = String::from_utf8_lossy(body);
            let anyone = !exchange.is_empty() || key.starts_with("proofhouse.pool.");
            let told = if anyone { hidden.words(body) } else { tokens(hidden, body) };
            ensure!(told.is_empty(), "a message to {exchange:?} {key:?} tells {told:?}: {text}");
        }
        let holds = |mark: &Mark, what: &dyn Fn(&Traced) -> bool| {
            all.iter().filter(|m| what(m)).any(|m| !mark.words(&m.body).is_empty())
        };
        for exchange in ["teststatus.fanout", "testcomplete.fanout"] {
            ensure!(holds(open, &|m| m.exchange == exchange), "nothing public came by {exchange}");
        }
        ensure!(holds(hidden, &|m| m.key.starts_with("proofhouse.worker.")), "no private grant was seen");
        let hushed = |m: &Traced| String::from_utf8_lossy(&m.body).contains("\"private-test\"");
        ensure!(
            all.iter().any(|m| m.exchange == "teststatus.fanout" && hushed(m)),
            "no private status was seen"
        );
        Ok(())
    }
}

fn traced(delivery: Delivery) -> Traced {
    let headers = delivery.properties.headers().clone().unwrap_or_default();
    let key = match headers.inner().get("routing_keys") {
        Some(AMQPValue::FieldArray(keys)) => keys.as_slice().first().and_then(AMQPValue::as_long_string),
        _ => None,
    };
    let exchange = delivery.routing_key.as_str().trim_start_matches("publish.").to_owned();
    Traced { exchange, key: key.map(ToString::to_string).unwrap_or_default(), body: delivery.data }
}

/// What an operator sees of the rejected list: words, and no token.
pub(crate) fn rejected(list: &serde_json::Value, mark: &Mark, bad: usize) -> Result<()> {
    let rows = list.as_array().context("a list")?;
    ensure!(rows.len() == bad, "{} of {bad} are rejected: {list}", rows.len());
    for row in rows {
        let text = row.to_string();
        let told = tokens(mark, text.as_bytes());
        ensure!(told.is_empty(), "the rejected list tells {told:?}: {text}");
        // A body that says "\u0074" says a letter.
        let plain = text.replace("\\\\u003a", ":").replace("\\\\u0040", "@").replace("\\\\u0074", "t");
        ensure!(tokens(mark, plain.as_bytes()).is_empty(), "the rejected list hides a token: {text}");
    }
    let all = mark.words(list.to_string().as_bytes());
    ensure!(
        all.iter().any(|word| word.contains("pkg")),
        "an operator does not see what was rejected: {list}"
    );
    Ok(())
}
