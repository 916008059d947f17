//! One attempt, from the offer to its end (design "The life of a job", 3 to 7).

mod excess;
mod execute;
mod prepare;

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use proofhouse_core::{
    bus::Bus,
    faults::{self, Step},
    layout::Container,
    names::WorkerName,
    outcome::{ExitCode, Fault},
    protocol::{Answer, Ask, AttemptId, Ended, Grant, Offer, Wanted},
    run_id::RunId,
    store::Store,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, info_span, warn};

use self::{execute::Outcome, prepare::Prepared};
use crate::{
    guards::Guards,
    leader::{Inbox, Leader},
    leases::{Lease, Leases},
    offers::Pauses,
    publish,
    settings::{Limits, Settings},
    state::Stop,
    watch::Watched,
};

/// Longer than a leader takes that has thousands to answer: each is answered, also where the offer does not stand any more. What is
/// granted to a worker that has ceased to wait costs the job an attempt.
const GRANT_LIMIT: Duration = Duration::from_secs(15 * 60);
/// How long the leader may take to hear that an attempt is given up; else its lease runs out by itself.
const GIVE_UP_LIMIT: Duration = Duration::from_secs(30);
const GIVE_UP_LIMIT_HARD: Duration = Duration::from_secs(3);
/// The leader may keep us from a pool's offers for so long; it says so again where that was too short.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The pause before asking again while another run of the series is published.
const TURN_PAUSE: Duration = Duration::from_millis(1500);

/// What all attempts of a worker share.
pub(crate) struct Shared {
    pub(crate) settings: Arc<Settings>,
    pub(crate) name: WorkerName,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) leader: Arc<Leader>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) guards: Guards,
    pub(crate) stop: Stop,
    pub(crate) tasks: TaskTracker,
    /// Pools that leave their offers to others for a while.
    pub(crate) pauses: watch::Sender<Pauses>,
    /// What an operator wants of this worker.
    pub(crate) wanted: watch::Sender<Wanted>,
    /// Logs that are sent to who looks.
    pub(crate) watched: Watched,
}

/// Why an attempt ends without a word of the test.
#[derive(Debug)]
enum Over {
    /// The leader says that it is not ours any more.
    GivenUp,
    /// We cannot go on.
    Fault(Fault, String),
}

/// An attempt under a lease.
struct Attempt {
    shared: Arc<Shared>,
    grant: Grant,
    lease: Lease,
}

/// Asks for an offer that came by `queue`, and runs it if it is granted.
pub(crate) async fn run(shared: Arc<Shared>, offer: Offer, queue: &str) {
    let Some(mut inbox) = shared.leader.open(offer.id, offer.epoch) else {
        debug!("the offer {} is not asked for: it is old, or known", offer.id);
        return;
    };
    let Some(grant) = ask_grant(&shared, &mut inbox, offer, queue).await else {
        return;
    };
    inbox.granted();
    let span = info_span!("attempt", attempt.id = %grant.id, pair = %grant.pair);
    let lease = shared.leases.hold(grant.id, grant.lease_seconds);
    let attempt = Attempt { shared: shared.clone(), grant, lease };
    attempt.live(inbox).instrument(span).await;
}

async fn ask_grant(
    shared: &Shared,
    inbox: &mut Inbox,
    Offer { id, epoch }: Offer,
    queue: &str,
) -> Option<Grant> {
    let answer = inbox.ask(Ask::Grant { id, epoch }, |answer| match answer {
        Answer::Granted(grant) => Some(Some(*grant)),
        Answer::Refused { pause_seconds, .. } => {
            if pause_seconds > 0 {
                let pause = Duration::from_secs(pause_seconds).min(LONGEST_PAUSE);
                let until = Instant::now() + pause;
                shared.pauses.send_modify(|pauses| {
                    pauses.insert(queue.to_owned(), until);
                });
            }
            Some(None)
        }
        Answer::GivenUp { .. } => Some(None),
        _ => None,
    });
    tokio::select! {
        answer = answer => answer,
        () = tokio::time::sleep(GRANT_LIMIT) => None,
        () = shared.stop.hard.cancelled() => None,
    }
}

impl Attempt {
    async fn live(self, mut inbox: Inbox) {
        info!("attempt {} begins", self.grant.id);
        match self.work(&mut inbox).await {
            Ok(()) => info!("attempt {} is over", self.grant.id),
            Err(Over::GivenUp) => info!("attempt {} was given up by the dispatcher", self.grant.id),
            Err(Over::Fault(fault, detail)) => {
                warn!(fault = fault.as_str(), "attempt {} is given back: {detail}", self.grant.id);
                self.give_up(&mut inbox, fault, detail).await;
            }
        }
    }

    async fn work(&self, inbox: &mut Inbox) -> Result<(), Over> {
        let prepared = prepare::prepare(self).await?;
        let result = self.run_and_report(inbox, &prepared).await;
        prepared.clean_up().await;
        result
    }

    async fn run_and_report(&self, inbox: &mut Inbox, prepared: &Prepared) -> Result<(), Over> {
        let (outcome, status) = execute::execute(self, prepared).await?;
        faults::reached(Step::Ended);
        let result = self.report(inbox, prepared, outcome).await;
        drop(status);
        result
    }

