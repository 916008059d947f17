//! Announcements: who this worker is and what it can take. At start, on change, to each new leader, and every half minute;
//! repeated until welcome.

use std::{sync::Arc, time::Duration};

use proofhouse_core::{
    bus::Link,
    protocol::{Announce, Ask, Wanted},
};
use tokio::sync::{Notify, watch};

use crate::{attempt::Shared, leader::Leader, leases::Leases, settings::Settings, state::Stop};

/// A worker that says nothing for longer than a few of these is taken for gone.
const AGAIN: Duration = Duration::from_secs(30);
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// How long the last word may wait for the broker.
const FAREWELL: Duration = Duration::from_secs(3);

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
    pub(crate) wanted: watch::Receiver<Wanted>,
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
            Ok(()) = self.wanted.changed() => {}
            Ok(()) = self.link.changed() => {}
            () = tokio::time::sleep(AGAIN) => {}
        }
    }

    fn announce(&mut self) -> Announce {
        let able = self.able.borrow_and_update().clone();
        let wanted = *self.wanted.borrow_and_update();
        self.link.mark_unchanged();
        let draining = self.stop.is_asked() || wanted != Wanted::Work;
        Announce {
            slots: u32::try_from(self.settings.slots).unwrap_or(u32::MAX),
            holds: self.leases.ids(),
            draining,
            unable: able.err(),
            wanted,
            ..introduction(&self.settings)
        }
    }
}

/// Who this worker is; without slots.
fn introduction(settings: &Settings) -> Announce {
    Announce {
        host: settings.host.clone(),
        pools: settings.pools.clone(),
        slots: 0,
        holds: Vec::new(),
        draining: true,
        unable: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        wanted: Wanted::Work,
        leaving: false,
    }
}

/// The last word; where it cannot be said soon, the worker is taken for gone a little later.
pub(crate) async fn farewell(shared: &Shared) {
    let leaving =
        Announce { leaving: true, wanted: *shared.wanted.borrow(), ..introduction(&shared.settings) };
    // Nobody answers.
    let _ = tokio::time::timeout(FAREWELL, shared.leader.send(Ask::Announce(leaving))).await;
}
