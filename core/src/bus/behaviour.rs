//! What every end of the bus does, as one function that tests call with an end.
//!
//! # Panics
//! Where the end does something else: these are assertions.
#![expect(clippy::missing_panics_doc, reason = "said once, above")]

use std::{collections::BTreeSet, time::Duration};

use tokio::time::timeout;

use super::{Bus, BusError, Consumer, Declaration, Delivery, Message, Source, Target};

/// Longer than any honest answer takes.
const LONG: Duration = Duration::from_secs(20);

/// All of it. `prefix` makes the names this call's own; queues stay behind at a real broker.
pub async fn all(bus: &dyn Bus, prefix: &str) {
    let name = |what: &str| format!("proofhouse.test.{prefix}.{what}");
    messages_arrive_in_order(bus, &name("order")).await;
    prefetch_bounds_what_is_out(bus, &name("prefetch")).await;
    prefetch_counts_over_all_queues(bus, &name("many")).await;
    a_requeued_message_comes_first(bus, &name("requeue")).await;
    a_dropped_consumer_gives_back(bus, &name("drop")).await;
    a_message_ends_after_its_time(bus, &name("ttl")).await;
    a_queue_that_does_not_exist_swallows(bus, &name("nowhere")).await;
    a_source_that_does_not_exist_is_refused(bus, &name("missing")).await;
    mailboxes_hear_their_exchanges(bus, &name("mailbox")).await;
    a_bound_queue_keeps_what_nobody_heard(bus, &name("bound")).await;
    what_is_settled_stays_settled(bus, &name("settled")).await;
    a_batch_is_settled_and_nothing_else(bus, [name("batch1"), name("batch2")]).await;
}

/// Declares a queue and sends these to it.
async fn filled(bus: &dyn Bus, queue: &str, bodies: &[&str]) {
    bus.declare(&[Declaration::Queue(queue.into())]).await.expect("declares");
    for body in bodies {
        send(bus, queue, body).await;
    }
}

async fn send(bus: &dyn Bus, queue: &str, body: &str) {
    let message = Message::persistent(body.to_owned());
    bus.publish(&Target::Queue(queue.into()), message).await.expect("publishes");
}

async fn consumer(bus: &dyn Bus, queue: &str, prefetch: u16) -> Consumer {
    bus.consume(Source::Queues(vec![queue.into()]), prefetch).await.expect("consumes")
}

/// The next delivery.
pub async fn next(consumer: &mut Consumer) -> Delivery {
    timeout(LONG, consumer.next()).await.expect("comes in time").expect("the bus is open")
}

/// The next delivery, acknowledged.
pub async fn take(consumer: &mut Consumer) -> String {
    let delivery = next(consumer).await;
    delivery.settle.ack().await.expect("acknowledges");
    text(&delivery)
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.body).into_owned()
}

/// Nothing more is in the queue: what is sent now comes next.
async fn assert_empty(bus: &dyn Bus, queue: &str, consumer: &mut Consumer) {
    send(bus, queue, "the last").await;
    assert_eq!(take(consumer).await, "the last", "{queue} should have been empty");
}

async fn messages_arrive_in_order(bus: &dyn Bus, queue: &str) {
    filled(bus, queue, &["1", "2"]).await;
    let mut consumer = consumer(bus, queue, 10).await;
    send(bus, queue, "3").await;
    for body in ["1", "2", "3"] {
        let delivery = next(&mut consumer).await;
        assert_eq!((text(&delivery).as_str(), delivery.queue.as_str()), (body, queue));
        assert!(!delivery.redelivered);
        delivery.settle.ack().await.expect("acknowledges");
    }
}

async fn prefetch_bounds_what_is_out(bus: &dyn Bus, queue: &str) {
    filled(bus, queue, &["1", "2", "3"]).await;
    let mut narrow = consumer(bus, queue, 2).await;
    let (first, _second) = (next(&mut narrow).await, next(&mut narrow).await);
    // The third stays in the queue, for whoever has room.
    let mut other = consumer(bus, queue, 1).await;
    assert_eq!(take(&mut other).await, "3");
    drop(other);
    send(bus, queue, "4").await;
    first.settle.ack().await.expect("acknowledges");
    assert_eq!(take(&mut narrow).await, "4");
}

