//! Takes offers while a slot is free.

use std::{collections::BTreeMap, sync::Arc};

use proofhouse_core::{
    bus::{Bus, BusError, Consumer, Source},
    protocol::{Offer, Wanted, pool_queue},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};
use tracing::warn;

use crate::{settings::Settings, state::Stop};

/// An offer that was taken off its queue, and the slot that it will use.
pub(crate) struct Taken {
    pub(crate) offer: Offer,
    /// The queue that it came by.
    pub(crate) queue: String,
    pub(crate) slot: OwnedSemaphorePermit,
}

/// Queues of pools whose offers are not taken before a moment: others are to have them.
pub(crate) type Pauses = BTreeMap<String, Instant>;

/// Takes offers off the pools' queues.
pub(crate) struct Offers {
    bus: Arc<dyn Bus>,
    queues: Vec<String>,
    slots: Arc<Semaphore>,
    able: watch::Receiver<Result<(), String>>,
    wanted: watch::Receiver<Wanted>,
    pauses: watch::Receiver<Pauses>,
    stop: Stop,
    /// There only while there is a free slot: what was delivered ahead goes back to other workers when it is dropped. With
    /// the queues that it takes from.
    consumer: Option<(Vec<String>, Consumer)>,
    /// The queue of the last offer.
    last: Option<String>,
}

impl Offers {
    pub(crate) fn new(
        bus: Arc<dyn Bus>,
        settings: &Settings,
        able: watch::Receiver<Result<(), String>>,
        wanted: watch::Receiver<Wanted>,
        pauses: watch::Receiver<Pauses>,
        stop: Stop,
    ) -> Self {
        let queues = settings.pools.iter().map(pool_queue).collect();
        let slots = Arc::new(Semaphore::new(settings.slots));
        Self { bus, queues, slots, able, wanted, pauses, stop, consumer: None, last: None }
    }

    /// The next offer, once there is a slot for it. None when the worker is to stop.
    pub(crate) async fn next(&mut self) -> Result<Option<Taken>, BusError> {
        let stop = self.stop.clone();
        let taken = tokio::select! {
            biased;
            () = stop.asked() => Ok(None),
            taken = self.take() => taken.map(Some),
        };
        if !matches!(taken, Ok(Some(_))) || self.slots.available_permits() == 0 {
            self.consumer = None;
        }
        taken
    }

    async fn take(&mut self) -> Result<Taken, BusError> {
        let Ok(slot) = self.slots.clone().acquire_owned().await else {
            unreachable!("the semaphore is never closed")
        };
        loop {
            if self.able.borrow_and_update().is_err() {
                self.consumer = None;
                if self.able.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            }
            if *self.wanted.borrow_and_update() != Wanted::Work {
                self.consumer = None;
                if self.wanted.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            }
            let (open, until) = unpaused(&self.queues, &self.pauses.borrow_and_update(), Instant::now());
            if self.consumer.as_ref().is_some_and(|(queues, _)| *queues != open) {
                self.consumer = None;
            }
            if open.is_empty() {
                passed(until).await;
                continue;
            }
            if let Some((offer, queue)) = self.delivered(open, until).await? {
                return Ok(Taken { offer, queue, slot });
            }
        }
    }

    /// What comes next by the `open` queues, and by which. None where it is no offer, this worker cannot take work any more,
    /// or other queues are open from now on.
    async fn delivered(
        &mut self,
        open: Vec<String>,
        until: Option<Instant>,
    ) -> Result<Option<(Offer, String)>, BusError> {
        if self.consumer.is_none() {
            // Pools take turns: whose queue is asked first has the slot.
            let mut turns = open.clone();
            if let Some(at) = turns.iter().position(|queue| Some(queue) == self.last.as_ref()) {
                turns.rotate_left(at + 1);
            }
            let consumer = self.bus.consume(Source::Queues(turns), 1).await?;
            self.consumer = Some((open, consumer));
        }
        let Some((_, consumer)) = &mut self.consumer else {
            return Ok(None);
        };
        let delivery = tokio::select! {
            delivery = consumer.next() => delivery,
            Ok(()) = self.able.changed() => return Ok(None),
            Ok(()) = self.wanted.changed() => return Ok(None),
            Ok(()) = self.pauses.changed() => return Ok(None),
            () = passed(until) => return Ok(None),
        };
        let Some(delivery) = delivery else {
            // The bus is closed; whoever did it stops this worker too.
            return std::future::pending().await;
        };
        if let Err(error) = delivery.settle.ack().await {
            // It comes again, here or elsewhere; the grant decides.
            warn!(%error, "an offer was not acknowledged");
            return Ok(None);
        }
        self.last = Some(delivery.queue.clone());
        let offer = read(&delivery.body);
        if offer.is_none() {
            warn!(queue = delivery.queue, "a message that is no offer is dropped");
        }
        Ok(offer.map(|offer| (offer, delivery.queue)))
    }
}

