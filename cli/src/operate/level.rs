//! `proofhouse queue raise`, `lower`, `level` and `emergency`: which lane waiting jobs stand in.

use std::time::Duration;

use anyhow::Result;
use backon::{ConstantBuilder, Retryable as _};
use clap::Args;
use proofhouse_core::{
    config::Config,
    db::{Database, DbError, JobState, LaneMove, OperatedRow},
    queue::{ANSWERS, EMERGENCY, Lane, MOST_RAISED},
};
use serde_json::{Map, Value};

use super::{
    How,
    filter::Filter,
    nudge,
    pass::{self, Change, Deed, Reach, Verdict},
    report::Verb,
};
use crate::{connect, status::Status};

const MOST: i64 = MOST_RAISED as i64;
const UNSORTED: &str = "they are in no lane yet: no dispatcher leads, or it has much to do";
const ANSWERED: &str = "they are answered without a run";
const IN_EMERGENCY: &str = "they are an emergency: `proofhouse queue emergency --end` ends it";
const SO_ALREADY: &str = "their level is that already";
const EMERGENCY_ALREADY: &str = "they are emergencies already";
const NONE_WAITS: &str = "no waiting job matches";
const NONE_TO_END: &str = "no emergency matches";
/// So often it is looked whether the leader has sorted what has just come, and after such pauses.
const SOON: ConstantBuilder =
    ConstantBuilder::new().with_delay(Duration::from_millis(300)).with_max_times(10);
const NO_EMERGENCY: &str = "they are no emergency";

#[derive(Debug, Args)]
pub(crate) struct LevelByArgs {
    /// By so much
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..=MOST))]
    by: i32,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct LevelToArgs {
    /// From -100 to 100; 0 is as they came
    #[arg(value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-MOST..=MOST))]
    level: i32,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct EmergencyArgs {
    /// End it: what is not done yet is as it came; without a filter all of it
    #[arg(long)]
    end: bool,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    how: How,
}

/// `sign`: 1 raises, -1 lowers.
pub(super) async fn by(args: LevelByArgs, sign: i32) -> Result<Status> {
    args.filter.check()?;
    let (action, verb) =
        if sign > 0 { ("raise", Verb("raise", "raised")) } else { ("lower", Verb("lower", "lowered")) };
    let by = args.by * sign;
    let level = move |level: i32| (level + by).clamp(-MOST_RAISED, MOST_RAISED);
    let said = [("by".to_owned(), Value::from(args.by))].into_iter().collect();
    let judge = |job: &OperatedRow| usual(job, level);
    change(&args.filter, &args.how, deed(action, verb, said, &judge)).await
}

pub(super) async fn to(args: LevelToArgs) -> Result<Status> {
    args.filter.check()?;
    let said = [("level".to_owned(), Value::from(args.level))].into_iter().collect();
    let judge = |job: &OperatedRow| usual(job, |_| args.level);
    let verb = Verb("set the level of", "set the level of");
    change(&args.filter, &args.how, deed("level", verb, said, &judge)).await
}

pub(super) async fn emergency(args: EmergencyArgs) -> Result<Status> {
    if args.end {
        let all = !args.filter.narrows();
        let said = all.then(|| ("all".to_owned(), Value::Bool(true))).into_iter().collect();
        let verb = Verb("end the emergency of", "ended the emergency of");
        let end = deed("emergency-end", verb, said, &no_emergency);
        let end = Deed { reach: Reach::Emergencies, nothing: Some(NONE_TO_END), ..end };
        return change(&args.filter, &args.how, end).await;
    }
    args.filter.check()?;
    let verb = Verb("make an emergency of", "made an emergency of");
    change(&args.filter, &args.how, deed("emergency", verb, Map::new(), &emergent)).await
}

fn deed<'a>(
    action: &'static str,
    verb: Verb,
    said: Map<String, Value>,
    judge: &'a dyn Fn(&OperatedRow) -> Verdict,
) -> Deed<'a> {
    // Nothing ends here.
    let (end, reason, answer) = (JobState::Waiting, "", None);
    let (reach, nothing) = (Reach::Waiting, Some(NONE_WAITS));
    Deed { action, verb, reach, nothing, end, reason, answer, said, judge }
}

