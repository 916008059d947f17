//! What dispatcher and workers say to each other, and the names of the queues they say it on.
//!
//! JSON; unknown fields are skipped and unknown messages are dropped with a log line, so that two releases can talk.
//! Every ask is repeated until it is answered, and the leader gives the same attempt of the same worker's incarnation the same answer.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    layout::Container,
    names::{Context, Pair, Pool, WorkerName},
    outcome::{ExitCode, Fault, RuleHit, Seen},
    run_id::RunId,
};

/// Asks to the leading dispatcher, but renewals.
pub const ASKS: &str = "proofhouse.asks";
/// Renewals of leases: a durable queue of their own, so that nothing stands before them.
pub const RENEWALS: &str = "proofhouse.renewals";
/// Vanishes with the broker's process, and so tells that it started anew; nothing is sent to it.
pub const BOOT_EXCHANGE: &str = "proofhouse.boot";
/// Fanout to every worker: a new leader says so here.
pub const LEADER_EXCHANGE: &str = "proofhouse.leader";
/// Fanout of what runs (contract "While it runs"): not durable.
pub const STATUS_EXCHANGE: &str = "teststatus.fanout";
/// Fanout of completions (contract "Completion message"): durable.
pub const COMPLETE_EXCHANGE: &str = "testcomplete.fanout";

/// What is sent to [`COMPLETE_EXCHANGE`], kept for the leader: other systems send there too.
pub const COMPLETIONS: &str = "proofhouse.complete";

/// The queue by which a pool's offers come.
pub fn pool_queue(pool: &Pool) -> String {
    format!("proofhouse.pool.{pool}")
}

/// One life of one worker process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId {
    /// The name, the same after a restart.
    pub name: WorkerName,
    /// New at every start.
    pub incarnation: Uuid,
}

impl WorkerId {
    /// The queue by which answers come.
    pub fn mailbox(&self) -> String {
        format!("proofhouse.worker.{}.{}", self.name, self.incarnation)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)
    }
}

/// One attempt of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The job's number in the job table.
    pub job: i64,
    /// Counts from 1.
    pub attempt: i32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.attempt)
    }
}

/// On a pool's queue: there is work. No name and no parameters; it lives a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// What is offered.
    #[serde(flatten)]
    pub id: AttemptId,
    /// The leader's epoch.
    pub epoch: i64,
}

/// How long an offer lives, in seconds.
pub const OFFER_SECONDS: u64 = 60;

/// From a worker (or, for [`Ask::Nudge`], a web; for [`Ask::Echo`], itself) to the leader.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Who asks; none for a nudge and an echo.
    pub from: Option<WorkerId>,
    /// What.
    #[serde(flatten)]
    pub ask: Ask,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// At start, on change, and to each new leader. Answered with [`Answer::Welcome`].
    Announce(Announce),
    /// For an offer. Answered with [`Answer::Granted`] or [`Answer::Refused`].
    Grant {
        /// The offer's attempt.
        id: AttemptId,
        /// The offer's epoch.
        epoch: i64,
    },
    /// Leases are to go on. Answered with [`Answer::Renewed`].
    Renew {
        /// All attempts that this worker holds.
        ids: Vec<AttemptId>,
    },
    /// The runner has ended. Answered with [`Answer::Publish`], [`Answer::Wait`], [`Answer::NoResult`] or [`Answer::GivenUp`].
    Ended(Ended),
    /// Log and artifacts are stored. Answered with [`Answer::Recorded`] or [`Answer::GivenUp`].
    Complete {
        /// Which attempt.
        id: AttemptId,
        /// The id that was granted.
        run_id: RunId,
        /// The bytes of `result.tar`, base64.
        result_tar: String,
    },
    /// The worker cannot go on with an attempt. Answered with [`Answer::GivenUp`].
    GiveUp {
        /// Which attempt.
        id: AttemptId,
        /// Why.
        fault: Fault,
        /// More for the operator; no secrets.
        detail: String,
    },
    /// Something new waits in the job table.
    Nudge,
    /// From the leader to itself, on [`RENEWALS`]: when it is heard, its link lives, and every renewal before it was heard.
    Echo {
        /// The leader's epoch.
        epoch: i64,
        /// Each is another one.
        number: u64,
    },
}

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// The machine it runs on.
    pub host: String,
    /// The pools that it takes offers from.
    pub pools: Vec<Pool>,
    /// How many tests it runs at once, when it does not drain and can take work.
    pub slots: u32,
    /// The attempts that it holds now.
    pub holds: Vec<AttemptId>,
    /// True once it was told to take nothing new.
    pub draining: bool,
    /// Why it takes no work although it has slots, for operators.
    pub unable: Option<String>,
    /// The program's version.
    pub version: String,
    /// What it was told by [`Answer::Wanted`], and does; of an older worker nothing.
    #[serde(default, deserialize_with = "known_or_default")]
    pub wanted: Wanted,
    /// The last word of a process that ends: it runs nothing more.
    #[serde(default)]
    pub leaving: bool,
}

