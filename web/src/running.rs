//! What runs now, as status messages say it. Private runs are kept as nothing but their release and arch.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use proofhouse_core::{protocol::Status, request::MAX_BODY};

use crate::log::plain;

/// A run of which nothing was heard for so long is not shown any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// More than any cluster runs: what is over it is a flood.
const MOST: usize = 20_000;
/// The longest message that is read, in bytes: its parameters are a request's.
const LONGEST: usize = 2 * MAX_BODY;
/// All that is kept, in bytes of the messages.
const MOST_BYTES: usize = 64 << 20;
/// Longest log tail that is kept, in bytes. Senders keep to about 2000 and five lines.
const LONGEST_TAIL: usize = 16 * 1024;
/// What private runs are called in messages (contract "While it runs").
pub(crate) const PRIVATE_PACKAGE: &str = "private-test";
/// What is shown of a private run.
pub(crate) const PRIVATE_TAIL: &str = "Running private test";

/// What a run is told from others by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// By its uuid, or by all that a foreign system says of it.
    Public(String),
    /// Nothing tells private runs of a pair apart.
    Private(String, String),
}

/// By its name; or by parameters that make a run private, whatever another system calls it.
fn is_private(status: &Status) -> bool {
    let named = ["swiftuser", "readable-by"].into_iter().any(|key| status.params.contains_key(key));
    // `user:token@owner/name`: no PPA without credentials holds an `@`.
    let sealed = status.params.get("ppas").is_some_and(|ppas| ppas.to_string().contains('@'));
    status.package == PRIVATE_PACKAGE || named || sealed
}

fn key(status: &Status) -> Key {
    if is_private(status) {
        return Key::Private(status.release.clone(), status.architecture.clone());
    }
    Key::Public(status.uuid.map_or_else(
        || {
            let mut params: Vec<String> = status.params.iter().map(|(k, v)| format!("{k}={v}")).collect();
            params.sort();
            format!("{}/{}/{}/{}", status.release, status.architecture, status.package, params.join(";"))
        },
        |uuid| uuid.to_string(),
    ))
}

/// What the last message of a run said.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) status: Status,
    at: Instant,
    /// The message's length in bytes.
    bytes: usize,
}

impl Said {
    /// Seconds since the run's start.
    pub(crate) fn duration(&self, now: Instant) -> i64 {
        let since = i64::try_from(now.saturating_duration_since(self.at).as_secs()).unwrap_or(0);
        self.status.duration.saturating_add(since)
    }
}

/// What runs now, as messages say it.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    runs: Mutex<HashMap<Key, Said>>,
}

impl Heard {
    fn runs(&self) -> MutexGuard<'_, HashMap<Key, Said>> {
        // A map of plain values is whole even where a panic cut a change short.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message in. False where it is none.
    pub(crate) fn hear_message(&self, message: &[u8], now: Instant) -> bool {
        let read = if message.len() > LONGEST { None } else { serde_json::from_slice(message).ok() };
        // Nothing has such a name.
        let read = read.filter(|Status { package, release, architecture, .. }: &Status| {
            [package, release, architecture].into_iter().all(|name| plain(name) == *name)
        });
        let is_one = read.is_some();
        if let Some(status) = read {
            self.take(status, message.len(), now);
        }
        is_one
    }

    /// Takes a message in that was read.
    #[cfg(test)]
    pub(crate) fn hear(&self, status: Status, now: Instant) {
        self.take(status, 0, now);
    }

    fn take(&self, mut status: Status, bytes: usize, now: Instant) {
        let key = key(&status);
        let mut runs = self.runs();
        if !status.running {
            runs.remove(&key);
            return;
        }
        runs.retain(|_, said| now.saturating_duration_since(said.at) < FORGOTTEN_AFTER);
        let others = || runs.iter().filter(|(other, _)| **other != key).map(|(_, said)| said.bytes);
        if others().count() >= MOST || others().sum::<usize>() + bytes > MOST_BYTES {
            return;
        }
        if matches!(key, Key::Private(..)) {
            // Whatever another system put there.
            let (uuid, attempt, worker, phase, testbed) = (None, None, None, None, None);
            let params = serde_json::Map::new();
            status = Status { params, uuid, attempt, worker, phase, testbed, ..status };
            PRIVATE_PACKAGE.clone_into(&mut status.package);
            PRIVATE_TAIL.clone_into(&mut status.logtail);
        }
        let mut end = status.logtail.len().min(LONGEST_TAIL);
        while !status.logtail.is_char_boundary(end) {
            end -= 1;
        }
        status.logtail.truncate(end);
        runs.insert(key, Said { status, at: now, bytes });
    }

    /// A public run by its uuid.
    pub(crate) fn of(&self, uuid: &str, now: Instant) -> Option<Said> {
        let runs = self.runs();
        let said = runs.get(&Key::Public(uuid.to_owned()))?;
        (said.status.uuid.is_some() && now.saturating_duration_since(said.at) < FORGOTTEN_AFTER)
            .then(|| said.clone())
    }