async fn change(filter: &Filter, how: &How, deed: Deed<'_>) -> Result<Status> {
    let config = how.servers.config()?;
    let database = connect::existing_database(&config).await?;
    sorted_soon(&config, &database).await?;
    pass::run(&config, &database, filter, how.dry_run, how.json, deed).await
}

/// Waits a moment for the leader to sort what has just come.
async fn sorted_soon(config: &Config, database: &Database) -> Result<(), DbError> {
    let nobody_unsorted = || async { Ok(database.unsorted(1).await?.is_empty()) };
    if nobody_unsorted().await? {
        return Ok(());
    }
    nudge::leader(config).await;
    let look = || async {
        let sorted = nobody_unsorted().await.map_err(Some)?;
        if sorted { Ok(()) } else { Err(None) }
    };
    match look.retry(SOON).when(Option::is_none).await {
        // What is in no lane then is told.
        Ok(()) | Err(None) => Ok(()),
        Err(Some(error)) => Err(error),
    }
}

/// Emergencies stay what they are.
fn usual(job: &OperatedRow, level: impl Fn(i32) -> i32) -> Verdict {
    moved(job, |was| if was >= EMERGENCY { Err(IN_EMERGENCY) } else { Ok(level(was)) })
}

fn emergent(job: &OperatedRow) -> Verdict {
    moved(job, |was| if was >= EMERGENCY { Err(EMERGENCY_ALREADY) } else { Ok(EMERGENCY) })
}

fn no_emergency(job: &OperatedRow) -> Verdict {
    moved(job, |was| if was >= EMERGENCY { Ok(0) } else { Err(NO_EMERGENCY) })
}

/// Into the lane that differs by its level.
fn moved(job: &OperatedRow, level: impl FnOnce(i32) -> Result<i32, &'static str>) -> Verdict {
    let from = job.lane.as_deref().unwrap_or_default();
    let Ok(lane) = from.parse::<Lane>() else {
        return Verdict::Leave(if from == ANSWERS { ANSWERED } else { UNSORTED });
    };
    match level(lane.level) {
        Err(why) => Verdict::Leave(why),
        Ok(level) if level == lane.level => Verdict::Leave(SO_ALREADY),
        Ok(level) => {
            let to = Lane { level, ..lane }.to_string();
            Verdict::Change(Change::Move(LaneMove { job: job.id, from: from.to_owned(), to }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::filter::tests::job, *};

    fn at(lane: Option<&str>) -> OperatedRow {
        OperatedRow { lane: lane.map(str::to_owned), ..job(7, "{}") }
    }

    #[test]
    fn the_level_alone_changes() {
        let row = at(Some("3 people ppa noble/amd64 big_packages Joe Doe"));
        let Verdict::Change(Change::Move(moved)) = usual(&row, |was| was - 10) else { panic!("moved") };
        assert_eq!(moved.to, "-7 people ppa noble/amd64 big_packages Joe Doe");
        assert_eq!((moved.job, Some(moved.from)), (7, row.lane.clone()));
        assert_eq!(usual(&row, |was| was), Verdict::Leave(SO_ALREADY));
    }

    #[test]
    fn what_stands_in_no_lane_stays() {
        assert_eq!(usual(&at(None), |was| was + 1), Verdict::Leave(UNSORTED));
        assert_eq!(usual(&at(Some("?")), |was| was + 1), Verdict::Leave(UNSORTED));
        assert_eq!(usual(&at(Some("!")), |was| was + 1), Verdict::Leave(ANSWERED));
    }

    #[test]
    fn emergencies_end_by_their_own_command() {
        let (row, plain) =
            (at(Some("1000 gates ubuntu noble/amd64 - a/1")), at(Some("5 gates ubuntu noble/amd64 - a/1")));
        assert_eq!(usual(&row, |_| 0), Verdict::Leave(IN_EMERGENCY));
        let Verdict::Change(Change::Move(moved)) = no_emergency(&row) else { panic!("moved") };
        assert_eq!(moved.to, "0 gates ubuntu noble/amd64 - a/1");
        assert_eq!(no_emergency(&plain), Verdict::Leave(NO_EMERGENCY));
        assert_eq!(emergent(&row), Verdict::Leave(EMERGENCY_ALREADY));
    }
}
