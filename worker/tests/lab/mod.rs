//! A worker with everything around it, in one process.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use proofhouse_core::{
    bus::{Bus, Declaration, Message, Source, Target, local::Local},
    names::{Context, Pair},
    outcome::Fault,
    protocol::{
        ASKS, Answer, Answered, Ask, Asked, AttemptId, Ended, Grant, Listed, Offer, RENEWALS,
        STATUS_EXCHANGE, Status, Wanted, WorkerId,
    },
    request::Request,
    store::folder::Folder,
};
use proofhouse_worker::{Limits, Provider, Settings, Stop, WorkerState, run};
use tokio::{sync::watch, task::JoinHandle};
use uuid::Uuid;

pub(crate) const RUN_ID: &str = "20261121_053634_abcde@";
pub(crate) const UUID: Uuid = Uuid::from_u128(7);
const LEASE_SECONDS: u64 = 1;
/// What has not happened by now never will; a real testbed takes its time.
const PATIENCE: Duration = Duration::from_secs(300);

/// Stands in for autopkgtest: the package's name says what happens.
const AUTOPKGTEST: &str = r#"#!/bin/sh
out=$2
touch "RUNS/$$"
trap 'rm -f "RUNS/$$"' EXIT
trap 'exit 143' TERM
case " $* " in *" bad "*) echo 'unknown option' >&2; exit 20;; esac
mkdir -p "$out"
for word in "$@"; do case $word in green|red|away|gated|endless|leaky) package=$word;; @*) secret=${word#@}; package=$(grep -xE 'green|red|away|gated|endless|leaky' "$secret");; esac; done
echo "testing $package" > "$out/log"
[ -z "$secret" ] || echo "PPA $(cat "$secret")" >> "$out/log"
echo "$package 2" > "$out/testpkg-version"
echo "t1 PASS" > "$out/summary"
case $package in
    red) exit 4;;
    away) echo 'E: Failed to fetch http://archive.example/x' >> "$out/log"; exit 4;;
    gated) while ! [ -e GATE ]; do sleep 0.01; done;;
    endless) while :; do sleep 0.01; done;;
esac
exit 0
"#;

/// What the dispatcher of the lab answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Publish,
    NoResult,
    WaitOnce,
    GiveUpAll,
    Refuse,
}

pub(crate) struct Lab {
    pub(crate) stop: Stop,
    folder: tempfile::TempDir,
    bus: Local,
    dispatcher: Arc<Dispatcher>,
    next: AtomicI64,
    worker: Mutex<Option<JoinHandle<()>>>,
    state: watch::Receiver<WorkerState>,
}

struct Dispatcher {
    bus: Local,
    rule: Mutex<Rule>,
    asks: Mutex<Vec<Ask>>,
    offered: Mutex<Vec<Grant>>,
    statuses: Mutex<Vec<Status>>,
    worker: Mutex<Option<WorkerId>>,
}

impl Lab {
    pub(crate) async fn start(rule: Rule) -> Self {
        Self::start_with(rule, |_| {}).await
    }

