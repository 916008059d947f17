//! Sends logs that grow to the webs that ask for them (design, "The log while it runs"). Whatever goes wrong stops no test.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use proofhouse_core::{
    bus::{Bus, Message, Target},
    protocol::AttemptId,
    watch::{PULSE_SECONDS, Piece, READERS, WATCH_SECONDS, Watch},
};
use tokio::{
    sync::watch::{Receiver, Sender},
    time::Instant,
};
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::log::{Chunk, Reader};

/// How often it is looked whether there is more: with the time that it takes to be sent, people see it within two seconds.
const POLL: Duration = Duration::from_millis(300);
/// How long sending may take; the reader asks again.
const SEND_LIMIT: Duration = Duration::from_secs(5);
/// A piece is worth nothing after so long.
const PIECE_TTL: Duration = Duration::from_secs(30);
/// So much of the beginning is sent of any log, in bytes.
const HEAD: u64 = 256 << 10;
/// Who is further behind, in bytes, misses what lies between: it is in the stored log.
const FAR_BEHIND: u64 = 1 << 20;
/// Of what such a reader gets the last, in bytes.
const KEPT: u64 = 512 << 10;
/// More readers of one log are refused: each web is one.
const MOST_READERS: usize = 64;

/// What a reader wants.
#[derive(Debug, Clone, Copy)]
struct Wish {
    from: u64,
    until: Instant,
}

/// A log that can be watched, and who does.
struct Open {
    reader: Reader,
    wishes: HashMap<String, Sender<Wish>>,
}

/// The logs that can be watched.
#[derive(Clone, Default)]
pub(crate) struct Watched(Arc<Mutex<HashMap<AttemptId, Open>>>);

impl Watched {
    fn open_logs(&self) -> MutexGuard<'_, HashMap<AttemptId, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on a log can be watched, until what is returned is dropped. A private run's never is: nobody who may read it is
    /// known to the site yet.
    pub(crate) fn open(&self, id: AttemptId, reader: Reader, private: bool) -> Opened {
        if !private {
            self.open_logs().insert(id, Open { reader, wishes: HashMap::new() });
        }
        Opened { all: self.clone(), id }
    }

    /// Sends what is asked for in a task of its own.
    pub(crate) fn hear(&self, asked: Watch, bus: &Arc<dyn Bus>, tasks: &TaskTracker) {
        let Watch { watch: id, from, to } = asked;
        if !to.starts_with(READERS) {
            return debug!("a log is sent to readers alone");
        }
        let wish = Wish { from, until: Instant::now() + Duration::from_secs(WATCH_SECONDS) };
        let mut logs = self.open_logs();
        let Some(Open { reader, wishes }) = logs.get_mut(&id) else { return };
        wishes.retain(|_, wishes| !wishes.is_closed());
        if let Some(wishes) = wishes.get(&to) {
            wishes.send_replace(wish);
        } else if wishes.len() < MOST_READERS {
            let (send, receive) = tokio::sync::watch::channel(wish);
            wishes.insert(to.clone(), send);
            let watcher = Watcher { bus: bus.clone(), reader: reader.clone(), id, to, wishes: receive };
            tasks.spawn(watcher.run());
        }
    }
}

/// A log that can be watched for as long as this lives.
pub(crate) struct Opened {
    all: Watched,
    id: AttemptId,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.all.open_logs().remove(&self.id);
    }
}

/// Sends one log to one reader.
struct Watcher {
    bus: Arc<dyn Bus>,
    reader: Reader,
    id: AttemptId,
    to: String,
    wishes: Receiver<Wish>,
}

impl Watcher {
    async fn run(mut self) {
        let Wish { from: mut at, mut until } = *self.wishes.borrow_and_update();
        let mut said: Option<Instant> = None;
        while Instant::now() < until {
            let (chunk, over) = self.next(at).await;
            let is_new = !chunk.bytes.is_empty();
            let end = chunk.offset + chunk.bytes.len() as u64;
            let is_quiet = said.is_none_or(|at| at.elapsed() >= Duration::from_secs(PULSE_SECONDS));
            // What is over may be longer than what was read of it.
            let over = over && end >= chunk.total;
            if is_new || is_quiet || over {
                self.send(at, chunk, over).await;
                said = Some(Instant::now());
            }
            if over {
                return;
            }
            at = end;
            tokio::select! {
                biased;
                changed = self.wishes.changed() => {
                    // The last wish stays when the log is closed: what is left of it is sent.
                    if changed.is_ok() {
                        Wish { from: at, until } = *self.wishes.borrow_and_update();
                    } else {
                        tokio::time::sleep(POLL).await;
                    }
                }
                () = tokio::time::sleep(if is_new { Duration::ZERO } else { POLL }) => {}
            }
        }
    }

