//! People who look at pages: each has a connection of their own that stays open, and looks again at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use reqwest::{Client, StatusCode, header, redirect::Policy};
use tokio::{sync::Barrier, task::JoinSet};

use crate::{
    Form,
    numbers::{median, quantile},
};

/// How many look at once.
fn people(form: Form) -> usize {
    form.pick(64, 8)
}

/// How it went.
pub(crate) struct Looked {
    /// Milliseconds.
    times: Vec<f64>,
    /// All of them, in a second.
    pub(crate) rate: f64,
}

impl Looked {
    pub(crate) fn median(&self) -> f64 {
        median(&self.times)
    }

    pub(crate) fn p99(&self) -> f64 {
        quantile(&self.times, 0.99)
    }
}

/// As a browser asks: packed is fine.
pub(crate) fn client() -> Result<Client> {
    let accept = [
        (header::ACCEPT, header::HeaderValue::from_static("text/html,application/xhtml+xml,*/*;q=0.8")),
        (header::ACCEPT_ENCODING, header::HeaderValue::from_static("gzip")),
    ];
    let builder = Client::builder().default_headers(accept.into_iter().collect()).redirect(Policy::none());
    Ok(builder.no_proxy().tcp_nodelay(true).pool_max_idle_per_host(1).build()?)
}

/// Asks once: how many bytes the answer has; none where there is no such page.
pub(crate) async fn length(client: &Client, url: &str) -> Result<Option<usize>> {
    let answer = client.get(url).send().await?;
    if answer.status() == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    anyhow::ensure!(answer.status() == StatusCode::OK, "{url}: {}", answer.status());
    Ok(Some(answer.bytes().await?.len()))
}

async fn look(client: &Client, url: &str) -> Result<f64> {
    let start = Instant::now();
    length(client, url).await?.with_context(|| format!("{url} is gone"))?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

/// One who has looked once.
async fn connect(url: &str) -> Result<Client> {
    let client = client()?;
    look(&client, url).await?;
    Ok(client)
}

/// One looks for a while.
pub(crate) async fn alone(form: Form, url: &str) -> Result<Looked> {
    let client = client()?;
    for _ in 0..form.pick(10, 1) {
        look(&client, url).await?;
    }
    let (most, end) = (form.pick(500, 10), Instant::now() + form.pick(Duration::from_secs(2), SHORT));
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || (times.len() < most && Instant::now() < end) {
        times.push(look(&client, url).await?);
    }
    Ok(Looked { rate: per_second(times.len(), start), times })
}

/// Long enough to see that it works.
const SHORT: Duration = Duration::from_millis(100);

/// Many look for a while.
pub(crate) async fn crowd(form: Form, url: &str) -> Result<Looked> {
    let barrier = Arc::new(Barrier::new(people(form) + 1));
    let lasts = form.pick(Duration::from_secs(2), SHORT);
    let mut crowd = JoinSet::new();
    for _ in 0..people(form) {
        let (barrier, url) = (barrier.clone(), url.to_owned());
        crowd.spawn(async move {
            let connected = connect(&url).await;
            barrier.wait().await;
            let client = connected?;
            let (end, mut times) = (Instant::now() + lasts, Vec::new());
            while times.is_empty() || Instant::now() < end {
                times.push(look(&client, &url).await?);
            }
            anyhow::Ok(times)
        });
    }
    barrier.wait().await;
    let (start, mut times) = (Instant::now(), Vec::new());
    while let Some(looked) = crowd.join_next().await {
        times.extend(looked??);
    }
    Ok(Looked { rate: per_second(times.len(), start), times })
}

#[expect(clippy::cast_precision_loss, reason = "thousands")]
fn per_second(number: usize, since: Instant) -> f64 {
    number as f64 / since.elapsed().as_secs_f64()
}
