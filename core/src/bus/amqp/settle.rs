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
use tokio_util::sync::CancellationToken;

use super::errors::Failure;
use crate::bus::{Barrier, BusError, Settle};

/// No acknowledgement since the last barrier.
const NONE: u64 = u64::MAX;

/// What a consumer's acknowledgements went by.
pub(super) struct Ledger {
    address: String,
    /// How many subscriptions there were, and the present one.
    place: Mutex<(u64, Option<Place>)>,
    /// The oldest subscription that an acknowledgement went by since the last barrier.
    oldest: AtomicU64,
}

/// Where a subscription is.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) channel: Channel,
    /// As they were set.
    pub(super) qos: (u16, BasicQosOptions),
    /// Cancelled when the link is gone.
    pub(super) lost: CancellationToken,
}

impl Ledger {
    pub(super) fn new(address: String) -> Self {
        Self { address, place: Mutex::default(), oldest: AtomicU64::new(NONE) }
    }

    /// A new subscription; gives its number.
    pub(super) fn entered(&self, now: Place) -> u64 {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        *place = (place.0 + 1, Some(now));
        place.0
    }

    /// The subscription ended.
    pub(super) fn left(&self) {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).1 = None;
    }
}

#[async_trait]
impl Barrier for Ledger {
    async fn settled(&self) -> Result<(), BusError> {
        let (number, now) = self.place.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let oldest = self.oldest.swap(NONE, Ordering::AcqRel);
        if oldest == NONE {
            return Ok(());
        }
        let Some(place) = now.filter(|_| oldest == number) else { return Err(BusError::Stale) };
        // The broker works a channel off in order: the answer to this comes after the acknowledgements. It changes nothing.
        let asked = place.channel.basic_qos(place.qos.0, place.qos.1);
        let reason = match place.lost.run_until_cancelled(asked).await {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => Failure::from(error).into_text(),
            None => "the link broke".into(),
        };
        Err(BusError::Away { address: self.address.clone(), reason })
    }
}

/// One delivery's settling.
pub(super) struct Receipt {
    /// Of the subscription it came by.
    pub(super) number: u64,
    pub(super) acker: Acker,
    /// Cancelled when the link is gone.
    pub(super) lost: CancellationToken,
    pub(super) ledger: Arc<Ledger>,
}

impl Receipt {
    /// lapin says false both for a channel that is gone and for a second settling, which has no effect.
    async fn settle(&self, sent: impl Future<Output = lapin::Result<bool>> + Send) -> Result<(), BusError> {
        match self.lost.run_until_cancelled(sent).await {
            Some(Ok(true)) => {
                self.ledger.oldest.fetch_min(self.number, Ordering::AcqRel);
                Ok(())
            }
            Some(Ok(false)) if !self.acker.poisoned() => Ok(()),
            Some(Ok(false) | Err(_)) | None => Err(BusError::Stale),
        }
    }
}

#[async_trait]
impl Settle for Receipt {
    async fn ack(&self) -> Result<(), BusError> {
        self.settle(self.acker.ack(BasicAckOptions::default())).await
    }

    async fn requeue(&self) -> Result<(), BusError> {
        let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        self.settle(self.acker.nack(options)).await
    }
}
