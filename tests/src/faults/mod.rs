//! The fault bench: real servers and processes, a stream of requests, and faults at random and at each step of a job's life.
//! Afterwards every request that the broker confirmed has exactly one result, run ids became visible in order, every start of a
//! test is accounted for, and nothing is left behind. `make faults`; short forms are in `make test`.

mod count;
mod front;
mod messages;
mod orders;
mod parts;
mod requests;
mod strikes;

use std::{
    sync::Mutex,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result};
use futures::StreamExt;
use proofhouse_core::faults::Step;
use tokio::time::sleep;

pub use self::{orders::Tally, parts::Store};
use self::{
    orders::WHENEVER,
    parts::Parts,
    requests::Requests,
    strikes::{Blow, Quake},
};
use crate::proofhouse::Proofhouse;

/// Nobody comes to a step for so long: another is tried.
const PATIENCE: Duration = Duration::from_secs(12);
/// Longer than `consumer_timeout`, and the broker's look at it.
const HELD: Duration = Duration::from_secs(72);
const CONSUMER_TIMEOUT: &str = "broker: consumer_timeout";

/// How hard, how long, and on what.
#[derive(Debug, Clone, Copy)]
pub struct Bench {
    /// For how long faults strike.
    pub lasts: Duration,
    /// The same seed strikes in the same order.
    pub seed: u64,
    /// What the results are kept in.
    pub store: Store,
    /// Between two requests.
    pub pause: Duration,
    /// What strikes.
    pub strikes: Strikes,
    /// An error that is built into the program: `acknowledges-first` or `no-fencing`.
    pub planted: Option<&'static str>,
}

/// It comes twice a minute: somebody waits for it alone.
const SELDOM: Step = Step::DatabasePublished;

/// What strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strikes {
    /// All there is, as root.
    All,
    /// All but what takes minutes, or needs root.
    Short,
    /// Dispatchers die with acknowledgements behind them.
    Acknowledged,
    /// Leaders freeze, and thaw when others lead.
    Thawed,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What must not be: each a sentence.
    pub wrong: Vec<String>,
    /// What was counted.
    pub summary: String,
    /// How many results there are.
    pub results: usize,
    /// How many of them the real autopkgtest made on lxd.
    pub real: usize,
    /// How often each fault struck at each step.
    pub tally: Tally,
}

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, sides: usize) -> usize {
        usize::try_from(self.roll()).unwrap_or(0) % sides.max(1)
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            let other = self.below(at + 1);
            list.swap(at, other);
        }
    }
}

/// What the strikers share.
struct Storm<'a> {
    parts: &'a Parts,
    tally: &'a Mutex<Tally>,
    until: Instant,
    hurts: &'a Mutex<Vec<Hurt>>,
}

impl Bench {
    /// How long everything that is under way may take to end, once faults have. With an error built in it may never.
    fn end(&self) -> Duration {
        // Much of what came meanwhile waits for as long.
        if self.planted.is_some() {
            Duration::from_secs(20)
        } else {
            Duration::from_secs(300) + self.lasts * 2
        }
    }
}

/// Whom something kept from what it does.
#[derive(Debug, PartialEq, Eq)]
enum Whom {
    /// This incarnation of a worker could not say that it holds what it holds.
    Frozen(String),
    /// This incarnation of a worker was ended. What it asked before is granted to it whenever dispatchers come to it.
    Ended(String),
    /// No worker could say what it holds.
    Workers,
}

/// When.
struct Hurt {
    whom: Whom,
    /// Microseconds since 1970.
    lasts: std::ops::RangeInclusive<i64>,
}

