//! The checks that need the database, and the way into the job table.

use std::time::Duration;

use proofhouse_core::{
    bus::{Message, Target},
    db::{DuplicateKind, JobRow, NewJob, Prepared, Taken},
    protocol::{ASKS, Ask, Asked},
};
use uuid::Uuid;

use super::{
    check::{Checked, bad_request},
    who::Person,
};
use crate::{app::App, failure::Failure, view::path};

/// How long waking the dispatcher may take. It looks by itself as well.
const NUDGE: Duration = Duration::from_secs(5);

/// A request that is in the job table.
#[derive(Debug, Clone)]
pub(super) struct Accepted {
    pub(super) checked: Checked,
    /// The name under which the one who asked finds the run.
    pub(super) uuid: Uuid,
}

/// Takes all, or none.
pub(super) async fn take(app: &App, person: &Person, all: Vec<Checked>) -> Result<Vec<Accepted>, Failure> {
    let mut jobs = Vec::with_capacity(all.len());
    for checked in &all {
        let job = app.settings().intake.job(&checked.queue, &checked.request, None);
        jobs.push(job.map_err(|e| bad_request(&e))?);
    }
    for job in jobs.iter().filter(|job| !job.force) {
        refuse_duplicate(app, person, job).await?;
    }
    let per_hour = app.settings().requests_per_hour;
    if let Some(seconds) = app.db().count_requests(&person.name, jobs.len(), per_hour).await? {
        return Err(Failure::too_many(per_hour, seconds));
    }
    let batch: Vec<Prepared> = jobs.into_iter().zip(&all).map(|(job, c)| prepared(job, c)).collect();
    // No session: there is no acknowledgement that could be lost.
    let (taken, _) = app.settings().intake.take(app.db(), None, &batch).await?;
    nudge(app);
    taken.iter().zip(all).map(|(taken, checked)| accepted(taken, checked)).collect()
}

fn prepared(job: NewJob, checked: &Checked) -> Prepared {
    Prepared { queue: checked.queue.to_string(), digest: None, redelivered: false, what: Ok(Box::new(job)) }
}

fn accepted(taken: &Taken, checked: Checked) -> Result<Accepted, Failure> {
    let uuid = match (taken, checked.request.uuid) {
        (Taken::New { uuid, .. }, _) => *uuid,
        // The own name of a run that was there already may be another's secret; ours leads to it as well.
        (Taken::Merged { .. }, Some(uuid)) => uuid,
        _ => return Err(Failure::internal()),
    };
    Ok(Accepted { checked, uuid })
}

async fn refuse_duplicate(app: &App, person: &Person, job: &NewJob) -> Result<(), Failure> {
    let Some((kind, row)) = app.db().duplicate(&job.identity).await? else { return Ok(()) };
    let state = match kind {
        DuplicateKind::Queued => "queued",
        // What it names may have changed since: one follower is queued.
        DuplicateKind::Running if job.volatile => return Ok(()),
        DuplicateKind::Running => "running",
    };
    let link = may_see(person, &row).then(|| path(&["run", &row.uuid]));
    // Who asked too knows of an own request, and of nobody else's: its first name may be another's.
    let asked = || row.requesters.lines().any(|name| name == person.name);
    if link.is_some() || asked() { Err(Failure::duplicate(state, link)) } else { Ok(()) }
}

/// True where the person may see the run.
fn may_see(person: &Person, job: &JobRow) -> bool {
    let named = || job.request().is_ok_and(|r| r.readable_by.iter().any(|p| p.as_str() == person.name));
    !job.private || named()
}

/// Wakes the dispatcher, beside the answer.
fn nudge(app: &App) {
    let bus = app.bus().clone();
    app.tasks().spawn(async move {
        let Ok(body) = serde_json::to_vec(&Asked { from: None, ask: Ask::Nudge }) else { return };
        let target = Target::Queue(ASKS.to_owned());
        let sent = tokio::time::timeout(NUDGE, bus.publish(&target, Message::passing(body, NUDGE))).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!("the dispatcher could not be woken; it finds the request by itself");
        }
    });
}
