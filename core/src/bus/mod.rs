//! The bus: how the parts and the outside world talk. One trait, two ends: [`amqp`] (RabbitMQ) and [`local`] (in process).

pub mod amqp;
#[cfg(any(test, feature = "behaviour"))]
pub mod behaviour;
pub mod local;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::{names::RequestQueue, tls::Authorities};

/// Something that must exist at the broker. It is declared at once and again on every new link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declaration {
    /// A request queue: durable, not auto-deleted, **no arguments** (contract "Queues").
    Request(RequestQueue),
    /// A durable queue of ours, no arguments.
    Queue(String),
    /// The same, and it gets what is sent to a fanout exchange, also while nobody listens. The exchange must exist.
    Bound {
        /// The queue's name.
        queue: String,
        /// The exchange's name.
        exchange: String,
    },
    /// A fanout exchange; looked for passively first, for an older system may have made it otherwise.
    Fanout {
        /// Its name.
        name: String,
        /// Survives a restart of the broker.
        durable: bool,
    },
}

impl Declaration {
    /// The name of the queue or exchange.
    pub fn name(&self) -> String {
        match self {
            Self::Request(queue) => queue.to_string(),
            Self::Queue(name) | Self::Bound { queue: name, .. } | Self::Fanout { name, .. } => name.clone(),
        }
    }
}

/// What to consume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Queues that were declared with [`Bus::declare`], all on one channel.
    Queues(Vec<String>),
    /// The same for one of several that are to relieve each other: while a consumer of a greater rank takes messages, those of
    /// smaller ones get none. A leader that hangs cannot eat what is meant for the next. In process there is only one.
    Ranked {
        /// The queues.
        queues: Vec<String>,
        /// The leader's epoch.
        rank: i64,
    },
    /// A queue of this process alone (auto-deleted, not durable), bound to fanout exchanges. It is made anew on every new link.
    Mailbox {
        /// Its name, with our prefix `proofhouse.`.
        name: String,
        /// Exchanges that it listens to. They must have been declared.
        exchanges: Vec<String>,
    },
}

impl Source {
    /// The rank among those that consume the same.
    const fn rank(&self) -> Option<i64> {
        match self {
            Self::Ranked { rank, .. } => Some(*rank),
            Self::Queues(_) | Self::Mailbox { .. } => None,
        }
    }
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A queue, through the default exchange. A queue that does not exist swallows the message, as with any client.
    Queue(String),
    /// The same, but it is an error when the queue does not exist.
    ExistingQueue(String),
    /// A fanout exchange, with an empty routing key.
    Fanout(String),
}

/// The reason why a message for [`Target::ExistingQueue`] is refused.
fn no_queue(queue: &str) -> String {
    format!("there is no queue {queue}")
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The bytes.
    pub body: Bytes,
    /// Kept on the broker's disk.
    pub persistent: bool,
    /// Dropped by the broker when nobody took it for so long.
    pub ttl: Option<Duration>,
}

impl Message {
    /// A persistent message without an end.
    pub fn persistent(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), persistent: true, ttl: None }
    }

    /// A message that is worth nothing after `ttl`.
    pub fn passing(body: impl Into<Bytes>, ttl: Duration) -> Self {
        Self { body: body.into(), persistent: false, ttl: Some(ttl) }
    }
}

/// Why the bus did not do it.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The URL is no bus URL.
    #[error("the bus URL is not valid: {0}")]
    Url(String),
    /// The broker cannot be reached, or the link broke. Try again: the link comes back by itself.
    #[error("the broker at {address} is away: {reason}")]
    Away {
        /// Host, port and vhost; never the password.
        address: String,
        /// The cause.
        reason: String,
    },
    /// The broker says no; trying again does not help.
    #[error("the broker at {address} refuses: {reason}")]
    Refused {
        /// Host, port and vhost.
        address: String,
        /// The broker's text.
        reason: String,
    },
    /// Something does not exist that this user may not make. Somebody else may make it yet.
    #[error("the broker at {address} lacks what this user may not make: {reason}")]
    Missing {
        /// Host, port and vhost.
        address: String,
        /// What, and what to do.
        reason: String,
    },
    /// The link that this delivery came by is gone; the broker delivers it again.
    #[error("the link that this message came by is gone; it will be delivered again")]
    Stale,
}

impl BusError {
    /// True where the same call may work later.
    pub const fn may_retry(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Missing { .. } | Self::Stale)
    }
}

/// The state of the link to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// True while connected and everything is declared.
    pub up: bool,
    /// Grows with every new link; 1 is the first.
    pub generation: u64,
    /// The broker takes no messages for now, from nobody: it is low on memory or disk.
    pub blocked: bool,
}

/// Says whether a message was dealt with. Dropping it without a word leaves the message with the broker.
#[async_trait]
pub trait Settle: Send + Sync {
    /// The message is dealt with.
    async fn ack(&self) -> Result<(), BusError>;
    /// The message goes back to its queue.
    async fn requeue(&self) -> Result<(), BusError>;
    /// The subscription it came by and its number there, from 1, where an end acknowledges many at once.
    fn place(&self) -> Option<(u64, u64)> {
        None
    }
    /// True where its link is gone: it comes again by another.
    fn is_stale(&self) -> bool {
        false
    }
}

