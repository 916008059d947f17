//! Names: queues, containers, folders of runs.

use proofhouse_core::{
    index::FoundRun,
    layout::{Container, file},
    names::{Package, Pair, Pool, RequestQueue, WorkerName},
    params::{BzrSource, EnvVar, GitSource, Person, Ppa, SwiftUser, TestName, Trigger},
    protocol::{WorkerId, pool_queue},
    run_id::RunId,
};
use uuid::Uuid;

/// The longest name that AMQP takes.
const QUEUE: usize = 255;
/// The longest that stores take.
const OBJECT: usize = 1024;

/// A text that is some name prints as it came, and makes no name that a server refuses.
pub(crate) fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(queue) = text.parse::<RequestQueue>() {
        assert_eq!(queue.to_string(), text);
        assert!(text.len() <= QUEUE);
    }
    if let Ok(pair) = text.parse::<Pair>() {
        assert_eq!(pair.to_string(), text);
        assert!(RequestQueue::of(&pair).iter().all(|queue| queue.to_string().parse().as_ref() == Ok(queue)));
    }
    if let Ok(pool) = text.parse::<Pool>() {
        assert!(pool_queue(&pool).len() <= QUEUE);
    }
    if let Ok(name) = text.parse::<WorkerName>() {
        assert!(WorkerId { name, incarnation: Uuid::max() }.mailbox().len() <= QUEUE);
    }
    if let Ok(package) = text.parse::<Package>() {
        assert!(text.starts_with(package.prefix()) && !package.prefix().is_empty());
    }
    if let Ok(ppa) = text.parse::<Ppa>() {
        assert_eq!(ppa.reveal(), text);
        let release = "noble".parse().expect("a release");
        assert!(Container::of_run(&release, Some(&ppa), true).as_str().parse::<Container>().is_ok());
        assert!(ppa.credentials.is_none() || !format!("{ppa:?}").contains(&ppa.reveal()));
    }
    if let Ok(run_id) = text.parse::<RunId>() {
        assert!(run_id.time().is_some() && run_id.to_string() == text);
    }
    if let Ok(git) = text.parse::<GitSource>() {
        assert_eq!(git.as_str().parse::<GitSource>().as_ref(), Ok(&git));
        assert!(git.as_str().starts_with("http"));
    }
    if let Ok(user) = text.parse::<SwiftUser>() {
        // It becomes `*:{user}` in an access rule.
        assert!(!user.as_str().contains([',', ' ', '*']) && !user.as_str().starts_with('.'));
    }
    one_line::<Trigger>(text);
    one_line::<EnvVar>(text);
    one_line::<TestName>(text);
    one_line::<BzrSource>(text);
    one_line::<Person>(text);
    place(text);
}

fn one_line<T: std::str::FromStr + ToString>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
        assert!(!text.contains(char::is_control));
    }
}

/// Container and object of a result, separated by a colon.
fn place(text: &str) {
    let Some((container, object)) = text.split_once(':') else { return };
    let Ok(container) = container.parse::<Container>() else { return };
    assert!(!container.as_str().contains(['/', '%']) && !container.as_str().starts_with('.'));
    if let Some(run) = FoundRun::of_result(&container, object) {
        assert_eq!(run.series.object(&run.run_id, file::RESULT), object);
        assert!(object.len() <= OBJECT && !object.split('/').any(|part| matches!(part, "" | "." | "..")));
        assert_eq!(run.shown().is_none(), container.is_private());
    }
}
