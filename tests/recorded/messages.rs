//! Messages: one of each kind that there is, as JSON lines.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use proofhouse_core::{
    layout::Container,
    names::Context as RequestContext,
    outcome::{ExitCode, Fault, RuleHit, RuleVerdict},
    protocol::{
        Announce, Answer, Answered, Ask, Asked, AttemptId, Ended, Grant, Listed, Offer, Status, Wanted,
        WorkerId,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{CURRENT, dump, record, recordings, updates};

const FILE: &str = "messages.jsonl";
const ID: AttemptId = AttemptId { job: 7, attempt: 2 };
const UUID: Uuid = Uuid::from_u128(0x3f0e_6d3c_6d1c_4c0e_9e5f_0c8a_4b1f_2d3e);
const RUN_ID: &str = "20261121_053634_abcde@";

/// Kind, and the name of the message in it.
fn name_of_ask(ask: &Ask) -> &'static str {
    // Without a wildcard: what is new must be recorded.
    match ask {
        Ask::Announce(_) => "announce",
        Ask::Grant { .. } => "grant",
        Ask::Renew { .. } => "renew",
        Ask::Ended(_) => "ended",
        Ask::Complete { .. } => "complete",
        Ask::GiveUp { .. } => "give-up",
        Ask::Nudge => "nudge",
        Ask::Echo { .. } => "echo",
    }
}

fn name_of_answer(answer: &Answer) -> &'static str {
    match answer {
        Answer::Leader => "leader",
        Answer::Welcome => "welcome",
        Answer::Granted(_) => "granted",
        Answer::Refused { .. } => "refused",
        Answer::Renewed { .. } => "renewed",
        Answer::Publish { .. } => "publish",
        Answer::Wait { .. } => "wait",
        Answer::NoResult { .. } => "no-result",
        Answer::Recorded { .. } => "recorded",
        Answer::GivenUp { .. } => "given-up",
        Answer::Wanted { .. } => "wanted",
    }
}

const ASKS: usize = 8;
const ANSWERS: usize = 11;

fn asks() -> Result<Vec<Ask>> {
    let announce = Announce {
        host: "h1".to_owned(),
        pools: vec!["amd64".parse()?],
        slots: 4,
        holds: vec![ID],
        draining: true,
        unable: Some("the disk is full".to_owned()),
        version: CURRENT.to_owned(),
        wanted: Wanted::Drain,
        leaving: true,
    };
    let ended = Ended {
        id: ID,
        exit_code: ExitCode(4),
        version: Some("green 2".to_owned()),
        duration_seconds: 90,
        fault: Some(Fault::Killed),
        detail: "signal 9".to_owned(),
        rule: Some(RuleHit { name: "archive-away".to_owned(), verdict: RuleVerdict::Infrastructure }),
    };
    Ok(vec![
        Ask::Announce(announce),
        Ask::Grant { id: ID, epoch: 3 },
        Ask::Renew { ids: vec![ID] },
        Ask::Ended(ended),
        Ask::Complete { id: ID, run_id: RUN_ID.parse()?, result_tar: "dGFy".to_owned() },
        Ask::GiveUp { id: ID, fault: Fault::DiskFull, detail: "no space".to_owned() },
        Ask::Nudge,
        Ask::Echo { epoch: 3, number: 4 },
    ])
}

fn answers() -> Result<Vec<Answer>> {
    let container: Container = "autopkgtest-noble".parse()?;
    let grant = Grant {
        id: ID,
        uuid: UUID,
        pair: "noble/amd64".parse()?,
        context: RequestContext::Ubuntu,
        body: "green\n{\"triggers\": [\"green/2\"]}".to_owned(),
        lists: Listed { big: true, long: true, never: true, vm: true },
        lease_seconds: 60,
        end_seconds: 160_000,
    };
    Ok(vec![
        Answer::Leader,
        Answer::Welcome,
        Answer::Granted(Box::new(grant)),
        Answer::Refused { id: ID, pause_seconds: 5 },
        Answer::Renewed { held: vec![ID], given_up: vec![ID], lease_seconds: 60 },
        Answer::Publish {
            id: ID,
            run_id: RUN_ID.parse()?,
            container,
            exit_code: Some(ExitCode(4)),
            rule: Some("exit-code".to_owned()),
        },
        Answer::Wait { id: ID },
        Answer::NoResult { id: ID, fault: Fault::Testbed },
        Answer::Recorded { id: ID },
        Answer::GivenUp { id: ID },
        Answer::Wanted { state: Wanted::Retire },
    ])
}

fn status() -> Status {
    Status {
        release: "noble".to_owned(),
        architecture: "amd64".to_owned(),
        package: "green".to_owned(),
        running: true,
        params: [("triggers".to_owned(), json!(["green/2"]))].into_iter().collect(),
        duration: 90,
        logtail: "first\n[...]\nlast\n".to_owned(),
        uuid: Some(UUID),
        attempt: Some(2),
        worker: Some("w1".to_owned()),
        phase: Some("test smoke".to_owned()),
        testbed: Some("lxd".to_owned()),
    }
}

