//! `proofhouse queue cap`, `uncap` and `caps`.

use anyhow::{Result, bail};
use clap::Args;
use proofhouse_core::{
    config::Config,
    db::{Capped, Database},
    names::{BadName, Package, Pool},
    params::{Person, Trigger},
    queue::{Cap, CapKind},
};
use serde::Serialize;
use serde_json::json;

use super::{How, known, nudge, person::person};
use crate::{
    args::ListArgs,
    connect, print,
    status::{Misuse, Status},
};

/// What is counted.
#[derive(Debug, Args)]
struct Counted {
    /// package, trigger, requester or pool
    #[arg(value_name = "KIND")]
    kind: CapKind,
    /// Of which one; '*' is each that has no cap of its own
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct CapArgs {
    #[command(flatten)]
    counted: Counted,
    /// So many run at once at most; 0: none
    #[arg(value_name = "N", value_parser = clap::value_parser!(i64).range(0..=1_000_000))]
    most: i64,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct UncapArgs {
    #[command(flatten)]
    counted: Counted,
    #[command(flatten)]
    how: How,
}

impl Counted {
    /// A name that nothing can have would never count anything.
    fn check(&self) -> Result<(), Misuse> {
        let Self { kind, name } = self;
        let parsed: Result<(), BadName> = match kind {
            _ if name == "*" => Ok(()),
            CapKind::Package => name.parse::<Package>().map(drop),
            CapKind::Trigger => name.parse::<Trigger>().map(drop),
            CapKind::Requester => name.parse::<Person>().map(drop),
            CapKind::Pool => name.parse::<Pool>().map(drop),
        };
        parsed.map_err(|error| Misuse(error.to_string()))
    }

    fn cap(&self, most: i64) -> Cap {
        Cap { kind: self.kind.to_string(), name: self.name.clone(), most, person: person(), since_us: 0 }
    }

    async fn find(&self, database: &Database) -> Result<Option<Cap>> {
        let caps = database.controls().await?.caps;
        Ok(caps.into_iter().find(|cap| cap.kind == self.kind.as_str() && cap.name == self.name))
    }
}

/// A cap as JSON shows it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    kind: &'a str,
    name: &'a str,
    most: i64,
    person: &'a str,
    /// None where it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

impl<'a> Shown<'a> {
    fn of(cap: &'a Cap) -> Self {
        let Cap { kind, name, most, person, since_us } = cap;
        let since = (*since_us > 0).then(|| print::time(*since_us));
        Self { kind, name, most: *most, person, since }
    }
}

#[derive(Debug, Serialize)]
struct Done<'a> {
    action: &'static str,
    dry_run: bool,
    cap: Shown<'a>,
    #[serde(flatten)]
    about: Option<About>,
}

impl<'a> Done<'a> {
    fn of(action: &'static str, how: &How, cap: &'a Cap) -> Self {
        Self { action, dry_run: how.dry_run, cap: Shown::of(cap), about: None }
    }
}

/// What there is before it is set.
#[derive(Debug, Serialize)]
struct About {
    /// How many could run at once; none: any number.
    before: Option<i64>,
    /// Those that it counts; none where it is of each that has no cap of its own.
    #[serde(flatten)]
    jobs: Option<Capped>,
}

impl About {
    async fn of(config: &Config, database: &Database, counted: &Counted) -> Result<Self> {
        let before = counted.find(database).await?.map(|cap| cap.most);
        let jobs = match (counted.kind, counted.name.as_str()) {
            (_, "*") => None,
            (CapKind::Pool, pool) => Some(database.capped_in_pool(&config.pool_rules, pool).await?),
            (kind, name) => Some(database.capped(kind, name).await?),
        };
        Ok(Self { before, jobs })
    }

