//! `proofhouse queue show`: what a job is, where it stands, why it waits and until when.

use std::{fmt::Write as _, str::FromStr};

use anyhow::{Result, bail};
use clap::Args;
use proofhouse_core::{
    db::JobState,
    queue::{Estimate, Waits},
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    connect,
    print::{self, Paint},
    run::{Found, show},
    servers::{OfPools, Part},
    status::Status,
};

/// How a job is named.
#[derive(Debug, Clone)]
pub(crate) enum JobName {
    Uuid(Uuid),
    Number(i64),
}

impl FromStr for JobName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |_| text.parse().map(Self::Number);
        Uuid::try_parse(text)
            .map(Self::Uuid)
            .or_else(number)
            .map_err(|_| "a job is named by its uuid or its number")
    }
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The job's uuid or number
    #[arg(value_name = "UUID|JOB")]
    job: JobName,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Part<OfPools>,
}

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    run: show::Run,
    /// None where it does not wait.
    waits: Option<Waits>,
}

pub(crate) async fn main(args: ShowArgs) -> Result<Status> {
    let config = args.settings.config()?;
    let database = connect::existing_database(&config).await?;
    let job = match args.job {
        JobName::Uuid(uuid) => database.job_by_uuid(uuid).await?,
        JobName::Number(id) => database.job(id).await?,
    };
    let Some(job) = job else { bail!("there is no such job") };
    let attempts = database.attempts_of(job.id).await?;
    let waits = if job.state() == JobState::Waiting {
        let situation = database.situation(&config.pool_rules).await?;
        Some(database.explain(&situation, &job).await?)
    } else {
        None
    };
    let result = database.result_of_job(job.id).await?;
    let run = show::run(&Found { job: Some(job), result }, &attempts);
    if args.json {
        print::json(&Shown { run, waits })?;
    } else {
        let class = run.class().map(|class| format!("  class     {class}\n")).unwrap_or_default();
        let waits = waits.as_ref().map(text).unwrap_or_default();
        print::text(&(show::text(&run, Paint::stdout()) + &class + &waits))?;
    }
    Ok(Status::Done)
}

fn text(waits: &Waits) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:9} {value}");
    };
    line("waits", &print::one_line(&format!("{} ({})", waits.sentence, waits.reason.name()), 500));
    if let Some(place) = waits.place {
        line("place", &place_text(place));
    }
    line("starts", &waits.estimate.as_ref().map_or_else(|| "that cannot be told".to_owned(), starts));
    text
}

/// `next`, `about 7 before it`.
pub(crate) fn place_text(place: u64) -> String {
    if place == 0 { "next".to_owned() } else { format!("about {place} before it") }
}

/// `in about 20 min (15 min to 25 min)`.
pub(crate) fn starts(estimate: &Estimate) -> String {
    let [early, likely, late] = [estimate.early_seconds, estimate.likely_seconds, estimate.late_seconds]
        .map(proofhouse_core::queue::in_words);
    format!("in about {likely} ({early} to {late})")
}

#[cfg(test)]
mod tests {
    use proofhouse_core::queue::Reason;

    use super::*;

    #[test]
    fn in_words() {
        let reason = Reason::Slot { pools: vec!["amd64".parse().unwrap(), "big".parse().unwrap()] };
        let estimate = Estimate { early_seconds: 900.0, likely_seconds: 1200.0, late_seconds: 9000.0 };
        let waits = Waits { sentence: reason.to_string(), reason, place: Some(7), estimate: Some(estimate) };
        let next = Waits { place: Some(0), estimate: None, ..waits.clone() };
        insta::assert_snapshot!(text(&waits) + &text(&next));
    }
}
