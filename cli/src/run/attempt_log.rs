//! The logs of attempts that gave no result.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use proofhouse_core::{
    db::AttemptRow,
    layout::{Container, attempt_log},
    store::{Entry, ListQuery, Store},
};
use serde::Serialize;

use super::log::stream;
use crate::status::Status;

/// The log of an attempt, in the store.
#[derive(Debug, Serialize)]
pub(crate) struct Log {
    pub(crate) attempt: i64,
    pub(crate) container: Container,
    pub(crate) object: String,
}

/// The logs that the store holds, of a job's attempts.
pub(crate) async fn stored(store: &dyn Store, uuid: &str, attempts: &[AttemptRow]) -> Result<Vec<Log>> {
    let container = Container::attempts();
    let query = ListQuery { prefix: format!("{uuid}/"), ..ListQuery::default() };
    let names: BTreeSet<String> = match store.list(&container, &query).await {
        Err(error) if error.is_missing() => BTreeSet::new(),
        entries => entries?
            .into_iter()
            .filter_map(|entry| match entry {
                Entry::Object { name, .. } => Some(name),
                Entry::Prefix(_) => None,
            })
            .collect(),
    };
    let log = |attempt: &AttemptRow| Log {
        attempt: attempt.attempt,
        container: container.clone(),
        object: attempt_log(uuid, attempt.attempt),
    };
    Ok(attempts.iter().map(log).filter(|log| names.contains(&log.object)).collect())
}

/// Prints the log of one attempt, or says why there is none.
pub(crate) async fn print(
    store: &dyn Store,
    uuid: &str,
    attempts: &[AttemptRow],
    number: i64,
) -> Result<Status> {
    if let Some(why) = none(attempts, number) {
        bail!(why);
    }
    let Err(error) = stream(store, &Container::attempts(), &attempt_log(uuid, number)).await else {
        return Ok(Status::Done);
    };
    if !super::log::is_missing(&error) {
        return Err(error.context(format!("the log of attempt {number} cannot be read")));
    }
    let there = stored(store, uuid, attempts).await.context("the logs cannot be looked up")?;
    if there.is_empty() {
        bail!("the store holds no log of its attempts: their workers died, or could not store them");
    }
    let there: Vec<i64> = there.iter().map(|log| log.attempt).collect();
    bail!("the store holds no log of attempt {number}; there are those of {}", list(there))
}

/// Why there can be no log of an attempt.
fn none(attempts: &[AttemptRow], number: i64) -> Option<String> {
    let Some(attempt) = attempts.iter().find(|attempt| attempt.attempt == number) else {
        let so_far = match attempts {
            [] => "none was made so far".to_owned(),
            some => format!("attempts so far: {}", list(some.iter().map(|attempt| attempt.attempt))),
        };
        return Some(format!("there is no attempt {number}; {so_far}"));
    };
    match attempt.state.as_str() {
        "recorded" => {
            Some(format!("attempt {number} gave the result, whose log is printed without --attempt"))
        }
        "running" | "publishing" => {
            Some(format!("attempt {number} is {}: its log is stored at the end", attempt.state))
        }
        _ => None,
    }
}

fn list(numbers: impl IntoIterator<Item = i64>) -> String {
    numbers.into_iter().map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::show::tests::attempt;

    #[test]
    fn why_there_is_no_log() {
        let of =
            |number: i64, state: &str| AttemptRow { attempt: number, state: state.to_owned(), ..attempt() };
        let attempts = [of(1, "ended"), of(2, "ended"), of(3, "recorded")];
        assert_eq!(none(&attempts, 2), None);
        assert_eq!(none(&attempts, 4).unwrap(), "there is no attempt 4; attempts so far: 1, 2, 3");
        assert_eq!(none(&[], 1).unwrap(), "there is no attempt 1; none was made so far");
        assert!(none(&attempts, 3).unwrap().contains("without --attempt"));
        assert!(none(&[of(1, "running")], 1).unwrap().contains("at the end"));
    }
}
