//! `proofhouse queue cap`, `uncap` and `caps`.

use anyhow::{Result, bail};
use clap::Args;
use proofhouse_core::{
    names::{BadName, Package, Pool},
    params::{Person, Trigger},
    queue::{Cap, CapKind},
};
use serde_json::json;

use super::{How, nudge, person::person};
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
}

pub(super) async fn cap(args: CapArgs) -> Result<Status> {
    args.counted.check()?;
    let config = args.how.servers.config()?;
    let database = connect::existing_database(&config).await?;
    let mut cap = args.counted.cap(args.most);
    if !args.how.dry_run {
        let what = json!({"kind": cap.kind, "name": cap.name, "most": cap.most}).to_string();
        database.set_cap(&cap, &what).await?;
        cap.since_us = database.now_us().await?;
        nudge::leader(&config).await;
    }
    let verb = if args.how.dry_run { "would cap" } else { "capped" };
    said(&args.how, "cap", &cap, &format!("{verb} {} {}: {} at once\n", cap.kind, cap.name, cap.most))
}

pub(super) async fn uncap(args: UncapArgs) -> Result<Status> {
    args.counted.check()?;
    let config = args.how.servers.config()?;
    let database = connect::existing_database(&config).await?;
    let Counted { kind, name } = &args.counted;
    let caps = database.controls().await?.caps;
    let found = caps.into_iter().find(|cap| cap.kind == kind.as_str() && cap.name == *name);
    let Some(cap) = found else { bail!("there is no cap of {kind} {name}; see `proofhouse queue caps`") };
    if !args.how.dry_run {
        let what = json!({"kind": kind, "name": name}).to_string();
        if !database.remove_cap(*kind, name, &person(), &what).await? {
            bail!("the cap of {kind} {name} was taken back meanwhile");
        }
        nudge::leader(&config).await;
    }
    let verb = if args.how.dry_run { "would take back" } else { "took back" };
    said(&args.how, "uncap", &cap, &format!("{verb} the cap of {kind} {name} ({} at once)\n", cap.most))
}

fn said(how: &How, action: &str, cap: &Cap, text: &str) -> Result<Status> {
    if how.json {
        print::json(&json!({"action": action, "dry_run": how.dry_run, "cap": cap}))?;
    } else {
        print::text(text)?;
    }
    Ok(Status::Done)
}

pub(super) async fn ls(args: ListArgs) -> Result<Status> {
    let database = connect::existing_database(&args.servers.config()?).await?;
    let caps = database.controls().await?.caps;
    if args.json {
        print::json(&caps)?;
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
        insta::assert_snapshot!(text(&[cap]));
        assert_eq!(text(&[]).lines().count(), 1);
    }
}
