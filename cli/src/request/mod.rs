//! `proofhouse request`: asks for tests, one or many, and follows them.

pub(crate) mod lines;
mod options;
mod send;

use std::{io::Read as _, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use proofhouse_core::{config::Config, db::Database};
use serde::Serialize;
use uuid::Uuid;

pub(crate) use self::options::{EXAMPLES, RequestArgs};
use self::{
    lines::{Defaults, Wanted},
    send::Way,
};
use crate::{
    connect, follow,
    outcome::Outcome,
    print,
    roles::UpFile,
    status::{Misuse, Status},
};

/// How many are sent at once.
const BATCH: usize = 100;

/// A request that was sent, as JSON shows it.
#[derive(Debug, Serialize)]
struct SentLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    uuid: Uuid,
    queue: String,
    release: String,
    arch: String,
    package: String,
    /// It is part of a job that was there already.
    merged: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct BadLine {
    line: usize,
    reason: String,
}

/// Everything that became of a list.
#[derive(Debug, Default, Serialize)]
struct Report {
    sent: Vec<SentLine>,
    bad: Vec<BadLine>,
}

/// Sends, and waits where that is asked for.
pub(crate) async fn main(args: RequestArgs) -> Result<Status> {
    let config = args.settings.config()?;
    let defaults = Defaults {
        release: args.release.clone(),
        arch: args.arch.clone(),
        context: args.with.context,
        params: args.with.params(Timestamp::now()),
    };
    // Found out before anything is sent: a wait needs the job table.
    let database = if args.wait { Some(database_to_wait_on(&config).await?) } else { None };
    let mut report = match (&args.file, &args.package) {
        (Some(file), _) => send_list(&config, &read(file)?, &defaults).await?,
        (None, Some(package)) => send_one(&config, lines::single(package.clone(), &defaults)).await?,
        (None, None) => return Err(Misuse("name a package, or a list with --file".to_owned()).into()),
    };
    let single = args.file.is_none();
    if !args.json {
        show_sent(&report, single)?;
    }
    let mut status = if report.bad.is_empty() { Status::Done } else { Status::Failed };
    if let Some(database) = database {
        let site = site(&config);
        for sent in &mut report.sent {
            let outcome =
                follow::to_the_end(&database, &config.pool_rules, sent.uuid, site.as_deref()).await?;
            status = status.max(outcome.status());
            if !args.json {
                print::text(&outcome.text(print::Paint::stdout()))?;
            }
            sent.outcome = Some(outcome);
        }
    }
    if args.json {
        match report.sent.first() {
            Some(sent) if single => print::json(sent)?,
            _ => print::json(&report)?,
        }
    }
    Ok(status)
}

async fn database_to_wait_on(config: &Config) -> Result<Database> {
    connect::existing_database(config)
        .await
        .context("--wait looks into the job table (--database, or --data of a `proofhouse up`)")
}

/// Where pages are: as configured, or where the `up` of the data folder serves them.
fn site(config: &Config) -> Option<String> {
    let configured = config.site.as_ref().map(|site| site.as_str().to_owned());
    configured.or_else(|| UpFile::read(&config.data).map(|up| up.site))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut text).context("the standard input cannot be read")?;
        return Ok(text);
    }
    std::fs::read(file).map_err(|e| Misuse(format!("{} cannot be read: {e}", file.display())).into())
}

async fn send_one(config: &Config, wanted: Result<Wanted, lines::BadLine>) -> Result<Report> {
    let wanted = wanted.map_err(|error| Misuse(error.to_string()))?;
    let way = Way::open(config).await?;
    let outcome = way.send(std::slice::from_ref(&wanted)).await?.pop();
    way.close().await;
    let sent = outcome.context("nothing was sent")?.map_err(anyhow::Error::msg)?;
    Ok(Report { sent: vec![SentLine::of(None, &wanted, &sent)], bad: Vec::new() })
}

async fn send_list(config: &Config, text: &[u8], defaults: &Defaults) -> Result<Report> {
    let mut report = Report::default();
    let mut good = Vec::new();
    for (line, parsed) in lines::parse(text, defaults) {
        match parsed {
            Ok(wanted) => good.push((line, wanted)),
            Err(error) => report.bad.push(BadLine { line, reason: error.to_string() }),
        }
    }
    if good.is_empty() {
        return Ok(report);
    }
    let way = Way::open(config).await?;
    let bar = bar(good.len());
    for batch in good.chunks(BATCH) {
        let wanted: Vec<Wanted> = batch.iter().map(|(_, wanted)| wanted.clone()).collect();
        let outcomes = way.send(&wanted).await.with_context(|| format!("{} were sent", report.sent.len()))?;
        for ((line, wanted), outcome) in batch.iter().zip(outcomes) {
            match outcome {
                Ok(sent) => report.sent.push(SentLine::of(Some(*line), wanted, &sent)),
                Err(reason) => report.bad.push(BadLine { line: *line, reason }),
            }
        }
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    way.close().await;
    report.bad.sort_by_key(|bad| bad.line);
    Ok(report)
}

/// Seen on a terminal alone.
fn bar(length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} requests, {eta} left");
    let bar =
        ProgressBar::new(length as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

impl SentLine {
    fn of(line: Option<usize>, wanted: &Wanted, sent: &send::Sent) -> Self {
        Self {
            line,
            uuid: sent.uuid,
            queue: wanted.queue.to_string(),
            release: wanted.queue.pair.release.to_string(),
            arch: wanted.queue.pair.arch.to_string(),
            package: wanted.request.package.to_string(),
            merged: sent.merged,
            outcome: None,
        }
    }

    fn text(&self) -> String {
        let merged = if self.merged { " (the same was asked for already)" } else { "" };
        format!("{} {} {}/{}{merged}\n", self.uuid, self.package, self.release, self.arch)
    }
}

fn show_sent(report: &Report, single: bool) -> Result<()> {
    print::text(&report.sent.iter().map(SentLine::text).collect::<String>())?;
    for bad in &report.bad {
        eprintln!("line {}: {}", bad.line, bad.reason);
    }
    if !single {
        eprintln!("{} sent, {} bad", report.sent.len(), report.bad.len());
    }
    Ok(())
}
