//! The log while it grows: followed, redacted, compressed, read by the rules, and its head and tail kept for those who
//! watch.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::JoinHandle,
    time::Duration,
};

use proofhouse_core::rules::{Findings, Rules, Scanner};
use tokio::sync::oneshot;

use crate::{disk, files, redact::Redactor};

mod pack;
mod reader;
mod tail;

pub(crate) use pack::Chunk;
use pack::Packer;
pub(crate) use reader::Reader;
use reader::Rest;
pub(crate) use tail::Tail;

/// How long a line may lie in the log before it is seen.
const POLL: Duration = Duration::from_millis(250);
const CHUNK: usize = 64 << 10;
/// How much of a log is packed, in bytes: no sound test writes so much. Of the rest only the end is kept.
const MOST: u64 = 1 << 30;

/// Follows a log in a thread of its own until it is told that the log is complete.
pub(crate) struct Follower {
    tail: Arc<Mutex<Tail>>,
    orders: Arc<Sender<Order>>,
    rest: Rest,
    thread: JoinHandle<io::Result<Findings>>,
}

/// What the thread that follows is told.
enum Order {
    /// Give out what there is from an offset on.
    Read(u64, oneshot::Sender<Chunk>),
    /// The log is complete; a note of ours is to be its last line.
    Finish(Option<String>),
}

impl Follower {
    /// Begins to follow `log`, which need not be there yet, and to write `packed`.
    pub(crate) fn start(log: PathBuf, packed: &Path, redactor: Redactor, rules: Rules) -> io::Result<Self> {
        let tail = Arc::new(Mutex::new(Tail::default()));
        let mut sink = Sink::new(File::create(packed)?, redactor, rules, tail.clone());
        let packed = packed.to_owned();
        let rest = Rest::default();
        sink.rest = Some(rest.clone());
        let (orders, ordered) = mpsc::channel();
        let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            let mut source = None;
            loop {
                let told = ordered.recv_timeout(POLL);
                if source.is_none() {
                    source = files::open_regular(&log).ok();
                }
                if let Some(file) = &mut source {
                    sink.copy(file)?;
                }
                match told {
                    Ok(Order::Read(from, answer)) => {
                        // Who asked may be gone; what cannot be read now is asked for again.
                        let _ =
                            sink.packer.read(from, || File::open(&packed)).map(|chunk| answer.send(chunk));
                    }
                    Ok(Order::Finish(note)) => return sink.finish(note),
                    Err(RecvTimeoutError::Disconnected) => return sink.finish(None),
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
        })?;
        Ok(Self { tail, orders: Arc::new(orders), rest, thread })
    }

    /// For those who look while it grows.
    pub(crate) fn reader(&self) -> Reader {
        Reader::new(&self.orders, self.rest.clone())
    }

    /// Head and tail of what was read so far.
    pub(crate) fn tail(&self) -> Arc<Mutex<Tail>> {
        self.tail.clone()
    }

    /// True when it ended by itself: the packed log cannot be written.
    pub(crate) fn has_failed(&self) -> bool {
        self.thread.is_finished()
    }

    /// Reads the rest of the log and closes the packed one, with a `note` of ours as its last line. Says what the rules
    /// found.
    pub(crate) async fn finish(self, note: Option<String>) -> io::Result<Findings> {
        // A thread that has failed does not listen any more.
        let _ = self.orders.send(Order::Finish(note));
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        match joined {
            Ok(Ok(result)) => result,
            _ => Err(io::Error::other("the thread that follows the log died")),
        }
    }
}

/// What is made of a log while it streams by.
pub(crate) struct Sink<W: Write> {
    redactor: Redactor,
    packer: Packer<W>,
    tail: Arc<Mutex<Tail>>,
    scanner: Scanner,
    /// How much more is packed, in bytes.
    room: u64,
    /// What was not, in bytes.
    left_out: u64,
    /// Where the last part is left, for those who look.
    rest: Option<Rest>,
}

impl<W: Write> Sink<W> {
    pub(crate) fn new(packed: W, redactor: Redactor, rules: Rules, tail: Arc<Mutex<Tail>>) -> Self {
        Self {
            redactor,
            packer: Packer::new(packed),
            tail,
            scanner: Scanner::new(rules),
            room: MOST,
            left_out: 0,
            rest: None,
        }
    }

