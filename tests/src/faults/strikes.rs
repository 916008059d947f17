//! The faults: what each does, and how it is mended.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tokio::time::sleep;

use super::{
    front::Weather,
    messages,
    parts::{Member, Parts},
};
use crate::{keeper::run, proofhouse::Proofhouse};

/// Longer than a lease (3 s) and than a leadership (5 s).
pub(super) const LONG: Duration = Duration::from_millis(7500);
/// Long enough to be felt.
const SHORT: Duration = Duration::from_millis(1500);
/// How long a process may take for a clean end.
const DRAIN: Duration = Duration::from_secs(180);

/// What can be done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blow {
    Kill,
    Stop,
    Freeze,
    OutOfMemory,
    /// Its next life's clock is ten minutes off.
    Clock,
}

impl Blow {
    pub(super) const ALL: [Self; 5] = [Self::Kill, Self::Stop, Self::Freeze, Self::OutOfMemory, Self::Clock];

    pub(super) fn name(self, role: &str) -> &'static str {
        match (self, role) {
            (Self::Kill, "dispatcher") => "dispatcher: kill -9",
            (Self::Kill, "worker") => "worker: kill -9",
            (Self::Kill, _) => "web: kill -9",
            (Self::Stop, "dispatcher") => "dispatcher: SIGTERM",
            (Self::Stop, "worker") => "worker: SIGTERM",
            (Self::Stop, _) => "web: SIGTERM",
            (Self::Freeze, "dispatcher") => "dispatcher: frozen, thawed",
            (Self::Freeze, "worker") => "worker: frozen, thawed",
            (Self::Freeze, _) => "web: frozen, thawed",
            (Self::OutOfMemory, "dispatcher") => "dispatcher: out of memory",
            (Self::OutOfMemory, "worker") => "worker: out of memory",
            (Self::OutOfMemory, _) => "web: out of memory",
            (Self::Clock, "dispatcher") => "dispatcher: clock 10 min off",
            (Self::Clock, "worker") => "worker: clock 10 min off",
            (Self::Clock, _) => "web: clock 10 min off",
        }
    }

    /// Strikes a process that is in hand; `let_go` runs once it was struck, where it waits at a step.
    pub(super) async fn strike(
        self,
        process: &mut Proofhouse,
        ahead: bool,
        let_go: impl FnOnce(),
    ) -> Result<()> {
        match self {
            Self::Kill | Self::Clock => {
                process.process().signal(Signal::SIGKILL)?;
                let_go();
                process.wait(Duration::from_secs(10)).await?;
                if self == Self::Clock {
                    set_clock(process, ahead);
                }
                process.start_again().await
            }
            Self::Stop => {
                process.sigterm()?;
                let_go();
                process.wait(DRAIN).await.context("a clean end")?;
                process.start_again().await
            }
            Self::Freeze => {
                process.process().signal(Signal::SIGSTOP)?;
                let_go();
                sleep(LONG).await;
                process.process().signal(Signal::SIGCONT)
            }
            Self::OutOfMemory => {
                take_memory(process).await?;
                let_go();
                if process.wait(Duration::from_secs(3)).await.is_err() {
                    // It needs none at the moment: then it is the kernel that picks it.
                    process.process().signal(Signal::SIGKILL)?;
                    process.wait(Duration::from_secs(10)).await?;
                }
                process.start_again().await
            }
        }
    }
}

/// Its own next allocation fails.
async fn take_memory(process: &Proofhouse) -> Result<()> {
    let mut command = Command::new("prlimit");
    command.arg("--pid").arg(process.process().pid()?.to_string()).arg("--as=1048576:1048576");
    run(command).await.map(drop)
}

/// Where Debian keeps the library; the folder is named after the machine.
fn faketime() -> String {
    format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH)
}

fn set_clock(process: &mut Proofhouse, ahead: bool) {
    process.set_env("LD_PRELOAD", faketime());
    process.set_env("FAKETIME", if ahead { "+600s" } else { "-600s" });
    // Durations are measured by another clock, which does not jump.
    process.set_env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    process.set_env("FAKETIME_DISABLE_SHM", "1");
}

