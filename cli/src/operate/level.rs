//! `proofhouse queue raise`, `lower`, `level` and `emergency`: which lane waiting jobs stand in.

use anyhow::Result;
use clap::Args;
use proofhouse_core::{
    db::{JobState, LaneMove, OperatedRow},
    queue::{ANSWERS, EMERGENCY, Lane, MOST_RAISED},
};
use serde_json::{Map, Value};

use super::{
    How,
    filter::Filter,
    pass::{self, Change, Deed, Verdict},
    report::Verb,
};
use crate::{connect, status::Status};

const MOST: i64 = MOST_RAISED as i64;
const UNSORTED: &str = "no dispatcher has sorted them yet: try again once one leads";
const ANSWERED: &str = "they are answered without a run";
const IN_EMERGENCY: &str = "they are an emergency: `proofhouse queue emergency --end` ends it";
const SO_ALREADY: &str = "their level is that already";
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
    /// End it: those that wait still are as they came; without a filter all of them
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
    change(&args.filter, &args.how, action, verb, said, &|job| usual(job, level)).await
}

pub(super) async fn to(args: LevelToArgs) -> Result<Status> {
    args.filter.check()?;
    let said = [("level".to_owned(), Value::from(args.level))].into_iter().collect();
    let judge = |job: &OperatedRow| usual(job, |_| args.level);
    change(&args.filter, &args.how, "level", Verb("set the level of", "set the level of"), said, &judge).await
}

pub(super) async fn emergency(args: EmergencyArgs) -> Result<Status> {
    if args.end {
        let said = [("end".to_owned(), Value::Bool(true))].into_iter().collect();
        let verb = Verb("end the emergency of", "ended the emergency of");
        return change(&args.filter, &args.how, "emergency", verb, said, &no_emergency).await;
    }
    args.filter.check()?;
    let verb = Verb("make an emergency of", "made an emergency of");
    let judge = |job: &OperatedRow| moved(job, |_| Ok(EMERGENCY));
    change(&args.filter, &args.how, "emergency", verb, Map::new(), &judge).await
}

async fn change(
    filter: &Filter,
    how: &How,
    action: &'static str,
    verb: Verb,
    said: Map<String, Value>,
    judge: &dyn Fn(&OperatedRow) -> Verdict,
) -> Result<Status> {
    let config = how.servers.config()?;
    let database = connect::existing_database(&config).await?;
    // Nothing ends here.
    let (end, reason, answer) = (JobState::Waiting, "", (0, ""));
    let deed = Deed { action, verb, running: false, end, reason, answer, said, judge };
    pass::run(&config, &database, filter, how.dry_run, how.json, deed).await
}

/// Emergencies stay what they are.
fn usual(job: &OperatedRow, level: impl Fn(i32) -> i32) -> Verdict {
    moved(job, |was| if was >= EMERGENCY { Err(IN_EMERGENCY) } else { Ok(level(was)) })
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
    }
}
