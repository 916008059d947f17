//! Consuming: a subscription on a channel of its own, made anew on every new link.

use std::{sync::Arc, time::Duration};

use futures::{
    StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use lapin::{
    Channel,
    options::{BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    channel,
    declare::declare_all,
    errors::Failure,
    link::{Live, Shared},
    pauses::Pauses,
    settle::{Ledger, Place, Receipt},
};
use crate::bus::{BusError, Consumer, Delivery, Source};

/// How long the broker may take to close a channel before it is left to itself.
const GOODBYE: Duration = Duration::from_secs(2);

/// How often a refused first subscription is tried: a queue that deletes itself can vanish between two steps.
const FIRST_TRIES: u32 = 3;

/// What all subscriptions of a consumer have in common.
struct Order {
    shared: Arc<Shared>,
    source: Source,
    prefetch: u16,
    ledger: Arc<Ledger>,
}

/// A queue's name with a message of it, or None at the stream's end.
type Arrival = (Arc<str>, Option<lapin::Result<lapin::message::Delivery>>);

struct Subscription {
    number: u64,
    channel: Channel,
    lost: CancellationToken,
    arrivals: SelectAll<BoxStream<'static, Arrival>>,
}

/// Why a subscription ended.
enum Ended {
    /// Nobody wants more.
    Done,
    /// The broker or the link ended it.
    Broken(String),
}

/// Subscribes, and goes on in a task until the consumer is dropped or the bus is closed.
pub(super) async fn consume(
    shared: Arc<Shared>,
    source: Source,
    prefetch: u16,
) -> Result<Consumer, BusError> {
    let prefetch = prefetch.max(1);
    let ledger = Arc::new(Ledger::new(shared.address.shown.clone()));
    let order = Order { shared, source, prefetch, ledger: ledger.clone() };
    let first = order.first().await?;
    let (out, deliveries) = mpsc::channel(usize::from(prefetch));
    order.shared.tasks.clone().spawn(async move { order.run(first, out).await });
    Ok(Consumer::new(deliveries, ledger))
}

impl Order {
    async fn first(&self) -> Result<Subscription, BusError> {
        let mut pauses = Pauses::new();
        let mut refusals = 0;
        loop {
            let live = self.shared.live().await?;
            match live.run(self.subscribe(&live)).await {
                Ok(subscription) => return Ok(subscription),
                Err(Failure::Refused { text, .. }) => {
                    refusals += 1;
                    if refusals == FIRST_TRIES {
                        return Err(self.shared.refused(text));
                    }
                }
                Err(Failure::Broken(_)) => {}
            }
            pauses.wait().await;
        }
    }

    async fn run(self, mut subscription: Subscription, out: mpsc::Sender<Delivery>) {
        loop {
            let ended = self.pump(&mut subscription, &out).await;
            self.ledger.left();
            subscription.end().await;
            let Ended::Broken(reason) = ended else { return };
            debug!("a subscription ended: {reason}");
            let again = tokio::select! {
                () = out.closed() => return,
                again = self.again() => again,
            };
            let Ok(next) = again else { return };
            subscription = next;
        }
    }

    /// Hands on what comes. What `out` holds is not settled, and the prefetch bounds that: it is full only after a new link.
    async fn pump(&self, subscription: &mut Subscription, out: &mpsc::Sender<Delivery>) -> Ended {
        let lost = subscription.lost.clone();
        loop {
            let (queue, arrival) = tokio::select! {
                () = out.closed() => return Ended::Done,
                () = self.shared.closed.cancelled() => return Ended::Done,
                // lapin leaves some streams open that meet the end of their link. What they hold comes again.
                () = lost.cancelled() => return Ended::Broken("the link broke".into()),
                Some(arrival) = subscription.arrivals.next() => arrival,
                else => return Ended::Broken("there is nothing to consume".into()),
            };
            let arrived = match arrival {
                Some(Ok(arrived)) => arrived,
                Some(Err(error)) => return Ended::Broken(error.to_string()),
                None => return Ended::Broken(format!("the broker ended the subscription to {queue}")),
            };
            let delivery = self.delivery(subscription, &queue, arrived);
            tokio::select! {
                sent = out.send(delivery) => if sent.is_err() { return Ended::Done },
                () = self.shared.closed.cancelled() => return Ended::Done,
            }
        }
    }

    fn delivery(&self, by: &Subscription, queue: &str, arrived: lapin::message::Delivery) -> Delivery {
        let receipt = Receipt {
            number: by.number,
            tag: arrived.delivery_tag,
            acker: arrived.acker,
            lost: by.lost.clone(),
            ledger: self.ledger.clone(),
        };
        Delivery {
            queue: queue.to_owned(),
            body: arrived.data.into(),
            redelivered: arrived.redelivered,
            settle: Arc::new(receipt),
        }
    }

    /// Subscribes until it works. Errors when the bus is closed.
    async fn again(&self) -> Result<Subscription, BusError> {
        let mut pauses = Pauses::new();
        let mut refusals = 0;
        loop {
            let live = self.shared.live().await?;
            match live.run(self.subscribe(&live)).await {
                Ok(subscription) => return Ok(subscription),
                Err(Failure::Broken(_)) => {}
                Err(Failure::Refused { text, .. }) => {
                    refusals += 1;
                    self.refused_again(&live, refusals, text).await;
                }
            }
            pauses.wait().await;
        }
    }

    /// Declares what was deleted. Where that does not help, says so once.
    async fn refused_again(&self, live: &Live, refusals: u32, text: String) {
        let text = self.restore(live).await.err().map_or(text, Failure::into_text);
        if refusals == 2 {
            let address = &self.shared.address.shown;
            warn!("the broker at {address} refuses a subscription: {text}; trying again until it works");
        }
    }

    /// Declares anew what somebody deleted.
    async fn restore(&self, live: &Live) -> Result<(), Failure> {
        let names = match &self.source {
            Source::Queues(names) | Source::Ranked { queues: names, .. } => names,
            Source::Mailbox { exchanges, .. } => exchanges,
        };
        live.run(declare_all(&live.connection, &self.shared.declared_as(names))).await
    }

    async fn subscribe(&self, live: &Live) -> Result<Subscription, Failure> {
        let channel = channel::open(&live.connection).await?;
        let queues = match &self.source {
            Source::Queues(names) | Source::Ranked { queues: names, .. } => names.clone(),
            Source::Mailbox { name, exchanges } => {
                make_mailbox(&channel, name, exchanges).await?;
                vec![name.clone()]
            }
        };
        // In RabbitMQ "global" means: over all consumers of the channel. Newer brokers want it used only where it is needed.
        let qos = BasicQosOptions { global: queues.len() > 1 };
        channel.basic_qos(self.prefetch, qos).await?;
        let mut arrivals = SelectAll::new();
        for queue in queues {
            arrivals.push(arrivals_of(&channel, &queue, self.source.rank()).await?);
        }
        let lost = live.lost.clone();
        let number = self.ledger.entered(Place { channel: channel.clone(), qos: (self.prefetch, qos), lost });
        Ok(Subscription { number, channel, lost: live.lost.clone(), arrivals })
    }
}

impl Subscription {
    /// Closes the channel: what was not settled goes back to its queue.
    async fn end(self) {
        if self.channel.status().connected() {
            // Where this fails the channel is gone already, or goes with its last handle.
            let _ = timeout(GOODBYE, self.channel.close(200, "OK".into())).await;
        }
    }
}

async fn make_mailbox(channel: &Channel, name: &str, exchanges: &[String]) -> lapin::Result<()> {
    let options = QueueDeclareOptions { auto_delete: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), options, FieldTable::default()).await?;
    for exchange in exchanges {
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(name.into(), exchange.as_str().into(), "".into(), options, arguments).await?;
    }
    Ok(())
}

async fn arrivals_of(
    channel: &Channel,
    queue: &str,
    rank: Option<i64>,
) -> lapin::Result<BoxStream<'static, Arrival>> {
    let options = BasicConsumeOptions::default();
    let mut arguments = FieldTable::default();
    if let Some(rank) = rank {
        arguments.insert("x-priority".into(), AMQPValue::LongLongInt(rank));
    }
    let consumer = channel.basic_consume(queue.into(), "".into(), options, arguments).await?;
    let name: Arc<str> = queue.into();
    let last = name.clone();
    let arrivals = consumer.map(move |arrival| (name.clone(), Some(arrival)));
    Ok(arrivals.chain(stream::once(async move { (last, None) })).boxed())
}
