//! The bus over RabbitMQ (AMQP 0-9-1).
//!
//! One supervising task keeps the link up ([`link`]); lapin's own recovery is off, for it knows nothing of confirms that did
//! not come and of acknowledgements of an older link.

mod address;
mod channel;
mod consume;
mod declare;
mod dial;
mod errors;
mod foreign;
mod link;
mod pauses;
mod publish;
mod settle;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use lapin::{tcp::RustlsConnector, uri::AMQPScheme};
use tokio::{sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use self::{
    address::Address,
    declare::{boot, declare_all},
    errors::{ACCESS_REFUSED, Failure, NOT_FOUND},
    link::Shared,
    pauses::Pauses,
};
use super::{Bus, BusError, Consumer, Declaration, Link, Message, Source, Target};
use crate::tls::Authorities;

/// How long [`Bus::close`] takes at most.
const CLOSE: Duration = Duration::from_secs(5);

/// The RabbitMQ end. Dropping it ends link and consumers as [`Bus::close`] does, without waiting.
pub struct Amqp {
    shared: Arc<Shared>,
}

impl Amqp {
    /// Begins to connect and returns at once, whether the broker is there or not; errors for a bad URL only.
    ///
    /// Its parameters are `amqp[s]://user:password@host:port/vhost` (no path: the vhost `/`), the name that the broker
    /// shows for the connection, and who may sign the broker's certificate beside those that the system trusts.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(url: &str, connection_name: &str, authorities: &Authorities) -> Result<Self, BusError> {
        let address = Address::parse(url)?;
        let shared = Arc::new(Shared {
            tls: tls(&address, authorities)?,
            trouble: Mutex::default(),
            address,
            connection_name: connection_name.to_owned(),
            declared: Mutex::default(),
            live: watch::Sender::new(None),
            link: watch::Sender::new(Link { up: false, generation: 0, blocked: false }),
            closed: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        shared.tasks.spawn(link::supervise(shared.clone()));
        Ok(Self { shared })
    }
}

fn tls(address: &Address, authorities: &Authorities) -> Result<Option<RustlsConnector>, BusError> {
    match address.uri.scheme {
        AMQPScheme::AMQP => Ok(None),
        AMQPScheme::AMQPS => {
            let client = authorities.client().map_err(|error| BusError::Url(error.to_string()))?;
            Ok(Some(client.into()))
        }
    }
}

impl Drop for Amqp {
    fn drop(&mut self) {
        self.shared.closed.cancel();
    }
}

#[async_trait]
impl Bus for Amqp {
    async fn declare(&self, declarations: &[Declaration]) -> Result<(), BusError> {
        let mut pauses = Pauses::new();
        loop {
            let live = self.shared.live().await?;
            match live.run(declare_all(&live.connection, declarations)).await {
                Ok(()) => {
                    self.shared.remember(declarations);
                    // A link that came up meanwhile may have been raised without them.
                    if self.shared.is_live(live.generation) {
                        return Ok(());
                    }
                }
                Err(Failure::Refused { code: ACCESS_REFUSED, text }) => {
                    let address = self.shared.address.shown.clone();
                    return Err(BusError::Missing { address, reason: text });
                }
                Err(Failure::Refused { text, .. }) => return Err(self.shared.refused(text)),
                Err(Failure::Broken(_)) => pauses.wait().await,
            }
        }
    }

    async fn publish(&self, target: &Target, message: Message) -> Result<(), BusError> {
        publish::publish(&self.shared, target, &message).await
    }

    async fn consume(&self, source: Source, prefetch: u16) -> Result<Consumer, BusError> {
        consume::consume(self.shared.clone(), source, prefetch).await
    }

    async fn has_restarted(&self) -> Result<bool, BusError> {
        let mut pauses = Pauses::new();
        loop {
            let live = self.shared.live().await?;
            match live.run(boot(&live.connection, true)).await {
                Ok(()) => return Ok(false),
                Err(missing) if missing.is(NOT_FOUND) => return Ok(true),
                Err(Failure::Refused { text, .. }) => return Err(self.shared.refused(text)),
                Err(Failure::Broken(_)) => pauses.wait().await,
            }
        }
    }

    async fn greet(&self) -> Result<(), BusError> {
        let live = self.shared.live().await?;
        // Not again on the next link: that may lead to a broker that started anew once more.
        live.run(boot(&live.connection, false)).await.map_err(|failure| match failure {
            Failure::Refused { text, .. } => self.shared.refused(text),
            broken @ Failure::Broken(_) => self.shared.away(broken.into_text()),
        })
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.shared.link.subscribe()
    }

    fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn address(&self) -> String {
        self.shared.address.shown.clone()
    }

    async fn close(&self) {
        self.shared.closed.cancel();
        self.shared.tasks.close();
        if timeout(CLOSE, self.shared.tasks.wait()).await.is_err() {
            debug!("the bus did not close in time");
        }
    }
}
