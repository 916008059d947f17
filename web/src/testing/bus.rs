//! A bus that writes down what is sent, and delivers what a test says.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use proofhouse_core::bus::{
    Barrier, Bus, BusError, Consumer, Declaration, Delivery, Link, Message, Settle, Source, Target,
};
use tokio::sync::{mpsc, watch};

pub(crate) struct TestBus {
    pub(crate) declared: Mutex<Vec<Declaration>>,
    pub(crate) consumed: Mutex<Vec<Source>>,
    sent: watch::Sender<Vec<(Target, Message)>>,
    mailbox: watch::Sender<Option<mpsc::Sender<Delivery>>>,
    link: watch::Sender<Link>,
}

impl Default for TestBus {
    fn default() -> Self {
        Self {
            declared: Mutex::default(),
            consumed: Mutex::default(),
            sent: watch::Sender::default(),
            mailbox: watch::Sender::default(),
            link: watch::Sender::new(Link { up: true, generation: 1, blocked: false }),
        }
    }
}

struct Acknowledged(mpsc::Sender<()>);

#[async_trait]
impl Settle for Acknowledged {
    async fn ack(&self) -> Result<(), BusError> {
        self.0.send(()).await.map_err(|_| BusError::Stale)
    }

    async fn requeue(&self) -> Result<(), BusError> {
        Ok(())
    }
}

struct NoBarrier;

#[async_trait]
impl Barrier for NoBarrier {
    async fn settled(&self) -> Result<(), BusError> {
        Ok(())
    }
}

impl TestBus {
    /// Delivers a message to the mailbox, once there is one, and waits until it is acknowledged.
    pub(crate) async fn deliver(&self, body: &str) {
        let mut mailbox = self.mailbox.subscribe();
        let sender = mailbox.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        let (acked, mut ack) = mpsc::channel(1);
        let settle = Arc::new(Acknowledged(acked));
        let delivery =
            Delivery { queue: "q".into(), body: body.to_owned().into(), redelivered: false, settle };
        sender.send(delivery).await.unwrap();
        ack.recv().await.unwrap();
    }

    /// Waits for the first message that is sent.
    pub(crate) async fn first_sent(&self) -> (Target, Message) {
        let mut sent = self.sent.subscribe();
        let all = sent.wait_for(|all| !all.is_empty()).await.unwrap();
        all[0].clone()
    }
}

#[async_trait]
impl Bus for TestBus {
    async fn declare(&self, declarations: &[Declaration]) -> Result<(), BusError> {
        self.declared.lock().unwrap().extend_from_slice(declarations);
        Ok(())
    }

    async fn publish(&self, target: &Target, message: Message) -> Result<(), BusError> {
        self.sent.send_modify(|all| all.push((target.clone(), message)));
        Ok(())
    }

    async fn consume(&self, source: Source, _: u16) -> Result<Consumer, BusError> {
        self.consumed.lock().unwrap().push(source);
        let (sender, receiver) = mpsc::channel(10);
        self.mailbox.send_replace(Some(sender));
        Ok(Consumer::new(receiver, Arc::new(NoBarrier)))
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    fn address(&self) -> String {
        "test:".to_owned()
    }

    async fn close(&self) {}
}
