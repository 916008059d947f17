//! `proofhouse demo`: everything embedded, one real test of a real package, its outcome and its page.

mod host;
mod progress;

use std::net::TcpListener;

use anyhow::{Context as _, Result, anyhow};
use proofhouse_core::{
    config::{Config, ProviderName, Role},
    db::{Prepared, Taken},
    names::{Context, Pair, RequestQueue},
    request::Request,
    telemetry,
};
use uuid::Uuid;

use self::progress::Progress;
use crate::{
    args::DemoArgs,
    doctor::provider_checks,
    follow::{Follower, Seen},
    outcome::Outcome,
    print::{self, Paint},
    request::lines::BadLine,
    roles::up::{self, Up},
    status::{Misuse, Status},
};

/// Runs the demonstration.
pub(crate) async fn main(args: &DemoArgs) -> Result<Status> {
    // The demonstration talks for itself; what goes wrong is still logged.
    telemetry::init_at("warn")?;
    if !args.package.follows_policy() {
        return Err(Misuse(BadLine::Policy(args.package.clone()).to_string()).into());
    }
    let config = config(args)?;
    check(&config).await?;
    let pair = config.served.pairs().next().cloned().context("no release and architecture is served")?;
    let Some(up) = up::start(config).await? else { return Ok(Status::Done) };
    println!("Proofhouse runs: dispatcher, worker and site in this process, everything under {}", up.data);
    println!("The site is at {}", up.site);
    println!(
        "Testing the package {} of {} on {} in a fresh testbed ...",
        args.package, pair.release, pair.arch
    );
    let uuid = ask(&up, args, &pair).await?;
    let outcome = follow(&up, uuid, &pair).await?;
    let status = outcome.as_ref().map_or(Status::NotRun, Outcome::status);
    match &outcome {
        Some(outcome) => print::text(&outcome.text(Paint::stdout()))?,
        None => println!("Stopped before it was over."),
    }
    if args.once {
        up.process.shutdown.next_stage();
        up.finished().await?;
        return Ok(status);
    }
    if outcome.is_some() {
        println!(
            "Serving on until Ctrl-C. Ask for more: proofhouse request {} {} PACKAGE --data {}",
            pair.release, pair.arch, up.data
        );
    }
    up.finished().await
}

/// What was not said otherwise: this machine's release and architecture, a folder and ports of its own, one attempt.
fn config(args: &DemoArgs) -> Result<Config> {
    let mut variables: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let host =
        host::pair().context("the demonstration tests this machine's own release, which must be a Debian's");
    let mut default = |name: &str, value: &str| {
        let name = format!("PROOFHOUSE_{name}");
        if !variables.iter().any(|(n, v)| *n == name && !v.is_empty()) {
            variables.push((name, value.to_owned()));
        }
    };
    match host {
        Ok(pair) => {
            default("RELEASES", pair.release.as_str());
            default("ARCHES", pair.arch.as_str());
        }
        Err(error) => tracing::warn!("{error:#}"),
    }
    default("DATA", "./proofhouse-demo");
    default("PROVIDER", ProviderName::Unshare.as_str());
    default("RETRY_ATTEMPTS", "1");
    default("ADMIN", "127.0.0.1:0");
    default("LISTEN", free_address());
    Ok(Config::load(Role::Up, &args.options, variables)?)
}

/// The usual address, or any where somebody has that one.
fn free_address() -> &'static str {
    const USUAL: &str = "127.0.0.1:8080";
    if TcpListener::bind(USUAL).is_ok() { USUAL } else { "127.0.0.1:0" }
}

async fn check(config: &Config) -> Result<()> {
    let provider = config.worker.provider.unwrap_or(ProviderName::Unshare);
    if provider == ProviderName::Null {
        return Err(Misuse(
            "a demonstration on this very machine (provider null) is none of a fresh testbed".to_owned(),
        )
        .into());
    }
    let checks = provider_checks(config, provider).await;
    let missing: Vec<String> = checks
        .iter()
        .filter(|check| !check.is_good())
        .map(|c| format!("\n  {}: {} → {}", c.name, c.detail, c.fix.as_deref().unwrap_or_default()))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Misuse(format!("the provider {provider} lacks something on this machine:{}", missing.concat()))
        .into())
}

async fn ask(up: &Up, args: &DemoArgs, pair: &Pair) -> Result<Uuid> {
    let queue = RequestQueue { context: Context::Ubuntu, pair: pair.clone() };
    let intake = up.process.intake();
    let job = intake.job(&queue, &Request::plain(args.package.clone()), None)?;
    let what = Ok(Box::new(job));
    let prepared = Prepared { queue: queue.to_string(), digest: None, redelivered: false, what };
    let (taken, _) = intake.take(&up.database, None, &[prepared]).await?;
    match taken.first() {
        Some(Taken::New { uuid, .. } | Taken::Merged { uuid, .. }) => Ok(*uuid),
        _ => Err(anyhow!("the job table did not take the request")),
    }
}

/// Shows it until it is over; none when the process was told to stop before.
async fn follow(up: &Up, uuid: Uuid, pair: &Pair) -> Result<Option<Outcome>> {
    let mut progress = Progress::begin(&up.bus, pair).await?;
    let mut follower = Follower::new(&up.database, &up.process.config.pool_rules, uuid);
    let shutdown = &up.process.shutdown;
    loop {
        match follower.look().await? {
            Seen::Over(job) => {
                progress.end();
                let result = up.database.result_of_job(job.id).await?;
                return Ok(Some(Outcome::of(&job, result.as_ref(), Some(up.site.as_str()))));
            }
            // Nothing new is begun by a process that ends.
            Seen::Waiting(..) | Seen::NotYet if shutdown.drain().is_cancelled() => return Ok(None),
            seen => progress.show(&seen.text()),
        }
        tokio::select! {
            () = progress.pause() => {}
            () = shutdown.hard().cancelled() => return Ok(None),
        }
    }
}