    fn text(&self) -> String {
        let before = self.before.map(|most| format!("{most} before"));
        let jobs = self.jobs.map(|jobs| format!("now {} run and {} wait", jobs.running, jobs.waiting));
        let all: Vec<String> = before.into_iter().chain(jobs).collect();
        if all.is_empty() { String::new() } else { format!(" ({})", all.join("; ")) }
    }
}

pub(super) async fn cap(args: CapArgs) -> Result<Status> {
    args.counted.check()?;
    let config = args.how.servers.config()?;
    let database = connect::existing_database(&config).await?;
    if args.counted.kind == CapKind::Pool {
        known::pool(&config, &database, &args.counted.name).await?;
    }
    let mut cap = args.counted.cap(args.most);
    let about = About::of(&config, &database, &args.counted).await?;
    if !args.how.dry_run {
        let what = json!({"kind": cap.kind, "name": cap.name, "most": cap.most}).to_string();
        database.set_cap(&cap, &what).await?;
        cap.since_us = database.now_us().await?;
        nudge::leader(&config).await;
    }
    let verb = if args.how.dry_run { "would cap" } else { "capped" };
    let text = format!("{verb} {} {}: {} at once{}\n", cap.kind, cap.name, cap.most, about.text());
    said(&args.how, &Done { about: Some(about), ..Done::of("cap", &args.how, &cap) }, &text)
}

pub(super) async fn uncap(args: UncapArgs) -> Result<Status> {
    args.counted.check()?;
    let config = args.how.servers.config()?;
    let database = connect::existing_database(&config).await?;
    let Counted { kind, name } = &args.counted;
    let Some(cap) = args.counted.find(&database).await? else {
        bail!("there is no cap of {kind} {name}; see `proofhouse queue caps`")
    };
    if !args.how.dry_run {
        let what = json!({"kind": kind, "name": name}).to_string();
        if !database.remove_cap(*kind, name, &person(), &what).await? {
            bail!("the cap of {kind} {name} was taken back meanwhile");
        }
        nudge::leader(&config).await;
    }
    let verb = if args.how.dry_run { "would take back" } else { "took back" };
    let text = format!("{verb} the cap of {kind} {name} ({} at once)\n", cap.most);
    said(&args.how, &Done::of("uncap", &args.how, &cap), &text)
}

fn said(how: &How, done: &Done<'_>, text: &str) -> Result<Status> {
    if how.json {
        print::json(done)?;
    } else {
        print::text(text)?;
    }
    Ok(Status::Done)
}

pub(super) async fn ls(args: ListArgs) -> Result<Status> {
    let database = connect::existing_database(&args.servers.config()?).await?;
    let caps = database.controls().await?.caps;
    if args.json {
        print::json(&caps.iter().map(Shown::of).collect::<Vec<_>>())?;
    } else {
        print::text(&text(&caps))?;
    }
    Ok(Status::Done)
}

fn text(caps: &[Cap]) -> String {
    let row = |cap: &Cap| {
        let (since, name) = (print::time(cap.since_us), print::one_line(&cap.name, 200));
        [cap.kind.clone(), cap.most.to_string(), since, cap.person.clone(), name]
    };
    let rows: Vec<_> = caps.iter().map(row).collect();
    let mut text = print::table(["KIND", "MOST", "SINCE", "BY", "NAME"], &rows);
    if !caps.is_empty() {
        text.push_str("a cap is taken back by: proofhouse queue uncap KIND NAME\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_their_kind() {
        let check = |kind, name: &str| Counted { kind, name: name.to_owned() }.check().is_ok();
        assert!(check(CapKind::Trigger, "perl/5.40-1") && !check(CapKind::Trigger, "perl"));
        assert!(check(CapKind::Package, "perl") && !check(CapKind::Package, "a b"));
        assert!(check(CapKind::Requester, "Joe Doe") && !check(CapKind::Requester, ""));
        assert!(check(CapKind::Pool, "amd64") && !check(CapKind::Pool, "a/b"));
        assert!(CapKind::ALL.into_iter().all(|kind| check(kind, "*")));
    }

    #[test]
    fn rendered() {
        let cap = Cap {
            kind: "trigger".to_owned(),
            name: "perl/5.40-1".to_owned(),
            most: 20,
            person: "ann".to_owned(),
            since_us: 1_795_239_394_000_000,
        };
        insta::assert_snapshot!(text(std::slice::from_ref(&cap)));
        assert_eq!(text(&[]).lines().count(), 1);
        insta::assert_snapshot!(serde_json::to_string(&Shown::of(&cap)).unwrap());
    }

    #[test]
    fn what_was_before_and_what_it_concerns() {
        let about = |before, jobs| About { before, jobs };
        let some = about(Some(5), Some(Capped { waiting: 40, running: 3 }));
        assert_eq!(some.text(), " (5 before; now 3 run and 40 wait)");
        assert_eq!(about(None, None).text(), "");
        let counted = Counted { kind: CapKind::Trigger, name: "*".to_owned() };
        let cap = counted.cap(7);
        let done = Done { action: "cap", dry_run: true, cap: Shown::of(&cap), about: Some(some) };
        let json = serde_json::to_value(&done).unwrap();
        assert_eq!((&json["before"], &json["running"], &json["waiting"]), (&5.into(), &3.into(), &40.into()));
        assert!(json["cap"].get("since").is_none(), "it is not set");
    }
}
