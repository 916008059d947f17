//! How long it takes from a request on an idle queue to the start of autopkgtest's process, beside what the same machine
//! needs for the parts of it: `make bench`. Figures are printed, never asserted.

use std::{
    io::Write,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use proofhouse_tests::{
    cluster::{Cluster, PATIENCE, body, params},
    wait::wait_for,
};

const RUNS: usize = 60;
const GOAL: Duration = Duration::from_millis(100);

/// The value below which `share` of them lie.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few dozen values"
    )]
    let at = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted[at]
}

fn line(what: &str, mut values: Vec<Duration>) -> Duration {
    values.sort();
    let [half, most] = [0.5, 0.95].map(|share| quantile(&values, share));
    let ms = |d: Duration| d.as_secs_f64() * 1000.0;
    println!(
        "{what:<58} n={:<3} p50 {:8.2} ms   p95 {:8.2} ms   max {:8.2} ms",
        values.len(),
        ms(half),
        ms(most),
        ms(quantile(&values, 1.0))
    );
    half
}

#[tokio::test]
async fn publish_to_start() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let _dispatcher = cluster.dispatcher().arg("--lease-seconds", "60").start().await?;
    let _worker = cluster.worker("one").start().await?;
    let client = cluster.client().await?;
    // The first run warms connections and caches up.
    let mut waits = Vec::new();
    for n in 0..=RUNS {
        let package = format!("pkg{n}");
        let request = body(&package, &params(&format!("{package}/1"), &[]));
        let asked = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        client.publish("debci-noble-amd64", &request).await?;
        // Idle again before the next one.
        cluster.done(&package, 1).await?;
        let started = cluster.starts().into_iter().find(|(_, p)| *p == package).context("its start")?.0;
        waits.push(Duration::from_nanos(u64::try_from(started.saturating_sub(asked))?));
    }
    waits.remove(0);
    let median = line("publish on an idle queue → autopkgtest's process starts", waits);
    limits(&client, &cluster).await?;
    println!(
        "{} publish → start: p50 under {} ms",
        if median < GOAL { "MET" } else { "MISSED" },
        GOAL.as_millis()
    );
    Ok(())
}

/// What the way is made of, on the same machine at the same time.
async fn limits(client: &proofhouse_tests::amqp::AmqpClient, cluster: &Cluster) -> Result<()> {
    client.declare("bench").await?;
    let (mut broker, mut disk, mut process) = (Vec::new(), Vec::new(), Vec::new());
    let mut file = std::fs::File::create(cluster.folder().join("bench"))?;
    for _ in 0..RUNS {
        let start = Instant::now();
        client.publish("bench", b"x").await?;
        client.take("bench").await?.context("the message")?;
        broker.push(start.elapsed());
        let start = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        disk.push(start.elapsed());
        let start = Instant::now();
        Command::new("/bin/sh").args(["-c", "date +%s%N"]).output()?;
        process.push(start.elapsed());
    }
    line("limit: one message through the broker and back", broker);
    line("limit: one fdatasync of 4 KiB", disk);
    line("limit: one bare process (sh that asks for the time)", process);
    Ok(())
}

/// A burst: how long until all of it is in the table, and what the pages cost then.
#[tokio::test]
async fn a_burst_of_requests() -> Result<()> {
    const BURST: usize = 10_000;
    let cluster = Cluster::on_folder().await?;
    let dispatcher = cluster.dispatcher().start().await?;
    let web = cluster.web().start().await?;
    let connection = proofhouse_tests::amqp::connection(&cluster.bus_of("gate")).await?;
    let channel = connection.create_channel().await?;
    let start = Instant::now();
    for n in 0..BURST {
        let package = format!("pkg{}", n % 500);
        let request = body(&package, &params(&format!("{package}/{n}"), &[]));
        let properties = lapin::BasicProperties::default().with_delivery_mode(2);
        let options = lapin::options::BasicPublishOptions::default();
        channel.basic_publish("".into(), "debci-noble-amd64".into(), options, &request, properties).await?;
    }
    println!("{BURST} requests published in {:.2} s", start.elapsed().as_secs_f64());
    let site = web.site_url()?;
    wait_for("all of them in the table", PATIENCE, async || {
        let sizes: serde_json::Value =
            reqwest::get(format!("{site}/queue_size.json")).await.ok()?.json().await.ok()?;
        (sizes["ubuntu"]["noble"]["amd64"] == BURST).then_some(())
    })
    .await?;
    println!("all in the table after {:.2} s", start.elapsed().as_secs_f64());
    for path in ["/queues.json", "/queued.json", "/queue_size.json", "/running", "/", "/packages/pkg1"] {
        let start = Instant::now();
        let answer = reqwest::get(format!("{site}{path}")).await?.error_for_status()?.bytes().await?;
        println!("{path:<20} {:8.1} ms {:>10} bytes", start.elapsed().as_secs_f64() * 1000.0, answer.len());
    }
    drop((dispatcher, connection));
    Ok(())
}
