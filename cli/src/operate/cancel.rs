//! `proofhouse queue cancel`.

use anyhow::Result;
use clap::Args;
use proofhouse_core::{
    db::{JobState, OperatedRow},
    outcome::decided_by,
};
use serde_json::{Map, Value};

use super::{
    How,
    filter::Filter,
    pass::{self, Change, Deed, Reach, Verdict},
    report::Verb,
};
use crate::{args::text, connect, status::Status};

pub(super) const EXAMPLES: &str = "\
Examples:
  proofhouse queue cancel --trigger green/2 --reason 'removed from proposed'
  proofhouse queue cancel --uuid 3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e --running
  proofhouse queue cancel --requester britney --arch riscv64 --answer --dry-run
Without --answer a gate goes on waiting, unless it has lost interest. With it the gate reads exit code 99, which is \
neither a pass nor a test that failed; baselines are never answered, for a failing baseline opens the gate.";

/// Not run, as for what is switched off: see docs/how-to/queue.md for why.
const ANSWER_CODE: i32 = 99;
const NONE: &str = "no job that waits or runs matches";
const NONE_WAITS: &str = "no waiting job matches, and running ones are meant only with --running";
const ANSWERED: &str = "they are answered without a run already";

#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// Running ones too: their tests are killed
    #[arg(long)]
    running: bool,
    /// Tell their gates that they will not be run
    #[arg(long)]
    answer: bool,
    /// Why; it is shown to all who may see the run
    #[arg(long, value_name = "TEXT", value_parser = text)]
    reason: Option<String>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    how: How,
}

pub(super) async fn main(args: CancelArgs) -> Result<Status> {
    args.filter.check()?;
    let config = args.how.servers.config()?;
    let database = connect::existing_database(&config).await?;
    let log = log(args.reason.as_deref());
    let deed = Deed {
        action: "cancel",
        verb: Verb("cancel", "cancelled"),
        reach: if args.running { Reach::Running } else { Reach::Waiting },
        nothing: Some(if args.running { NONE } else { NONE_WAITS }),
        end: JobState::Cancelled,
        reason: args.reason.as_deref().unwrap_or(decided_by::NO_REASON),
        answer: args.answer.then_some((ANSWER_CODE, &log)),
        said: said(&args),
        judge: &|job| judge(job, args.answer),
    };
    pass::run(&config, &database, &args.filter, args.how.dry_run, args.how.json, deed).await
}

fn said(args: &CancelArgs) -> Map<String, Value> {
    let said = [
        ("running", args.running.then_some(Value::Bool(true))),
        ("answer", args.answer.then_some(Value::Bool(true))),
        ("reason", args.reason.clone().map(Value::String)),
    ];
    said.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// What the log of an answer says.
fn log(reason: Option<&str>) -> String {
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("This test was not run: an operator called it off{reason}.\n")
}

fn judge(job: &OperatedRow, answer: bool) -> Verdict {
    // What cannot be read has no gate that could be told.
    let answer = answer && job.request().is_ok_and(|request| !request.is_baseline());
    let waits = job.state == JobState::Waiting.as_str();
    Verdict::Change(match (waits, answer) {
        (true, true) if job.lane.as_deref() == Some(proofhouse_core::queue::ANSWERS) => {
            return Verdict::Leave(ANSWERED);
        }
        (true, true) => Change::Answer,
        (true, false) => Change::End,
        (false, true) => Change::StopAndAnswer,
        (false, false) => Change::Stop,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::filter::tests::job, *};

    #[test]
    fn baselines_are_never_answered() {
        let gate = job(1, r#"{"triggers": ["green/2"]}"#);
        let baseline = job(1, r#"{"triggers": ["migration-reference/0"]}"#);
        let runs = |row: &OperatedRow| OperatedRow { state: "running".to_owned(), ..row.clone() };
        for (row, answer, expected) in [
            (&gate, false, Change::End),
            (&gate, true, Change::Answer),
            (&runs(&gate), false, Change::Stop),
            (&runs(&gate), true, Change::StopAndAnswer),
            (&baseline, true, Change::End),
            (&runs(&baseline), true, Change::Stop),
        ] {
            assert_eq!(judge(row, answer), Verdict::Change(expected));
        }
        let answered = OperatedRow { lane: Some("!".to_owned()), ..gate };
        assert_eq!(judge(&answered, true), Verdict::Leave(ANSWERED));
        assert_eq!(judge(&answered, false), Verdict::Change(Change::End));
    }

    #[test]
    fn the_log_says_why() {
        assert_eq!(log(None), "This test was not run: an operator called it off.\n");
        assert!(log(Some("no disk")).ends_with("called it off: no disk.\n"));
    }
}
