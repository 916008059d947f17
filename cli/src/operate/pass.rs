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

/// What a command does.
pub(super) struct Deed<'a> {
    pub(super) action: &'static str,
    pub(super) verb: Verb,
    /// Running jobs too.
    pub(super) running: bool,
    /// What those become that end without a result.
    pub(super) end: JobState,
    pub(super) reason: &'a str,
    /// The exit code and the log of answers.
    pub(super) answer: (i32, &'a str),
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
    let mut report = Report::begin(deed.action, deed.verb, dry_run);
    if !dry_run {
        let what: Map<String, Value> = filter.said().into_iter().chain(deed.said.clone()).collect();
        let what = Value::Object(what).to_string();
        report.audit = Some(database.begin_audit(&person(), deed.action, &what).await?);
    }
    let mut pass =
        Pass { database, filter, deed, report, bar: bar(database).await?, now_us: database.now_us().await? };
    let outcome = pass.all().await;
    pass.bar.finish_and_clear();
    let Pass { report, .. } = pass;
    if report.jobs > 0 && !dry_run {
        nudge::leader(config).await;
    }
    outcome.with_context(|| format!("{} were changed before; see `proofhouse queue audit`", report.jobs))?;
    if json {
        print::json(&report)?;
    } else {
        print::text(&report.text())?;
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
}

async fn read(database: &Database, which: Which, after: i64) -> Result<Vec<OperatedRow>> {
    let limit = i64::try_from(OPERATED_AT_ONCE).unwrap_or(i64::MAX);
    let read = match which {
        Which::Waiting => database.operated_waiting(after, limit).await,
        Which::Running => database.operated_running(after, limit).await,
        Which::Again(since_us) => database.operated_again(since_us, after, limit).await,
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
}

impl Pass<'_> {
    async fn all(&mut self) -> Result<()> {
        if !self.filter.uuid.is_empty() {
            return self.named().await;
        }
        // Those that wait first: none of them may take the slots that fall free.
        let all = [Which::Waiting, Which::Running, Which::Again(self.now_us)];
        for which in all.into_iter().take(if self.deed.running { all.len() } else { 1 }) {
            let mut page = read(self.database, which, 0).await?;
            while let Some(last) = page.last() {
                // The next ones are read meanwhile: each change is conditioned on where its job still stands.
                let next = read(self.database, which, last.id);
                page = tokio::try_join!(next, self.page(page))?.0;
            }
        }
        Ok(())
    }

    async fn named(&mut self) -> Result<()> {
        let mut found: Vec<OperatedRow> = Vec::new();
        for uuid in &self.filter.uuid {
            let Some(job) = self.database.operated(&uuid.to_string()).await? else {
                bail!("there is no job {uuid}");
            };
            if found.iter().any(|other| other.id == job.id) {
                continue;
            }
            match job.state.as_str() {
                "waiting" => found.push(job),
                "running" if self.deed.running => found.push(job),
                "running" => self.report.leave("they run"),
                _ => self.report.leave("they neither wait nor run"),
            }
        }
        for part in found.chunks(OPERATED_AT_ONCE) {
            self.page(part.to_vec()).await?;
        }
        Ok(())
    }

    async fn page(&mut self, page: Vec<OperatedRow>) -> Result<()> {
        let read = page.len() as u64;
        let mut chosen = Vec::new();
        for job in page.into_iter().filter(|job| self.filter.matches(job, self.now_us)) {
            match (self.deed.judge)(&job) {
                Verdict::Leave(why) => self.report.leave(why),
                Verdict::Change(change) => chosen.push((job, change)),
            }
        }
        let done = if self.report.dry_run {
            chosen.iter().map(|(job, _)| job.id).collect()
        } else {
            self.change(&chosen).await?
        };
        for (job, _) in &chosen {
            if done.contains(&job.id) {
                self.report.add(job);
            } else if !(self.is_met_again() && job.state == JobState::Waiting.as_str()) {
                self.report.leave(CHANGED_MEANWHILE);
            }
        }
        self.bar.inc(read);
        Ok(())
    }

    /// True where a waiting job that started meanwhile is met once more, as one that runs.
    fn is_met_again(&self) -> bool {
        self.deed.running && self.filter.uuid.is_empty()
    }

    /// Returns those that were changed.
    async fn change(&self, chosen: &[(OperatedRow, Change)]) -> Result<BTreeSet<i64>, DbError> {
        let (database, audit, deed) = (self.database, self.report.audit.unwrap_or(0), &self.deed);
        let of = |wanted: Change| -> Vec<i64> {
            chosen.iter().filter(|(_, change)| *change == wanted).map(|(job, _)| job.id).collect()
        };
        let moves: Vec<LaneMove> = chosen.iter().filter_map(|(_, change)| change.lane_move()).collect();
        let (end, answer) = (of(Change::End), of(Change::Answer));
        let (stop, stop_and_answer) = (of(Change::Stop), of(Change::StopAndAnswer));
        let mut done = BTreeSet::new();
        if !moves.is_empty() {
            done.extend(again(|| database.move_lanes(audit, &moves)).await?);
        }
        if !end.is_empty() {
            done.extend(again(|| database.end_all_waiting(audit, &end, deed.end, deed.reason)).await?);
        }
        if !answer.is_empty() {
            let answered = || database.answer_all_waiting(audit, &answer, deed.reason, deed.answer);
            done.extend(again(answered).await?);
        }
        if !stop.is_empty() {
            done.extend(again(|| database.cancel_all_running(audit, &stop, deed.reason, None)).await?);
        }
        if !stop_and_answer.is_empty() {
            let stopped =
                || database.cancel_all_running(audit, &stop_and_answer, deed.reason, Some(deed.answer));
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
