//! `proofhouse parked ls`.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Result;
use proofhouse_core::db::ParkedRow;
use serde::Serialize;

use super::{Filter, LsArgs, select};
use crate::{connect, print, status::Status};

/// A parked job as JSON shows it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    job: i64,
    uuid: &'a str,
    context: &'a str,
    release: &'a str,
    arch: &'a str,
    package: &'a str,
    private: bool,
    /// By which `parked retry --reason` knows it.
    reason: &'a str,
    /// The same in words.
    why: Option<&'a str>,
    since: String,
    attempts: i64,
    /// So many of them were made before it was last retried.
    tried_before: i64,
    /// False: it cannot be retried.
    readable: bool,
}

impl<'a> From<&'a ParkedRow> for Line<'a> {
    fn from(row: &'a ParkedRow) -> Self {
        let job = &row.job;
        Self {
            job: job.id,
            uuid: &job.uuid,
            context: &job.context,
            release: &job.release,
            arch: &job.arch,
            package: &job.package,
            private: job.private,
            reason: row.reason(),
            why: job.reason.as_deref(),
            since: print::time(job.changed_us),
            attempts: job.attempts,
            tried_before: job.tried_before,
            readable: row.is_readable(),
        }
    }
}

pub(super) async fn main(args: LsArgs) -> Result<Status> {
    let database = connect::existing_database(&args.servers.config()?).await?;
    let rows = select(&database, |row| args.filter.matches(row)).await?;
    if args.json {
        print::json(&rows.iter().map(Line::from).collect::<Vec<_>>())?;
    } else {
        print::text(&text(&rows, &args.filter))?;
    }
    Ok(Status::Done)
}

fn text(rows: &[ParkedRow], filter: &Filter) -> String {
    if rows.is_empty() {
        let all = filter.reason.is_none() && filter.options().is_empty();
        return if all { "nothing is parked\n" } else { "nothing that is parked fits\n" }.to_owned();
    }
    let row = |row: &ParkedRow| {
        let ParkedRow { job, .. } = row;
        [
            job.id.to_string(),
            job.uuid.clone(),
            print::time(job.changed_us),
            print::one_line(row.reason(), 40),
            job.attempts.to_string(),
            format!("{}/{}", job.release, job.arch),
            format!("{}{}", job.package, if job.private { " (private)" } else { "" }),
        ]
    };
    let lines: Vec<_> = rows.iter().map(row).collect();
    let mut text = print::table(["JOB", "UUID", "SINCE", "REASON", "ATTEMPTS", "ON", "PACKAGE"], &lines);
    text.push('\n');
    text.push_str(&summary(rows, filter));
    text
}

/// How many there are of each reason, since when, and the command that retries those that were listed.
fn summary(rows: &[ParkedRow], filter: &Filter) -> String {
    let mut reasons: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
    for row in rows {
        let (count, oldest) = reasons.entry(row.reason()).or_insert((0, i64::MAX));
        *count += 1;
        *oldest = (*oldest).min(row.job.changed_us);
    }
    let mut text = String::new();
    for (reason, (count, oldest)) in reasons {
        let advice = match reason {
            ParkedRow::UNREADABLE => "cannot be retried: ask for these tests anew".to_owned(),
            reason => {
                let reason = super::quoted(&print::one_line(reason, 100));
                format!("proofhouse parked retry --reason {reason}{}", filter.options())
            }
        };
        let _ = writeln!(
            text,
            "{count} {}, the oldest since {}: {advice}",
            print::one_line(reason, 100),
            print::time(oldest)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{super::tests::parked, *};

    #[test]
    fn rendered() {
        let mut unreadable = parked(9, Some("worker"), None);
        unreadable.job.body = "green {\"triggers\": {}}".to_owned();
        let mut private = parked(12, Some("log-rule"), Some("archive-unreachable"));
        private.job.private = true;
        private.job.changed_us += 3_600_000_000;
        let rows = [parked(7, Some("testbed"), None), unreadable, parked(11, Some("testbed"), None), private];
        insta::assert_snapshot!(text(&rows, &Filter::default()));
        let filter = Filter { arch: Some("arm64".parse().unwrap()), ..Filter::default() };
        assert!(summary(&rows, &filter).contains("proofhouse parked retry --reason testbed --arch arm64\n"));
        insta::assert_snapshot!(serde_json::to_string_pretty(&Line::from(&rows[3])).unwrap());
        assert_eq!(text(&[], &Filter::default()), "nothing is parked\n");
        assert_eq!(text(&[], &filter), "nothing that is parked fits\n");
    }
}
