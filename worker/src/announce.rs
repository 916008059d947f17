//! Announcements: who this worker is and what it can take. At start, on change, to each new leader, and every half minute;
//! repeated until welcome.

use std::{sync::Arc, time::Duration};

use proofhouse_core::{
    bus::Link,
    protocol::{Announce, Ask},
};
use tokio::sync::{Notify, watch};

use crate::{leader::Leader, leases::Leases, settings::Settings, state::Stop};

/// A worker that says nothing for longer than a few of these is taken for gone.
const AGAIN: Duration = Duration::from_secs(30);
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// What the mailbox tells the announcer.
#[derive(Default)]
pub(crate) struct Bell {
    /// A new leader is there.
    pub(crate) leader: Notify,
    /// The announcement was heard.
    pub(crate) welcome: Notify,
}

/// What announcements depend on.
pub(crate) struct Announcer {
    pub(crate) settings: Arc<Settings>,
    pub(crate) leader: Arc<Leader>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) stop: Stop,
    pub(crate) bell: Arc<Bell>,
    /// Whether new work can be taken.
    pub(crate) able: watch::Receiver<Result<(), String>>,
    pub(crate) link: watch::Receiver<Link>,
}

impl Announcer {
    /// Announces for as long as it is polled.
    pub(crate) async fn run(mut self) {
        loop {
            self.until_welcome().await;
            self.change().await;
        }
    }

    async fn until_welcome(&mut self) {
        let (mut pause, longest) = PAUSES;
        let bell = self.bell.clone();
        loop {
            let announce = self.announce();
            self.leader.send(Ask::Announce(announce)).await;
            let change = tokio::select! {
                () = bell.welcome.notified() => return,
                () = tokio::time::sleep(pause) => false,
                () = self.change() => true,
            };
            pause = if change { PAUSES.0 } else { (pause * 2).min(longest) };
        }
    }

    /// Returns when there is something new to say, or somebody new to say it to.
    async fn change(&mut self) {
        let draining = self.stop.is_asked();
        tokio::select! {
            () = self.bell.leader.notified() => {}
            () = async { self.stop.asked().await }, if !draining => {}
            Ok(()) = self.able.changed() => {}
            Ok(()) = self.link.changed() => {}
            () = tokio::time::sleep(AGAIN) => {}
        }
    }

    fn announce(&mut self) -> Announce {
        let able = self.able.borrow_and_update().clone();
        self.link.mark_unchanged();
        let draining = self.stop.is_asked();
        let slots = if draining || able.is_err() { 0 } else { self.settings.slots };
        Announce {
            host: self.settings.host.clone(),
            pools: self.settings.pools(),
            slots: u32::try_from(slots).unwrap_or(u32::MAX),
            holds: self.leases.ids(),
            draining,
            unable: able.err(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
