//! Listens to pieces of logs. The mailbox is this process's own.

use std::time::Duration;

use proofhouse_core::bus::{Consumer, Source};
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// Pause between tries where the broker refuses.
const PAUSE: Duration = Duration::from_secs(10);
/// How many messages may be on their way.
const PREFETCH: u16 = 100;

/// Listens until `stop`, which ends what viewers see, too.
pub(crate) async fn listen(app: App, stop: CancellationToken) {
    let name = app.follows().mailbox.clone();
    let work = async {
        loop {
            let source = Source::Mailbox { name: name.clone(), exchanges: vec![] };
            match app.bus().consume(source, PREFETCH).await {
                Ok(consumer) => hear_all(&app, consumer).await,
                Err(error) => {
                    tracing::warn!(error = %error, "logs that grow cannot be followed; trying again");
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    stop.run_until_cancelled(work).await;
    app.follows().closing.cancel();
}

async fn hear_all(app: &App, mut consumer: Consumer) {
    while let Some(delivery) = consumer.next().await {
        if let Ok(piece) = serde_json::from_slice(&delivery.body) {
            app.follows().hear(&piece);
        } else {
            tracing::debug!(message.bytes = delivery.body.len(), "a piece of a log that cannot be read");
        }
        if let Err(error) = delivery.settle.ack().await {
            tracing::debug!(error = %error, "a piece of a log was not acknowledged; it comes again");
        }
    }
}
