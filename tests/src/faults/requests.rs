//! The requests, each with a trigger of its own, and what is said of their ends.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use lapin::{
    BasicProperties, Channel, Connection,
    options::{
        BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
};
use proofhouse_core::protocol::COMPLETE_EXCHANGE;
use serde_json::json;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    amqp,
    cluster::{body, params},
    hostile,
    wait::within,
};

/// How many packages share the requests; each is a series.
const PACKAGES: usize = 40;
/// Between two requests for the real autopkgtest, which takes ten seconds or more for each.
const REAL_PAUSE: Duration = Duration::from_secs(8);
/// Between two requests by the sites.
const SITE_PAUSE: Duration = Duration::from_millis(700);
/// How long tests take, in turns.
const LASTS: [&str; 7] = ["LAST=0.05", "LAST=0.1", "LAST=0.2", "LAST=0.1", "LAST=0.5", "LAST=0.1", "LAST=2"];

/// Triggers of the requests that were sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// The broker, or a site, said that it has them.
    pub(super) confirmed: BTreeSet<String>,
    /// The link broke before it said so: they may have come or not.
    pub(super) unsure: BTreeSet<String>,
}

impl Sent {
    fn add(&mut self, trigger: String, confirmed: bool) {
        if confirmed { &mut self.confirmed } else { &mut self.unsure }.insert(trigger);
    }
}

/// A stream of requests that goes on over broken links.
pub(super) struct Requests {
    over: Arc<AtomicBool>,
    tasks: [JoinHandle<Result<Sent>>; 2],
}

impl Requests {
    /// By the broker, and by the sites with a token. `real`: some for the real autopkgtest, too.
    pub(super) fn start(url: String, sites: (Vec<String>, String), pause: Duration, real: bool) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let by_broker = tokio::spawn(send_all(url, pause, real, over.clone()));
        let by_sites = tokio::spawn(ask_all(sites.0, sites.1, over.clone()));
        Self { over, tasks: [by_broker, by_sites] }
    }

    pub(super) async fn end(self) -> Result<Sent> {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Sent::default();
        for task in self.tasks {
            let sent = task.await.context("the stream of requests died")??;
            all.confirmed.extend(sent.confirmed);
            all.unsure.extend(sent.unsure);
        }
        Ok(all)
    }
}

async fn send_all(url: String, pause: Duration, real: bool, over: Arc<AtomicBool>) -> Result<Sent> {
    let (mut sent, mut number, mut link) = (Sent::default(), 0, None);
    let mut real_at = real.then(Instant::now);
    while !over.load(Ordering::Relaxed) {
        let Some((_, channel)) = &link else {
            link = connect(&url).await.ok();
            sleep(pause).await;
            continue;
        };
        let is_real = real_at.is_some_and(|at| at <= Instant::now());
        if is_real {
            real_at = Some(Instant::now() + REAL_PAUSE);
        }
        let package = if is_real {
            format!("honest-{}", number % hostile::HONEST + 1)
        } else {
            format!("pkg{}", number % PACKAGES)
        };
        let queue = if is_real { "debci-bookworm-amd64" } else { "debci-noble-amd64" };
        let trigger = format!("{package}/{number}");
        let request = body(&package, &params(&trigger, &[LASTS[number % LASTS.len()]]));
        number += 1;
        let confirm = within("a confirm", Duration::from_secs(10), send(channel, queue, &request));
        let confirmed = matches!(confirm.await, Ok(Ok(true)));
        sent.add(trigger, confirmed);
        if !confirmed {
            link = None;
        }
        sleep(pause).await;
    }
    Ok(sent)
}

/// Asks one site after the other. What is not answered may have been taken or not.
async fn ask_all(sites: Vec<String>, token: String, over: Arc<AtomicBool>) -> Result<Sent> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
    let mut sent = Sent::default();
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let package = format!("asked{}", number % PACKAGES);
        let trigger = format!("{package}/{number}");
        let wanted = json!({"release": "noble", "arch": "amd64", "package": package, "triggers": [trigger]});
        let url = format!("{}/api/v1/requests", sites[number % sites.len()]);
        let answer = http.post(url).bearer_auth(&token).json(&wanted).send().await;
        if let Ok(answer) = &answer {
            anyhow::ensure!(!answer.status().is_client_error(), "a site refuses: {}", answer.status());
        }
        sent.add(trigger, answer.is_ok_and(|answer| answer.status().is_success()));
        sleep(SITE_PAUSE).await;
    }
    Ok(sent)
}

async fn connect(url: &str) -> Result<(Connection, Channel)> {
    let connection = amqp::connection(url).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

async fn send(channel: &Channel, queue: &str, request: &[u8]) -> Result<bool> {
    let properties = BasicProperties::default().with_content_encoding("UTF-8".into()).with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let confirm = channel.basic_publish("".into(), queue.into(), options, request, properties).await?;
    Ok(confirm.await?.is_ack())
}

/// The queue that hears of ends. It outlives the broker, as a gate's would.
const ENDS: &str = "hears-of-ends";

/// Begins to collect what is said of ends; returns where it is collected.
pub(super) async fn listen(url: &str) -> Result<String> {
    let connection = amqp::connection(url).await?;
    let channel = connection.create_channel().await?;
    let durable = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let kind = lapin::ExchangeKind::Fanout;
    channel.exchange_declare(COMPLETE_EXCHANGE.into(), kind, durable, FieldTable::default()).await?;
    channel.queue_declare(ENDS.into(), QueueDeclareOptions::durable(), FieldTable::default()).await?;
    let bind = QueueBindOptions::default();
    channel.queue_bind(ENDS.into(), COMPLETE_EXCHANGE.into(), "".into(), bind, FieldTable::default()).await?;
    connection.close(200, "done".into()).await?;
    Ok(ENDS.to_owned())
}

/// What was said of ends: the uuids.
pub(super) async fn told(url: &str, queue: &str) -> Result<BTreeSet<String>> {
    let connection = amqp::connection(url).await?;
    let channel = connection.create_channel().await?;
    let mut uuids = BTreeSet::new();
    while let Some(message) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await? {
        let said: serde_json::Value = serde_json::from_slice(&message.delivery.data)?;
        uuids.extend(said["uuid"].as_str().map(str::to_owned));
    }
    channel.queue_delete(queue.into(), lapin::options::QueueDeleteOptions::default()).await?;
    connection.close(200, "done".into()).await?;
    Ok(uuids)
}