    pub(crate) async fn start_with(rule: Rule, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("runs")).unwrap();
        let bus = Local::new();
        let dispatcher = Dispatcher::start(bus.clone(), rule).await;
        let mut settings = settings(folder.path());
        change(&mut settings);
        let stop = Stop::default();
        let (send, state) = watch::channel(WorkerState::default());
        let store = Arc::new(Folder::new(folder.path().join("store")));
        let running = run(settings, Arc::new(bus.clone()), store, stop.clone(), send);
        let worker = Mutex::new(Some(tokio::spawn(async { running.await.unwrap() })));
        Self { stop, folder, bus, dispatcher, next: AtomicI64::new(1), worker, state }
    }

    pub(crate) async fn offer(&self, body: &str) -> AttemptId {
        self.offer_with(body, 1000).await
    }

    pub(crate) async fn offer_with(&self, body: &str, end_seconds: u64) -> AttemptId {
        self.offer_as(pair(), body, end_seconds).await
    }

    pub(crate) async fn offer_as(&self, pair: Pair, body: &str, end_seconds: u64) -> AttemptId {
        let id = AttemptId { job: self.next.fetch_add(1, Ordering::Relaxed), attempt: 1 };
        self.dispatcher.offered.lock().unwrap().push(Grant {
            id,
            uuid: UUID,
            pair,
            context: Context::Ubuntu,
            body: body.to_owned(),
            lists: Listed::default(),
            lease_seconds: LEASE_SECONDS,
            end_seconds,
        });
        let offer = serde_json::to_vec(&Offer { id, epoch: 1 }).unwrap();
        self.bus.declare(&[Declaration::Queue("proofhouse.pool.amd64".to_owned())]).await.unwrap();
        let target = Target::Queue("proofhouse.pool.amd64".to_owned());
        self.bus.publish(&target, Message::persistent(offer)).await.unwrap();
        id
    }

    pub(crate) fn store(&self) -> Folder {
        Folder::new(self.folder.path().join("store"))
    }

    pub(crate) fn rule(&self, rule: Rule) {
        *self.dispatcher.rule.lock().unwrap() = rule;
    }

    pub(crate) fn asks(&self) -> Vec<Ask> {
        self.dispatcher.asks.lock().unwrap().clone()
    }

    pub(crate) fn state(&self) -> WorkerState {
        self.state.borrow().clone()
    }

    /// Tells the worker what an operator wants.
    pub(crate) async fn wants(&self, state: Wanted) {
        self.until(|| self.dispatcher.worker.lock().unwrap().is_some()).await;
        let worker = self.dispatcher.worker.lock().unwrap().clone().unwrap();
        self.dispatcher.send(&worker, Answer::Wanted { state }).await;
        let obeys = |ask: &Ask| matches!(ask, Ask::Announce(said) if said.wanted == state);
        self.until(|| self.asks().iter().any(obeys)).await;
    }

    /// Waits for a condition.
    pub(crate) async fn until(&self, condition: impl Fn() -> bool) {
        let wait = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, wait).await;
        assert!(done.is_ok(), "it never happened; asks were {:?}", self.asks());
    }

    async fn found<T>(&self, find: impl Fn(Ask) -> Option<T>) -> T {
        self.until(|| self.asks().into_iter().any(|ask| find(ask).is_some())).await;
        self.asks().into_iter().find_map(find).unwrap()
    }

    pub(crate) async fn ended(&self, id: AttemptId) -> Ended {
        self.found(|ask| match ask {
            Ask::Ended(ended) if ended.id == id => Some(ended),
            _ => None,
        })
        .await
    }

    /// The `result.tar` that came with the completion.
    pub(crate) async fn completed(&self, id: AttemptId) -> String {
        self.found(|ask| match ask {
            Ask::Complete { id: of, result_tar, .. } if of == id => Some(result_tar),
            _ => None,
        })
        .await
    }

    /// How many runners run.
    pub(crate) fn runs(&self) -> usize {
        fs::read_dir(self.folder.path().join("runs")).unwrap().count()
    }

    pub(crate) async fn until_running(&self, id: AttemptId) {
        let log = self.folder.path().join(format!("data/work/lab-host/{id}/out/testpkg-version"));
        self.until(|| log.exists()).await;
    }

    pub(crate) fn open_gate(&self) {
        fs::write(self.folder.path().join("gate"), "").unwrap();
    }

    pub(crate) fn stored(&self, container: &str, object: &str) -> Option<Vec<u8>> {
        fs::read(self.folder.path().join("store").join(container).join(object)).ok()
    }

    pub(crate) fn log(&self, container: &str, object: &str) -> String {
        let bytes = self.stored(container, object).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        text
    }

    /// How many files the store holds.
    pub(crate) fn objects(&self) -> usize {
        fn count(path: &Path) -> usize {
            let Ok(entries) = fs::read_dir(path) else { return 0 };
            entries.flatten().map(|e| if e.path().is_dir() { count(&e.path()) } else { 1 }).sum()
        }
        count(&self.folder.path().join("store"))
    }

    pub(crate) async fn last_status(&self) -> Status {
        let last = || self.dispatcher.statuses.lock().unwrap().iter().find(|status| !status.running).cloned();
        self.until(|| last().is_some()).await;
        last().unwrap()
    }

    /// Drains the worker.
    pub(crate) async fn finish(self) {
        self.stop.drain.cancel();
        self.worker_ended().await;
    }

    /// Waits for the worker, and looks for what it should not have left.
    pub(crate) async fn worker_ended(&self) {
        let worker = self.worker.lock().unwrap().take().unwrap();
        tokio::time::timeout(PATIENCE, worker).await.expect("the worker hangs").unwrap();
        let left = fs::read_dir(self.folder.path().join("data/work/lab-host"));
        assert_eq!(left.map_or(0, Iterator::count), 0, "work folders are left");
        assert_eq!(self.state().busy, 0);
    }
}

fn pair() -> Pair {
    "noble/amd64".parse().unwrap()
}