/// Every message of this version by kind and name, in the order in which they are recorded.
async fn written() -> Result<Vec<(String, Value)>> {
    let from = Some(WorkerId { name: "w1".parse()?, incarnation: UUID });
    let mut all = Vec::new();
    for ask in asks()? {
        let name = format!("asked/{}", name_of_ask(&ask));
        let from = from.clone().filter(|_| !matches!(ask, Ask::Nudge | Ask::Echo { .. }));
        all.push((name, serde_json::to_value(Asked { from, ask })?));
    }
    for answer in answers()? {
        let name = format!("answered/{}", name_of_answer(&answer));
        all.push((name, serde_json::to_value(Answered { epoch: 3, answer })?));
    }
    all.push(("offer".to_owned(), serde_json::to_value(Offer { id: ID, epoch: 3 })?));
    all.push(("status".to_owned(), serde_json::to_value(status())?));
    all.push(("completion".to_owned(), dump::completion().await?));
    Ok(all)
}

/// Reads a message of any version and writes it again.
fn again(name: &str, message: &Value) -> Result<Value> {
    fn through<T: DeserializeOwned + Serialize>(message: &Value) -> Result<Value> {
        Ok(serde_json::to_value(serde_json::from_value::<T>(message.clone())?)?)
    }
    match name.split('/').next().unwrap_or_default() {
        "asked" => through::<Asked>(message),
        "answered" => through::<Answered>(message),
        "offer" => through::<Offer>(message),
        "status" => through::<Status>(message),
        // What is read of it is not ours alone: the contract says what it has.
        "completion" => Ok(message.clone()),
        other => anyhow::bail!("a message of the unknown kind {other}"),
    }
}

/// The fields of `part`, at every depth, are in `whole` with the same values.
fn is_within(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|other| is_within(value, other)))
        }
        _ => part == whole,
    }
}

/// The names of all fields, at every depth.
fn fields(message: &Value) -> BTreeSet<String> {
    let Value::Object(map) = message else { return BTreeSet::new() };
    let inner = map.iter().flat_map(|(key, value)| {
        let deeper = fields(value).into_iter().map(move |field| format!("{key}.{field}"));
        std::iter::once(key.clone()).chain(deeper)
    });
    inner.collect()
}

fn lines(text: &str) -> Result<BTreeMap<String, Value>> {
    let line = |line: &str| {
        let mut value: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let name = value["name"].as_str().context("a name")?.to_owned();
        anyhow::Ok((name, value["message"].take()))
    };
    text.lines().map(line).collect()
}

#[tokio::test]
async fn this_versions_messages_are_recorded() -> Result<()> {
    let written = written().await?;
    let count = |kind: &str| written.iter().filter(|(name, _)| name.starts_with(kind)).count();
    assert_eq!((count("asked/"), count("answered/")), (ASKS, ANSWERS), "one of each");
    let mut text = String::new();
    for (name, message) in &written {
        text.push_str(&json!({"name": name, "message": message}).to_string());
        text.push('\n');
    }
    if updates() {
        record(FILE, &text)?;
    }
    let recorded = recordings(FILE)?.into_iter().find(|(version, _)| version == CURRENT);
    let recorded = recorded.context("the current version")?.1;
    assert_eq!(
        recorded, text,
        "the messages of {CURRENT} changed: record them with UPDATE=1 before its release"
    );
    Ok(())
}

#[test]
fn every_recorded_message_is_read_and_nothing_of_it_is_lost() -> Result<()> {
    for (version, text) in recordings(FILE)? {
        for (name, message) in lines(&text)? {
            let read = again(&name, &message).with_context(|| format!("{name} of {version}"))?;
            ensure!(is_within(&message, &read), "{name} of {version}: {message} is read as {read}");
        }
    }
    Ok(())
}

/// An older version finds in ours what it needs.
#[tokio::test]
async fn what_an_older_version_reads_is_still_written() -> Result<()> {
    let written: BTreeMap<String, Value> = written().await?.into_iter().collect();
    for (version, text) in recordings(FILE)? {
        for (name, message) in lines(&text)? {
            let ours = written.get(&name).with_context(|| format!("{name} of {version} is gone"))?;
            let missing: Vec<_> = fields(&message).difference(&fields(ours)).cloned().collect();
            ensure!(missing.is_empty(), "{name}: {version} knows {missing:?}");
        }
    }
    Ok(())
}

/// A field more at every place does no harm.
#[tokio::test]
async fn fields_of_later_versions_are_skipped() -> Result<()> {
    fn widen(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut map: serde_json::Map<String, Value> =
                    map.iter().map(|(key, value)| (key.clone(), widen(value))).collect();
                map.insert("from-the-future".to_owned(), json!({"x": [1]}));
                Value::Object(map)
            }
            Value::Array(all) => Value::Array(all.iter().map(widen).collect()),
            other => other.clone(),
        }
    }
    for (name, message) in written().await? {
        // A request's parameters are passed on as they are.
        if !matches!(&*name, "status" | "completion") {
            let read = again(&name, &widen(&message)).with_context(|| name.clone())?;
            assert_eq!(read, message, "{name}");
        }
    }
    Ok(())
}
