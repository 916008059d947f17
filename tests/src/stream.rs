//! Requests that come one after the other while something happens.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::task::JoinHandle;

use crate::{
    amqp::AmqpClient,
    cluster::{body, params},
};

/// How many packages share the requests; each is a series.
const PACKAGES: usize = 12;

/// A stream of requests; dropping it ends it.
#[derive(Debug)]
pub struct Stream {
    over: Arc<AtomicBool>,
    task: JoinHandle<Result<usize>>,
}

impl Stream {
    /// Begins to publish: `first` at once, so that something always waits, then one after each pause. `env` is for the
    /// stand-in.
    pub async fn start(
        url: &str,
        first: usize,
        pause: Duration,
        env: &'static [&'static str],
    ) -> Result<Self> {
        let client = AmqpClient::connect(url).await?;
        let over = Arc::new(AtomicBool::new(false));
        let stopped = over.clone();
        let task = tokio::spawn(async move {
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                let package = format!("pkg{}", sent % PACKAGES);
                let request = body(&package, &params(&format!("{package}/{sent}"), env));
                client.publish("debci-noble-amd64", &request).await?;
                sent += 1;
                if sent > first {
                    tokio::time::sleep(pause).await;
                }
            }
            Ok(sent)
        });
        Ok(Self { over, task })
    }

    /// Ends it, and says how many there were.
    pub async fn end(mut self) -> Result<usize> {
        self.over.store(true, Ordering::Relaxed);
        (&mut self.task).await.context("the stream died")?
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}