impl Bench {
    /// Strikes, waits for the end of every request, and counts.
    ///
    /// # Errors
    /// The bench itself failed: what it found wrong is in the outcome.
    pub async fn run(self) -> Result<Outcome> {
        let parts = Parts::start(self.store, self.planted, self.strikes == Strikes::All).await?;
        let answers = requests::listen(&parts.bus).await?;
        let sites = parts.sites().await?;
        let requests = Requests::start(parts.gate(), sites, self.pause, parts.lxd.is_some());
        let tally = Mutex::new(Tally::default());
        let hurts = Mutex::default();
        let storm = Storm { parts: &parts, tally: &tally, hurts: &hurts, until: Instant::now() + self.lasts };
        let strikes = Box::pin(async {
            match self.strikes {
                Strikes::All => {
                    tokio::try_join!(
                        storm.blows(Dice(self.seed)),
                        storm.quakes(Dice(!self.seed), Quake::is_of_servers),
                        storm.quakes(Dice(!self.seed << 1), |quake| !quake.is_of_servers()),
                        storm.editions(),
                        storm.timeouts()
                    )?;
                }
                Strikes::Short => {
                    storm.held().await?;
                    tokio::try_join!(
                        storm.blows(Dice(self.seed)),
                        storm.quakes(Dice(!self.seed), |quake| !quake.needs_disk()),
                        storm.editions()
                    )?;
                }
                Strikes::Acknowledged => storm.again(Step::Acknowledged, Blow::Kill).await?,
                Strikes::Thawed => storm.again(Step::Granted, Blow::Freeze).await?,
            }
            parts.mend().await.context("mending")?;
            let sent = requests.end().await?;
            let ends = count::wait(&parts, self.end()).await?;
            anyhow::Ok((sent, ends))
        });
        let (sent, over) = tokio::select! {
            done = strikes => done?,
            never = storm.standstills() => never?,
        };
        let counted = count::count(&parts, &sent, &answers, &hurts.into_inner()?, over).await?;
        let summary =
            format!("seed {}, {:?}, {} s: {}", self.seed, self.store, self.lasts.as_secs(), counted.summary);
        let tally = tally.into_inner()?;
        Ok(Outcome { wrong: counted.wrong, summary, results: counted.results, real: counted.real, tally })
    }
}

fn now_us() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros())?)
}

/// All faults that can strike.
fn names() -> Vec<&'static str> {
    let roles = ["dispatcher", "worker", "web"];
    let blows = roles.into_iter().flat_map(|role| Blow::ALL.map(|blow| blow.name(role)));
    blows.chain(Quake::ALL.map(Quake::name)).chain([CONSUMER_TIMEOUT]).collect()
}

impl Tally {
    /// A table of all faults and steps.
    pub fn summary(&self) -> String {
        format!("{} faults\n{}", self.total(), self.table(&names()))
    }

    /// Faults that struck less than five times, steps at which less than ten did: each a sentence.
    pub fn rare(&self) -> Vec<String> {
        let names = names();
        let faults = names.iter().map(|name| (*name, self.of_fault(name), 5));
        let steps = Step::ALL.iter().map(|step| (step.as_str(), self.of_step(step.as_str()), 10));
        let rare = faults.chain(steps).filter(|(_, hits, least)| hits < least);
        rare.map(|(name, hits, least)| format!("{name}: struck {hits} times of at least {least}")).collect()
    }
}

/// Which incarnation of a worker a process is, by its log.
fn incarnation(process: &Proofhouse) -> Result<String> {
    let log = process.log();
    let line = log.lines().rfind(|line| line.contains(" takes offers")).context("it never took offers")?;
    let said: serde_json::Value = serde_json::from_str(line)?;
    Ok(said["incarnation"].as_str().context("it did not say which incarnation it is")?.to_owned())
}

/// For whoever reads the logs beside it.
fn said(fault: &str, whom: &str, step: &str, what: &str) {
    println!("{} {fault} {whom} at {step} {what}", jiff::Timestamp::now());
}