    /// Public runs, and the pairs (release, arch) of which a private run was heard.
    pub(crate) fn now(&self, now: Instant) -> (Vec<Said>, BTreeSet<(String, String)>) {
        let mut public = Vec::new();
        let mut private = BTreeSet::new();
        let runs = self.runs();
        let fresh = runs.iter().filter(|(_, s)| now.saturating_duration_since(s.at) < FORGOTTEN_AFTER);
        for (key, said) in fresh {
            match key {
                Key::Public(_) => public.push(said.clone()),
                Key::Private(release, arch) => {
                    private.insert((release.clone(), arch.clone()));
                }
            }
        }
        (public, private)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(json: &str) -> Status {
        serde_json::from_str(json).unwrap()
    }

    fn message(package: &str, running: bool) -> Status {
        status(&format!(
            "{{\"release\": \"noble\", \"architecture\": \"amd64\", \"package\": \"{package}\", \"running\": {running},
              \"params\": {{\"triggers\": [\"a/1\"]}}, \"duration\": 5, \"logtail\": \"l\", \"x\": 1}}"
        ))
    }

    #[test]
    fn comes_and_goes() {
        let (heard, start) = (Heard::default(), Instant::now());
        heard.hear(message("green", true), start);
        heard.hear(message("blue", true), start);
        heard.hear(message("green", false), start);
        let later = start + Duration::from_secs(20);
        let (public, _) = heard.now(later);
        assert_eq!(public.len(), 1);
        assert_eq!((public[0].status.package.as_str(), public[0].duration(later)), ("blue", 25));
        assert!(heard.now(start + FORGOTTEN_AFTER).0.is_empty());
    }

    #[test]
    fn private_ones_are_a_pair_and_nothing_else() {
        let (heard, start) = (Heard::default(), Instant::now());
        heard.hear(message(PRIVATE_PACKAGE, true), start);
        let (public, private) = heard.now(start);
        assert!(public.is_empty());
        assert_eq!(private.into_iter().collect::<Vec<_>>(), [("noble".to_owned(), "amd64".to_owned())]);
        assert!(!format!("{heard:?}").contains("a/1"));
    }

    #[test]
    fn what_only_its_parameters_make_private_is_private() {
        let start = Instant::now();
        for (key, value) in [
            ("swiftuser", serde_json::json!("hush")),
            ("readable-by", serde_json::json!(["hush"])),
            ("ppas", serde_json::json!(["hush:token@owner/name"])),
        ] {
            let heard = Heard::default();
            let mut careless = message("hush", true);
            careless.params.insert(key.to_owned(), value);
            heard.hear(careless, start);
            let (public, private) = heard.now(start);
            assert!(public.is_empty() && private.len() == 1, "{key}");
        }
        let heard = Heard::default();
        let mut plain = message("green", true);
        plain.params.insert("ppas".to_owned(), serde_json::json!(["owner/name:ABCD"]));
        heard.hear(plain, start);
        assert_eq!(heard.now(start).0.len(), 1);
    }

    #[test]
    fn a_name_that_acts_is_no_name() {
        let (heard, now) = (Heard::default(), Instant::now());
        for name in ["gre\0en", "\u{202e}neerg", "\u{1b}[31mgreen"] {
            let bad =
                serde_json::to_vec(&message(serde_json::json!(name).to_string().trim_matches('"'), true));
            assert!(!heard.hear_message(&bad.unwrap(), now), "{name:?}");
        }
        assert!(heard.hear_message(&serde_json::to_vec(&message("green", true)).unwrap(), now));
        assert_eq!(heard.now(now).0.len(), 1);
    }

    #[test]
    fn a_flood_is_kept_out() {
        let (heard, now) = (Heard::default(), Instant::now());
        let mut long = message("green", true);
        long.params.insert("x".to_owned(), "x".repeat(LONGEST).into());
        assert!(!heard.hear_message(&serde_json::to_vec(&long).unwrap(), now), "it is not even read");
        for n in 0..2 * MOST_BYTES / MAX_BODY {
            heard.take(message(&format!("green{n}"), true), MAX_BODY, now);
        }
        let kept = || heard.now(now).0.len();
        assert_eq!(kept(), MOST_BYTES / MAX_BODY);
        // What is there already goes on, and makes room when it ends.
        heard.take(message("green0", true), MAX_BODY, now);
        heard.take(message("green1", false), MAX_BODY, now);
        heard.take(message("blue", true), MAX_BODY, now);
        heard.take(message("red", true), 1, now);
        assert_eq!(kept(), MOST_BYTES / MAX_BODY);
        assert!(heard.now(now).0.iter().any(|said| said.status.package == "blue"));
    }

    #[test]
    fn tails_are_cut_between_characters() {
        let heard = Heard::default();
        let mut long = message("green", true);
        long.logtail = "ä".repeat(LONGEST_TAIL);
        heard.hear(long, Instant::now());
        assert!(heard.now(Instant::now()).0[0].status.logtail.len() <= LONGEST_TAIL);
    }
}