/// What can be done to everything around the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quake {
    BrokerKilled,
    BrokerRestarted,
    DispatchersCut,
    WorkersCut,
    LinksBroken,
    MemoryAlarm,
    DiskAlarm,
    DatabaseKilled,
    DatabaseRestarted,
    FailedOver,
    ReadOnly,
    DatabaseSlow,
    DatabaseCut,
    DatabaseDiskFull,
    Store(u16),
    StoreDeaf,
    StoreMute,
    StoreSlow,
    StoreCut,
    Doubled,
    Reordered,
    Truncated,
    DispatcherDiskFull,
    WorkerDiskFull,
}

impl Quake {
    pub(super) const ALL: [Self; 28] = [
        Self::BrokerKilled,
        Self::BrokerRestarted,
        Self::DispatchersCut,
        Self::WorkersCut,
        Self::LinksBroken,
        Self::MemoryAlarm,
        Self::DiskAlarm,
        Self::DatabaseKilled,
        Self::DatabaseRestarted,
        Self::FailedOver,
        Self::ReadOnly,
        Self::DatabaseSlow,
        Self::DatabaseCut,
        Self::DatabaseDiskFull,
        Self::Store(401),
        Self::Store(404),
        Self::Store(500),
        Self::Store(503),
        Self::Store(507),
        Self::StoreDeaf,
        Self::StoreMute,
        Self::StoreSlow,
        Self::StoreCut,
        Self::Doubled,
        Self::Reordered,
        Self::Truncated,
        Self::DispatcherDiskFull,
        Self::WorkerDiskFull,
    ];

    /// Those of broker and database. The others strike beside them.
    pub(super) fn is_of_servers(self) -> bool {
        ["broker", "database"].iter().any(|server| self.name().starts_with(server))
    }

    /// Those that need a disk of their own.
    pub(super) fn needs_disk(self) -> bool {
        matches!(self, Self::DatabaseDiskFull | Self::DispatcherDiskFull | Self::WorkerDiskFull)
    }

    /// Those that keep workers alone from saying what they hold.
    pub(super) fn silences_workers(self) -> bool {
        matches!(self, Self::WorkersCut | Self::LinksBroken | Self::WorkerDiskFull)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BrokerKilled => "broker: kill -9",
            Self::BrokerRestarted => "broker: restarted",
            Self::DispatchersCut => "broker: silent for dispatchers",
            Self::WorkersCut => "broker: silent for workers",
            Self::LinksBroken => "broker: links reset",
            Self::MemoryAlarm => "broker: memory alarm",
            Self::DiskAlarm => "broker: disk alarm",
            Self::DatabaseKilled => "database: kill -9",
            Self::DatabaseRestarted => "database: restarted",
            Self::FailedOver => "database: failed over",
            Self::ReadOnly => "database: read-only",
            Self::DatabaseSlow => "database: slow",
            Self::DatabaseCut => "database: silent",
            Self::DatabaseDiskFull => "database: disk full",
            Self::Store(401) => "store: 401",
            Self::Store(404) => "store: 404",
            Self::Store(500) => "store: 500",
            Self::Store(503) => "store: 503",
            Self::Store(_) => "store: full (507)",
            Self::StoreDeaf => "store: reset in mid-upload",
            Self::StoreMute => "store: reset before answer",
            Self::StoreSlow => "store: slow",
            Self::StoreCut => "store: away",
            Self::Doubled => "messages: doubled",
            Self::Reordered => "messages: late, reordered",
            Self::Truncated => "messages: truncated",
            Self::DispatcherDiskFull => "dispatcher: disk full",
            Self::WorkerDiskFull => "worker: disk full",
        }
    }

    /// Strikes, lets go whoever waits at a step, and mends it.
    pub(super) async fn strike(self, parts: &Parts, dice: u64, let_go: impl FnOnce()) -> Result<()> {
        match self {
            Self::BrokerKilled => {
                parts.rabbit.kill9().await?;
                let_go();
                parts.rabbit.start_again().await
            }
            Self::BrokerRestarted => {
                parts.rabbit.stop_app().await?;
                let_go();
                parts.rabbit.start_app().await
            }
            Self::DispatchersCut | Self::WorkersCut => {
                let link =
                    if self == Self::WorkersCut { &parts.workers_link } else { &parts.dispatchers_link };
                link.silence();
                let_go();
                sleep(LONG).await;
                link.resume();
                Ok(())
            }
            Self::LinksBroken => {
                parts.workers_link.cut();
                parts.dispatchers_link.cut();
                let_go();
                Ok(())
            }
            Self::MemoryAlarm => alarm(parts, &MEMORY, let_go).await,
            Self::DiskAlarm => alarm(parts, &DISK, let_go).await,
            Self::DatabaseKilled => {
                let databases = parts.databases.lock().await;
                databases.0.kill9().await?;
                let_go();
                databases.0.start_again().await
            }
            Self::DatabaseRestarted => {
                let databases = parts.databases.lock().await;
                databases.0.stop().await?;
                let_go();
                databases.0.start_again().await
            }
            Self::FailedOver => {
                parts.has_standby().await?;
                parts.fail_over().await?;
                let_go();
                Ok(())
            }
            Self::ReadOnly => {
                let databases = parts.databases.lock().await;
                databases.0.set("default_transaction_read_only", "on").await?;
                let_go();
                sleep(SHORT * 2).await;
                databases.0.set("default_transaction_read_only", "off").await
            }
            Self::DatabaseSlow => {
                parts.database_link.delay(Duration::from_millis(200));
                let_go();
                sleep(SHORT * 3).await;
                parts.database_link.delay(Duration::ZERO);
                Ok(())
            }
            Self::DatabaseCut => {
                parts.database_link.silence();
                let_go();
                sleep(LONG).await;
                parts.database_link.cut();
                parts.database_link.resume();
                Ok(())
            }
            Self::DatabaseDiskFull => {
                let databases = parts.databases.lock().await;
                let felt = async {
                    let_go();
                    sleep(SHORT * 2).await;
                };
                databases.0.full(felt).await
            }
            Self::Store(code) => weather(parts, Weather::Status(code), let_go).await,
            Self::StoreSlow => weather(parts, Weather::Slow(Duration::from_secs(1)), let_go).await,
            Self::StoreDeaf => weather(parts, Weather::Deaf, let_go).await,
            Self::StoreMute => weather(parts, Weather::Mute, let_go).await,
            Self::StoreCut => {
                parts.store_link.refuse().await?;
                parts.store_link.cut();
                let_go();
                sleep(SHORT).await;
                parts.store_link.restore().await
            }
            Self::Doubled | Self::Reordered | Self::Truncated => {
                let heard = messages::overhear(parts, SHORT, let_go).await?;
                let played = messages::play(parts, self, &heard, dice).await?;
                anyhow::ensure!(played > 0, "nothing was overheard");
                Ok(())
            }
            Self::DispatcherDiskFull => full(parts.of_role("dispatcher"), let_go).await,
            Self::WorkerDiskFull => full(parts.of_role("worker"), let_go).await,
        }
    }
}

