//! `proofhouse queue pause`, `resume` and `pauses`.

use anyhow::{Result, bail};
use clap::Args;
use proofhouse_core::{
    db::{Database, LaneCount},
    names::{Arch, Context, Release},
    queue::{Lane, Pause},
};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::{How, known, nudge, person::person, report::count};
use crate::{
    args::{self, ListArgs},
    connect, print,
    status::{Misuse, Status},
};

/// What is paused.
#[derive(Debug, Args)]
struct Scope {
    /// This release
    #[arg(long)]
    release: Option<Release>,
    /// This architecture
    #[arg(long)]
    arch: Option<Arch>,
    /// This context: ubuntu, huge, ppa or upstream
    #[arg(long)]
    context: Option<Context>,
    /// All; needed where nothing else says what
    #[arg(long, conflicts_with_all = ["release", "arch", "context"])]
    all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    scope: Scope,
    /// Why; it is shown to all who wait
    #[arg(long, value_name = "TEXT", value_parser = args::text)]
    reason: String,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// Numbers of pauses, as `queue pauses` shows them
    #[arg(value_name = "ID", conflicts_with_all = ["release", "arch", "context", "all"])]
    ids: Vec<i64>,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    how: How,
}

/// A pause, and how many jobs wait that it holds back.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten, serialize_with = "as_shown")]
    pause: Pause,
    waiting: i64,
}

/// A pause as JSON shows it.
#[derive(Serialize)]
struct Shown<'a> {
    /// Number and beginning: none where it is not begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
    release: Option<&'a str>,
    arch: Option<&'a str>,
    context: Option<&'a str>,
    person: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

fn as_shown<S: Serializer>(pause: &Pause, serializer: S) -> Result<S::Ok, S::Error> {
    let Pause { id, release, arch, context, person, reason, since_us } = pause;
    let shown = Shown {
        id: (*id > 0).then_some(*id),
        release: release.as_deref(),
        arch: arch.as_deref(),
        context: context.as_deref(),
        person,
        reason,
        since: (*since_us > 0).then(|| print::time(*since_us)),
    };
    shown.serialize(serializer)
}

#[derive(Debug, Serialize)]
struct Done {
    action: &'static str,
    dry_run: bool,
    pauses: Vec<Line>,
}

impl Scope {
    fn pause(&self, reason: &str) -> Pause {
        Pause {
            id: 0,
            release: self.release.as_ref().map(ToString::to_string),
            arch: self.arch.as_ref().map(ToString::to_string),
            context: self.context.map(|context| context.to_string()),
            person: person(),
            reason: print::one_line(reason, 500),
            since_us: 0,
        }
    }

    fn said(&self) -> bool {
        self.release.is_some() || self.arch.is_some() || self.context.is_some()
    }
}

fn what(pause: &Pause) -> Map<String, Value> {
    let parts = [("release", &pause.release), ("arch", &pause.arch), ("context", &pause.context)];
    let all = parts.iter().all(|(_, part)| part.is_none());
    let parts = parts.into_iter().filter_map(|(key, part)| Some((key.to_owned(), part.clone()?.into())));
    parts.chain(all.then(|| ("all".to_owned(), Value::Bool(true)))).collect()
}

pub(super) async fn pause(args: PauseArgs) -> Result<Status> {
    if !args.scope.said() && !args.scope.all {
        return Err(Misuse("say what by --release, --arch or --context, or --all".to_owned()).into());
    }
    let config = args.how.servers.config()?;
    let database = connect::existing_database(&config).await?;
    let mut pause = args.scope.pause(&args.reason);
    known::pair(&config, &database, &pause).await?;
    let waiting = waiting(&lanes(&database).await?, &[&pause]);
    if !args.how.dry_run {
        let mut what = what(&pause);
        what.insert("reason".to_owned(), pause.reason.clone().into());
        pause.id = database.pause(&pause, &Value::Object(what).to_string(), waiting).await?;
        pause.since_us = database.now_us().await?;
        nudge::leader(&config).await;
    }
    said(&args.how, "pause", vec![Line { pause, waiting }])
}