/// An offer, where it is one.
pub(crate) fn read(body: &[u8]) -> Option<Offer> {
    serde_json::from_slice(body).ok()
}

/// The queues that are not paused, and when the next of the others is not any more.
fn unpaused(queues: &[String], pauses: &Pauses, now: Instant) -> (Vec<String>, Option<Instant>) {
    let until = |queue: &String| pauses.get(queue).copied().filter(|until| *until > now);
    let open = queues.iter().filter(|queue| until(queue).is_none()).cloned().collect();
    (open, queues.iter().filter_map(until).min())
}

/// Returns at a moment; never where there is none.
async fn passed(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proofhouse_core::{
        bus::{Declaration, Message, Target, local::Local},
        protocol::AttemptId,
    };

    use super::*;

    #[tokio::test]
    async fn one_pool_pauses_and_the_others_go_on() {
        let bus = Local::new();
        let queues = ["proofhouse.pool.amd64", "proofhouse.pool.riscv64"].map(str::to_owned);
        let declarations: Vec<_> = queues.iter().cloned().map(Declaration::Queue).collect();
        bus.declare(&declarations).await.unwrap();
        let offer = async |queue: &String, job| {
            let offer = Offer { id: AttemptId { job, attempt: 1 }, epoch: 1 };
            let body = serde_json::to_vec(&offer).unwrap();
            let message = Message::passing(body, Duration::from_secs(60));
            bus.publish(&Target::Queue(queue.clone()), message).await.unwrap();
        };
        let (pauses, able, wanted) = (
            watch::Sender::new(Pauses::new()),
            watch::Sender::new(Ok::<_, String>(())),
            watch::Sender::new(Wanted::Work),
        );
        let mut offers = Offers {
            bus: Arc::new(bus.clone()),
            queues: queues.to_vec(),
            slots: Arc::new(Semaphore::new(9)),
            able: able.subscribe(),
            wanted: wanted.subscribe(),
            pauses: pauses.subscribe(),
            stop: Stop::default(),
            consumer: None,
            last: None,
        };
        let pause = |length| pauses.send_replace([(queues[0].clone(), Instant::now() + length)].into());
        offer(&queues[0], 1).await;
        let taken = offers.next().await.unwrap().unwrap();
        assert_eq!((taken.offer.id.job, &taken.queue), (1, &queues[0]));
        pause(Duration::from_secs(3600));
        offer(&queues[0], 2).await;
        for job in [3, 4] {
            offer(&queues[1], job).await;
            assert_eq!(offers.next().await.unwrap().unwrap().offer.id.job, job);
        }
        // It ends by itself, though nothing comes by the other one.
        pause(Duration::from_millis(1));
        assert_eq!(offers.next().await.unwrap().unwrap().offer.id.job, 2);
    }

    #[test]
    fn what_is_open() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let queues = ["a", "b", "c"].map(str::to_owned);
        let pauses: Pauses =
            [("a", at(0)), ("b", at(9)), ("c", at(5)), ("x", at(1))].map(|(q, t)| (q.to_owned(), t)).into();
        assert_eq!(unpaused(&queues, &pauses, now), (vec!["a".to_owned()], Some(at(5))));
        assert_eq!(unpaused(&queues, &Pauses::new(), now), (queues.to_vec(), None));
    }
}