    fn copy(&mut self, source: &mut File) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = source.read(&mut chunk)?;
            if n == 0 {
                return Ok(());
            }
            self.push(&chunk[..n])?;
        }
    }

    pub(crate) fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        let ready = self.redactor.push(piece);
        self.write(&ready)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
        self.scanner.push(bytes);
        let (packed, rest) =
            bytes.split_at(usize::try_from(self.room).map_or(bytes.len(), |room| room.min(bytes.len())));
        self.room -= packed.len() as u64;
        self.left_out += rest.len() as u64;
        self.packer.push(packed)
    }

    /// Says that something is left out, and how the log ended.
    fn note_cut(&mut self) -> io::Result<()> {
        let end = self.tail.lock().unwrap_or_else(PoisonError::into_inner).end(self.left_out);
        let bytes = self.left_out - end.len() as u64;
        let note = format!("\n[... this log is too long: {bytes} bytes are left out here ...]\n");
        self.packer.push(note.as_bytes())?;
        self.packer.push(&end)
    }

    pub(crate) fn finish(mut self, note: Option<String>) -> io::Result<Findings> {
        let rest = self.redactor.finish();
        self.write(&rest)?;
        if let Some(note) = note {
            self.write(format!("\n{note}\n").as_bytes())?;
        }
        if self.left_out > 0 {
            self.note_cut()?;
        }
        if let Some(rest) = &self.rest {
            rest.leave(self.packer.end(0));
        }
        self.packer.finish()?;
        Ok(self.scanner.finish())
    }
}

/// Packs a log that is complete, and a note of ours: the runner's own words, where it made no log.
pub(crate) fn pack(
    log: &Path,
    packed: &Path,
    redactor: Redactor,
    rules: Rules,
    tail: Arc<Mutex<Tail>>,
    note: Option<String>,
) -> io::Result<Findings> {
    let mut sink = Sink::new(File::create(packed)?, redactor, rules, tail);
    if let Ok(mut source) = files::open_regular(log) {
        sink.copy(&mut source)?;
    }
    sink.finish(note)
}

/// What went wrong with a log, for an operator.
pub(crate) fn describe(error: &io::Error) -> String {
    if disk::is_full(error) {
        "the disk is full".to_owned()
    } else {
        format!("the log cannot be written: {error}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(path: &Path) -> String {
        let mut text = String::new();
        flate2::read::GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        text
    }

    #[tokio::test]
    async fn a_log_that_grows_is_packed_and_redacted() {
        let dir = tempfile::tempdir().unwrap();
        let (log, packed) = (dir.path().join("log"), dir.path().join("log.gz"));
        let redactor = Redactor::new(["s3cret".to_owned()]);
        let follower = Follower::start(log.clone(), &packed, redactor, Rules::default()).unwrap();
        let tail = follower.tail();
        let mut file = File::create(&log).unwrap();
        file.write_all(b"one\ntwo s3c").unwrap();
        while !tail.lock().unwrap().text().contains("two ") {
            tokio::task::yield_now().await;
        }
        assert!(!follower.has_failed());
        file.write_all(b"ret\nKernel panic - not syncing: x").unwrap();
        let findings = follower.finish(Some("the note".to_owned())).await.unwrap();
        assert_eq!(unpacked(&packed), "one\ntwo ***\nKernel panic - not syncing: x\nthe note\n");
        assert!(tail.lock().unwrap().text().ends_with("two ***\nKernel panic - not syncing: x\nthe note\n"));
        let lines: Vec<u64> = findings.matches().iter().map(|found| found.line).collect();
        assert_eq!(lines, [3]);
    }

    #[tokio::test]
    async fn no_log_and_a_link_in_its_place_give_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let (log, packed) = (dir.path().join("log"), dir.path().join("log.gz"));
        std::os::unix::fs::symlink("/etc/passwd", &log).unwrap();
        Follower::start(log, &packed, Redactor::new([]), Rules::default())
            .unwrap()
            .finish(None)
            .await
            .unwrap();
        assert_eq!(unpacked(&packed), "");
    }

    #[test]
    fn a_log_that_is_too_long_is_cut_with_a_note_and_its_end_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let packed = dir.path().join("log.gz");
        let sink = || {
            let file = File::create(&packed).unwrap();
            Sink::new(file, Redactor::new([]), Rules::default(), Arc::default())
        };
        for (left_out, kept) in [(0, 0), (1, 1), (1999, 1999), (2000, 2000), (1_000_000, 2000)] {
            let mut sink = Sink { room: 100_000, ..sink() };
            let text: String = ('a'..='z').cycle().take(100_000 + left_out).collect();
            text.as_bytes().chunks(999).for_each(|piece| sink.write(piece).unwrap());
            sink.write(b"").unwrap();
            let findings = sink.finish(None).unwrap();
            let (head, rest) = text.split_at(100_000);
            let gap = left_out - kept;
            let note = format!("\n[... this log is too long: {gap} bytes are left out here ...]\n");
            let note = if left_out == 0 { "" } else { &note };
            assert_eq!(unpacked(&packed), format!("{head}{note}{}", &rest[gap..]), "{left_out}");
            assert!(findings.matches().is_empty());
        }
        let mut sink = Sink { room: 10, ..sink() };
        sink.write(b"0123456789\nKernel panic - not syncing: x\n").unwrap();
        assert_eq!(sink.finish(None).unwrap().matches().len(), 1, "rules read all of it");
    }

    #[tokio::test]
    async fn a_full_disk_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        std::fs::write(&log, vec![b'x'; 1 << 20]).unwrap();
        let follower =
            Follower::start(log, Path::new("/dev/full"), Redactor::new([]), Rules::default()).unwrap();
        let error = follower.finish(None).await.unwrap_err();
        assert!(disk::is_full(&error), "{error}");
    }
}
