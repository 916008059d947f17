//! Results that come in on top of those that are there, until pages show them everywhere: stored, with an edition, summed up.

use std::time::Instant;

use anyhow::Result;
use jiff::SignedDuration;
use proofhouse_core::{
    db::Database,
    index::{FoundRun, Said, StoredResult},
    layout::Series,
};

use super::{
    index::{rate, sum_up},
    made::{Line, Made},
};
use crate::{
    Form,
    report::{Figure, Goal, Report},
};

static INGEST: Figure = Figure {
    what: "more results that come in and are summed up",
    unit: "/s",
    goal: Goal::AtLeast(5000.0),
    limit: "written past the product, indexes made afterwards",
};

/// How many are written at once, as by a rebuild.
const CHUNK: usize = 500;

pub(crate) async fn measure(
    form: Form,
    report: &mut Report,
    of: &str,
    database: &Database,
    epoch: i64,
    made: &Made,
    copied: f64,
) -> Result<()> {
    let number: u64 = form.pick(50_000, 500);
    // Other ones, and newer ones.
    let later = made.now + SignedDuration::from_hours(24 * 30);
    let more = Made { seed: made.seed + 1, now: later, ..*made };
    let all: Vec<StoredResult> =
        (0..number).rev().map(|age| stored(more.result(age))).collect::<Result<_>>()?;
    let start = Instant::now();
    let (mut written, mut summed) = (0.0, 0.0);
    for chunk in all.chunks(CHUNK) {
        let begin = Instant::now();
        let runs: Vec<FoundRun> = chunk.iter().map(|result| result.run.clone()).collect();
        let new = database.index(&runs, chunk, None).await?;
        anyhow::ensure!(usize::try_from(new)? == chunk.len(), "{new} of {}", chunk.len());
        written += begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        sum_up(database, epoch).await?;
        summed += begin.elapsed().as_secs_f64();
    }
    let notes = [("s to write them", written), ("s to sum them up", summed)];
    report.add_of(of, &INGEST, rate(number, start), copied, &notes);
    Ok(())
}

fn stored(line: Line) -> Result<StoredResult> {
    let pair = format!("{}/{}", line.release, line.arch).parse()?;
    let series = Series { container: line.container.parse()?, pair, package: line.package.parse()? };
    Ok(StoredResult {
        run: FoundRun { series, run_id: line.run_id.parse()? },
        said: Said {
            exit_code: line.exit_code,
            version: line.version,
            triggers: Some(line.triggers),
            env: line.env.to_owned(),
            requester: line.requester,
            duration_seconds: line.seconds,
            uuid: Some(line.uuid),
            rule: Some("exit-code".to_owned()),
        },
        readable_by: if line.private { vec!["acme".to_owned()] } else { Vec::new() },
    })
}
