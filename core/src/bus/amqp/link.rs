//! The link to the broker: one task that makes it, sees it break and makes it anew.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt, pin_mut};
use lapin::{Connection, Event, tcp::RustlsConnector};
use tokio::{sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use super::{
    address::Address,
    declare::declare_all,
    dial::{Trouble, dial},
    errors::{Failure, text},
    pauses::Pauses,
    publish::Outlet,
};
use crate::bus::{BusError, Declaration, Link};

/// A link that lived so long was a good one: the next pause is a short one again.
const STEADY: Duration = Duration::from_secs(10);

/// Some ends of a connection are no event, as when the broker closes it and is gone before the answer: so often it is looked
/// at.
const LOOK: Duration = Duration::from_secs(1);

/// How long the broker may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(3);

/// A link that is up.
pub(super) struct Live {
    pub(super) generation: u64,
    pub(super) connection: Connection,
    /// Cancelled when the link is gone.
    pub(super) lost: CancellationToken,
    /// Two, so that an exchange that vanished does not make messages to queues go out twice.
    pub(super) to_queues: Outlet,
    pub(super) to_exchanges: Outlet,
}

impl Live {
    /// Waits for the broker's answer, or the link's end: lapin leaves some calls unanswered that meet the end of their link.
    pub(super) async fn run<T, E: Into<Failure>>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        match self.lost.run_until_cancelled(call).await {
            Some(answer) => answer.map_err(Into::into),
            None => Err(Failure::Broken("the link broke".into())),
        }
    }
}

