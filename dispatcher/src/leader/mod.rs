//! The leader's loop: events in, decisions by [`crate::schedule`], actions out.

mod inherit;
mod parked;
mod screen;
pub(crate) mod sort;
mod weigh;
mod workers;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use proofhouse_core::{
    bus::{Consumer, Delivery, Link, Source},
    db::{AttemptRow, Completed, DbError, GrantOutcome, JobRow, PublishOutcome, WorkerRef},
    faults::{self, Planted, Step},
    layout::Series,
    names::Pool,
    outcome::{ExitCode, Fault},
    protocol::{ASKS, Answer, Ask, Asked, AttemptId, Ended, Grant, RENEWALS, Timeouts, WorkerId},
    queue::ANSWERS,
    run_id::RunId,
    telemetry::metrics,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use self::inherit::{inherit, read_open, subject_of, unreadable, unreadable_request};
use crate::{
    Context, Error,
    arrivals::Arrivals,
    chain, ending, foreign, gauges, intake, outbox,
    outgoing::Outgoing,
    published,
    schedule::{Action, EndAttempt, Event, Granted, State, Use},
    summary,
};

const PREFETCH: u16 = 500;
/// How often the leases are compared with the open attempts of the table.
const COMPARE: Duration = Duration::from_secs(30);
/// How often it is said that the job table is away.
const SAID_AGAIN: Duration = Duration::from_secs(10);

struct Leader {
    context: Arc<Context>,
    epoch: i64,
    state: State,
    outgoing: Outgoing,
    outbox: Arc<Notify>,
    /// The number of the last echo.
    echo: u64,
    /// Of the jobs that are answered without a run those up to this number were looked at; none: all of them.
    answering: Option<i64>,
    /// Waiting jobs up to this number were compared with lists and pools since those may have changed; none: all.
    sorted_again: Option<i64>,
    /// Lanes into which jobs came.
    arrived: Vec<String>,
    /// Asks for a look at all lanes.
    survey: Arc<Notify>,
    /// Hosts that are set aside, as was last said.
    aside: BTreeSet<String>,
    database_away: bool,
    said_away: Option<Instant>,
}

/// Leads in `epoch` until `over`.
pub(crate) async fn run(context: &Arc<Context>, epoch: i64, over: CancellationToken) -> Result<(), Error> {
    let Some(state) = over.run_until_cancelled(inherit(context, epoch)).await else { return Ok(()) };
    let state = state?;
    let sources = Source::Ranked { queues: vec![ASKS.to_owned(), RENEWALS.to_owned()], rank: epoch };
    let Some(asks) = over.run_until_cancelled(context.bus.consume(sources, PREFETCH)).await else {
        return Ok(());
    };
    let asks = asks.map_err(Error::Declare)?;
    let arrivals = Arc::new(Arrivals::default());
    let (surveyed_to, surveyed) = mpsc::channel(1);
    let survey = Arc::new(Notify::new());
    let (stored_to, stored) = mpsc::channel(1000);
    let wake = Arc::new(Notify::new());
    let taking = spawn(&over, intake::run(context.clone(), epoch, arrivals.clone(), over.clone()));
    let measuring = spawn(&over, gauges::run(context.clone(), surveyed_to, survey.clone(), over.clone()));
    let listening = spawn(&over, foreign::run(context.clone(), over.clone()));
    let publishing = spawn(&over, published::run(context.clone(), epoch, over.clone()));
    let summing = spawn(&over, summary::run(context.clone(), epoch, over.clone()));
    let sending = spawn(&over, outbox::run(context.clone(), wake.clone(), stored_to, over.clone()));
    let leader = Leader {
        context: context.clone(),
        epoch,
        state,
        outgoing: Outgoing::start(context.bus.clone(), epoch),
        outbox: wake,
        echo: 0,
        answering: None,
        sorted_again: Some(0),
        arrived: Vec::new(),
        survey,
        aside: BTreeSet::new(),
        database_away: false,
        said_away: None,
    };
    // In mid-way too: a database that does not answer must not hold up the next leadership. What was not committed did
    // not happen, and what was is in the table.
    let leading = leader.lead(Inputs { asks, arrivals, surveyed, stored });
    let outcome = over.run_until_cancelled(Box::pin(leading)).await.unwrap_or(Ok(()));
    over.cancel();
    // All end by `over`; what they had in hand is in the table or comes again.
    let (taken, heard) = (taking.await, listening.await);
    let _ = tokio::join!(sending, measuring, publishing, summing);
    outcome.and(taken.unwrap_or(Err(Error::BusClosed))).and(heard.unwrap_or(Err(Error::BusClosed)))
}

/// Spawns a part of the leader. One that ends by itself, in whatever way, ends the leadership: it must not go on without.
fn spawn<T: Send + 'static>(
    over: &CancellationToken,
    part: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::spawn(ending(over, part))
}

