//! `proofhouse queue audit`.

use anyhow::Result;
use clap::Args;
use proofhouse_core::db::{AuditRow, Database};
use serde::Serialize;
use serde_json::Value;

use super::filter::Ago;
use crate::{connect, print, servers::Servers, status::Status};

const PAGE: i64 = 1000;

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Only what was done since then: 12h, 7d
    #[arg(long, value_name = "DURATION")]
    since: Option<Ago>,
    /// Only what this person did
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    servers: Servers,
}

#[derive(Debug, Serialize)]
struct Line {
    id: i64,
    at: String,
    person: String,
    action: String,
    what: Value,
    jobs: i64,
}

impl From<AuditRow> for Line {
    fn from(row: AuditRow) -> Self {
        let AuditRow { id, at_us, person, action, what, jobs } = row;
        let what = serde_json::from_str(&what).unwrap_or(Value::String(what));
        Self { id, at: print::time(at_us), person, action, what, jobs }
    }
}

pub(super) async fn main(args: AuditArgs) -> Result<Status> {
    let database = connect::existing_database(&args.servers.config()?).await?;
    let since_us = match &args.since {
        Some(ago) => database.now_us().await?.saturating_sub(ago.us),
        None => 0,
    };
    let lines = all(&database, since_us, args.person.as_deref()).await?;
    if args.json {
        print::json(&lines)?;
    } else {
        print::text(&text(&lines))?;
    }
    Ok(Status::Done)
}

async fn all(database: &Database, since_us: i64, person: Option<&str>) -> Result<Vec<Line>> {
    let (mut lines, mut after) = (Vec::new(), 0);
    loop {
        let page = database.audit(after, since_us, person, PAGE).await?;
        let Some(last) = page.last() else { return Ok(lines) };
        after = last.id;
        lines.extend(page.into_iter().map(Line::from));
    }
}

fn text(lines: &[Line]) -> String {
    let row = |line: &Line| {
        [
            line.id.to_string(),
            line.at.clone(),
            print::one_line(&line.person, 40),
            line.action.clone(),
            line.jobs.to_string(),
            print::one_line(&line.what.to_string(), 400),
        ]
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
    print::table(["ID", "AT", "BY", "ACTION", "JOBS", "WHAT"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendered() {
        let row = AuditRow {
            id: 3,
            at_us: 1_795_239_394_000_000,
            person: "ann".to_owned(),
            action: "raise".to_owned(),
            what: r#"{"release":"noble","by":10}"#.to_owned(),
            jobs: 412,
        };
        insta::assert_snapshot!(text(&[row.into()]));
    }
}
