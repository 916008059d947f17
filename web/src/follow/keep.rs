//! Asks for a log that somebody looks at while its attempt runs, and keeps it until nobody does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proofhouse_core::{
    bus::{Message, Target},
    db::{DbError, JobState},
    protocol::WorkerId,
    watch::{RENEW_SECONDS, Watch},
};

use super::{Log, buffer::Phase};
use crate::app::App;

/// How often the job table is asked whether the attempt still runs.
const CHECK: Duration = Duration::from_secs(3);
/// What is left of a log that its worker has closed comes within so long of what came before, or of its attempt's end.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// A log that nobody looks at is kept for so long.
const UNSEEN: Duration = Duration::from_secs(60);
/// How long asking may take; it is tried again.
const SEND_LIMIT: Duration = Duration::from_secs(5);
/// An ask is worth nothing after so long.
const ASK_TTL: Duration = Duration::from_secs(30);

/// Keeps a log up to date.
pub(super) async fn keep(app: App, log: Arc<Log>) {
    let mut asked: Option<Instant> = None;
    let mut ended: Option<Instant> = None;
    let mut link = app.bus().link();
    loop {
        // What is over stays for those who lost the connection before they had its end.
        let is_over = log.buffer().phase() == Phase::Over;
        let worker = if is_over { None } else { holder(&app, &log, &mut ended, Instant::now()).await };
        let is_due = asked.is_none_or(|at| at.elapsed() >= Duration::from_secs(RENEW_SECONDS));
        if is_due && let Some(worker) = worker {
            ask(&app, &log, &worker).await;
            asked = Some(Instant::now());
        }
        if log.buffer().is_silent(Instant::now()) {
            log.set_phase(Phase::Silent);
        }
        if log.changed.receiver_count() > 0 {
            *log.looked() = Instant::now();
        } else if log.looked().elapsed() > UNSEEN {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(CHECK) => {}
            () = log.missed.notified() => asked = None,
            // What was on its way by the old link is lost.
            Ok(()) = link.changed() => asked = None,
            () = app.follows().closing.cancelled() => break,
        }
        if !app.follows().has(&log) {
            break;
        }
    }
    let mut logs = app.follows().logs();
    if logs.get(&log.id).is_some_and(|kept| Arc::ptr_eq(kept, &log)) {
        logs.remove(&log.id);
    }
}

/// Who runs the attempt, where that is known. Once nobody does, the last lines may be on their way: those who look are told that
/// it is over when no more can come.
pub(super) async fn holder(
    app: &App,
    log: &Log,
    ended: &mut Option<Instant>,
    now: Instant,
) -> Option<WorkerId> {
    match running(app, log).await {
        Ok(Some(worker)) => return Some(worker),
        Ok(None) => {
            let ended = *ended.get_or_insert(now);
            let last = log.buffer().heard.map_or(ended, |heard| heard.max(ended));
            if now.saturating_duration_since(last) > LAST_WORDS {
                log.set_phase(Phase::Over);
            }
        }
        Err(error) => tracing::debug!(error = %error, "it is not known whether a log still grows"),
    }
    None
}

async fn running(app: &App, log: &Log) -> Result<Option<WorkerId>, DbError> {
    let job = app.db().job(log.id.job).await?;
    let attempt = i64::from(log.id.attempt);
    let runs = job.is_some_and(|job| job.state() == JobState::Running && job.attempts == attempt);
    if !runs {
        return Ok(None);
    }
    let attempts = app.db().attempts_of(log.id.job).await?;
    let row = attempts.into_iter().find(|row| row.attempt == attempt);
    row.map(|row| Ok(row.holder()?.id)).transpose()
}

async fn ask(app: &App, log: &Log, worker: &WorkerId) {
    let from = log.buffer().end;
    let watch = Watch { watch: log.id, from, to: app.follows().mailbox.clone() };
    let Ok(body) = serde_json::to_vec(&watch) else { return };
    let target = Target::Queue(worker.mailbox());
    let sent = app.bus().publish(&target, Message::passing(body, ASK_TTL));
    if !matches!(tokio::time::timeout(SEND_LIMIT, sent).await, Ok(Ok(()))) {
        tracing::debug!("a log was not asked for; that is tried again");
        log.missed.notify_one();
    }
}
