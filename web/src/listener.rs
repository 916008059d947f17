//! Listens to status messages. The mailbox is this process's own; nothing is lost to anyone when it ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proofhouse_core::{
    bus::{Bus, BusError, Consumer, Declaration, Source},
    protocol::STATUS_EXCHANGE,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::app::App;

/// Pause between tries where the broker refuses.
const PAUSE: Duration = Duration::from_secs(10);
/// How many messages may be on their way.
const PREFETCH: u16 = 200;

/// Listens until `stop`.
pub(crate) async fn listen(app: App, stop: CancellationToken) {
    let name = format!("proofhouse.web.{}", Uuid::new_v4());
    let work = async {
        loop {
            match subscribe(app.bus(), &name).await {
                Ok(consumer) => hear_all(&app, consumer).await,
                Err(error) => tracing::warn!(error = %error, "what runs cannot be listened to; trying again"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    stop.run_until_cancelled(work).await;
}

async fn subscribe(bus: &Arc<dyn Bus>, name: &str) -> Result<Consumer, BusError> {
    bus.declare(&[Declaration::Fanout { name: STATUS_EXCHANGE.to_owned(), durable: false }]).await?;
    let source = Source::Mailbox { name: name.to_owned(), exchanges: vec![STATUS_EXCHANGE.to_owned()] };
    bus.consume(source, PREFETCH).await
}

async fn hear_all(app: &App, mut consumer: Consumer) {
    while let Some(delivery) = consumer.next().await {
        if !app.heard().hear_message(&delivery.body, Instant::now()) {
            // Neither the text nor the error, which can quote it: it may be a private run's.
            tracing::debug!(message.bytes = delivery.body.len(), "a status message that cannot be read");
        }
        if let Err(error) = delivery.settle.ack().await {
            tracing::debug!(error = %error, "a status message was not acknowledged; it comes again");
        }
    }
}
