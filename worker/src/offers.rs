//! Takes offers while a slot is free.

use std::sync::Arc;

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
    pub(crate) slot: OwnedSemaphorePermit,
}

/// Takes offers off the pools' queues.
pub(crate) struct Offers {
    bus: Arc<dyn Bus>,
    queues: Vec<String>,
    slots: Arc<Semaphore>,
    able: watch::Receiver<Result<(), String>>,
    wanted: watch::Receiver<Wanted>,
    from: watch::Receiver<Instant>,
    stop: Stop,
    /// There only while there is a free slot: what was delivered ahead goes back to other workers when it is dropped.
    consumer: Option<Consumer>,
}

impl Offers {
    pub(crate) fn new(
        bus: Arc<dyn Bus>,
        settings: &Settings,
        able: watch::Receiver<Result<(), String>>,
        wanted: watch::Receiver<Wanted>,
        from: watch::Receiver<Instant>,
        stop: Stop,
    ) -> Self {
        let queues = settings.pools().iter().map(pool_queue).collect();
        let slots = Arc::new(Semaphore::new(settings.slots));
        Self { bus, queues, slots, able, wanted, from, stop, consumer: None }
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
            let from = *self.from.borrow_and_update();
            if from > Instant::now() {
                self.consumer = None;
                tokio::time::sleep_until(from).await;
                continue;
            }
            if let Some(offer) = self.delivered().await? {
                return Ok(Taken { offer, slot });
            }
        }
    }

    /// What comes next; none where it is no offer, or this worker cannot take work any more.
    async fn delivered(&mut self) -> Result<Option<Offer>, BusError> {
        if self.consumer.is_none() {
            let source = Source::Queues(self.queues.clone());
            self.consumer = Some(self.bus.consume(source, 1).await?);
        }
        let Some(consumer) = &mut self.consumer else {
            return Ok(None);
        };
        let delivery = tokio::select! {
            delivery = consumer.next() => delivery,
            Ok(()) = self.able.changed() => return Ok(None),
            Ok(()) = self.wanted.changed() => return Ok(None),
            Ok(()) = self.from.changed() => return Ok(None),
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
        let offer = serde_json::from_slice(&delivery.body).ok();
        if offer.is_none() {
            warn!(queue = delivery.queue, "a message that is no offer is dropped");
        }
        Ok(offer)
    }
}