/// A limit of the broker: how it is set, to what it is always past, and as it is.
struct Limit {
    call: &'static str,
    past: &'static str,
    usual: &'static str,
}

const MEMORY: Limit =
    Limit { call: "vm_memory_monitor:set_vm_memory_high_watermark", past: "0.00001", usual: "0.6" };
const DISK: Limit =
    Limit { call: "rabbit_disk_monitor:set_disk_free_limit", past: "900000000000000", usual: "10000000" };

/// An alarm blocks whoever publishes.
async fn alarm(parts: &Parts, limit: &Limit, let_go: impl FnOnce()) -> Result<()> {
    let Limit { call, past, usual } = limit;
    parts.rabbit.eval(&format!("{call}({past}).")).await?;
    let_go();
    sleep(SHORT * 3).await;
    parts.rabbit.eval(&format!("{call}({usual}).")).await.map(drop)
}

/// The store's weather, until it was felt.
async fn weather(parts: &Parts, weather: Weather, let_go: impl FnOnce()) -> Result<()> {
    let before = parts.front.spoilt();
    parts.front.set(weather);
    let_go();
    sleep(SHORT).await;
    let felt = crate::wait::wait_for("an answer of the store", LONG, async || {
        (parts.front.spoilt() > before).then_some(())
    });
    let felt = felt.await;
    if matches!(weather, Weather::Deaf | Weather::Mute) {
        parts.store_link.cut();
    }
    parts.front.set(Weather::Fair);
    felt
}

/// A disk is full for a while.
async fn full(mut members: impl Iterator<Item = &Member>, let_go: impl FnOnce()) -> Result<()> {
    let disk = members.find_map(|member| member.disk.as_ref()).context("a small disk")?;
    disk.fill()?;
    let_go();
    sleep(SHORT * 2).await;
    disk.free()
}
