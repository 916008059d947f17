//! Acknowledgements, each tied to the subscription its message came by.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use lapin::{
    Acker, Channel,
    options::{BasicAckOptions, BasicNackOptions, BasicQosOptions},
};
use tokio_util::sync::CancellationToken;

use super::errors::Failure;
use crate::bus::{Barrier, BusError, Delivery, Settle};

/// No acknowledgement since the last barrier.
const NONE: u64 = u64::MAX;

/// What a consumer's acknowledgements went by.
pub(super) struct Ledger {
    address: String,
    present: Mutex<Present>,
    /// The oldest subscription that an acknowledgement went by since the last barrier.
    oldest: AtomicU64,
}

/// The present subscription.
#[derive(Default)]
struct Present {
    /// How many there were, itself among them.
    number: u64,
    /// None between two.
    place: Option<Place>,
    settled: Settled,
}

/// Which of a subscription's messages are settled. The broker numbers them from 1; those of several queues come out of order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Settled {
    /// This one and all before it.
    all_to: u64,
    /// Others.
    beyond: BTreeSet<u64>,
}

impl Settled {
    fn add(&mut self, tag: u64) {
        if tag > self.all_to {
            self.beyond.insert(tag);
        }
        while self.beyond.remove(&(self.all_to + 1)) {
            self.all_to += 1;
        }
    }

    /// Settles these too. Returns up to which of them one word says it for all, and the others.
    fn add_all(&mut self, tags: &[u64]) -> (Option<u64>, Vec<u64>) {
        for tag in tags {
            self.add(*tag);
        }
        let (within, others): (Vec<u64>, Vec<u64>) = tags.iter().partition(|tag| **tag <= self.all_to);
        (within.into_iter().max(), others)
    }
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
        Self { address, present: Mutex::default(), oldest: AtomicU64::new(NONE) }
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new subscription; gives its number.
    pub(super) fn entered(&self, now: Place) -> u64 {
        let mut present = self.present();
        *present = Present { number: present.number + 1, place: Some(now), settled: Settled::default() };
        present.number
    }

    /// The subscription ended.
    pub(super) fn left(&self) {
        self.present().place = None;
    }

    /// A word about a message was sent.
    fn sent(&self, number: u64, tag: u64) {
        self.oldest.fetch_min(number, Ordering::AcqRel);
        let mut present = self.present();
        if present.number == number {
            present.settled.add(tag);
        }
    }

    fn away(&self, reason: String) -> BusError {
        BusError::Away { address: self.address.clone(), reason }
    }
}

/// What a call on a channel said.
async fn answer(place: &Place, asked: impl Future<Output = lapin::Result<()>>) -> Result<(), String> {
    match place.lost.run_until_cancelled(asked).await {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(Failure::from(error).into_text()),
        None => Err("the link broke".into()),
    }
}

#[async_trait]
impl Barrier for Ledger {
    async fn settled(&self) -> Result<(), BusError> {
        let (number, now) = {
            let present = self.present();
            (present.number, present.place.clone())
        };
        let oldest = self.oldest.swap(NONE, Ordering::AcqRel);
        if oldest == NONE {
            return Ok(());
        }
        let Some(place) = now.filter(|_| oldest == number) else { return Err(BusError::Stale) };
        // The broker works a channel off in order: the answer to this comes after the acknowledgements. It changes nothing.
        let asked = place.channel.basic_qos(place.qos.0, place.qos.1);
        answer(&place, asked).await.map_err(|reason| self.away(reason))
    }

    async fn ack(&self, deliveries: &[Delivery]) -> Result<(), BusError> {
        let (number, place, (to, others), stale) = {
            let mut present = self.present();
            let Some(place) = present.place.clone() else { return Err(BusError::Stale) };
            let number = present.number;
            let came = deliveries.iter().filter_map(|delivery| delivery.settle.place());
            let tags: Vec<u64> = came.filter(|(by, _)| *by == number).map(|(_, tag)| tag).collect();
            let stale = tags.len() < deliveries.len();
            (number, place, present.settled.add_all(&tags), stale)
        };
        let to = to.map(|tag| (tag, BasicAckOptions { multiple: true }));
        for (tag, options) in
            to.into_iter().chain(others.into_iter().map(|tag| (tag, BasicAckOptions::default())))
        {
            let acked = answer(&place, place.channel.basic_ack(tag, options)).await;
            acked.map_err(|reason| self.away(reason))?;
            self.oldest.fetch_min(number, Ordering::AcqRel);
        }
        if stale { Err(BusError::Stale) } else { Ok(()) }
    }
}

/// One delivery's settling.
pub(super) struct Receipt {
    /// Of the subscription it came by.
    pub(super) number: u64,
    /// Its number there.
    pub(super) tag: u64,
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
                self.ledger.sent(self.number, self.tag);
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

    fn place(&self) -> Option<(u64, u64)> {
        Some((self.number, self.tag))
    }

    fn is_stale(&self) -> bool {
        self.lost.is_cancelled() || self.ledger.present().number != self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_stands_for_those_before_it_alone() {
        let mut settled = Settled::default();
        assert_eq!(settled.add_all(&[2, 1, 4]), (Some(2), vec![4]), "3 is with somebody else");
        assert_eq!(settled.add_all(&[5]), (None, vec![5]));
        settled.add(3);
        assert_eq!(settled, Settled { all_to: 5, beyond: BTreeSet::new() });
        assert_eq!(settled.add_all(&[7, 6]), (Some(7), vec![]));
        assert_eq!(settled.add_all(&[]), (None, vec![]));
    }
}
