//! What an in-process broker holds and decides: messages, who gets them, what comes back. No locks and no tasks in here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

/// Names a consumer.
pub(super) type ConsumerId = u64;

/// Names a delivery of a consumer.
pub(super) type Tag = u64;

/// A message in a queue.
#[derive(Debug, Clone)]
struct Stored {
    /// Its place in the queue: one that comes back takes its old place again.
    place: u64,
    body: Bytes,
    ends: Option<Instant>,
    redelivered: bool,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Stored>,
    /// The next one to get a message is in front.
    consumers: VecDeque<ConsumerId>,
    /// Vanishes with its last consumer.
    mailbox: bool,
}

#[derive(Debug)]
struct Subscriber {
    prefetch: usize,
    queues: Vec<String>,
    unsettled: BTreeMap<Tag, (String, Stored)>,
}

/// A message on its way to a consumer.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) consumer: ConsumerId,
    pub(super) tag: Tag,
    pub(super) queue: String,
    pub(super) body: Bytes,
    pub(super) redelivered: bool,
}

/// The broker's state.
#[derive(Debug, Default)]
pub(super) struct Broker {
    queues: HashMap<String, Queue>,
    exchanges: HashMap<String, BTreeSet<String>>,
    subscribers: BTreeMap<ConsumerId, Subscriber>,
    /// Numbers messages, deliveries and consumers.
    counter: u64,
}

impl Broker {
    pub(super) fn declare_queue(&mut self, name: &str) {
        self.queues.entry(name.to_owned()).or_default();
    }

    pub(super) fn declare_fanout(&mut self, name: &str) {
        self.exchanges.entry(name.to_owned()).or_default();
    }

    pub(super) fn has_queue(&self, name: &str) -> bool {
        self.queues.contains_key(name)
    }

    pub(super) fn has_exchange(&self, name: &str) -> bool {
        self.exchanges.contains_key(name)
    }

    /// A queue that vanishes with its last consumer, bound to these exchanges.
    pub(super) fn make_mailbox(&mut self, name: &str, exchanges: &[String]) {
        self.queues.entry(name.to_owned()).or_insert_with(|| Queue { mailbox: true, ..Queue::default() });
        for exchange in exchanges {
            self.bind(name, exchange);
        }
    }

    /// The queue gets what is sent to an exchange that exists.
    pub(super) fn bind(&mut self, queue: &str, exchange: &str) {
        if let Some(bound) = self.exchanges.get_mut(exchange) {
            bound.insert(queue.to_owned());
        }
    }

    /// Puts a message into a queue; one that does not exist swallows it.
    pub(super) fn publish(&mut self, queue: &str, body: Bytes, ttl: Option<Duration>, now: Instant) {
        let place = self.count();
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.drop_ended(now);
            let ends = ttl.map(|ttl| now + ttl);
            queue.messages.push_back(Stored { place, body, ends, redelivered: false });
        }
    }

    /// The queues that an exchange leads to.
    pub(super) fn bound_to(&self, exchange: &str) -> Vec<String> {
        self.exchanges.get(exchange).into_iter().flatten().cloned().collect()
    }

    /// A new consumer of queues that exist.
    pub(super) fn subscribe(&mut self, queues: Vec<String>, prefetch: u16) -> ConsumerId {
        let id = self.count();
        for name in &queues {
            self.queues.entry(name.clone()).or_default().consumers.push_back(id);
        }
        let subscriber = Subscriber { prefetch: usize::from(prefetch), queues, unsettled: BTreeMap::new() };
        self.subscribers.insert(id, subscriber);
        id
    }

    /// Ends a consumer; what it did not settle goes back to its place. Gives the queues where something may now be due.
    pub(super) fn unsubscribe(&mut self, id: ConsumerId, now: Instant) -> Vec<String> {
        let Some(subscriber) = self.subscribers.remove(&id) else { return Vec::new() };
        for name in &subscriber.queues {
            if let Some(queue) = self.queues.get_mut(name) {
                queue.consumers.retain(|other| *other != id);
            }
        }
        for (name, message) in subscriber.unsettled.into_values() {
            self.put_back(&name, message, now);
        }
        for name in &subscriber.queues {
            self.remove_mailbox_without_consumer(name);
        }
        subscriber.queues
    }

    /// A delivery is dealt with. False where the consumer is gone. Settling twice has no effect.
    pub(super) fn ack(&mut self, id: ConsumerId, tag: Tag) -> bool {
        self.subscribers.get_mut(&id).map(|subscriber| subscriber.unsettled.remove(&tag)).is_some()
    }

    /// A delivery goes back to its place. False where the consumer is gone.
    pub(super) fn requeue(&mut self, id: ConsumerId, tag: Tag, now: Instant) -> bool {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return false };
        if let Some((queue, message)) = subscriber.unsettled.remove(&tag) {
            self.put_back(&queue, message, now);
        }
        true
    }

    /// The queues of a consumer, where something is due when it has room again.
    pub(super) fn queues_of(&self, id: ConsumerId) -> Vec<String> {
        self.subscribers.get(&id).map(|subscriber| subscriber.queues.clone()).unwrap_or_default()
    }

    /// The next message of a queue and who gets it: the consumers that have room take turns.
    pub(super) fn next_due(&mut self, name: &str, now: Instant) -> Option<Outgoing> {
        let tag = self.count();
        let queue = self.queues.get_mut(name)?;
        queue.drop_ended(now);
        let subscribers = &self.subscribers;
        let turn =
            queue.consumers.iter().position(|id| subscribers.get(id).is_some_and(Subscriber::has_room))?;
        let message = queue.messages.pop_front()?;
        let consumer = queue.consumers.remove(turn)?;
        queue.consumers.push_back(consumer);
        let (body, redelivered) = (message.body.clone(), message.redelivered);
        let subscriber = self.subscribers.get_mut(&consumer)?;
        subscriber.unsettled.insert(tag, (name.to_owned(), message));
        subscriber.had_from(name);
        Some(Outgoing { consumer, tag, queue: name.to_owned(), body, redelivered })
    }

    fn put_back(&mut self, name: &str, mut message: Stored, now: Instant) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        if message.has_ended(now) {
            return;
        }
        message.redelivered = true;
        let at = queue.messages.partition_point(|other| other.place < message.place);
        queue.messages.insert(at, message);
    }

    fn remove_mailbox_without_consumer(&mut self, name: &str) {
        if self.queues.get(name).is_some_and(|queue| queue.mailbox && queue.consumers.is_empty()) {
            self.queues.remove(name);
            for bound in self.exchanges.values_mut() {
                bound.remove(name);
            }
        }
    }

    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}

