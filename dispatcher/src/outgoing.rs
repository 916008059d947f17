//! What the leader sends: it never waits for the broker, for every ask is repeated until it is answered.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use proofhouse_core::{
    bus::{Bus, Message, Target},
    names::Pool,
    protocol::{
        Answer, Answered, Ask, Asked, AttemptId, LEADER_EXCHANGE, OFFER_SECONDS, Offer, RENEWALS, WorkerId,
        pool_queue,
    },
};
use serde::Serialize;
use tokio::sync::mpsc;

/// How many messages may wait for the broker's confirm.
const IN_FLIGHT: usize = 256;
/// An answer that came later than this was asked for again.
const ANSWER_LIVES: Duration = Duration::from_secs(30);

/// The way out.
#[derive(Clone)]
pub(crate) struct Outgoing {
    queue: mpsc::Sender<(Target, Message)>,
    epoch: i64,
}

impl Outgoing {
    /// Begins to send; ends when the last clone is dropped.
    pub(crate) fn start(bus: Arc<dyn Bus>, epoch: i64) -> Self {
        let (queue, waiting) = mpsc::channel(10_000);
        tokio::spawn(send_all(bus, waiting));
        Self { queue, epoch }
    }

    fn send(&self, target: Target, body: &impl Serialize, lives: Duration) {
        let body = match serde_json::to_vec(body) {
            Ok(body) => body,
            Err(error) => return tracing::error!(error = %error, "a message could not be written"),
        };
        if self.queue.try_send((target, Message::passing(body, lives))).is_err() {
            tracing::warn!("too much waits for the broker: a message is dropped and will be asked for again");
        }
    }

    pub(crate) fn answer(&self, worker: &WorkerId, answer: Answer) {
        let answered = Answered { epoch: self.epoch, answer };
        self.send(Target::Queue(worker.mailbox()), &answered, ANSWER_LIVES);
    }

    pub(crate) fn hail(&self) {
        let answered = Answered { epoch: self.epoch, answer: Answer::Leader };
        self.send(Target::Fanout(LEADER_EXCHANGE.to_owned()), &answered, ANSWER_LIVES);
    }

    pub(crate) fn echo(&self, number: u64) {
        let asked = Asked { from: None, ask: Ask::Echo { epoch: self.epoch, number } };
        self.send(Target::Queue(RENEWALS.to_owned()), &asked, ANSWER_LIVES);
    }

    pub(crate) fn offer(&self, pool: &Pool, id: AttemptId) {
        let offer = Offer { id, epoch: self.epoch };
        self.send(Target::Queue(pool_queue(pool)), &offer, Duration::from_secs(OFFER_SECONDS));
    }
}

async fn send_all(bus: Arc<dyn Bus>, mut waiting: mpsc::Receiver<(Target, Message)>) {
    let mut in_flight = FuturesUnordered::new();
    loop {
        tokio::select! {
            next = waiting.recv(), if in_flight.len() < IN_FLIGHT => {
                let Some((target, message)) = next else { break };
                let bus = bus.clone();
                in_flight.push(async move { bus.publish(&target, message).await });
            }
            Some(sent) = in_flight.next() => {
                if let Err(error) = sent {
                    tracing::warn!(error = %error, "a message could not be sent; it will be asked for again");
                }
            }
        }
    }
}
