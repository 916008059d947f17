//! `proofhouse alert`: what every page of the site says at its top.

use std::str::FromStr;

use anyhow::{Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, civil::DateTime, tz::TimeZone};
use proofhouse_core::db::AlertRow;
use serde::Serialize;
use serde_json::json;

use crate::{
    args::{self, ListArgs},
    connect,
    operate::person,
    print,
    servers::Servers,
    status::{Misuse, Status},
};

#[derive(Debug, Subcommand)]
pub(crate) enum AlertCommand {
    /// Have every page of the site say something at its top
    #[command(after_help = "Examples:\n  proofhouse alert add 'arm64 is away, tests wait' --level error\n  \
        proofhouse alert add 'The store moves' --from '2026-11-30 08:00' --until 2h\n\
        Several are shown at once. Pages show a change within seconds.")]
    Add(AddArgs),
    /// List the alerts that are shown or will be
    Ls(ListArgs),
    /// Take alerts back
    Rm(RmArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// What it says, as plain text
    #[arg(value_name = "TEXT", value_parser = args::text)]
    text: String,
    /// How much it matters
    #[arg(long, default_value = "info")]
    level: Level,
    /// When it begins: 2026-11-30 08:00 (UTC), 2026-11-30T08:00:00Z, or 2h from now; now where it is not given
    #[arg(long, value_name = "TIME")]
    from: Option<At>,
    /// When it ends: a time, or a while after its begin, as 2h; without, it is shown until it is taken back
    #[arg(long, value_name = "TIME")]
    until: Option<At>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    servers: Servers,
}

#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Their numbers in the list
    #[arg(value_name = "ID", required = true)]
    ids: Vec<i64>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    servers: Servers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    /// Good to know
    Info,
    /// Something may take longer or fail
    Warning,
    /// Something does not work
    Error,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A moment, or so long after another one; in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Moment(i64),
    After(i64),
}

impl FromStr for At {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(moment) = text.parse::<Timestamp>() {
            return Ok(Self::Moment(moment.as_microsecond()));
        }
        if let Ok(zoned) = text.parse::<DateTime>().and_then(|civil| civil.to_zoned(TimeZone::UTC)) {
            return Ok(Self::Moment(zoned.timestamp().as_microsecond()));
        }
        let span = text.parse::<Span>().ok();
        let long = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
        let long = long.filter(|long| *long >= SignedDuration::ZERO);
        let us = long.and_then(|long| i64::try_from(long.as_micros()).ok());
        us.map(Self::After)
            .ok_or("times are written as 2026-11-30 08:00 (UTC), 2026-11-30T08:00:00Z, 2h or 3d")
    }
}

impl At {
    fn after(self, begin_us: i64) -> i64 {
        match self {
            Self::Moment(us) => us,
            Self::After(us) => begin_us.saturating_add(us),
        }
    }
}

pub(crate) async fn main(command: AlertCommand) -> Result<Status> {
    match command {
        AlertCommand::Add(args) => add(args).await,
        AlertCommand::Ls(args) => ls(args).await,
        AlertCommand::Rm(args) => rm(args).await,
    }
}

/// From when to when, as options say it at `now_us`.
fn span(args: &AddArgs, now_us: i64) -> Result<(i64, Option<i64>), Misuse> {
    let begins_us = args.from.map_or(now_us, |from| from.after(now_us));
    let ends_us = args.until.map(|until| until.after(begins_us));
    match ends_us {
        Some(ends) if ends <= begins_us => Err(Misuse("it would end before it begins".to_owned())),
        Some(ends) if ends <= now_us => Err(Misuse("it would be over already".to_owned())),
        _ => Ok((begins_us, ends_us)),
    }
}

async fn add(args: AddArgs) -> Result<Status> {
    let database = connect::existing_database(&args.servers.config()?).await?;
    let now_us = database.now_us().await?;
    let (begins_us, ends_us) = span(&args, now_us)?;
    let mut alert = AlertRow {
        id: 0,
        level: args.level.as_str().to_owned(),
        text: print::one_line(&args.text, 1000),
        begins_us,
        ends_us,
        person: person(),
    };
    let what = json!({"level": alert.level, "text": alert.text, "from": print::time(begins_us),
        "until": ends_us.map(print::time)});
    alert.id = database.add_alert(&alert, &what.to_string()).await?;
    if args.json {
        print::json(&Line::new(&alert, now_us))?;
    } else {
        print::text(&format!("alert {} is set; to take it back: proofhouse alert rm {0}\n", alert.id))?;
    }
    Ok(Status::Done)
}

/// An alert as JSON shows it.
#[derive(Debug, Serialize)]
struct Line {
    id: i64,
    level: String,
    text: String,
    from: String,
    until: Option<String>,
    person: String,
    shown: bool,
}

impl Line {
    fn new(alert: &AlertRow, now_us: i64) -> Self {
        Self {
            id: alert.id,
            level: alert.level.clone(),
            text: alert.text.clone(),
            from: print::time(alert.begins_us),
            until: alert.ends_us.map(print::time),
            person: alert.person.clone(),
            shown: alert.is_shown(now_us),
        }
    }
}