/// What all parts of this end share.
pub(super) struct Shared {
    pub(super) address: Address,
    pub(super) connection_name: String,
    /// None: the broker is spoken to in plain text.
    pub(super) tls: Option<RustlsConnector>,
    /// Why there is no link.
    pub(super) trouble: Mutex<Option<String>>,
    pub(super) declared: Mutex<Vec<Declaration>>,
    pub(super) live: watch::Sender<Option<Arc<Live>>>,
    pub(super) link: watch::Sender<Link>,
    pub(super) closed: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Shared {
    /// The link; waits until there is one.
    pub(super) async fn live(&self) -> Result<Arc<Live>, BusError> {
        let mut live = self.live.subscribe();
        tokio::select! {
            () = self.closed.cancelled() => Err(self.away("this end is closed")),
            found = live.wait_for(Option::is_some) => {
                found.ok().and_then(|live| live.clone()).ok_or_else(|| self.away("this end is closed"))
            }
        }
    }

    /// True while this link is the one.
    pub(super) fn is_live(&self, generation: u64) -> bool {
        self.live.borrow().as_ref().is_some_and(|live| live.generation == generation)
    }

    pub(super) fn away(&self, reason: impl Into<String>) -> BusError {
        BusError::Away { address: self.address.shown.clone(), reason: reason.into() }
    }

    pub(super) fn refused(&self, reason: impl Into<String>) -> BusError {
        BusError::Refused { address: self.address.shown.clone(), reason: reason.into() }
    }

    /// What is declared on every link, as far as it is one of `names`.
    pub(super) fn declared_as(&self, names: &[String]) -> Vec<Declaration> {
        let declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        declared.iter().filter(|declaration| names.contains(&declaration.name())).cloned().collect()
    }

    /// Adds to what is declared on every link.
    pub(super) fn remember(&self, declarations: &[Declaration]) {
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        for declaration in declarations {
            if !declared.contains(declaration) {
                declared.push(declaration.clone());
            }
        }
    }

    fn said(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn raised(&self, live: Arc<Live>) {
        let link = Link { up: true, generation: live.generation, blocked: false };
        self.live.send_replace(Some(live));
        self.link.send_replace(link);
    }

    fn lost(&self) {
        self.link.send_modify(|link| link.up = false);
        if let Some(live) = self.live.send_replace(None) {
            live.lost.cancel();
        }
    }
}

/// Keeps the link up until the end is closed.
pub(super) async fn supervise(shared: Arc<Shared>) {
    let mut pauses = Pauses::new();
    let mut teller = Teller { shared: &shared, told: None };
    let work = async {
        for generation in 1.. {
            let live = raise(&shared, generation, &mut pauses, &mut teller).await;
            shared.raised(live.clone());
            teller.up();
            let since = Instant::now();
            let why = loss(&live.connection, &shared.link).await;
            shared.lost();
            teller.down(Trouble::Away(why));
            if since.elapsed() > STEADY {
                pauses = Pauses::new();
            }
            pauses.wait().await;
        }
    };
    shared.closed.run_until_cancelled(work).await;
    goodbye(&shared).await;
}

/// Tries until there is a link with everything declared.
async fn raise(shared: &Shared, generation: u64, pauses: &mut Pauses, teller: &mut Teller<'_>) -> Arc<Live> {
    loop {
        match try_to_raise(shared, generation).await {
            Ok(found) => return found,
            Err(trouble) => teller.down(trouble),
        }
        pauses.wait().await;
    }
}

async fn try_to_raise(shared: &Shared, generation: u64) -> Result<Arc<Live>, Trouble> {
    let connection = dial(&shared.address, &shared.connection_name, shared.tls.as_ref()).await?;
    let declarations = shared.declared.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let declared = tokio::select! {
        declared = declare_all(&connection, &declarations) => declared,
        why = loss(&connection, &shared.link) => Err(Failure::Broken(why)),
    };
    declared.map_err(|failure| match failure {
        Failure::Refused { text, .. } => Trouble::Refused(text),
        Failure::Broken(text) => Trouble::Away(text),
    })?;
    let (to_queues, to_exchanges) = (Outlet::default(), Outlet::default());
    let live = Live { generation, connection, lost: CancellationToken::new(), to_queues, to_exchanges };
    Ok(Arc::new(live))
}

/// Returns when the connection is gone, with the reason.
async fn loss(connection: &Connection, link: &watch::Sender<Link>) -> String {
    let events = connection.events_listener();
    pin_mut!(events);
    let mut reason = None;
    // Channels that the broker closed come by here too.
    while connection.status().connected() {
        match timeout(LOOK, events.next()).await {
            Ok(Some(Event::Error(error))) => reason = Some(text(&error)),
            Ok(Some(Event::ConnectionBlocked(why))) => {
                warn!("the broker takes no messages for now: {why}");
                link.send_modify(|link| link.blocked = true);
            }
            Ok(Some(Event::ConnectionUnblocked)) => {
                info!("the broker takes messages again");
                link.send_modify(|link| link.blocked = false);
            }
            Ok(Some(_)) | Err(_) => {}
            Ok(None) => break,
        }
    }
    reason.unwrap_or_else(|| "the connection ended".into())
}

async fn goodbye(shared: &Shared) {
    let live = shared.live.borrow().clone();
    if let Some(live) = live.filter(|live| live.connection.status().connected()) {
        match timeout(GOODBYE, live.connection.close(200, "OK".into())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!("closing the link to the broker: {error}"),
            Err(_) => debug!("the broker did not answer the end of the link in time"),
        }
    }
    shared.lost();
}

/// Says each change once, not each try.
struct Teller<'a> {
    shared: &'a Shared,
    told: Option<Told>,
}

#[derive(PartialEq, Eq)]
enum Told {
    Up,
    Away,
    /// What an operator must mend.
    Wrong(String),
}

impl Teller<'_> {
    fn up(&mut self) {
        info!("linked to the broker at {}", self.shared.address.shown);
        self.shared.said(None);
        self.told = Some(Told::Up);
    }

    fn down(&mut self, trouble: Trouble) {
        let address = &self.shared.address.shown;
        let wrong = |text: String| (Told::Wrong(text.clone()), text);
        let (now, text) = match trouble {
            Trouble::Away(reason) => (Told::Away, format!("the broker at {address} is away: {reason}")),
            Trouble::Refused(reason) => wrong(format!("the broker at {address} refuses: {reason}")),
            Trouble::Unsafe(reason) => wrong(format!("the broker at {address} cannot be trusted: {reason}")),
        };
        self.shared.said(Some(text.clone()));
        if self.told.as_ref() == Some(&now) {
            debug!("{text}");
        } else {
            warn!("{text}; trying again until it works");
            self.told = Some(now);
        }
    }
}
