//! One pass over the queue: page by page it is read, judged and changed, so that neither memory nor locks grow with it.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, bail};
use backon::{ConstantBuilder, Retryable as _};
use indicatif::{ProgressBar, ProgressStyle};
use proofhouse_core::{
    config::Config,
    db::{Database, DbError, JobState, LaneMove, OPERATED_AT_ONCE, OperatedRow},
};
use serde_json::{Map, Value};

use super::{
    filter::Filter,
    nudge,
    person::person,
    report::{Report, Verb},
};
use crate::{print, status::Status};

const CHANGED_MEANWHILE: &str = "they changed meanwhile";
const FILTERED: &str = "the filter leaves them out";
const RUN: &str = "they run";
const OVER: &str = "they neither wait nor run";
/// Where two who change the same rows stood in each other's way, or the server was away for a moment.
const AGAIN: ConstantBuilder =
    ConstantBuilder::new().with_delay(Duration::from_millis(300)).with_max_times(5);

/// What becomes of a job that is meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Change(Change),
    /// It stays as it is, and why.
    Leave(&'static str),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It stands in another lane.
    Move(LaneMove),
    /// It ends without a result.
    End,
    /// It is answered without a run.
    Answer,
    /// Its test is killed, and it ends without a result.
    Stop,
    /// Its test is killed, and it is answered.
    StopAndAnswer,
}

/// Which jobs a command changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those that wait.
    Waiting,
    /// Those that run too.
    Running,
    /// Emergencies, wherever they may come to wait again.
    Emergencies,
}

/// What a command does.
pub(super) struct Deed<'a> {
    pub(super) action: &'static str,
    pub(super) verb: Verb,
    pub(super) reach: Reach,
    /// It is a mistake where options name jobs and there are none: what is said then.
    pub(super) nothing: Option<&'static str>,
    /// What those become that end without a result.
    pub(super) end: JobState,
    pub(super) reason: &'a str,
    /// The exit code and the log of answers, where gates are answered.
    pub(super) answer: Option<(i32, &'a str)>,
    /// What was typed beside the filter.
    pub(super) said: Map<String, Value>,
    pub(super) judge: &'a dyn Fn(&OperatedRow) -> Verdict,
}

/// Does it with all jobs that are meant, and says what was done.
pub(super) async fn run(
    config: &Config,
    database: &Database,
    filter: &Filter,
    dry_run: bool,
    json: bool,
    deed: Deed<'_>,
) -> Result<Status> {
    let (bar, now_us) = (bar(database).await?, database.now_us().await?);
    let report = Report::begin(deed.action, deed.verb, dry_run, deed.answer.is_some());
    let mut pass = Pass { database, filter, deed, report, bar, now_us, met: 0 };
    let outcome = pass.all().await;
    pass.bar.finish_and_clear();
    let nothing = pass.deed.nothing.filter(|_| pass.met == 0 && filter.narrows());
    let Pass { report, .. } = pass;
    if report.jobs > 0 && !dry_run {
        nudge::leader(config).await;
    }
    match report.audit {
        Some(_) => outcome
            .with_context(|| format!("{} were changed before; see `proofhouse queue audit`", report.jobs))?,
        None => outcome?,
    }
    if json {
        print::json(&report)?;
    } else if nothing.is_none() {
        print::text(&report.text())?;
    }
    if let Some(nothing) = nothing {
        eprintln!("proofhouse: {nothing}: nothing is changed");
        return Ok(Status::Failed);
    }
    let all_named = filter.uuid.is_empty() || report.left.is_empty();
    Ok(if all_named { Status::Done } else { Status::Failed })
}

/// Which jobs are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Waiting,
    Running,
    /// Those that came to wait again since this moment.
    Again(i64),
    /// Emergencies that wait, run, or are parked.
    Emergencies,
}

async fn read(database: &Database, which: Which, after: i64) -> Result<Vec<OperatedRow>> {
    let limit = i64::try_from(OPERATED_AT_ONCE).unwrap_or(i64::MAX);
    let read = match which {
        Which::Waiting => database.operated_waiting(after, limit).await,
        Which::Running => database.operated_running(after, limit).await,
        Which::Again(since_us) => database.operated_again(since_us, after, limit).await,
        Which::Emergencies => database.operated_emergencies(after, limit).await,
    };
    Ok(read?)
}

/// Invisible off a terminal.
async fn bar(database: &Database) -> Result<ProgressBar> {
    let waiting = u64::try_from(database.waiting_count().await?).unwrap_or(0);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} jobs looked at  {eta} left");
    // A constant template; the usual bar does as well.
    Ok(ProgressBar::new(waiting).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
}

struct Pass<'a> {
    database: &'a Database,
    filter: &'a Filter,
    deed: Deed<'a>,
    report: Report,
    bar: ProgressBar,
    now_us: i64,
    /// How many jobs were found that are meant.
    met: usize,
}

