//! How fast the leader chooses what goes next, whatever waits.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, Consumer,
    options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions},
    types::FieldTable,
};
use proofhouse_core::protocol::{ASKS, Announce, Ask, Asked, Wanted, WorkerId, pool_queue};
use proofhouse_tests::{amqp, wait::wait_for};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    bed::{Bed, PATIENCE, Site},
    numbers::median,
    report::{Figure, Goal, Report},
    waiting::{ARCHES, fill},
};

const LIMIT: &str = "as many messages by the broker alone";

static FIGURES: [Figure; 3] = [
    figure("decisions a second with 1,000 waiting: from free slots to offers on their queues"),
    figure("the same with 100,000 waiting"),
    figure("the same with 1,000,000 waiting"),
];

static EVEN: Figure = Figure {
    what: "the slowest of these three beside the fastest",
    unit: "",
    goal: Goal::AtLeast(0.8),
    limit: "all the same",
};

const fn figure(what: &'static str) -> Figure {
    Figure { what, unit: "/s", goal: Goal::AtLeast(2000.0), limit: LIMIT }
}

/// So many slots are there first, and then so many.
const SLOTS: (u32, u32) = (20, 140);
/// Each number is the median of so many dispatchers.
const TIMES: usize = 5;

pub(crate) async fn measure(bed: &Bed, report: &mut Report) -> Result<()> {
    let sizes = bed.form.pick([1000, 100_000, 1_000_000], [1000, 2000, 3000]);
    let mut rates = Vec::new();
    for (rows, figure) in sizes.into_iter().zip(&FIGURES) {
        let site = bed.site().await?;
        site.execute(fill(rows)).await?;
        site.execute("ANALYZE jobs".to_owned()).await?;
        let mut times = Vec::new();
        for _ in 0..bed.form.pick(TIMES, 1) {
            times.push(one(&site, rows).await?);
        }
        let rate = median(&times.iter().map(|(rate, _)| *rate).collect::<Vec<_>>());
        let alone = median(&times.iter().map(|(_, alone)| *alone).collect::<Vec<_>>());
        report.add(figure, rate, alone, &[]);
        rates.push(rate);
    }
    let (least, most) =
        (rates.iter().copied().fold(f64::MAX, f64::min), rates.iter().copied().fold(0.0, f64::max));
    report.add(&EVEN, least / most, 1.0, &[]);
    Ok(())
}

/// A dispatcher's rate, and that of the broker alone.
async fn one(site: &Site, rows: usize) -> Result<(f64, f64)> {
    let dispatcher = site.dispatcher(&ARCHES.join(",")).start().await?;
    dispatcher.becomes_ready().await?;
    let mut worker = Worker::start(site).await?;
    worker.announce(SLOTS.0).await?;
    worker.offers(SLOTS.0 as usize * ARCHES.len()).await?;
    // Its first look at everything, which grows with what waits, is not what a decision costs.
    let looked = format!("proofhouse_jobs{{state=\"waiting\"}} {rows}\n");
    wait_for("the first look", PATIENCE, async || {
        dispatcher.metrics().await.ok()?.contains(&looked).then_some(())
    })
    .await?;
    let more = (SLOTS.1 - SLOTS.0) as usize * ARCHES.len();
    let began = Instant::now();
    worker.announce(SLOTS.1).await?;
    worker.offers(more).await?;
    let took = began.elapsed();
    drop(dispatcher);
    let alone = worker.alone(more).await?;
    // Or the next one's offers would come here.
    worker.connection.close(200, "done".into()).await?;
    Ok((rate(more, took), rate(more, alone)))
}

fn rate(n: usize, took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let n = n as f64;
    n / took.as_secs_f64()
}

/// A worker that counts offers and asks for none of them.
struct Worker {
    connection: Connection,
    channel: Channel,
    came: mpsc::UnboundedReceiver<()>,
    me: WorkerId,
}

impl Worker {
    async fn start(site: &Site) -> Result<Self> {
        let connection = amqp::connection(&site.bus).await?;
        let channel = connection.create_channel().await?;
        let me = WorkerId { name: "counts".parse()?, incarnation: Uuid::new_v4() };
        let mailbox =
            QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(me.mailbox().into(), mailbox, FieldTable::default()).await?;
        let (count, came) = mpsc::unbounded_channel();
        for arch in ARCHES {
            let queue = pool_queue(&arch.parse()?);
            let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
            let offers =
                channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
            tokio::spawn(forward(offers, count.clone()));
        }
        Ok(Self { connection, channel, came, me })
    }

    async fn announce(&self, slots: u32) -> Result<()> {
        let pools = ARCHES.iter().map(|arch| arch.parse()).collect::<Result<_, _>>()?;
        let said = Announce {
            host: "counts".to_owned(),
            pools,
            slots,
            holds: vec![],
            draining: false,
            unable: None,
            version: String::new(),
            wanted: Wanted::Work,
            leaving: false,
        };
        let asked = Asked { from: Some(self.me.clone()), ask: Ask::Announce(said) };
        self.publish(ASKS, &serde_json::to_vec(&asked)?).await
    }

    async fn publish(&self, queue: &str, body: &[u8]) -> Result<()> {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        self.channel.basic_publish("".into(), queue.into(), options, body, properties).await?;
        Ok(())
    }

    /// Waits for so many.
    async fn offers(&mut self, n: usize) -> Result<()> {
        for _ in 0..n {
            let one = tokio::time::timeout(PATIENCE, self.came.recv()).await;
            one.context("an offer")?.context("the broker")?;
        }
        Ok(())
    }

    /// How long the broker takes for so many messages over the same queues.
    async fn alone(&mut self, n: usize) -> Result<Duration> {
        let began = Instant::now();
        for (arch, _) in ARCHES.iter().cycle().zip(0..n) {
            self.publish(&pool_queue(&arch.parse()?), b"{\"job\":1000000,\"attempt\":1,\"epoch\":1}").await?;
        }
        self.offers(n).await?;
        Ok(began.elapsed())
    }
}

/// Counts what comes.
async fn forward(mut offers: Consumer, count: mpsc::UnboundedSender<()>) {
    while let Some(Ok(_)) = offers.next().await {
        if count.send(()).is_err() {
            return;
        }
    }
}