impl Stored {
    fn has_ended(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }
}

impl Queue {
    /// At the front only, as brokers do: a message behind one that lasts waits for its turn.
    fn drop_ended(&mut self, now: Instant) {
        while self.messages.front().is_some_and(|message| message.has_ended(now)) {
            self.messages.pop_front();
        }
    }
}

impl Subscriber {
    /// Its other queues come first now.
    fn had_from(&mut self, name: &str) {
        if let Some(at) = self.queues.iter().position(|queue| queue == name) {
            let queue = self.queues.remove(at);
            self.queues.push(queue);
        }
    }

    fn has_room(&self) -> bool {
        self.unsettled.len() < self.prefetch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(queue: &str, bodies: &[&'static str], now: Instant) -> Broker {
        let mut broker = Broker::default();
        broker.declare_queue(queue);
        for body in bodies {
            broker.publish(queue, Bytes::from_static(body.as_bytes()), None, now);
        }
        broker
    }

    #[test]
    fn what_ended_makes_room_without_a_consumer() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut broker = broker("q", &[], start);
        for n in 0..5 {
            broker.publish("q", Bytes::from_static(b"offer"), Some(second), start + second * n);
        }
        assert_eq!(broker.queues["q"].messages.len(), 1);
        broker.subscribe(vec!["q".into()], 10);
        assert!(broker.next_due("q", start + second * 5).is_none());
    }

    #[test]
    fn what_comes_back_takes_its_old_place() {
        let now = Instant::now();
        let mut broker = broker("q", &["1", "2", "3", "4"], now);
        let gone = broker.subscribe(vec!["q".into()], 3);
        while broker.next_due("q", now).is_some() {}
        let tags: Vec<_> = broker.subscribers[&gone].unsettled.keys().copied().collect();
        // In an order of its own: the third, then the rest with the consumer.
        assert!(broker.requeue(gone, tags[2], now));
        broker.unsubscribe(gone, now);
        broker.subscribe(vec!["q".into()], 9);
        let due: Vec<_> = std::iter::from_fn(|| broker.next_due("q", now))
            .map(|outgoing| (outgoing.body, outgoing.redelivered))
            .collect();
        let expected = [("1", true), ("2", true), ("3", true), ("4", false)];
        assert_eq!(
            due,
            expected.map(|(body, redelivered)| (Bytes::from_static(body.as_bytes()), redelivered))
        );
    }

    #[test]
    fn a_mailbox_goes_with_its_last_consumer() {
        let now = Instant::now();
        let mut broker = Broker::default();
        broker.declare_fanout("news");
        broker.make_mailbox("box", &["news".into()]);
        let ids = [broker.subscribe(vec!["box".into()], 1), broker.subscribe(vec!["box".into()], 1)];
        broker.unsubscribe(ids[0], now);
        assert_eq!(broker.bound_to("news"), ["box"]);
        broker.unsubscribe(ids[1], now);
        assert!(broker.bound_to("news").is_empty() && !broker.has_queue("box"));
    }
}