/// What an operator wants of a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// Take offers.
    #[default]
    Work,
    /// Take nothing new, and stay.
    Drain,
    /// Take nothing new, and end once nothing runs.
    Retire,
}

impl Wanted {
    const ALL: [Self; 3] = [Self::Work, Self::Drain, Self::Retire];

    /// The word in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Drain => "drain",
            Self::Retire => "retire",
        }
    }

    /// From the database. What only a newer release knows of takes no work.
    pub fn from_stored(text: &str) -> Self {
        Self::ALL.into_iter().find(|wanted| wanted.as_str() == text).unwrap_or(Self::Drain)
    }
}

/// What only a newer release knows of says nothing to this one; the rest of the message does.
fn known_or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::de::DeserializeOwned,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// How a run ended, as the worker saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which attempt.
    pub id: AttemptId,
    /// The runner's exit code; the negative number of the signal that killed it.
    pub exit_code: ExitCode,
    /// `testpkg-version`: source and version, separated by a blank.
    pub version: Option<String>,
    /// Whole seconds.
    pub duration_seconds: i64,
    /// What the worker knows went wrong beside the exit code.
    pub fault: Option<Fault>,
    /// More for the operator; no secrets.
    pub detail: String,
    /// The rule of the log that matched and is about this exit code.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "known_or_default")]
    pub rule: Option<RuleHit>,
}

impl Ended {
    /// What decides on it.
    pub fn seen(&self, baseline: bool) -> Seen<'_> {
        Seen {
            exit_code: self.exit_code,
            has_version: self.version.as_deref().is_some_and(|version| !version.trim().is_empty()),
            fault: self.fault,
            rule: self.rule.as_ref(),
            baseline,
        }
    }
}

/// From the leader to one worker, or (only [`Answer::Leader`]) to all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The leader's epoch: workers refuse a smaller one than they have seen.
    pub epoch: i64,
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
}

/// What the leader answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// A new leader, or a new link of its: announce yourselves.
    Leader,
    /// The announcement was heard.
    Welcome,
    /// The offer is yours.
    Granted(Box<Grant>),
    /// It is not; drop it.
    Refused {
        /// Which attempt.
        id: AttemptId,
        /// Take no further offer of its pool for so long: others are to have it.
        #[serde(default)]
        pause_seconds: u64,
    },
    /// The state of the leases that were to be renewed.
    Renewed {
        /// Those that go on, each for `lease_seconds` from now.
        held: Vec<AttemptId>,
        /// Those that were given up: kill them at once.
        given_up: Vec<AttemptId>,
        /// Length of a lease.
        lease_seconds: u64,
    },
    /// It is a result: upload log and artifacts there.
    Publish {
        /// Which attempt.
        id: AttemptId,
        /// The run id.
        run_id: RunId,
        /// The container.
        container: Container,
        /// What the result says; the runner's own code where none is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<ExitCode>,
        /// What decided that it is one: see [`outcome::decided_by`](crate::outcome::decided_by), or a rule of the log.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
    },
    /// Another run of the same series is being published: go on renewing and ask again.
    Wait {
        /// Which attempt.
        id: AttemptId,
    },
    /// It is an infrastructure failure: keep the log in `proofhouse-attempts` and forget the attempt.
    NoResult {
        /// Which attempt.
        id: AttemptId,
        /// Whose fault.
        fault: Fault,
    },
    /// The completion is committed: the attempt is over.
    Recorded {
        /// Which attempt.
        id: AttemptId,
    },
    /// The attempt is not yours any more: kill it, delete nothing, forget it.
    GivenUp {
        /// Which attempt.
        id: AttemptId,
    },
    /// What an operator wants of this worker from now on. Answered with [`Ask::Announce`].
    Wanted {
        /// The worker does so until it is told otherwise, or ends.
        state: Wanted,
    },
}

