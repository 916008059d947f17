//! Messages of the bus: what is asked and answered, what others complete, what runs.

use std::{sync::Arc, time::Duration};

use proofhouse_core::{
    index,
    layout::Container,
    protocol::{Answered, Asked},
};
use proofhouse_dispatcher::{
    schedule::{Event, Rules, State},
    untrusted as dispatcher,
};
use proofhouse_worker::untrusted as worker;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::html;

/// Messages, one a line: each is read by all who listen, and reads the same when it is written again.
pub(crate) fn messages(data: &[u8]) {
    let lines = || data.split(|byte| *byte == b'\n').take(64);
    let rules = Rules {
        lease: Duration::from_secs(60),
        offer: Duration::from_secs(60),
        attempts: 3,
        pause: Duration::from_secs(300),
    };
    let now = Instant::now();
    let mut state = State::inherit(1, rules, Arc::default(), vec![], vec![], vec![], now);
    for line in lines() {
        same::<Answered>(line);
        if let Some(Asked { from: Some(from), ask }) = same::<Asked>(line) {
            // Nothing is leased unless the job table says so.
            let actions = state.decide(Event::Asked(from, ask), now);
            assert!(actions.len() <= 64 + line.len() && state.leased() == 0);
        }
        if let Some(offer) = worker::offer(line) {
            assert!(serde_json::to_vec(&offer).is_ok_and(|json| worker::offer(&json) == Some(offer)));
        }
        if let Some(run) = dispatcher::completion(line) {
            assert!(index::holds_results(&run.series.container));
            let folder = run.series.folder(&run.run_id);
            let container: Container = run.series.container.clone();
            assert_eq!(index::FoundRun::of_folder(&container, &folder), Some(run));
        }
    }
    state.decide(Event::Tick, now + Duration::from_secs(100));
    state.decide(Event::Echoed, now + Duration::from_secs(100));
    worker::answers(lines());
}

fn same<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(json: &[u8]) -> Option<T> {
    let message: T = serde_json::from_slice(json).ok()?;
    let again = serde_json::to_vec(&message).expect("a message can be written");
    assert_eq!(serde_json::from_slice::<T>(&again).ok().as_ref(), Some(&message));
    Some(message)
}

/// Status messages, one a line: the page shows them as text alone.
pub(crate) fn status(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').take(64);
    let page = proofhouse_web::untrusted::running_page(lines);
    html::check(&page.expect("the page is made"));
}