async fn prefetch_counts_over_all_queues(bus: &dyn Bus, queue: &str) {
    let queues: Vec<String> = (0..3).map(|n| format!("{queue}.{n}")).collect();
    for queue in &queues {
        filled(bus, queue, &["x"]).await;
    }
    let mut narrow = bus.consume(Source::Queues(queues.clone()), 2).await.expect("consumes");
    let held = [next(&mut narrow).await, next(&mut narrow).await];
    let mut wide = bus.consume(Source::Queues(queues.clone()), 10).await.expect("consumes");
    let third = next(&mut wide).await;
    assert!(!third.redelivered, "the narrow one had no room for it");
    let seen: BTreeSet<_> = held.iter().chain([&third]).map(|delivery| delivery.queue.clone()).collect();
    assert_eq!(seen, queues.into_iter().collect());
    for delivery in held.iter().chain([&third]) {
        delivery.settle.ack().await.expect("acknowledges");
    }
}

async fn a_requeued_message_comes_first(bus: &dyn Bus, queue: &str) {
    filled(bus, queue, &["1", "2"]).await;
    let mut consumer = consumer(bus, queue, 1).await;
    let first = next(&mut consumer).await;
    first.settle.requeue().await.expect("requeues");
    let again = next(&mut consumer).await;
    assert_eq!((text(&again).as_str(), again.redelivered), ("1", true));
    again.settle.ack().await.expect("acknowledges");
    assert_eq!(take(&mut consumer).await, "2");
}

async fn a_dropped_consumer_gives_back(bus: &dyn Bus, queue: &str) {
    filled(bus, queue, &["1", "2", "3", "4"]).await;
    let mut gone = consumer(bus, queue, 3).await;
    assert_eq!(take(&mut gone).await, "1");
    let held = next(&mut gone).await;
    drop(gone);
    let mut heir = consumer(bus, queue, 10).await;
    let mut bodies = BTreeSet::new();
    while bodies.len() < 3 {
        let delivery = next(&mut heir).await;
        assert!(delivery.redelivered || text(&delivery) == "4", "{delivery:?}");
        bodies.insert(text(&delivery));
        delivery.settle.ack().await.expect("acknowledges");
    }
    assert_eq!(bodies, ["2", "3", "4"].map(String::from).into());
    assert!(matches!(held.settle.ack().await, Err(BusError::Stale)), "its consumer is gone");
    assert_empty(bus, queue, &mut heir).await;
}

async fn a_message_ends_after_its_time(bus: &dyn Bus, queue: &str) {
    bus.declare(&[Declaration::Queue(queue.into())]).await.expect("declares");
    let ttl = Duration::from_millis(50);
    bus.publish(&Target::Queue(queue.into()), Message::passing("short", ttl)).await.expect("publishes");
    bus.publish(&Target::Queue(queue.into()), Message::passing("long", LONG)).await.expect("publishes");
    // The passing of time is what is tested.
    tokio::time::sleep(ttl * 4).await;
    let mut consumer = consumer(bus, queue, 10).await;
    assert_eq!(take(&mut consumer).await, "long");
}

async fn a_queue_that_does_not_exist_swallows(bus: &dyn Bus, queue: &str) {
    send(bus, queue, "into the void").await;
    filled(bus, queue, &["seen"]).await;
    let mut consumer = consumer(bus, queue, 10).await;
    assert_eq!(take(&mut consumer).await, "seen");
}

async fn a_source_that_does_not_exist_is_refused(bus: &dyn Bus, name: &str) {
    let queue = bus.consume(Source::Queues(vec![name.into()]), 1).await;
    assert!(matches!(queue, Err(BusError::Refused { reason, .. }) if reason.contains(name)));
    let source = Source::Mailbox { name: format!("{name}.box"), exchanges: vec![name.into()] };
    let mailbox = bus.consume(source, 1).await;
    assert!(matches!(mailbox, Err(BusError::Refused { reason, .. }) if reason.contains(name)));
    for target in [Target::Fanout(name.into()), Target::ExistingQueue(name.into())] {
        let refused = bus.publish(&target, Message::persistent("x")).await;
        assert!(
            matches!(refused, Err(BusError::Refused { reason, .. }) if reason.contains(name)),
            "{target:?}"
        );
    }
}

