//! The bus within one process: what RabbitMQ does for the parts of one `proofhouse up`, without RabbitMQ.
//!
//! The same semantics as the other end; nothing outlives the process. A lock guards the state and is never held over a wait.

mod broker;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use self::broker::{Broker, ConsumerId, Outgoing, Tag};
use super::{
    Barrier, Bus, BusError, Consumer, Declaration, Delivery, Link, Message, Settle, Source, Target, no_queue,
};

/// How this end is called where an address is shown.
const ADDRESS: &str = "local:";

/// The in-process end. Clones share one bus.
#[derive(Clone)]
pub struct Local {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    link: watch::Sender<Link>,
}

#[derive(Default)]
struct State {
    broker: Broker,
    /// Each as large as the consumer's prefetch, so that there is always room.
    outlets: HashMap<ConsumerId, mpsc::Sender<Delivery>>,
    closed: bool,
}

impl Local {
    /// An empty bus.
    pub fn new() -> Self {
        let link = watch::Sender::new(Link { up: true, generation: 1, blocked: false });
        Self { inner: Arc::new(Inner { state: Mutex::default(), link }) }
    }
}

impl Default for Local {
    fn default() -> Self {
        Self::new()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, BusError> {
        let state = self.state();
        if state.closed {
            return Err(BusError::Away { address: ADDRESS.into(), reason: "this end is closed".into() });
        }
        Ok(state)
    }

    /// Gives out what is due in these queues.
    fn deliver(self: &Arc<Self>, state: &mut State, queues: &[String]) {
        let now = Instant::now();
        for queue in queues {
            while let Some(outgoing) = state.broker.next_due(queue, now) {
                // Where the receiver is gone its end comes by `Ticket::drop`, which puts the message back.
                if let Some(outlet) = state.outlets.get(&outgoing.consumer) {
                    drop(outlet.try_send(self.delivery(outgoing)));
                }
            }
        }
    }

    fn delivery(self: &Arc<Self>, outgoing: Outgoing) -> Delivery {
        let Outgoing { consumer, tag, queue, body, redelivered } = outgoing;
        Delivery {
            queue,
            body,
            redelivered,
            settle: Arc::new(Receipt { inner: self.clone(), consumer, tag }),
        }
    }

    fn settle(
        self: &Arc<Self>,
        consumer: ConsumerId,
        how: impl FnOnce(&mut Broker) -> bool,
    ) -> Result<(), BusError> {
        let mut state = self.state();
        if !how(&mut state.broker) {
            return Err(BusError::Stale);
        }
        let queues = state.broker.queues_of(consumer);
        self.deliver(&mut state, &queues);
        Ok(())
    }
}

fn refused(reason: String) -> BusError {
    BusError::Refused { address: ADDRESS.into(), reason }
}

/// The queues of a source; a mailbox is made.
fn prepare(broker: &mut Broker, source: Source) -> Result<Vec<String>, BusError> {
    match source {
        Source::Queues(names) | Source::Ranked { queues: names, .. } => {
            match names.iter().find(|name| !broker.has_queue(name)) {
                Some(missing) => Err(refused(format!("there is no queue {missing}"))),
                None => Ok(names),
            }
        }
        Source::Mailbox { name, exchanges } => {
            if let Some(missing) = exchanges.iter().find(|exchange| !broker.has_exchange(exchange)) {
                return Err(refused(format!("there is no exchange {missing}")));
            }
            broker.make_mailbox(&name, &exchanges);
            Ok(vec![name])
        }
    }
}

#[async_trait]
impl Bus for Local {
    async fn declare(&self, declarations: &[Declaration]) -> Result<(), BusError> {
        let mut state = self.inner.open()?;
        for declaration in declarations {
            match declaration {
                Declaration::Fanout { name, .. } => state.broker.declare_fanout(name),
                Declaration::Bound { exchange, .. } if !state.broker.has_exchange(exchange) => {
                    return Err(refused(format!("there is no exchange {exchange}")));
                }
                Declaration::Bound { queue, exchange } => {
                    state.broker.declare_queue(queue);
                    state.broker.bind(queue, exchange);
                }
                Declaration::Request(_) | Declaration::Queue(_) => {
                    state.broker.declare_queue(&declaration.name());
                }
            }
        }
        Ok(())
    }

    async fn publish(&self, target: &Target, message: Message) -> Result<(), BusError> {
        let mut state = self.inner.open()?;
        let queues = match target {
            Target::ExistingQueue(queue) if !state.broker.has_queue(queue) => {
                return Err(refused(no_queue(queue)));
            }
            Target::Queue(queue) | Target::ExistingQueue(queue) => vec![queue.clone()],
            Target::Fanout(exchange) if state.broker.has_exchange(exchange) => {
                state.broker.bound_to(exchange)
            }
            Target::Fanout(exchange) => return Err(refused(format!("there is no exchange {exchange}"))),
        };
        let now = Instant::now();
        for queue in &queues {
            state.broker.publish(queue, message.body.clone(), message.ttl, now);
        }
        self.inner.deliver(&mut state, &queues);
        Ok(())
    }