/// A lease and everything needed to run the test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Which attempt.
    pub id: AttemptId,
    /// The run's name to the outside.
    pub uuid: Uuid,
    /// Release and arch.
    pub pair: Pair,
    /// The queue's kind.
    pub context: Context,
    /// The request's body, credentials sealed.
    pub body: String,
    /// What the lists say of the package.
    pub lists: Listed,
    /// Length of a lease, from now.
    pub lease_seconds: u64,
    /// The attempt's absolute end, from now.
    pub end_seconds: u64,
}

/// Which lists name a package (contract "Lists").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "four independent lists")]
pub struct Listed {
    /// `big_packages`: a larger testbed.
    pub big: bool,
    /// `long_tests`: longer timeouts.
    pub long: bool,
    /// `never_run`: exit code 99.
    pub never: bool,
    /// `vm_packages`: a virtual machine, not a container.
    pub vm: bool,
}

/// autopkgtest's timeouts in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as autopkgtest's options")]
pub struct Timeouts {
    pub short: u64,
    pub install: u64,
    pub test: u64,
    pub copy: u64,
    pub build: u64,
}

impl Timeouts {
    /// The contract's defaults, longer for what the lists name and on riscv64 (contract "The command line", 10).
    pub fn of(listed: Listed, pair: &Pair) -> Self {
        let (test, build) = match listed {
            Listed { long: true, .. } => (4, 2),
            Listed { big: true, .. } => (2, 1),
            _ => (1, 1),
        };
        let all = if pair.arch.as_str() == "riscv64" { 4 } else { 1 };
        Self {
            short: 300 * all,
            install: 3000 * all,
            test: 10_000 * all * test,
            copy: 900 * all,
            build: 20_000 * all * build,
        }
    }

    /// When an attempt must be over at the latest, from its start: a build, and as many steps at their limit as
    /// no sound run was ever seen to need. It stops a runner that hangs, not a test that is slow.
    pub const fn absolute_end(self) -> u64 {
        self.build + 10 * (self.install + self.test + self.copy + self.short)
    }
}