fn settings(folder: &Path) -> Settings {
    let program = folder.join("autopkgtest");
    let text = AUTOPKGTEST
        .replace("RUNS", folder.join("runs").to_str().unwrap())
        .replace("GATE", folder.join("gate").to_str().unwrap());
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Settings {
        name: "lab-host".parse().unwrap(),
        host: "lab-host".to_owned(),
        data: folder.join("data"),
        pools: vec!["amd64".parse().unwrap()],
        slots: 2,
        provider: Provider::Null { args: Vec::new() },
        autopkgtest: program,
        autopkgtest_args: Vec::new(),
        setup_commands: Vec::new(),
        rules: proofhouse_core::rules::Rules::default(),
        seal_keys: None,
        min_free_mib: 0,
        limits: Limits::NONE,
        metrics: std::sync::Arc::new(proofhouse_core::telemetry::metrics::Metrics::new(
            proofhouse_core::config::Role::Worker,
        )),
        guard: guard(),
    }
}
/// The example `guard`, built beside the tests.
fn guard() -> Vec<std::ffi::OsString> {
    let deps = std::env::current_exe().unwrap();
    let guard = deps.ancestors().nth(2).unwrap().join("examples/guard");
    assert!(guard.exists(), "{} is missing: cargo test builds it", guard.display());
    vec![guard.into_os_string()]
}

impl Dispatcher {
    async fn start(bus: Local, rule: Rule) -> Arc<Self> {
        let declarations = [ASKS, RENEWALS].map(|queue| Declaration::Queue(queue.to_owned()));
        bus.declare(&declarations).await.unwrap();
        let fanout = Declaration::Fanout { name: STATUS_EXCHANGE.to_owned(), durable: false };
        bus.declare(&[fanout]).await.unwrap();
        let this = Arc::new(Self {
            bus: bus.clone(),
            rule: Mutex::new(rule),
            asks: Mutex::default(),
            offered: Mutex::default(),
            statuses: Mutex::default(),
            worker: Mutex::default(),
        });
        let queues = Source::Queues(vec![ASKS.to_owned(), RENEWALS.to_owned()]);
        let mut consumer = bus.consume(queues, 10).await.unwrap();
        let dispatcher = this.clone();
        tokio::spawn(async move {
            while let Some(delivery) = consumer.next().await {
                delivery.settle.ack().await.unwrap();
                dispatcher.answer(serde_json::from_slice(&delivery.body).unwrap()).await;
            }
        });
        let mailbox = Source::Mailbox {
            name: "proofhouse.lab".to_owned(),
            exchanges: vec![STATUS_EXCHANGE.to_owned()],
        };
        let mut consumer = bus.consume(mailbox, 10).await.unwrap();
        let listener = this.clone();
        tokio::spawn(async move {
            while let Some(delivery) = consumer.next().await {
                delivery.settle.ack().await.unwrap();
                listener.statuses.lock().unwrap().push(serde_json::from_slice(&delivery.body).unwrap());
            }
        });
        this
    }

    async fn answer(&self, Asked { from, ask }: Asked) {
        self.worker.lock().unwrap().clone_from(&from);
        let before = self.asks.lock().unwrap().clone();
        self.asks.lock().unwrap().push(ask.clone());
        let rule = *self.rule.lock().unwrap();
        let answer = match ask {
            Ask::Announce(_) => Answer::Welcome,
            Ask::Grant { id, .. } if rule == Rule::Refuse => Answer::Refused { id, pause_seconds: 0 },
            Ask::Grant { id, .. } => {
                let offered = self.offered.lock().unwrap();
                Answer::Granted(Box::new(offered.iter().find(|grant| grant.id == id).unwrap().clone()))
            }
            Ask::Renew { ids } if rule == Rule::GiveUpAll => renewed(Vec::new(), ids),
            Ask::Renew { ids } => renewed(ids, Vec::new()),
            Ask::Ended(Ended { id, .. }) => {
                let first = !before.iter().any(|ask| matches!(ask, Ask::Ended(ended) if ended.id == id));
                match rule {
                    Rule::NoResult => Answer::NoResult { id, fault: Fault::Unexpected },
                    Rule::WaitOnce if first => Answer::Wait { id },
                    _ => self.publish(id),
                }
            }
            Ask::Complete { id, .. } => Answer::Recorded { id },
            Ask::GiveUp { id, .. } => Answer::GivenUp { id },
            Ask::Nudge | Ask::Echo { .. } => return,
        };
        self.send(&from.unwrap(), answer).await;
    }

    fn publish(&self, id: AttemptId) -> Answer {
        let offered = self.offered.lock().unwrap();
        let grant = offered.iter().find(|grant| grant.id == id).unwrap();
        let container = Request::parse(grant.body.as_bytes()).unwrap().container(&grant.pair);
        Answer::Publish { id, run_id: RUN_ID.parse().unwrap(), container, exit_code: None, rule: None }
    }

    async fn send(&self, to: &WorkerId, answer: Answer) {
        let body = serde_json::to_vec(&Answered { epoch: 1, answer }).unwrap();
        self.bus.publish(&Target::Queue(to.mailbox()), Message::persistent(body)).await.unwrap();
    }
}

fn renewed(held: Vec<AttemptId>, given_up: Vec<AttemptId>) -> Answer {
    Answer::Renewed { held, given_up, lease_seconds: LEASE_SECONDS }
}
