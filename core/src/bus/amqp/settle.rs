//! Acknowledgements, each tied to the subscription its message came by.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use lapin::{
    Acker, Channel,
    options::{BasicAckOptions, BasicNackOptions, BasicQosOptions},
};

use super::errors::Failure;
use crate::bus::{Barrier, BusError, Settle};

/// No acknowledgement since the last barrier.
const NONE: u64 = u64::MAX;

/// What a consumer's acknowledgements went by.
pub(super) struct Ledger {
    address: String,
    place: Mutex<Place>,
    /// The oldest subscription that an acknowledgement went by since the last barrier.
    oldest: AtomicU64,
}

#[derive(Default)]
struct Place {
    /// Counts the subscriptions; the present or the last one.
    number: u64,
    now: Option<(Channel, u16, BasicQosOptions)>,
}

impl Ledger {
    pub(super) fn new(address: String) -> Self {
        Self { address, place: Mutex::default(), oldest: AtomicU64::new(NONE) }
    }

    /// A new subscription; gives its number.
    pub(super) fn entered(&self, channel: Channel, prefetch: u16, qos: BasicQosOptions) -> u64 {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.number += 1;
        place.now = Some((channel, prefetch, qos));
        place.number
    }

    /// The subscription ended.
    pub(super) fn left(&self) {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).now = None;
    }
}

#[async_trait]
impl Barrier for Ledger {
    async fn settled(&self) -> Result<(), BusError> {
        let (number, now) = {
            let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
            (place.number, place.now.clone())
        };
        let oldest = self.oldest.swap(NONE, Ordering::AcqRel);
        if oldest == NONE {
            return Ok(());
        }
        let Some((channel, prefetch, qos)) = now.filter(|_| oldest == number) else {
            return Err(BusError::Stale);
        };
        // The broker works a channel off in order: the answer to this comes after the acknowledgements. It changes nothing.
        channel.basic_qos(prefetch, qos).await.map_err(|error| BusError::Away {
            address: self.address.clone(),
            reason: Failure::from(error).into_text(),
        })
    }
}

/// One delivery's settling.
pub(super) struct Receipt {
    number: u64,
    acker: Acker,
    ledger: Arc<Ledger>,
}

impl Receipt {
    pub(super) fn new(number: u64, acker: Acker, ledger: Arc<Ledger>) -> Self {
        Self { number, acker, ledger }
    }

    /// lapin says false both for a channel that is gone and for a second settling, which has no effect.
    fn outcome(&self, sent: &lapin::Result<bool>) -> Result<(), BusError> {
        match sent {
            Ok(true) => {
                self.ledger.oldest.fetch_min(self.number, Ordering::AcqRel);
                Ok(())
            }
            Ok(false) if !self.acker.poisoned() => Ok(()),
            Ok(false) | Err(_) => Err(BusError::Stale),
        }
    }
}

#[async_trait]
impl Settle for Receipt {
    async fn ack(&self) -> Result<(), BusError> {
        self.outcome(&self.acker.ack(BasicAckOptions::default()).await)
    }

    async fn requeue(&self) -> Result<(), BusError> {
        let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        self.outcome(&self.acker.nack(options).await)
    }
}