/// One job's state for people, sent to [`STATUS_EXCHANGE`] (contract "While it runs").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The release.
    pub release: String,
    /// The architecture.
    pub architecture: String,
    /// The package; `private-test` for a private run.
    pub package: String,
    /// False in the last message.
    pub running: bool,
    /// The request's parameters; empty for a private run.
    #[serde(default)]
    pub params: serde_json::Map<String, serde_json::Value>,
    /// Seconds since the start.
    pub duration: i64,
    /// First 5 lines, a marker line, about the last 2000 bytes.
    pub logtail: String,
    /// The run's uuid; none for a private run, and in messages of other systems.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// Which attempt, from 1; none for a private run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// The worker; none for a private run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// What it does, see [`crate::phase`]; none for a private run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// What kind of testbed it runs on, the provider's name; none for a private run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub testbed: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip_and_skip_what_is_new() {
        let id = AttemptId { job: 7, attempt: 2 };
        let from = Some(WorkerId { name: "w-1".parse().unwrap(), incarnation: Uuid::nil() });
        for ask in [
            Ask::Nudge,
            Ask::Echo { epoch: 1, number: 2 },
            Ask::Renew { ids: vec![id] },
            Ask::Grant { id, epoch: 3 },
        ] {
            let asked = Asked { from: from.clone(), ask };
            let json = serde_json::to_string(&asked).unwrap();
            assert_eq!(serde_json::from_str::<Asked>(&json).unwrap(), asked, "{json}");
        }
        let answered = Answered { epoch: 4, answer: Answer::Refused { id, pause_seconds: 2 } };
        let json = serde_json::to_string(&answered).unwrap();
        let newer = json.replacen('{', "{\"later\": 1,", 1);
        assert_eq!(serde_json::from_str::<Answered>(&newer).unwrap(), answered);
        assert!(serde_json::from_str::<Answered>("{\"epoch\": 1, \"answer\": \"from-the-future\"}").is_err());
    }

    /// What the first release said, before there were fields more; and what a later one may say.
    #[test]
    fn older_and_later_messages_are_understood() {
        let ended = r#"{"from": {"name": "w", "incarnation": "00000000-0000-0000-0000-000000000000"}, "ask": "ended",
            "id": {"job": 7, "attempt": 2}, "exit_code": 4, "version": "a 1", "duration_seconds": 3, "fault": FAULT,
            "detail": ""RULE}"#;
        let read = |fault: &str, rule: &str| {
            let text = ended.replace("FAULT", fault).replace("RULE", rule);
            let Ask::Ended(ended) = serde_json::from_str::<Asked>(&text).unwrap().ask else {
                panic!("{text}")
            };
            (ended.fault, ended.rule.map(|rule| rule.name))
        };
        assert_eq!(read("null", ""), (None, None));
        let rule = |verdict: &str| format!(r#", "rule": {{"name": "r", "verdict": "{verdict}"}}"#);
        assert_eq!(read("null", &rule("infrastructure")), (None, Some("r".to_owned())));
        assert_eq!(read("\"from-the-future\"", &rule("from-the-future")), (Some(Fault::Worker), None));

        let publish = r#"{"epoch": 1, "answer": "publish", "id": {"job": 7, "attempt": 2},
            "run_id": "20261121_053634_abcde@", "container": "autopkgtest-noble"}"#;
        let Answer::Publish { exit_code, rule, .. } =
            serde_json::from_str::<Answered>(publish).unwrap().answer
        else {
            panic!("{publish}")
        };
        assert_eq!((exit_code, rule), (None, None));
        let refused = r#"{"epoch": 1, "answer": "refused", "id": {"job": 7, "attempt": 2}}"#;
        let Answer::Refused { pause_seconds, .. } = serde_json::from_str::<Answered>(refused).unwrap().answer
        else {
            panic!("{refused}")
        };
        assert_eq!(pause_seconds, 0);

        let announce = |more: &str| {
            let text = format!(
                r#"{{"host": "h", "pools": [], "slots": 1, "holds": [], "draining": false, "unable": null, "version": "0"{more}}}"#
            );
            serde_json::from_str::<Announce>(&text).unwrap()
        };
        assert_eq!((announce("").wanted, announce("").leaving), (Wanted::Work, false));
        assert_eq!(announce(r#", "wanted": "from-the-future""#).wanted, Wanted::Work);
        assert_eq!(announce(r#", "wanted": "drain""#).wanted, Wanted::Drain);
        let unknown = r#"{"epoch": 1, "answer": "wanted", "state": "from-the-future"}"#;
        assert!(serde_json::from_str::<Answered>(unknown).is_err(), "it is dropped");
    }

    #[test]
    fn timeouts_follow_the_lists() {
        let pair = |arch: &str| format!("noble/{arch}").parse::<Pair>().unwrap();
        let of = |big, long, arch: &str| {
            let t = Timeouts::of(Listed { big, long, ..Listed::default() }, &pair(arch));
            (t.short, t.install, t.test, t.copy, t.build)
        };
        assert_eq!(of(false, false, "amd64"), (300, 3000, 10_000, 900, 20_000));
        assert_eq!(of(true, false, "amd64"), (300, 3000, 20_000, 900, 20_000));
        assert_eq!(of(true, true, "amd64"), (300, 3000, 40_000, 900, 40_000));
        assert_eq!(of(false, false, "riscv64"), (1200, 12_000, 40_000, 3600, 80_000));
        assert_eq!(of(false, true, "riscv64"), (1200, 12_000, 160_000, 3600, 160_000));
    }
}