    /// Returns when the attempt must end, whatever it does.
    async fn interrupted(&self) -> Over {
        tokio::select! {
            () = self.lease.lost() => Over::GivenUp,
            () = self.shared.stop.hard.cancelled() => Over::Fault(Fault::Worker, "the worker was stopped".to_owned()),
        }
    }

    /// Does `what`, unless the attempt must end before.
    async fn unless_interrupted<T>(&self, what: impl Future<Output = T>) -> Result<T, Over> {
        tokio::select! {
            over = self.interrupted() => Err(over),
            done = what => Ok(done),
        }
    }

    /// Asks until it is answered; that the attempt was given up is an answer to everything.
    async fn ask<T>(
        &self,
        inbox: &mut Inbox,
        ask: Ask,
        accept: impl Fn(Answer) -> Option<T>,
    ) -> Result<T, Over> {
        let answer = inbox.ask(ask, |answer| match answer {
            Answer::GivenUp { .. } => Some(Err(Over::GivenUp)),
            other => accept(other).map(Ok),
        });
        self.unless_interrupted(answer).await?
    }

    /// Says how the runner ended, and does what the leader makes of it.
    async fn report(&self, inbox: &mut Inbox, prepared: &Prepared, outcome: Outcome) -> Result<(), Over> {
        loop {
            let ask = Ask::Ended(self.ended(&outcome));
            let verdict = self.ask(inbox, ask, Verdict::of).await?;
            match verdict {
                Verdict::Publish(granted) => return self.publish(inbox, prepared, outcome, granted).await,
                Verdict::Wait => self.unless_interrupted(tokio::time::sleep(TURN_PAUSE)).await?,
                Verdict::NoResult(fault) => {
                    info!(fault = fault.as_str(), "attempt {} is no result", self.grant.id);
                    let log = publish::failed_log(&self.shared, &self.grant, &prepared.work);
                    // The attempt is forgotten already: only a hard stop keeps its log from being stored.
                    tokio::select! {
                        () = log => {}
                        () = self.shared.stop.hard.cancelled() => {}
                    }
                    return Ok(());
                }
            }
        }
    }

    fn ended(&self, outcome: &Outcome) -> Ended {
        Ended {
            id: self.grant.id,
            exit_code: outcome.ending.exit_code,
            version: outcome.version.clone(),
            duration_seconds: i64::try_from(outcome.ending.duration).unwrap_or(i64::MAX),
            fault: outcome.fault,
            detail: outcome.detail.clone(),
            rule: outcome.rule.clone(),
        }
    }

    async fn publish(
        &self,
        inbox: &mut Inbox,
        prepared: &Prepared,
        outcome: Outcome,
        granted: Granted,
    ) -> Result<(), Over> {
        let Granted { run_id, container, exit_code, rule } = granted;
        let result_tar = execute::result_tar(self, prepared, outcome.ending, exit_code, rule).await?;
        let (grant, request) = (&self.grant, &prepared.request);
        let stored = publish::evidence(&self.shared, &container, grant, request, &run_id, &prepared.work);
        if let Err(error) = self.unless_interrupted(stored).await? {
            // Its text can name a private run's container and package.
            let detail = if request.is_private() { "the store failed".to_owned() } else { error.to_string() };
            return Err(Over::Fault(Fault::Store, detail));
        }
        faults::reached(Step::CompletionSent);
        let complete = Ask::Complete { id: grant.id, run_id, result_tar: BASE64_STANDARD.encode(result_tar) };
        self.ask(inbox, complete, |answer| matches!(answer, Answer::Recorded { .. }).then_some(())).await
    }

    /// Gives the attempt back. Its lease is not renewed any more, so that it ends even where nobody hears this.
    async fn give_up(self, inbox: &mut Inbox, fault: Fault, detail: String) {
        let Self { shared, grant, lease } = self;
        drop(lease);
        let ask = Ask::GiveUp { id: grant.id, fault, detail };
        let answered = inbox.ask(ask, |answer| matches!(answer, Answer::GivenUp { .. }).then_some(()));
        let hard = async {
            shared.stop.hard.cancelled().await;
            tokio::time::sleep(GIVE_UP_LIMIT_HARD).await;
        };
        tokio::select! {
            () = answered => {}
            () = tokio::time::sleep(GIVE_UP_LIMIT) => {}
            () = hard => {}
        }
    }

    /// What the run may take.
    fn limits(&self) -> Limits {
        let limits = self.shared.settings.limits;
        if self.grant.lists.big { limits.big() } else { limits }
    }

    const fn id(&self) -> AttemptId {
        self.grant.id
    }
}

/// Where a result goes, and what it says.
struct Granted {
    run_id: RunId,
    container: Container,
    exit_code: Option<ExitCode>,
    rule: Option<String>,
}

/// What the leader makes of an end.
enum Verdict {
    Publish(Granted),
    Wait,
    NoResult(Fault),
}

impl Verdict {
    fn of(answer: Answer) -> Option<Self> {
        match answer {
            Answer::Publish { run_id, container, exit_code, rule, .. } => {
                Some(Self::Publish(Granted { run_id, container, exit_code, rule }))
            }
            Answer::Wait { .. } => Some(Self::Wait),
            Answer::NoResult { fault, .. } => Some(Self::NoResult(fault)),
            _ => None,
        }
    }
}