async fn mailboxes_hear_their_exchanges(bus: &dyn Bus, name: &str) {
    let exchanges: Vec<String> = (0..2).map(|n| format!("{name}.fanout.{n}")).collect();
    for (exchange, durable) in exchanges.iter().zip([true, false]) {
        let fanout = Declaration::Fanout { name: exchange.clone(), durable };
        bus.declare(&[fanout.clone(), fanout]).await.expect("declares");
    }
    let post = async |n: usize, body: &str| {
        let target = Target::Fanout(exchanges[n].clone());
        bus.publish(&target, Message::persistent(body.to_owned())).await.expect("publishes");
    };
    post(0, "before anyone listened").await;
    let boxes =
        |n: usize| Source::Mailbox { name: format!("{name}.{n}"), exchanges: exchanges[n..].to_vec() };
    let mut both = bus.consume(boxes(0), 10).await.expect("consumes");
    let mut second = bus.consume(boxes(1), 10).await.expect("consumes");
    post(0, "first").await;
    post(1, "second").await;
    send(bus, &format!("{name}.1"), "straight").await;
    assert_eq!((take(&mut both).await, take(&mut both).await), ("first".into(), "second".into()));
    assert_eq!((take(&mut second).await, take(&mut second).await), ("second".into(), "straight".into()));
    both.settled().await.expect("settles");
}

async fn a_bound_queue_keeps_what_nobody_heard(bus: &dyn Bus, queue: &str) {
    let exchange = format!("{queue}.fanout");
    let bound = Declaration::Bound { queue: queue.into(), exchange: exchange.clone() };
    let refused = bus.declare(std::slice::from_ref(&bound)).await;
    let refusal = match &refused {
        Err(BusError::Refused { reason, .. } | BusError::Missing { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(refusal.contains(&exchange), "{refusal}");
    let fanout = Declaration::Fanout { name: exchange.clone(), durable: true };
    bus.declare(&[fanout, bound.clone(), bound]).await.expect("declares, once and again");
    for body in ["1", "2"] {
        let target = Target::Fanout(exchange.clone());
        bus.publish(&target, Message::persistent(body.to_owned())).await.expect("publishes");
    }
    for body in ["1", "2"] {
        // The queue outlives each of its consumers.
        let mut listener = consumer(bus, queue, 1).await;
        assert_eq!(take(&mut listener).await, body);
        listener.settled().await.expect("settles");
    }
    assert_empty(bus, queue, &mut consumer(bus, queue, 10).await).await;
}

async fn what_is_settled_stays_settled(bus: &dyn Bus, queue: &str) {
    filled(bus, queue, &["1", "2", "3"]).await;
    let mut first = consumer(bus, queue, 10).await;
    first.settled().await.expect("nothing to settle");
    assert_eq!((take(&mut first).await, take(&mut first).await), ("1".into(), "2".into()));
    first.settled().await.expect("settles");
    drop(first);
    let mut heir = consumer(bus, queue, 10).await;
    assert_eq!(take(&mut heir).await, "3");
    assert_empty(bus, queue, &mut heir).await;
}

async fn a_batch_is_settled_and_nothing_else(bus: &dyn Bus, queues: [String; 2]) {
    for queue in &queues {
        filled(bus, queue, &["1", "2", "3"]).await;
    }
    let mut first = bus.consume(Source::Queues(queues.to_vec()), 10).await.expect("consumes");
    let mut batch = Vec::new();
    for _ in 0..6 {
        batch.push(next(&mut first).await);
    }
    // Whatever came first: one of each queue is still being dealt with.
    let held = |delivery: &Delivery| delivery.body.as_ref() == b"2";
    let (kept, dealt): (Vec<_>, Vec<_>) = batch.into_iter().partition(held);
    assert_eq!(kept.len(), 2);
    first.barrier().ack(&[]).await.expect("nothing to acknowledge");
    first.barrier().ack(&dealt[..2]).await.expect("acknowledges");
    first.barrier().ack(&dealt[2..]).await.expect("acknowledges");
    first.settled().await.expect("settles");
    drop((first, kept));
    for queue in &queues {
        let mut heir = consumer(bus, queue, 10).await;
        let delivery = next(&mut heir).await;
        assert_eq!((text(&delivery).as_str(), delivery.redelivered), ("2", true), "{queue}");
        heir.barrier().ack(&[delivery]).await.expect("acknowledges");
        assert_empty(bus, queue, &mut heir).await;
    }
}