async fn ls(args: ListArgs) -> Result<Status> {
    let database = connect::existing_database(&args.servers.config()?).await?;
    let now_us = database.now_us().await?;
    let alerts = database.alerts(now_us).await?;
    let lines: Vec<Line> = alerts.iter().map(|alert| Line::new(alert, now_us)).collect();
    if args.json {
        print::json(&lines)?;
    } else {
        print::text(&text(&lines))?;
    }
    Ok(Status::Done)
}

fn text(lines: &[Line]) -> String {
    let row = |line: &Line| {
        [
            line.id.to_string(),
            line.level.clone(),
            if line.shown { "shown" } else { "later" }.to_owned(),
            line.from.clone(),
            line.until.clone().unwrap_or_else(|| "-".to_owned()),
            print::one_line(&line.person, 40),
            print::one_line(&line.text, 200),
        ]
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
    print::table(["ID", "LEVEL", "STATE", "FROM", "UNTIL", "BY", "TEXT"], &rows)
}

async fn rm(args: RmArgs) -> Result<Status> {
    let database = connect::existing_database(&args.servers.config()?).await?;
    let there = database.alerts(i64::MIN).await?;
    if let Some(stranger) = args.ids.iter().find(|id| !there.iter().any(|alert| alert.id == **id)) {
        bail!("there is no alert {stranger}; see `proofhouse alert ls`");
    }
    let mut removed = Vec::new();
    for alert in there.iter().filter(|alert| args.ids.contains(&alert.id)) {
        let what = json!({"id": alert.id, "text": alert.text});
        // Somebody else may have been faster.
        if database.remove_alert(alert.id, &person(), &what.to_string()).await? {
            removed.push(alert.id);
        }
    }
    if args.json {
        print::json(&json!({"removed": removed}))?;
    } else {
        let lines = removed.iter().map(|id| format!("alert {id} is taken back\n"));
        print::text(&lines.collect::<String>())?;
    }
    Ok(Status::Done)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use proofhouse_core::db::Database;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: AlertCommand,
    }

    const NOW: i64 = 1_795_239_394_000_000;

    fn spanned(words: &[&str]) -> Option<(i64, Option<i64>)> {
        let words = ["x", "add", "It rains"].iter().chain(words);
        match Line::try_parse_from(words).ok()?.command {
            AlertCommand::Add(args) => span(&args, NOW).ok(),
            _ => None,
        }
    }

    #[test]
    fn begin_and_end() {
        const HOUR: i64 = 3_600_000_000;
        assert_eq!(spanned(&[]), Some((NOW, None)));
        assert_eq!(spanned(&["--from", "1h", "--until", "2h"]), Some((NOW + HOUR, Some(NOW + 3 * HOUR))));
        let day = 1_796_025_600_000_000;
        for text in ["2026-11-30 08:00", "2026-11-30T08:00:00Z", "2026-11-30T09:00:00+01:00"] {
            assert_eq!(spanned(&["--from", text]), Some((day, None)), "{text}");
        }
        for words in [
            ["--until", "2026-11-01"],
            ["--until", "0s"],
            ["--from", "soon"],
            ["--until", "-2h"],
            ["--level", "panic"],
        ] {
            assert_eq!(spanned(&words), None, "{words:?}");
        }
        assert!(Line::try_parse_from(["x", "add", " "]).is_err(), "it says something");
    }

    #[tokio::test]
    async fn set_shown_taken_back_and_written_down() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/x.db", folder.path().display());
        let database = Database::open(&url, None).unwrap();
        database.prepare().await.unwrap();
        let run = async |words: &[&str]| {
            let database = ["--database", url.as_str()];
            let words = ["x"].iter().chain(words).chain(&database);
            main(Line::try_parse_from(words).unwrap().command).await
        };
        run(&["add", "It rains\nand rains", "--level", "warning", "--until", "1d"]).await.unwrap();
        run(&["add", "Later", "--from", "1d", "--json"]).await.unwrap();
        let now_us = database.now_us().await.unwrap();
        let alerts = database.alerts(now_us).await.unwrap();
        let shown: Vec<_> = alerts.iter().map(|a| (a.text.as_str(), a.is_shown(now_us))).collect();
        assert_eq!(shown, [("It rains and rains", true), ("Later", false)]);
        run(&["ls", "--json"]).await.unwrap();
        run(&["rm", &alerts[0].id.to_string()]).await.unwrap();
        assert!(run(&["rm", &alerts[0].id.to_string()]).await.is_err());
        assert_eq!(database.alerts(now_us).await.unwrap().len(), 1);
        let audit = database.audit(0, 0, None, 10).await.unwrap();
        let actions: Vec<_> = audit.iter().map(|row| row.action.as_str()).collect();
        assert_eq!(actions, ["alert", "alert", "alert-rm"]);
    }

    #[test]
    fn rendered() {
        let alert = |id, level: &str, begins_us, ends_us| AlertRow {
            id,
            level: level.to_owned(),
            text: "The store moves.".to_owned(),
            begins_us,
            ends_us,
            person: "ann".to_owned(),
        };
        let alerts = [alert(3, "error", NOW - 1, None), alert(4, "info", NOW + 1, Some(NOW + 3_600_000_000))];
        let lines: Vec<_> = alerts.iter().map(|alert| super::Line::new(alert, NOW)).collect();
        insta::assert_snapshot!(text(&lines));
    }
}
