//! `proofhouse rejected`: what could not be taken. For operators alone: what cannot be read counts as private.

use anyhow::{Result, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use proofhouse_core::db::{Database, RejectedRow};
use serde::Serialize;

use crate::{
    args::{ListArgs, RejectedShowArgs},
    connect, print,
    status::Status,
};

const PAGE: i64 = 1000;

/// A rejected message as JSON shows it.
#[derive(Debug, Serialize)]
struct Line {
    id: i64,
    queue: String,
    /// The reason's name.
    kind: String,
    reason: String,
    received: String,
    /// Without credentials; bytes that are not UTF-8 are replaced.
    body: String,
    /// The bytes, where the text does not hold them.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl From<&RejectedRow> for Line {
    fn from(row: &RejectedRow) -> Self {
        let is_text = std::str::from_utf8(&row.body).is_ok();
        Self {
            id: row.id,
            queue: row.queue.clone(),
            kind: row.kind.clone(),
            reason: row.reason.clone(),
            received: print::time(row.received_us),
            body: String::from_utf8_lossy(&row.body).into_owned(),
            body_base64: (!is_text).then(|| BASE64_STANDARD.encode(&row.body)),
        }
    }
}

/// Lists all of them.
pub(crate) async fn ls(args: ListArgs) -> Result<Status> {
    let database = connect::existing_database(&args.servers.config()?).await?;
    let rows = all(&database).await?;
    if args.json {
        print::json(&rows.iter().map(Line::from).collect::<Vec<_>>())?;
    } else {
        print::text(&text(&rows))?;
    }
    Ok(Status::Done)
}

async fn all(database: &Database) -> Result<Vec<RejectedRow>> {
    let mut rows: Vec<RejectedRow> = Vec::new();
    loop {
        let page = database.rejected(rows.last().map_or(0, |row| row.id), PAGE).await?;
        if page.is_empty() {
            return Ok(rows);
        }
        rows.extend(page);
    }
}

fn text(rows: &[RejectedRow]) -> String {
    let row = |row: &RejectedRow| {
        let body = String::from_utf8_lossy(&row.body);
        [
            row.id.to_string(),
            print::time(row.received_us),
            print::one_line(&row.queue, 60),
            print::one_line(&row.reason, 100),
            print::one_line(&body, 60),
        ]
    };
    print::table(["ID", "RECEIVED", "QUEUE", "REASON", "BODY"], &rows.iter().map(row).collect::<Vec<_>>())
}

/// Shows one.
pub(crate) async fn show(args: RejectedShowArgs) -> Result<Status> {
    let database = connect::existing_database(&args.servers.config()?).await?;
    let Some(row) = database.rejected_one(args.id).await? else {
        bail!("there is no rejected message {}", args.id);
    };
    if args.json {
        print::json(&Line::from(&row))?;
    } else {
        print::text(&one(&row))?;
    }
    Ok(Status::Done)
}

fn one(row: &RejectedRow) -> String {
    let lines: Vec<String> = String::from_utf8_lossy(&row.body)
        .lines()
        .map(|line| format!("  {}\n", print::one_line(line, usize::MAX - 1)))
        .collect();
    format!(
        "queue:    {}\nreceived: {}\nreason:   {} ({})\nbody ({} bytes):\n{}",
        print::one_line(&row.queue, 300),
        print::time(row.received_us),
        print::one_line(&row.reason, 2000),
        row.kind,
        row.body.len(),
        lines.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(body: &[u8]) -> RejectedRow {
        RejectedRow {
            id: 3,
            queue: "debci-noble-amd64".to_owned(),
            body: body.to_owned(),
            kind: "bad-json".to_owned(),
            reason: "the parameters are not JSON: line 1, column 2".to_owned(),
            received_us: 1_795_239_394_000_000,
        }
    }

    #[test]
    fn rendered() {
        let rows = [row(b"green\n{\x1b[31m"), row(b"gr\xff")];
        insta::assert_snapshot!(text(&rows));
        insta::assert_snapshot!(one(&rows[0]));
        insta::assert_snapshot!(serde_json::to_string_pretty(&rows.each_ref().map(Line::from)).unwrap());
    }
}