struct Inputs {
    asks: Consumer,
    arrivals: Arc<Arrivals>,
    surveyed: mpsc::Receiver<Vec<String>>,
    stored: mpsc::Receiver<i64>,
}

impl Leader {
    /// Never ends by itself, but by an error.
    async fn lead(mut self, mut inputs: Inputs) -> Result<(), Error> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut compare = tokio::time::interval_at(Instant::now() + COMPARE, COMPARE);
        compare.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut link = self.context.bus.link();
        let mut lists = self.context.settings.lists.clone();
        let mut known: Link = *link.borrow_and_update();
        self.look_at_wanted().await?;
        self.look_at_controls().await?;
        self.happened(Event::LinkUp).await?;
        loop {
            let event = tokio::select! {
                biased;
                changed = link.changed() => {
                    changed.map_err(|_| Error::BusClosed)?;
                    let events = link_events(&mut known, &mut link);
                    for event in events {
                        self.happened(event).await?;
                    }
                    continue;
                }
                // What comes now and then stands before the asks, which never end where thousands of slots are at work: the outbox,
                // say, waits until it is heard.
                Some(job) = inputs.stored.recv() => Event::Stored(job),
                came = inputs.arrivals.next() => {
                    self.arrived.extend(came.joined);
                    Event::Arrived(came.lanes.into_iter().collect())
                }
                Some(lanes) = inputs.surveyed.recv() => {
                    let sorted = self.sort_strange(&lanes).await;
                    self.kept(sorted.map(|()| Vec::new()), Vec::new())?;
                    Event::Surveyed(lanes)
                }
                // The sender lives as long as the process; without one the lists stay as they are.
                Ok(()) = lists.changed() => {
                    self.sorted_again = Some(0);
                    continue;
                }
                delivery = inputs.asks.next() => match self.heard(delivery.ok_or(Error::BusClosed)?).await {
                    Some(event) => {
                        if matches!(event, Event::Nudge) {
                            // An operator may have changed anything.
                            self.survey.notify_one();
                            self.look_at_controls().await?;
                        }
                        event
                    }
                    None => continue,
                },
                // Behind the asks, for renewals that came are to be heard before leases end.
                _ = compare.tick() => {
                    let answered = self.answer_parked().await;
                    self.kept(answered.map(|()| Vec::new()), Vec::new())?;
                    self.forget_gone_workers().await;
                    let open = read_open(&self.context, self.epoch).await;
                    let open = open.map(|(open, storing)| vec![Event::Open(open, storing)]);
                    match self.kept(open, Vec::new())?.pop() {
                        Some(event) => event,
                        None => continue,
                    }
                }
                _ = tick.tick() => {
                    let was_away = std::mem::take(&mut self.database_away);
                    self.look_at_wanted().await?;
                    self.look_at_controls().await?;
                    if was_away && !self.database_away {
                        self.outgoing.hail();
                    }
                    Event::Tick
                }
                // Nothing else is to be done: on with what is answered without a run.
                () = std::future::ready(()), if self.answering.is_some() => Event::Nudge,
            };
            self.happened(event).await?;
        }
    }

    /// Decides on an event, carries the decision out, and so on with what comes of it.
    async fn happened(&mut self, event: Event) -> Result<(), Error> {
        let mut events = VecDeque::new();
        // Every renewal that came before was heard. What comes in while the database keeps us waiting is not: no lease
        // ends for that.
        let mut now = Some(Instant::now());
        if screen::is_due(&event) {
            let screened = self.screen().await;
            self.kept(screened.map(|()| Vec::new()), Vec::new())?;
        }
        if matches!(event, Event::Tick) {
            let sorted = self.sort_again().await;
            self.kept(sorted.map(|()| Vec::new()), Vec::new())?;
        }
        events.push_back(event);
        if !self.arrived.is_empty() {
            events.push_back(Event::Waiting(std::mem::take(&mut self.arrived)));
        }
        while let Some(event) = events.pop_front() {
            for action in self.state.decide(event, now.take().unwrap_or_else(Instant::now)) {
                let id = concerns(&action);
                let outcome = self.act(action).await;
                let failed = id.map(Event::Failed).into_iter().collect();
                events.extend(self.kept(outcome, failed)?);
            }
        }
        self.tell_of_hosts();
        Ok(())
    }

    /// What operators hold back, and which running jobs they want to end.
    async fn look_at_controls(&mut self) -> Result<(), Error> {
        let read = async {
            let controls = self.context.database.controls().await?;
            let cancel = self.context.database.to_cancel().await?;
            Ok(vec![Event::Controls(controls), Event::Cancel(cancel)])
        };
        let read = read.await;
        for event in self.kept(read, Vec::new())? {
            self.happened(event).await?;
        }
        Ok(())
    }

    /// Says which hosts were set aside, and which came back.
    fn tell_of_hosts(&mut self) {
        let aside: BTreeSet<String> = self.state.hosts_aside().into_iter().map(str::to_owned).collect();
        if aside == self.aside {
            return;
        }
        for host in aside.difference(&self.aside) {
            tracing::warn!(host.name = host, "host {host} is set aside: its tests end without a result");
        }
        for host in self.aside.difference(&aside) {
            tracing::info!(host.name = host, "host {host} takes tests again");
        }
        self.metrics().hosts_aside.set(i64::try_from(aside.len()).unwrap_or(i64::MAX));
        self.aside = aside;
    }

    /// A database that is away costs nothing but the event: whoever asked is told to ask again once it is back, and the next tick
    /// looks anew.
    fn kept(
        &mut self,
        outcome: Result<Vec<Event>, DbError>,
        failed: Vec<Event>,
    ) -> Result<Vec<Event>, Error> {
        match outcome {
            Ok(events) => Ok(events),
            Err(error) if error.may_retry() => {
                self.database_away = true;
                // One that takes some statements and refuses others comes and goes all the time.
                if self.said_away.is_none_or(|at| at.elapsed() >= SAID_AGAIN) {
                    self.said_away = Some(Instant::now());
                    tracing::warn!(error = %chain(&error), "the job table is away; nothing is decided until it is back");
                }
                Ok(failed)
            }
            Err(DbError::LeadershipLost(epoch)) => {
                tracing::warn!(leader.epoch = epoch, "another dispatcher leads");
                Err(Error::Database(DbError::LeadershipLost(epoch)))
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "the job table refuses a decision");
                Ok(failed)
            }
        }
    }

    async fn act(&mut self, action: Action) -> Result<Vec<Event>, DbError> {
        match action {
            Action::Answer(worker, answer) => self.outgoing.answer(&worker, answer),
            Action::Hail => self.outgoing.hail(),
            // Who leads no more never hears its own: that would fence it off, too.
            Action::Echo if faults::is_planted(Planted::NoFencing) => return Ok(vec![Event::Echoed]),
            Action::Echo => {
                self.echo += 1;
                self.outgoing.echo(self.echo);
            }
            Action::Offer(pool, id) => {
                self.metrics().offers.inc();
                faults::reached(Step::Offered);
                self.outgoing.offer(&pool, id);
            }
            Action::SaveWorker(worker, said) => {
                self.context.database.worker_announced(self.epoch, &worker, &said).await?;
            }
            Action::Read(pool, lanes, limit) => return self.read(pool, lanes, limit).await,
            Action::Cancel(id, reason) => return self.cancel(id, &reason).await,
            Action::Grant(id, worker, pool) => return self.grant(id, worker, pool).await,
            Action::Weigh(worker, ended, fault) => return self.weigh(worker, ended, fault).await,
            Action::OpenPublication(ended, series) => return self.open(ended, series).await,
            Action::End(end) => return self.end(end).await,
            Action::Complete(id, run_id, result_tar) => return self.complete(id, run_id, &result_tar).await,
            Action::Recall(worker, id, ask) => return self.recall(worker, id, ask).await,
        }
        Ok(vec![])
    }

    /// Reads a message; one that cannot be read is dropped, for it may come from another version.
    async fn heard(&self, delivery: Delivery) -> Option<Event> {
        let asked = serde_json::from_slice::<Asked>(&delivery.body);
        // Asks are repeated until they are answered: nothing is lost by acknowledging first.
        if let Err(error) = delivery.settle.ack().await {
            tracing::debug!(error = %error, "an ask will come again");
        }
        match asked {
            Ok(Asked { from: Some(worker), ask }) => Some(Event::Asked(worker, ask)),
            Ok(Asked { from: None, ask: Ask::Echo { epoch, number } }) => {
                // Those of other leaders, and older ones, say nothing of this link by now.
                (epoch == self.epoch && number == self.echo).then_some(Event::Echoed)
            }
            Ok(Asked { from: None, .. }) => Some(Event::Nudge),
            Err(error) => {
                // Its kind alone: the whole error can quote what a worker said of a private run.
                tracing::warn!(error = ?error.classify(), queue = delivery.queue, "a message cannot be read; it is dropped");
                None
            }
        }
    }

    fn metrics(&self) -> &metrics::Dispatcher {
        &self.context.settings.metrics.dispatcher
    }

    async fn read(&self, pool: Pool, lanes: Vec<(String, i64)>, limit: usize) -> Result<Vec<Event>, DbError> {
        let database = &self.context.database;
        let now = database.now_us().await?;
        let found = database.windows(&lanes, now, i64::try_from(limit).unwrap_or(i64::MAX)).await?;
        Ok(vec![Event::Read(pool, lanes, limit, found)])
    }

    async fn cancel(&self, id: AttemptId, reason: &str) -> Result<Vec<Event>, DbError> {
        if !self.context.database.cancel_attempt(self.epoch, id, reason).await? {
            return Ok(vec![]);
        }
        tracing::info!(job.id = id.job, attempt.number = id.attempt, "attempt {id} is ended by an operator");
        self.outbox.notify_one();
        Ok(vec![Event::Cancelled(id)])
    }

    async fn grant(&mut self, id: AttemptId, worker: WorkerRef, pool: Pool) -> Result<Vec<Event>, DbError> {
        let Some(job) = self.context.database.job(id.job).await? else {
            return Ok(vec![Event::NotGranted(id, worker.id)]);
        };
        // Lists or pools may have changed since it was sorted, or came to name it while it was parked.
        let elsewhere = if self.is_to_be_run(&job)? {
            sort::lane_of(&self.context.settings, &job)
        } else {
            Some(ANSWERS.to_owned())
        };
        if let Some(lane) = elsewhere {
            self.put_in_lanes(vec![(id.job, job.lane.clone(), lane)]).await?;
            return Ok(vec![Event::NotGranted(id, worker.id)]);
        }
        let grant = self.grant_of(id, &job)?;
        let end = Duration::from_secs(grant.end_seconds);
        let outcome = self.context.database.grant(self.epoch, id, &worker, &pool, grant.end_seconds).await?;
        if matches!(outcome, GrantOutcome::Refused) {
            return Ok(vec![Event::NotGranted(id, worker.id)]);
        }
        faults::reached(Step::Granted);
        tracing::info!(job.id = id.job, attempt.number = id.attempt, worker.name = %worker.id, "attempt {id} granted to {}", worker.id);
        self.metrics().grants.inc();
        if id.attempt == 1 {
            self.context.estimates.started(id.job, self.metrics());
            let waited = self.context.database.now_us().await?.saturating_sub(job.received_us).max(0);
            let seconds = Duration::from_micros(waited.unsigned_abs()).as_secs_f64();
            self.metrics().grant_wait_seconds.with_label_values(&[&job.context]).observe(seconds);
        }
        let subject = subject_of(&job)?;
        let answer = Answer::Granted(Box::new(grant));
        let used = Use::of_job(&job, pool);
        let granted = Granted { id, worker, used, subject, end, answer };
        Ok(vec![Event::Granted(Box::new(granted))])
    }

    fn grant_of(&self, id: AttemptId, job: &JobRow) -> Result<Grant, DbError> {
        let pair = job.pair()?;
        let request = job.request().map_err(|error| unreadable_request(&error))?;
        let lists = self.context.settings.lists.borrow().of(&request.package, &pair);
        Ok(Grant {
            id,
            uuid: job.uuid.parse().map_err(unreadable)?,
            context: job.context()?,
            body: job.body.clone(),
            lists,
            lease_seconds: self.context.settings.rules.lease.as_secs(),
            end_seconds: Timeouts::of(lists, &pair).absolute_end(),
            pair,
        })
    }

    async fn open(&self, ended: Ended, series: Series) -> Result<Vec<Event>, DbError> {
        let id = ended.id;
        let publication = match self.context.database.open_publication(self.epoch, &ended, &series).await? {
            PublishOutcome::Granted(publication) => {
                faults::reached(Step::PublicationGranted);
                tracing::info!(
                    job.id = id.job,
                    attempt.number = id.attempt,
                    "attempt {id} is being published"
                );
                Some(publication)
            }
            // The worker asks again.
            PublishOutcome::Wait => return Ok(vec![Event::Failed(id)]),
            PublishOutcome::Over => None,
        };
        Ok(vec![Event::Opened(id, publication)])
    }

    async fn end(&self, end: EndAttempt) -> Result<Vec<Event>, DbError> {
        let EndAttempt { id, fault, ended, detail, pause, answer } = end;
        let pause_us = pause.map(|p| i64::try_from(p.as_micros()).unwrap_or(i64::MAX));
        let database = &self.context.database;
        if database.end_attempt(self.epoch, id, fault, ended.as_ref(), &detail, pause_us).await? {
            let next =
                pause.map_or_else(|| "parked".to_owned(), |p| format!("next attempt in {} s", p.as_secs()));
            tracing::warn!(job.id = id.job, attempt.number = id.attempt, attempt.fault = %fault, "attempt {id}: {}; {next}", fault.sentence());
        }
        self.outbox.notify_one();
        self.outgoing.answer(&answer.0, answer.1);
        Ok(vec![Event::Ended(id, fault, pause)])
    }

    async fn complete(&self, id: AttemptId, run_id: RunId, result_tar: &str) -> Result<Vec<Event>, DbError> {
        let Ok(result_tar) = BASE64_STANDARD.decode(result_tar) else {
            tracing::error!(
                job.id = id.job,
                "the result.tar of attempt {id} cannot be read; its worker will be heard again"
            );
            return Ok(vec![]);
        };
        let recorded =
            self.context.database.complete(self.epoch, Completed { id, run_id, result_tar }).await?;
        if recorded {
            faults::reached(Step::Recorded);
            tracing::info!(
                job.id = id.job,
                attempt.number = id.attempt,
                "the result of attempt {id} is recorded"
            );
            // It is recorded, whether it can be counted or not.
            if let Ok(Some(row)) = self.context.database.attempt(id).await {
                let code = row.exit_code.and_then(|code| i32::try_from(code).ok());
                let class = code.map_or(ExitCode::UNEXPECTED, ExitCode).class();
                self.metrics().results.with_label_values(&[class.as_str()]).inc();
            }
            self.outbox.notify_one();
        }
        Ok(vec![Event::Completed(id, recorded)])
    }

    /// Answers from the job table what was decided of an attempt that is not among the leases, or was granted before.
    async fn recall(&self, worker: WorkerId, id: AttemptId, ask: Ask) -> Result<Vec<Event>, DbError> {
        let row = self.context.database.attempt(id).await?.filter(|row| row.is_of(&worker));
        let answer = match (&ask, row) {
            (Ask::Grant { .. }, Some(row)) if row.state == "running" => self.grant_again(id, &row).await?,
            (Ask::Grant { .. }, _) => return Ok(vec![Event::NotGranted(id, worker)]),
            (_, Some(row)) if row.state == "recorded" => Answer::Recorded { id },
            (Ask::Ended(_), Some(row)) if row.state == "ended" => match no_result(&row) {
                Some(fault) => Answer::NoResult { id, fault },
                None => Answer::GivenUp { id },
            },
            _ => Answer::GivenUp { id },
        };
        self.outgoing.answer(&worker, answer);
        Ok(vec![])
    }

    async fn grant_again(&self, id: AttemptId, row: &AttemptRow) -> Result<Answer, DbError> {
        let Some(job) = self.context.database.job(id.job).await? else {
            return Ok(Answer::Refused { id, pause_seconds: 0 });
        };
        let left = row.absolute_end_us - self.context.database.now_us().await?;
        let grant = self.grant_of(id, &job)?;
        let end_seconds = u64::try_from(left / 1_000_000).unwrap_or(0);
        Ok(Answer::Granted(Box::new(Grant { end_seconds, ..grant })))
    }
}

/// The fault that a worker was told; a lease that ran out was told to nobody.
fn no_result(row: &AttemptRow) -> Option<Fault> {
    row.fault.as_deref()?.parse().ok().filter(|fault| *fault != Fault::LeaseLost)
}

/// The attempt that an action is about, where a failure of the action must be heard of.
fn concerns(action: &Action) -> Option<AttemptId> {
    match action {
        Action::OpenPublication(ended, _) | Action::Weigh(_, ended, _) => Some(ended.id),
        _ => None,
    }
}

/// What a change of the link means.
fn link_events(known: &mut Link, link: &mut watch::Receiver<Link>) -> Vec<Event> {
    let before = *known;
    *known = *link.borrow_and_update();
    let works = |link: &Link| link.up && !link.blocked;
    // While the broker takes no messages nobody can renew.
    if works(known) && (!works(&before) || known.generation != before.generation) {
        vec![Event::LinkUp]
    } else if works(&before) && !works(known) {
        vec![Event::LinkDown]
    } else {
        vec![]
    }
}
