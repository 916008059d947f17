//! `proofhouse workers ls`.

use anyhow::Result;
use proofhouse_core::db::WorkerRow;
use serde::Serialize;

use super::{View, open};
use crate::{args::ListArgs, print, status::Status};

/// A worker as JSON shows it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    name: &'a str,
    host: &'a str,
    pools: Vec<&'a str>,
    /// How many tests it runs at once.
    slots: i64,
    /// How many it holds.
    held: usize,
    /// working, unable, draining, drained, retiring or away.
    state: &'static str,
    /// work, drain or retire.
    wanted: &'a str,
    unable: Option<&'a str>,
    version: &'a str,
    seen: String,
}

impl<'a> Line<'a> {
    fn of(view: &'a View, worker: &'a WorkerRow) -> Self {
        Self {
            name: &worker.name,
            host: &worker.host,
            pools: worker.pools.split(' ').filter(|pool| !pool.is_empty()).collect(),
            slots: worker.slots,
            held: view.held_by(&worker.name).count(),
            state: view.state(worker),
            wanted: &worker.wanted,
            unable: worker.unable.as_deref(),
            version: &worker.version,
            seen: print::time(worker.seen_us),
        }
    }
}

/// Lists all of them.
pub(super) async fn ls(args: ListArgs) -> Result<Status> {
    let view = View::of(&open(&args.servers).await?).await?;
    if args.json {
        print::json(&lines(&view))?;
    } else {
        print::text(&text(&view))?;
    }
    Ok(Status::Done)
}

fn lines(view: &View) -> Vec<Line<'_>> {
    view.workers.iter().map(|worker| Line::of(view, worker)).collect()
}

fn text(view: &View) -> String {
    let row = |line: &Line<'_>| {
        let why = line.unable.map(|why| format!(": {}", print::one_line(why, 60))).unwrap_or_default();
        [
            print::one_line(line.name, 60),
            print::one_line(line.host, 40),
            line.pools.join(" "),
            format!("{}/{}", line.held, line.slots),
            print::one_line(line.version, 20),
            line.seen.clone(),
            format!("{}{why}", line.state),
        ]
    };
    let rows: Vec<_> = lines(view).iter().map(row).collect();
    print::table(["NAME", "HOST", "POOLS", "SLOTS", "VERSION", "LAST SEEN", "STATE"], &rows)
}

#[cfg(test)]
mod tests {
    use super::{super::tests::view, *};

    #[test]
    fn rendered() {
        let view = view();
        insta::assert_snapshot!(text(&view));
        insta::assert_snapshot!(serde_json::to_string_pretty(&lines(&view)[4]).unwrap());
    }
}