    async fn consume(&self, source: Source, prefetch: u16) -> Result<Consumer, BusError> {
        let prefetch = prefetch.max(1);
        let mut state = self.inner.open()?;
        let queues = prepare(&mut state.broker, source)?;
        let consumer = state.broker.subscribe(queues.clone(), prefetch);
        let (outlet, deliveries) = mpsc::channel(usize::from(prefetch));
        state.outlets.insert(consumer, outlet);
        self.inner.deliver(&mut state, &queues);
        drop(state);
        Ok(Consumer::new(deliveries, Arc::new(Ticket { inner: self.inner.clone(), consumer })))
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.inner.link.subscribe()
    }

    fn address(&self) -> String {
        ADDRESS.into()
    }

    async fn close(&self) {
        let outlets = {
            let mut state = self.inner.state();
            state.closed = true;
            state.broker = Broker::default();
            std::mem::take(&mut state.outlets)
        };
        drop(outlets);
        self.inner.link.send_modify(|link| link.up = false);
    }
}

/// Held by the consumer alone: its end is the consumer's end.
struct Ticket {
    inner: Arc<Inner>,
    consumer: ConsumerId,
}

#[async_trait]
impl Barrier for Ticket {
    /// Acknowledgements take effect at once here.
    async fn settled(&self) -> Result<(), BusError> {
        self.inner.open().map(drop)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        state.outlets.remove(&self.consumer);
        let queues = state.broker.unsubscribe(self.consumer, Instant::now());
        self.inner.deliver(&mut state, &queues);
    }
}

struct Receipt {
    inner: Arc<Inner>,
    consumer: ConsumerId,
    tag: Tag,
}

#[async_trait]
impl Settle for Receipt {
    async fn ack(&self) -> Result<(), BusError> {
        self.inner.settle(self.consumer, |broker| broker.ack(self.consumer, self.tag))
    }

    async fn requeue(&self) -> Result<(), BusError> {
        let now = Instant::now();
        self.inner.settle(self.consumer, |broker| broker.requeue(self.consumer, self.tag, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::behaviour;

    #[tokio::test]
    async fn it_behaves_as_a_bus() {
        behaviour::all(&Local::new(), "local").await;
    }

    #[tokio::test]
    async fn clones_share_one_bus() {
        let (one, two) = (Local::new(), Local::new());
        let other = one.clone();
        for bus in [&one, &two] {
            bus.declare(&[Declaration::Queue("q".into())]).await.unwrap();
        }
        one.publish(&Target::Queue("q".into()), Message::persistent("hello")).await.unwrap();
        let mut consumer = other.consume(Source::Queues(vec!["q".into()]), 1).await.unwrap();
        assert_eq!(consumer.try_next().unwrap().body, "hello");
        let mut apart = two.consume(Source::Queues(vec!["q".into()]), 1).await.unwrap();
        assert!(apart.try_next().is_none());
    }

    #[tokio::test]
    async fn a_consumers_queues_take_turns() {
        let bus = Local::new();
        let queues = ["a", "b"].map(str::to_owned);
        bus.declare(&queues.clone().map(Declaration::Queue)).await.unwrap();
        for queue in &queues {
            for _ in 0..3 {
                bus.publish(&Target::Queue(queue.clone()), Message::persistent("")).await.unwrap();
            }
        }
        let mut consumer = bus.consume(Source::Queues(queues.to_vec()), 1).await.unwrap();
        let mut order = String::new();
        while let Some(delivery) = consumer.try_next() {
            order += &delivery.queue;
            delivery.settle.ack().await.unwrap();
        }
        assert_eq!(order, "ababab");
    }

    #[tokio::test]
    async fn consumers_take_turns() {
        let bus = Local::new();
        bus.declare(&[Declaration::Queue("q".into())]).await.unwrap();
        let source = Source::Queues(vec!["q".into()]);
        let mut one = bus.consume(source.clone(), 10).await.unwrap();
        let mut two = bus.consume(source, 10).await.unwrap();
        for n in 0..4 {
            bus.publish(&Target::Queue("q".into()), Message::persistent(n.to_string())).await.unwrap();
        }
        let got = |consumer: &mut Consumer| {
            std::iter::from_fn(|| consumer.try_next()).map(|d| d.body).collect::<Vec<_>>()
        };
        assert_eq!(
            (got(&mut one), got(&mut two)),
            (vec!["0".into(), "2".into()], vec!["1".into(), "3".into()])
        );
    }
}