impl Storm<'_> {
    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    fn struck(&self, fault: &'static str, step: &'static str) -> Result<()> {
        let mut tally = self.tally.lock().map_err(|_| anyhow::anyhow!("a striker died"))?;
        tally.add(fault, step);
        Ok(())
    }

    /// That of these steps at which less struck so far.
    fn seldom_struck(&self, [one, other]: [Step; 2]) -> Result<Step> {
        let tally = self.tally.lock().map_err(|_| anyhow::anyhow!("a striker died"))?;
        let is_less = tally.of_step(other.as_str()) < tally.of_step(one.as_str());
        Ok(if is_less { other } else { one })
    }

    fn hurt(&self, whom: Whom, since: i64) -> Result<()> {
        let mut hurts = self.hurts.lock().map_err(|_| anyhow::anyhow!("a striker died"))?;
        hurts.push(Hurt { whom, lasts: since..=now_us()? });
        Ok(())
    }

    /// A machine that stands still lets nobody renew anything: nobody is to blame for that. Never ends by itself.
    async fn standstills<T>(&self) -> Result<T> {
        let (mut last, mut since) = (Instant::now(), now_us()?);
        loop {
            sleep(Duration::from_millis(100)).await;
            if last.elapsed() > Duration::from_millis(600) {
                self.hurt(Whom::Workers, since)?;
            }
            (last, since) = (Instant::now(), now_us()?);
        }
    }

    /// Each blow at each step, in an order of the dice, over and over; with every third one at a web, each in turn.
    async fn blows(&self, mut dice: Dice) -> Result<()> {
        let mut plan = Vec::new();
        let mut of_webs = Blow::ALL.into_iter().cycle();
        let mut frozen = futures::stream::FuturesUnordered::new();
        while self.goes_on() {
            if plan.is_empty() {
                let steps = Step::ALL.iter().filter(|step| **step != SELDOM);
                plan = steps.flat_map(|step| Blow::ALL.map(|blow| (*step, blow))).collect();
                dice.shuffle(&mut plan);
            }
            let Some((step, blow)) = plan.pop() else { continue };
            if dice.below(3) == 0
                && let Some(blow) = of_webs.next()
            {
                self.blow_at_web(&mut dice, blow).await?;
            }
            let Some(caught) = self.parts.orders.catch(step, PATIENCE).await? else { continue };
            let Some(member) = self.parts.member_of(caught.pid) else { continue };
            let Some(mut process) = member.free() else { continue };
            self.struck(blow.name(member.role), step.as_str())?;
            let whom = if member.role == "worker" {
                let incarnation = incarnation(&process)?;
                Some(if blow == Blow::Freeze { Whom::Frozen(incarnation) } else { Whom::Ended(incarnation) })
            } else {
                None
            };
            said(blow.name(member.role), &member.name, step.as_str(), &format!("strikes {whom:?}"));
            let ahead = dice.below(2) == 0;
            let strike = async move {
                let begun = now_us()?;
                let struck = blow.strike(&mut process, ahead, move || drop(caught)).await;
                whom.map_or(Ok(()), |whom| self.hurt(whom, begun))?;
                said(blow.name(member.role), &member.name, step.as_str(), "is mended");
                struck.with_context(|| format!("{} at {}", blow.name(member.role), step.as_str()))
            };
            // Others go on meanwhile; but one dispatcher and one worker at least are left alone.
            frozen.push(strike);
            while frozen.len() > usize::from(blow == Blow::Freeze) {
                frozen.next().await.transpose()?;
            }
        }
        while let Some(struck) = frozen.next().await {
            struck?;
        }
        Ok(())
    }

    async fn blow_at_web(&self, dice: &mut Dice, blow: Blow) -> Result<()> {
        let webs: Vec<_> = self.parts.of_role("web").collect();
        let Some(mut process) = webs[dice.below(webs.len())].free() else { return Ok(()) };
        self.struck(blow.name("web"), WHENEVER)?;
        let struck = blow.strike(&mut process, dice.below(2) == 0, || {}).await;
        struck.with_context(|| blow.name("web"))
    }

    /// Each thing around of some, with somebody at a step, in an order of the dice, over and over.
    async fn quakes(&self, mut dice: Dice, is_one: fn(Quake) -> bool) -> Result<()> {
        let mut plan = Vec::new();
        while self.goes_on() {
            if plan.is_empty() {
                plan.extend(Quake::ALL.into_iter().filter(|quake| is_one(*quake)));
                dice.shuffle(&mut plan);
            }
            let Some(quake) = plan.pop() else { continue };
            let step = self.seldom_struck([(); 2].map(|()| Step::ALL[dice.below(Step::ALL.len())]))?;
            // What happens while nobody comes to that step happens too.
            let caught = match step {
                SELDOM => None,
                step => self.parts.orders.catch(step, PATIENCE / 4).await?,
            };
            let step = caught.as_ref().map_or(WHENEVER, |caught| caught.step.as_str());
            let begun = Instant::now();
            let since = now_us()?;
            said(quake.name(), "", step, "strikes");
            let struck = quake.strike(self.parts, dice.roll(), move || drop(caught)).await;
            if quake.silences_workers() {
                self.hurt(Whom::Workers, since)?;
            }
            said(quake.name(), "", step, "is mended");
            match struck {
                Ok(()) => self.struck(quake.name(), step)?,
                Err(error) => {
                    // Another fault may be in its way; what it left must be mended all the same.
                    println!("{} after {:?}: {error:#}", quake.name(), begun.elapsed());
                    self.parts.front.set(front::Weather::Fair);
                }
            }
            sleep(Duration::from_millis(300)).await;
        }
        Ok(())
    }

    /// Each blow in turn, whenever an edition of the published database is written.
    async fn editions(&self) -> Result<()> {
        for (n, blow) in Blow::ALL.into_iter().cycle().enumerate() {
            let caught = loop {
                if !self.goes_on() {
                    return Ok(());
                }
                if let Some(caught) = self.parts.orders.catch(SELDOM, PATIENCE).await? {
                    break caught;
                }
            };
            let Some(member) = self.parts.member_of(caught.pid) else { continue };
            let Some(mut process) = member.free() else { continue };
            self.struck(blow.name(member.role), SELDOM.as_str())?;
            said(blow.name(member.role), &member.name, SELDOM.as_str(), "strikes");
            let struck = blow.strike(&mut process, n % 2 == 0, move || drop(caught)).await;
            struck.with_context(|| format!("{} at {}", blow.name(member.role), SELDOM.as_str()))?;
            said(blow.name(member.role), &member.name, SELDOM.as_str(), "is mended");
        }
        Ok(())
    }

    /// A dispatcher that neither acknowledges what it has in hand nor dies, three times: the broker takes it back. Nothing is taken
    /// in meanwhile.
    async fn timeouts(&self) -> Result<()> {
        let begun = Instant::now();
        let every = self.until.saturating_duration_since(begun) / 3;
        for n in 0..3 {
            let next = begun + every * n;
            sleep(next.saturating_duration_since(Instant::now())).await;
            while self.until.saturating_duration_since(Instant::now()) > HELD {
                let Some(caught) = self.parts.orders.catch(Step::Received, PATIENCE).await? else { continue };
                let Some(member) = self.parts.member_of(caught.pid) else { continue };
                let Some(process) = member.free() else { continue };
                self.struck(CONSUMER_TIMEOUT, Step::Received.as_str())?;
                sleep(HELD).await;
                drop(caught);
                drop(process);
                break;
            }
        }
        Ok(())
    }

    /// A dispatcher that has requests in hand while link after link breaks: copies of them gather in it.
    async fn held(&self) -> Result<()> {
        let caught = self.parts.orders.catch(Step::Received, PATIENCE).await?.context("a request")?;
        for _ in 0..4 {
            sleep(Duration::from_secs(1)).await;
            self.parts.dispatchers_link.cut();
            self.struck(Quake::LinksBroken.name(), Step::Received.as_str())?;
        }
        drop(caught);
        Ok(())
    }

    /// One blow at one step, again and again.
    async fn again(&self, step: Step, blow: Blow) -> Result<()> {
        while self.goes_on() {
            let Some(caught) = self.parts.orders.catch(step, PATIENCE).await? else { continue };
            let Some(member) = self.parts.member_of(caught.pid) else { continue };
            let Some(mut process) = member.free() else { continue };
            self.struck(blow.name(member.role), step.as_str())?;
            blow.strike(&mut process, false, move || drop(caught)).await?;
        }
        Ok(())
    }
}
