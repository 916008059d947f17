//! Status messages for people (contract "While it runs"). One that cannot be sent stops nothing.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use proofhouse_core::{
    bus::{Bus, Message, Target},
    protocol::{Grant, STATUS_EXCHANGE, Status},
    request::Request,
};
use serde_json::Map;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::log::Tail;

const INTERVAL: Duration = Duration::from_secs(10);
const SEND_LIMIT: Duration = Duration::from_secs(5);

/// A run as its status messages show it.
pub(crate) struct Shown {
    first: Status,
    private: bool,
}

impl Shown {
    /// `request` as it came, with its credentials sealed.
    pub(crate) fn new(grant: &Grant, request: &Request, worker: &str, testbed: &str) -> Self {
        let private = request.is_private();
        let first = Status {
            release: grant.pair.release.to_string(),
            architecture: grant.pair.arch.to_string(),
            package: if private { "private-test".to_owned() } else { request.package.to_string() },
            running: true,
            params: if private { Map::new() } else { request.params() },
            duration: 0,
            logtail: "Running private test".to_owned(),
            uuid: (!private).then_some(grant.uuid),
            attempt: (!private).then_some(grant.id.attempt),
            worker: (!private).then(|| worker.to_owned()),
            phase: None,
            testbed: (!private).then(|| testbed.to_owned()),
        };
        Self { first, private }
    }

    fn at(&self, running: bool, duration: Duration, tail: &Tail) -> Status {
        let mut status = self.first.clone();
        status.running = running;
        status.duration = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        if !self.private {
            status.logtail = tail.text();
            status.phase = tail.phase().map(str::to_owned);
        }
        status
    }
}

/// Sends one now, one every 10 s, and the last one when `over` is cancelled.
pub(crate) async fn send_until(
    over: CancellationToken,
    bus: Arc<dyn Bus>,
    shown: Shown,
    tail: Arc<Mutex<Tail>>,
) {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let running = tokio::select! {
            biased;
            () = over.cancelled() => false,
            _ = ticks.tick() => true,
        };
        let status = shown.at(running, began.elapsed(), &tail.lock().unwrap_or_else(PoisonError::into_inner));
        send(&*bus, &status).await;
        if !running {
            return;
        }
    }
}

async fn send(bus: &dyn Bus, status: &Status) {
    let Ok(body) = serde_json::to_vec(status) else {
        return;
    };
    let target = Target::Fanout(STATUS_EXCHANGE.to_owned());
    match tokio::time::timeout(SEND_LIMIT, bus.publish(&target, Message::persistent(body))).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a status message was not sent"),
        Err(_) => debug!("a status message was not sent in time"),
    }
}

#[cfg(test)]
mod tests {
    use proofhouse_core::protocol::{AttemptId, Listed};

    use super::*;

    fn status(body: &str) -> serde_json::Value {
        let grant = Grant {
            id: AttemptId { job: 7, attempt: 2 },
            uuid: uuid::Uuid::nil(),
            pair: "noble/amd64".parse().unwrap(),
            context: proofhouse_core::names::Context::Ubuntu,
            body: body.to_owned(),
            lists: Listed::default(),
            lease_seconds: 60,
            end_seconds: 100,
        };
        let mut tail = Tail::default();
        tail.push(b"autopkgtest [08:00:09]: test smoke: [---\n");
        let shown = Shown::new(&grant, &Request::parse(body.as_bytes()).unwrap(), "w", "lxd");
        serde_json::to_value(shown.at(true, Duration::from_millis(12_900), &tail)).unwrap()
    }

    #[test]
    fn a_public_run() {
        assert_eq!(
            status("green {\"triggers\": [\"green/2\"]}"),
            serde_json::json!({
                "release": "noble", "architecture": "amd64", "package": "green", "running": true,
                "params": {"triggers": ["green/2"]}, "duration": 12,
                "logtail": "autopkgtest [08:00:09]: test smoke: [---\n",
                "uuid": "00000000-0000-0000-0000-000000000000", "attempt": 2, "worker": "w",
                "phase": "test smoke", "testbed": "lxd",
            })
        );
    }

    #[test]
    fn a_private_run_is_like_any_other() {
        assert_eq!(
            status("green {\"swiftuser\": \"joe\", \"ppas\": [\"a:b@c/d\"], \"testname\": \"x\"}"),
            serde_json::json!({
                "release": "noble", "architecture": "amd64", "package": "private-test", "running": true,
                "params": {}, "duration": 12, "logtail": "Running private test",
            })
        );
    }
}