    /// What comes next: where the reader is far behind, not all of it.
    async fn next(&self, at: u64) -> (Chunk, bool) {
        let (chunk, over) = self.reader.read(at).await;
        let is_far = at >= HEAD && chunk.total.saturating_sub(at) > FAR_BEHIND;
        if is_far { self.reader.read(chunk.total - KEPT).await } else { (chunk, over) }
    }

    async fn send(&self, after: u64, chunk: Chunk, over: bool) {
        let Chunk { offset, lines, bytes, .. } = chunk;
        let bytes = BASE64_STANDARD.encode(bytes);
        let piece = Piece { id: self.id, after, offset, lines, bytes, over };
        let Ok(body) = serde_json::to_vec(&piece) else { return };
        let target = Target::Queue(self.to.clone());
        let sent = self.bus.publish(&target, Message::passing(body, PIECE_TTL));
        match tokio::time::timeout(SEND_LIMIT, sent).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "a piece of a log was not sent"),
            Err(_) => debug!("a piece of a log was not sent in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proofhouse_core::{
        bus::{Consumer, Source, local::Local},
        rules::Rules,
    };

    use super::*;
    use crate::{log::Follower, redact::Redactor};

    const ID: AttemptId = AttemptId { job: 7, attempt: 1 };

    async fn next(mailbox: &mut Consumer) -> (Piece, String) {
        let delivery = mailbox.next().await.unwrap();
        delivery.settle.ack().await.unwrap();
        let piece: Piece = serde_json::from_slice(&delivery.body).unwrap();
        let text = String::from_utf8(BASE64_STANDARD.decode(&piece.bytes).unwrap()).unwrap();
        (piece, text)
    }

    #[tokio::test]
    async fn a_log_is_sent_from_its_first_line_to_its_last() {
        let dir = tempfile::tempdir().unwrap();
        let (log, packed) = (dir.path().join("log"), dir.path().join("log.gz"));
        let redactor = Redactor::new(["s3cret".to_owned()]);
        let follower = Follower::start(log.clone(), &packed, redactor, Rules::default()).unwrap();
        let bus: Arc<dyn Bus> = Arc::new(Local::new());
        let name = format!("{READERS}x");
        let mut mailbox =
            bus.consume(Source::Mailbox { name: name.clone(), exchanges: vec![] }, 100).await.unwrap();
        let (watched, tasks) = (Watched::default(), TaskTracker::new());
        let opened = watched.open(ID, follower.reader(), false);
        let ask = |from, to: &str| {
            watched.hear(Watch { watch: ID, from, to: to.to_owned() }, &bus, &tasks);
        };
        ask(0, "debci-noble-amd64");
        assert!(tasks.is_empty(), "only to readers");
        let mut file = std::fs::File::create(&log).unwrap();
        file.write_all(b"one s3cret\ntwo\n").unwrap();
        ask(0, &name);
        let mut text = String::new();
        while text.len() < "one ***\ntwo\n".len() {
            let (piece, more) = next(&mut mailbox).await;
            assert_eq!((piece.after, piece.offset), (text.len() as u64, text.len() as u64));
            text.push_str(&more);
        }
        assert_eq!(text, "one ***\ntwo\n");
        ask(4, &name);
        let again = loop {
            let (piece, more) = next(&mut mailbox).await;
            if !more.is_empty() {
                break (piece.offset, more);
            }
        };
        assert_eq!(again, (4, "***\ntwo\n".to_owned()), "what was missed comes again");
        file.write_all(b"three").unwrap();
        follower.finish(Some("the note".to_owned())).await.unwrap();
        drop(opened);
        let mut rest = String::new();
        loop {
            let (piece, more) = next(&mut mailbox).await;
            rest.push_str(&more);
            if piece.over {
                break;
            }
        }
        assert_eq!(rest, "three\nthe note\n");
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn private_logs_are_sent_to_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let follower = Follower::start(
            dir.path().join("log"),
            &dir.path().join("log.gz"),
            Redactor::new([]),
            Rules::default(),
        )
        .unwrap();
        let bus: Arc<dyn Bus> = Arc::new(Local::new());
        let (watched, tasks) = (Watched::default(), TaskTracker::new());
        let _opened = watched.open(ID, follower.reader(), true);
        watched.hear(Watch { watch: ID, from: 0, to: format!("{READERS}x") }, &bus, &tasks);
        assert!(tasks.is_empty());
    }
}