impl Pass<'_> {
    async fn all(&mut self) -> Result<()> {
        if !self.filter.uuid.is_empty() {
            return self.named().await;
        }
        let all: &[Which] = match self.deed.reach {
            Reach::Waiting => &[Which::Waiting],
            // Those that wait first: none of them may take the slots that fall free.
            Reach::Running => &[Which::Waiting, Which::Running, Which::Again(self.now_us)],
            Reach::Emergencies => &[Which::Emergencies],
        };
        for which in all {
            let mut page = read(self.database, *which, 0).await?;
            while let Some(last) = page.last() {
                // The next ones are read meanwhile: each change is conditioned on where its job still stands.
                let next = read(self.database, *which, last.id);
                page = tokio::try_join!(next, self.page(page))?.0;
            }
        }
        Ok(())
    }

    async fn named(&mut self) -> Result<()> {
        let mut found: Vec<OperatedRow> = Vec::new();
        for uuid in &self.filter.uuid {
            let Some(job) = self.database.operated(*uuid).await? else {
                bail!("there is no job {uuid}");
            };
            if found.iter().any(|other| other.id == job.id) {
                continue;
            }
            match (job.state.as_str(), self.deed.reach) {
                _ if !self.filter.matches(&job, self.now_us) => self.leave(FILTERED),
                ("waiting", _)
                | ("running", Reach::Running)
                | ("running" | "publishing" | "parked", Reach::Emergencies) => found.push(job),
                ("running", Reach::Waiting) => self.leave(RUN),
                _ => self.leave(OVER),
            }
        }
        for part in found.chunks(OPERATED_AT_ONCE) {
            self.page(part.to_vec()).await?;
        }
        Ok(())
    }

    /// One that is meant stays as it is.
    fn leave(&mut self, why: &'static str) {
        self.met += 1;
        self.report.leave(why);
    }

    async fn page(&mut self, page: Vec<OperatedRow>) -> Result<()> {
        let read = page.len() as u64;
        let mut chosen = Vec::new();
        let (filter, now_us) = (self.filter, self.now_us);
        for job in page.into_iter().filter(|job| filter.matches(job, now_us)) {
            match (self.deed.judge)(&job) {
                Verdict::Leave(why) => self.leave(why),
                Verdict::Change(change) => chosen.push((job, change)),
            }
        }
        self.met += chosen.len();
        let done = if self.report.dry_run {
            chosen.iter().map(|(job, _)| job.id).collect()
        } else {
            self.change(&chosen).await?
        };
        for (job, change) in &chosen {
            if done.contains(&job.id) {
                self.report.add(job, matches!(change, Change::Answer | Change::StopAndAnswer));
            } else if !(self.is_met_again() && job.state == JobState::Waiting.as_str()) {
                self.report.leave(CHANGED_MEANWHILE);
            }
        }
        self.bar.inc(read);
        Ok(())
    }

    /// True where a waiting job that started meanwhile is met once more, as one that runs.
    fn is_met_again(&self) -> bool {
        self.deed.reach == Reach::Running && self.filter.uuid.is_empty()
    }

    /// The number of the entry in the audit log, which is begun before the first change.
    async fn audit(&mut self) -> Result<i64, DbError> {
        if let Some(audit) = self.report.audit {
            return Ok(audit);
        }
        let what: Map<String, Value> = self.filter.said().into_iter().chain(self.deed.said.clone()).collect();
        let what = Value::Object(what).to_string();
        let audit = self.database.begin_audit(&person(), self.deed.action, &what).await?;
        self.report.audit = Some(audit);
        Ok(audit)
    }

    /// Returns those that were changed.
    async fn change(&mut self, chosen: &[(OperatedRow, Change)]) -> Result<BTreeSet<i64>, DbError> {
        if chosen.is_empty() {
            return Ok(BTreeSet::new());
        }
        let audit = self.audit().await?;
        let (database, deed) = (self.database, &self.deed);
        let of = |wanted: Change| -> Vec<i64> {
            chosen.iter().filter(|(_, change)| *change == wanted).map(|(job, _)| job.id).collect()
        };
        let moves: Vec<LaneMove> = chosen.iter().filter_map(|(_, change)| change.lane_move()).collect();
        let (end, answer) = (of(Change::End), of(Change::Answer));
        let (stop, stop_and_answer) = (of(Change::Stop), of(Change::StopAndAnswer));
        let mut done = BTreeSet::new();
        if !moves.is_empty() {
            let unfinished = deed.reach == Reach::Emergencies;
            done.extend(again(|| database.move_lanes(audit, &moves, unfinished)).await?);
        }
        if !end.is_empty() {
            done.extend(again(|| database.end_all_waiting(audit, &end, deed.end, deed.reason)).await?);
        }
        if let Some(said) = deed.answer.filter(|_| !answer.is_empty()) {
            done.extend(again(|| database.answer_all_waiting(audit, &answer, deed.reason, said)).await?);
        }
        if !stop.is_empty() {
            done.extend(again(|| database.cancel_all_running(audit, &stop, deed.reason, None)).await?);
        }
        if !stop_and_answer.is_empty() {
            let stopped = || database.cancel_all_running(audit, &stop_and_answer, deed.reason, deed.answer);
            done.extend(again(stopped).await?);
        }
        Ok(done)
    }
}

impl Change {
    fn lane_move(&self) -> Option<LaneMove> {
        if let Self::Move(lane_move) = self { Some(lane_move.clone()) } else { None }
    }
}

async fn again<F: Future<Output = Result<Vec<i64>, DbError>>>(
    work: impl FnMut() -> F,
) -> Result<Vec<i64>, DbError> {
    work.retry(AGAIN).when(DbError::may_retry).await
}