pub(super) async fn resume(args: ResumeArgs) -> Result<Status> {
    let config = args.how.servers.config()?;
    let database = connect::existing_database(&config).await?;
    let pauses = database.controls().await?.pauses;
    let queued = lanes(&database).await?;
    let lines = lines(chosen(&args, pauses)?, &queued);
    if args.how.dry_run {
        return said(&args.how, "resume", lines);
    }
    let ids: Vec<i64> = lines.iter().map(|line| line.pause.id).collect();
    let ended: Vec<Value> =
        lines.iter().map(|line| json!({"id": line.pause.id, "of": what(&line.pause)})).collect();
    let held = waiting(&queued, &lines.iter().map(|line| &line.pause).collect::<Vec<_>>());
    let ended = json!({"pauses": ended}).to_string();
    let ended = database.resume(&ids, &person(), &ended, held).await?;
    nudge::leader(&config).await;
    said(&args.how, "resume", lines.into_iter().filter(|line| ended.contains(&line.pause.id)).collect())
}

/// Those that are to end; it is an error where there is none.
fn chosen(args: &ResumeArgs, pauses: Vec<Pause>) -> Result<Vec<Pause>> {
    let scope = &args.scope;
    if args.ids.is_empty() && !scope.said() && !scope.all {
        return Err(Misuse("say which by their numbers, by what was paused, or --all".to_owned()).into());
    }
    if let Some(stranger) = args.ids.iter().find(|id| !pauses.iter().any(|pause| pause.id == **id)) {
        bail!("there is no pause {stranger}; see `proofhouse queue pauses`");
    }
    let same = scope.pause("");
    let of = |p: &Pause| (p.release.clone(), p.arch.clone(), p.context.clone());
    let is_meant = |pause: &Pause| match &args.ids[..] {
        [] => scope.all || of(pause) == of(&same),
        ids => ids.contains(&pause.id),
    };
    let found: Vec<Pause> = pauses.into_iter().filter(is_meant).collect();
    if found.is_empty() {
        bail!("nothing of that is paused; see `proofhouse queue pauses`");
    }
    Ok(found)
}

pub(super) async fn ls(args: ListArgs) -> Result<Status> {
    let database = connect::existing_database(&args.servers.config()?).await?;
    let lines = lines(database.controls().await?.pauses, &lanes(&database).await?);
    if args.json {
        print::json(&lines)?;
    } else {
        print::text(&text(&lines))?;
    }
    Ok(Status::Done)
}

/// Lanes with jobs that wait.
async fn lanes(database: &Database) -> Result<Vec<(Lane, i64)>> {
    let lane = |count: LaneCount| Some((count.lane?.parse().ok()?, count.waiting));
    Ok(database.lane_counts().await?.into_iter().filter_map(lane).collect())
}

/// How many jobs wait that any of these holds back.
fn waiting(lanes: &[(Lane, i64)], pauses: &[&Pause]) -> i64 {
    let held = lanes.iter().filter(|(lane, _)| pauses.iter().any(|pause| pause.holds(lane)));
    held.map(|(_, waiting)| waiting).sum()
}

fn lines(pauses: Vec<Pause>, lanes: &[(Lane, i64)]) -> Vec<Line> {
    pauses.into_iter().map(|pause| Line { waiting: waiting(lanes, &[&pause]), pause }).collect()
}

fn said(how: &How, action: &'static str, pauses: Vec<Line>) -> Result<Status> {
    let done = Done { action, dry_run: how.dry_run, pauses };
    if how.json {
        print::json(&done)?;
    } else {
        print::text(&done.text())?;
    }
    Ok(Status::Done)
}

