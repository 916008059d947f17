//! Unpacks a log as it comes from the store. Its beginning and its end are kept: where it was cut, and how much, is known.

use std::{
    collections::VecDeque,
    io::{self, Write},
};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures::{Stream, StreamExt};
use proofhouse_core::store::StoreError;

/// How much of the beginning is kept, in bytes.
const HEAD: usize = 512 * 1024;
/// How much of the end is kept, in bytes: there stands what failed.
const TAIL: usize = 1536 * 1024;
/// How much is unpacked at most, in bytes: a small file can unpack to any size.
pub(crate) const MOST_SCANNED: u64 = 256 << 20;

/// What was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// In bytes.
    pub(crate) bytes: u64,
    /// In lines.
    pub(crate) lines: usize,
}

/// A log within limits.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    /// The beginning; all of it, when nothing was cut.
    pub(crate) head: String,
    /// What was left out behind it.
    pub(crate) cut: Option<Cut>,
    /// The end, behind the cut.
    pub(crate) tail: String,
    /// It is longer than [`MOST_SCANNED`]: nothing is known of its end.
    pub(crate) endless: bool,
    /// It is no gzip file, or ends too early.
    pub(crate) damaged: bool,
}

/// Unpacks a log.
pub(crate) async fn read_log<S>(mut stream: S) -> Result<Log, StoreError>
where
    S: Stream<Item = Result<Bytes, StoreError>> + Unpin,
{
    let mut decoder = MultiGzDecoder::new(Window::default());
    let mut damaged = false;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        // Beside the threads that serve: a chunk can unpack to a thousand times its size.
        let unpacked = tokio::task::spawn_blocking(move || {
            let good = decoder.write_all(&chunk).is_ok();
            (decoder, good)
        });
        let Ok((back, good)) = unpacked.await else { return Ok(Log { damaged: true, ..Log::default() }) };
        decoder = back;
        if !good {
            damaged = true;
            break;
        }
    }
    damaged |= decoder.try_finish().is_err();
    let window = std::mem::take(decoder.get_mut());
    let endless = window.total > MOST_SCANNED;
    Ok(Log { endless, damaged: damaged && !endless, ..window.log() })
}

/// The beginning and the end of what is written to it.
#[derive(Debug, Default)]
struct Window {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
    cut_lines: usize,
}

impl Write for Window {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.total += bytes.len() as u64;
        if self.total > MOST_SCANNED {
            return Err(io::Error::other("longer than is read"));
        }
        let (head, tail) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(tail);
        let over = self.tail.len().saturating_sub(TAIL);
        self.cut_lines += self.tail.drain(..over).filter(|b| *b == b'\n').count();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Window {
    fn log(self) -> Log {
        let Self { mut head, tail, total, cut_lines } = self;
        let mut tail = Vec::from(tail);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if total <= (head.len() + tail.len()) as u64 {
            head.append(&mut tail);
            return Log { head: text(&head), ..Log::default() };
        }
        // Whole lines on both sides of the cut.
        head.truncate(head.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1));
        let partial = tail.iter().position(|b| *b == b'\n').map_or(tail.len(), |at| at + 1);
        tail.drain(..partial);
        let bytes = total - (head.len() + tail.len()) as u64;
        let cut = Some(Cut { bytes, lines: cut_lines + 1 });
        Log { head: text(&head), cut, tail: text(&tail), ..Log::default() }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use futures::stream;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn read(packed: &[u8]) -> Log {
        let chunks: Vec<_> = packed.chunks(1000).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        read_log(stream::iter(chunks)).await.unwrap()
    }

    #[tokio::test]
    async fn short_ones_are_whole() {
        let log = read(&gzip(b"one\ntwo\n")).await;
        assert_eq!(log, Log { head: "one\ntwo\n".into(), ..Log::default() });
        assert_eq!(read(&gzip(b"")).await, Log::default());
    }

    #[tokio::test]
    async fn long_ones_keep_both_ends_and_their_line_numbers() {
        use std::fmt::Write as _;
        let mut text = String::new();
        for n in 1..=400_000 {
            writeln!(text, "line {n}").unwrap();
        }
        let log = read(&gzip(text.as_bytes())).await;
        let cut = log.cut.unwrap();
        assert!(log.head.starts_with("line 1\n") && log.tail.ends_with("line 400000\n"));
        let first = log.head.lines().count() + cut.lines + 1;
        assert!(log.tail.starts_with(&format!("line {first}\n")), "{first}");
        assert_eq!(log.head.len() + log.tail.len() + usize::try_from(cut.bytes).unwrap(), text.len());
    }

    #[tokio::test]
    async fn bombs_and_damaged_files_end() {
        let bomb = read(&gzip(&vec![b'a'; usize::try_from(MOST_SCANNED).unwrap() + 1])).await;
        assert!(bomb.endless && !bomb.damaged);
        let whole = gzip("some text ".repeat(5000).as_bytes());
        assert!(read(&whole[..whole.len() / 2]).await.damaged);
        assert!(read(b"not gzip at all, but a text").await.damaged);
    }
}
