//! `proofhouse queue gates`: what gates still wait for, oldest first.

use anyhow::Result;
use clap::Args;
use jiff::{Span, SpanRelativeTo, Timestamp, Unit};
use proofhouse_core::{db::GateRow, queue::in_words};
use serde::Serialize;

use crate::{connect, print, servers::Servers, status::Status};

#[derive(Debug, Args)]
pub(crate) struct GatesArgs {
    /// Only what came before so long: 12h, 3d
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    older_than: Option<i64>,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    servers: Servers,
}

fn seconds(text: &str) -> Result<i64, String> {
    let span: Span = text.parse().map_err(|_| "a time is a number with its unit: 90m, 12h, 3d".to_owned())?;
    let total = span.total((Unit::Second, SpanRelativeTo::days_are_24_hours())).map_err(|e| e.to_string())?;
    #[expect(clippy::cast_possible_truncation, reason = "seconds of at most centuries")]
    let total = total as i64;
    if total < 0 { Err("a time that is over is meant".to_owned()) } else { Ok(total) }
}

/// A trigger as JSON shows it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    trigger: &'a str,
    oldest: String,
    age_seconds: i64,
    waiting: i64,
    running: i64,
    parked: i64,
}

pub(crate) async fn main(args: GatesArgs) -> Result<Status> {
    let database = connect::existing_database(&args.servers.config()?).await?;
    let now = Timestamp::now().as_microsecond();
    let before = args.older_than.map(|seconds| now - seconds * 1_000_000);
    let rows = database.gates_by_trigger(before).await?;
    if args.json {
        let lines = rows.iter().map(|row| Line {
            trigger: &row.trigger,
            oldest: print::time(row.oldest_us),
            age_seconds: age(row, now),
            waiting: row.waiting,
            running: row.running,
            parked: row.parked,
        });
        print::json(&lines.collect::<Vec<_>>())?;
    } else {
        print::text(&text(&rows, now))?;
    }
    Ok(Status::Done)
}

fn age(row: &GateRow, now_us: i64) -> i64 {
    ((now_us - row.oldest_us) / 1_000_000).max(0)
}

fn text(rows: &[GateRow], now_us: i64) -> String {
    let row = |row: &GateRow| {
        let numbers = [row.waiting, row.running, row.parked].map(|n| n.to_string());
        let [waiting, running, parked] = numbers;
        let trigger = if row.trigger.is_empty() { "(none)" } else { &row.trigger };
        let age = in_words(f64::from(u32::try_from(age(row, now_us)).unwrap_or(u32::MAX)));
        [age, waiting, running, parked, print::one_line(trigger, 200)]
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    print::table(["OLDEST", "WAITING", "RUNNING", "PARKED", "TRIGGER"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!([seconds("90m"), seconds("3d"), seconds("1h 30m")], [Ok(5400), Ok(259_200), Ok(5400)]);
        assert!(seconds("soon").is_err() && seconds("3").is_err());
    }

    #[test]
    fn rendered() {
        let row = |trigger: &str, hours: i64| GateRow {
            trigger: trigger.to_owned(),
            oldest_us: (100 - hours) * 3_600_000_000,
            waiting: 12_000,
            running: 7,
            parked: 1,
        };
        insta::assert_snapshot!(text(&[row("perl/5.40.1-1", 80), row("", 1)], 100 * 3_600_000_000));
    }
}