impl Done {
    fn text(&self) -> String {
        let verb = match (self.action, self.dry_run) {
            ("pause", true) => "would pause",
            ("pause", false) => "paused",
            (_, true) => "would resume",
            (_, false) => "resumed",
        };
        let line = |Line { pause, waiting }: &Line| {
            let waiting = count(usize::try_from(*waiting).unwrap_or(0));
            let end = if self.action == "pause" && !self.dry_run {
                format!("; until: proofhouse queue resume {}", pause.id)
            } else {
                String::new()
            };
            format!("{verb} {pause}: {waiting} waiting there{end}\n")
        };
        self.pauses.iter().map(line).collect()
    }
}

fn text(lines: &[Line]) -> String {
    let row = |Line { pause, waiting }: &Line| {
        [
            pause.id.to_string(),
            pause.to_string(),
            print::time(pause.since_us),
            pause.person.clone(),
            waiting.to_string(),
            print::one_line(&pause.reason, 100),
        ]
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
    let mut text = print::table(["ID", "WHAT", "SINCE", "BY", "WAITING", "REASON"], &rows);
    if !lines.is_empty() {
        text.push_str("a pause ends by: proofhouse queue resume ID\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Resume {
        #[command(flatten)]
        args: ResumeArgs,
    }

    fn pause(id: i64, arch: Option<&str>) -> Pause {
        Pause {
            id,
            release: None,
            arch: arch.map(str::to_owned),
            context: None,
            person: "ann".to_owned(),
            reason: "the cloud moves".to_owned(),
            since_us: 1_795_239_394_000_000,
        }
    }

    fn resumed(line: &str) -> Result<Vec<i64>> {
        let args =
            Resume::try_parse_from(std::iter::once("x").chain(line.split(' ').filter(|w| !w.is_empty())))?
                .args;
        let pauses = vec![pause(1, Some("arm64")), pause(2, None), pause(3, Some("arm64"))];
        Ok(chosen(&args, pauses)?.iter().map(|pause| pause.id).collect())
    }

    #[test]
    fn pauses_end_by_number_or_by_what_was_paused() {
        assert_eq!(resumed("2 3").unwrap(), [2, 3]);
        assert_eq!(resumed("--arch arm64").unwrap(), [1, 3]);
        assert_eq!(resumed("--all").unwrap(), [1, 2, 3]);
        for line in ["", "4", "--arch amd64", "--arch arm64 --context ppa", "1 --arch arm64"] {
            assert!(resumed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn rendered() {
        let held = [("0 gates ubuntu noble/arm64 - a/1".parse().unwrap(), 7)];
        let pauses = lines(vec![pause(1, Some("arm64")), pause(2, Some("amd64"))], &held);
        let list = text(&pauses);
        let mut done = Done { action: "pause", dry_run: false, pauses };
        let begun = done.text();
        done.action = "resume";
        insta::assert_snapshot!(format!("{list}\n{begun}\n{}", done.text()));
        insta::assert_snapshot!(serde_json::to_string(&done).unwrap());
        assert_eq!(Value::Object(what(&pause(1, None))), json!({"all": true}));
    }

    #[test]
    fn a_pause_that_is_not_begun_has_neither_number_nor_time() {
        let line = Line { pause: Pause { since_us: 0, ..pause(0, None) }, waiting: 7 };
        let json = serde_json::to_value(&line).unwrap();
        assert!(json.get("id").is_none() && json.get("since").is_none() && json["waiting"] == 7, "{json}");
    }

    #[test]
    fn what_several_pauses_hold_counts_once() {
        let lane = |text: &str| text.parse().unwrap();
        let lanes =
            [(lane("0 gates ubuntu noble/arm64 - a/1"), 7), (lane("0 gates ubuntu noble/s390x - a/1"), 2)];
        let (arm64, all) = (pause(1, Some("arm64")), pause(2, None));
        assert_eq!(waiting(&lanes, &[&arm64, &all]), 9);
        assert_eq!(waiting(&lanes, &[&arm64]), 7);
    }
}