/// A message that came.
pub struct Delivery {
    /// The queue it came by.
    pub queue: String,
    /// The bytes.
    pub body: Bytes,
    /// The broker gave it out before, and heard nothing.
    pub redelivered: bool,
    /// How to settle it.
    pub settle: Arc<dyn Settle>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body may belong to a private run.
        f.debug_struct("Delivery")
            .field("queue", &self.queue)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A running subscription. It goes on over new links; what was not settled comes again. Dropping it ends it, and what was
/// delivered but not settled goes back to the queue.
pub struct Consumer {
    deliveries: mpsc::Receiver<Delivery>,
    barrier: Arc<dyn Barrier>,
}

/// Acknowledges, and waits until the broker has dealt with every acknowledgement sent so far.
#[async_trait]
pub trait Barrier: Send + Sync {
    /// Errors when the link broke: then nothing is known of the last acknowledgements.
    async fn settled(&self) -> Result<(), BusError>;

    /// All of these are dealt with. Errors where some came by a link that is gone; the others are acknowledged.
    async fn ack(&self, deliveries: &[Delivery]) -> Result<(), BusError> {
        let mut outcome = Ok(());
        for delivery in deliveries {
            outcome = outcome.and(delivery.settle.ack().await);
        }
        outcome
    }
}

impl Consumer {
    /// For the ends of the bus.
    pub fn new(deliveries: mpsc::Receiver<Delivery>, barrier: Arc<dyn Barrier>) -> Self {
        Self { deliveries, barrier }
    }

    /// The next message. None once the bus is closed.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.deliveries.recv().await
    }

    /// A message that is there already.
    pub fn try_next(&mut self) -> Option<Delivery> {
        self.deliveries.try_recv().ok()
    }

    /// Returns once every acknowledgement sent before is known to have reached the broker.
    pub async fn settled(&self) -> Result<(), BusError> {
        self.barrier.settled().await
    }

    /// What acknowledges this consumer's messages, many at once, while others come.
    pub fn barrier(&self) -> Arc<dyn Barrier> {
        self.barrier.clone()
    }
}

/// The bus.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Makes sure that these exist, now and on every new link. Waits for the link.
    async fn declare(&self, declarations: &[Declaration]) -> Result<(), BusError>;

    /// Sends a message and returns when the broker has confirmed it. Waits for the link, and sends again after a cut:
    /// a message can arrive twice, never not at all.
    async fn publish(&self, target: &Target, message: Message) -> Result<(), BusError>;

    /// Begins to consume; `prefetch` bounds what is delivered and not settled, over all queues of the source.
    async fn consume(&self, source: Source, prefetch: u16) -> Result<Consumer, BusError>;

    /// True where the broker started anew since [`Bus::greet`]: what it had heard and not written down yet it has forgotten. False
    /// where a broker cannot forget. Waits for the link.
    async fn has_restarted(&self) -> Result<bool, BusError> {
        Ok(false)
    }

    /// Leaves a mark that does not outlive the broker's process. [`BusError::Refused`] where this user may not.
    async fn greet(&self) -> Result<(), BusError> {
        Ok(())
    }

    /// The state of the link.
    fn link(&self) -> watch::Receiver<Link>;

    /// Why there is no link, in a sentence for people; none where there is one, or nobody knows yet.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// The broker's address without the password, for people.
    fn address(&self) -> String;

    /// Ends all consumers and the link.
    async fn close(&self);
}

/// The bus of a URL: `amqp[s]://user:password@host:port/vhost`, or `local:`, which is a new bus at every call: parts that are
/// to talk over it share the one.
///
/// Returns at once, whether the broker is there or not; errors for a bad URL only.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn connect(url: &str, connection_name: &str) -> Result<Arc<dyn Bus>, BusError> {
    connect_trusting(url, connection_name, &Authorities::default())
}

/// As [`connect`]; these may sign the broker's certificate beside those that the system trusts.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn connect_trusting(
    url: &str,
    connection_name: &str,
    authorities: &Authorities,
) -> Result<Arc<dyn Bus>, BusError> {
    match url.split_once(':') {
        Some(("local", "")) => Ok(Arc::new(local::Local::new())),
        Some(("amqp" | "amqps", _)) => Ok(Arc::new(amqp::Amqp::connect(url, connection_name, authorities)?)),
        _ => Err(BusError::Url("it begins with amqp://, amqps:// or is local:".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bad_url_is_an_error_at_once_and_an_absent_broker_is_none() {
        for url in ["local:x", "http://host", "", "amqp://"] {
            assert!(matches!(connect(url, "test"), Err(BusError::Url(_))), "{url}");
        }
        // Port 1 of this machine: nobody listens.
        let bus = connect("amqp://u:p@127.0.0.1:1", "test").unwrap();
        assert_eq!(
            (bus.address().as_str(), *bus.link().borrow()),
            ("127.0.0.1:1", Link { up: false, generation: 0, blocked: false })
        );
        bus.close().await;
        assert!(connect("local:", "test").unwrap().link().borrow().up);
    }
}
