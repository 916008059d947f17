//! What is known of a log once it was read to its end: its sections, both ends, and places to read on from.
//!
//! Nothing grows with the log but the places, of which there is one in a mebibyte.

use std::{
    io::{self, Write},
    time::Instant,
};

use flate2::write::MultiGzDecoder;
use proofhouse_core::evidence::{LOG_BLOCK, LOG_FLUSHED, LOG_HEADER};

use super::{
    feed::Unpack,
    lines::{Lines, Raw},
    marks::{Marks, Section},
};

/// How much of the beginning is kept, in bytes.
const HEAD: usize = 256 * 1024;
/// How much of the end is kept, in bytes: there stands what failed.
const TAIL: usize = 512 * 1024;
/// So much of any log is read, in bytes: a small file can unpack to any size.
pub(crate) const MOST_SCANNED: u64 = 256 << 20;
/// So much more than its own length is read of a larger one; more is not packed by what is printed for people.
const MOST_TIMES: u64 = 100;
/// And no more than this: longer ones no worker of ours writes.
const MOST_EVER: u64 = (1 << 30) + (1 << 20);
/// And no more lines: each costs time.
const MOST_LINES: u64 = 20_000_000;
/// How far places to read on from lie apart, in bytes.
const APART: u64 = 1 << 20;

/// A place in a log of ours where reading can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// In the packed file, in bytes.
    pub(super) packed: u64,
    /// How many lines are whole before it; the next one has begun.
    pub(super) lines: u64,
}

/// How reading a log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With its end.
    Whole,
    /// It is no gzip file, or ends too early.
    Damaged,
    /// It is longer than what is read: nothing is known of its end.
    Endless,
}

/// What is known of a log.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) sections: Vec<Section>,
    /// Of what was read.
    pub(crate) lines: u64,
    /// Of what was read.
    pub(crate) bytes: u64,
    pub(crate) end: End,
    head: Vec<u8>,
    tail: Vec<u8>,
    /// How many lines are whole before the tail.
    before_tail: u64,
    places: Vec<Place>,
}

impl Index {
    /// The last place from which a line can be read whole; none: from the beginning.
    pub(super) fn place_before(&self, line: u64) -> Option<Place> {
        let behind = self.places.partition_point(|place| place.lines + 1 < line);
        behind.checked_sub(1).map(|at| self.places[at])
    }

    /// True where the beginning is all of it.
    fn is_short(&self) -> bool {
        self.bytes <= HEAD as u64
    }

    /// The lines of the beginning.
    pub(super) fn head(&self, mut take: impl FnMut(Raw<'_>) -> bool) {
        let mut lines = Lines::default();
        if !lines.push(&self.head, &mut take) {
            return;
        }
        if self.is_short() {
            lines.finish(take);
        } else if let Some(line) = lines.overlong() {
            take(line);
        }
    }

    /// The lines of the end.
    pub(super) fn tail(&self, mut take: impl FnMut(Raw<'_>) -> bool) {
        let mut lines = Lines::behind(self.before_tail);
        if lines.push(&self.tail, &mut take) {
            lines.finish(take);
        }
    }
}

/// How much is read of a log that is so long when it is packed, in bytes.
pub(crate) fn most_scanned(packed: u64) -> u64 {
    packed.saturating_mul(MOST_TIMES).clamp(MOST_SCANNED, MOST_EVER)
}

/// Reads a log to its end.
pub(super) struct Scan {
    decoder: MultiGzDecoder<Sink>,
    /// The first bytes of the file.
    start: Vec<u8>,
    /// How much of the file came, in bytes.
    packed: u64,
    /// How much was unpacked at the last place, in bytes.
    last: u64,
    places: Vec<Place>,
    good: bool,
}

impl Scan {
    /// For at most so many bytes, until then.
    pub(super) fn new(most: u64, until: Instant) -> Self {
        Self {
            decoder: MultiGzDecoder::new(Sink::new(most, until)),
            start: Vec::new(),
            packed: 0,
            last: 0,
            places: Vec::new(),
            good: true,
        }
    }

    fn write(&mut self, packed: &[u8]) -> bool {
        self.packed += packed.len() as u64;
        self.good = self.decoder.write_all(packed).is_ok();
        self.good
    }

    /// The end of the next flush, where a place is due.
    fn next_place(&self, packed: &[u8]) -> Option<usize> {
        let is_due = self.start == LOG_HEADER && self.decoder.get_ref().total >= self.last + APART;
        let at = is_due.then(|| packed.windows(LOG_FLUSHED.len()).position(|part| part == LOG_FLUSHED))?;
        at.map(|at| at + LOG_FLUSHED.len())
    }

    pub(super) fn finish(mut self) -> Index {
        self.good &= self.decoder.try_finish().is_ok();
        let sink = self.decoder.get_mut();
        let closed = Sink::new(0, sink.until);
        let Sink { head, mut tail, total, mut lines, mut marks, had_enough, .. } =
            std::mem::replace(sink, closed);
        let end = match (self.good, had_enough) {
            (true, false) => End::Whole,
            (_, true) => End::Endless,
            (false, false) => End::Damaged,
        };
        tail.drain(..tail.len().saturating_sub(TAIL));
        if total > tail.len() as u64 {
            // The first line of a tail is a piece of one.
            let partial = memchr::memchr(b'\n', &tail).map_or(tail.len(), |at| at + 1);
            tail.drain(..partial);
        }
        let in_tail = memchr::memchr_iter(b'\n', &tail).count() as u64;
        let before_tail = lines.whole().saturating_sub(in_tail);
        lines.finish(|line| {
            marks.read(line);
            true
        });
        Index {
            sections: marks.finish(),
            lines: lines.whole(),
            bytes: total,
            end,
            head,
            tail,
            before_tail,
            places: self.places,
        }
    }
}

impl Unpack for Scan {
    fn take(&mut self, mut packed: &[u8]) -> bool {
        let room = LOG_HEADER.len() - self.start.len();
        self.start.extend_from_slice(&packed[..packed.len().min(room)]);
        while let Some(end) = self.next_place(packed) {
            let (before, behind) = packed.split_at(end);
            if !self.write(before) || self.decoder.flush().is_err() {
                self.good = false;
                return false;
            }
            let Sink { total, lines, .. } = self.decoder.get_ref();
            // Bytes that look like a flush stand anywhere, but not behind whole blocks.
            if total % LOG_BLOCK as u64 == 0 {
                self.last = *total;
                self.places.push(Place { packed: self.packed, lines: lines.whole() });
            }
            packed = behind;
        }
        self.write(packed)
    }
}

/// Where what is unpacked goes.
struct Sink {
    most: u64,
    until: Instant,
    head: Vec<u8>,
    /// The end, and up to as much before it.
    tail: Vec<u8>,
    total: u64,
    lines: Lines,
    marks: Marks,
    had_enough: bool,
}

impl Sink {
    fn new(most: u64, until: Instant) -> Self {
        Self {
            most,
            until,
            head: Vec::new(),
            tail: Vec::new(),
            total: 0,
            lines: Lines::default(),
            marks: Marks::default(),
            had_enough: false,
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.had_enough |= self.total + bytes.len() as u64 > self.most
            || self.lines.whole() > MOST_LINES
            || Instant::now() >= self.until;
        if self.had_enough {
            return Err(io::Error::other("longer than is read"));
        }
        self.total += bytes.len() as u64;
        self.head.extend_from_slice(&bytes[..bytes.len().min(HEAD - self.head.len())]);
        self.tail.extend_from_slice(bytes);
        if self.tail.len() > 2 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
        let Self { lines, marks, .. } = self;
        lines.push(bytes, |line| {
            marks.read(line);
            true
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use flate2::{Compress, Compression, FlushCompress, write::GzEncoder};
    use futures::stream;
    use proofhouse_core::store::StoreError;

    use super::{super::feed::feed, *};

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// As our workers write it.
    fn blocks(text: &[u8]) -> Vec<u8> {
        let mut packed = LOG_HEADER.to_vec();
        for block in text.chunks(LOG_BLOCK) {
            let mut deflate = Compress::new(Compression::fast(), false);
            let mut out = Vec::with_capacity(2 * LOG_BLOCK);
            deflate.compress_vec(block, &mut out, FlushCompress::Full).unwrap();
            packed.extend(out);
        }
        let mut crc = flate2::Crc::new();
        crc.update(text);
        packed.extend([3, 0]);
        packed.extend(crc.sum().to_le_bytes());
        packed.extend(crc.amount().to_le_bytes());
        packed
    }

    async fn index(packed: &[u8]) -> Index {
        let chunks: Vec<_> =
            packed.chunks(10_000).map(|c| Ok::<_, StoreError>(Bytes::copy_from_slice(c))).collect();
        let until = Instant::now() + Duration::from_secs(3600);
        feed(stream::iter(chunks), Scan::new(MOST_SCANNED, until)).await.unwrap().finish()
    }

    fn numbered(lines: u64) -> String {
        (1..=lines).fold(String::new(), |text, n| text + &format!("line {n}\n"))
    }

    /// Number and text of the first and the last line.
    fn ends(give: impl FnOnce(&mut dyn FnMut(Raw<'_>) -> bool)) -> Vec<(u64, String)> {
        let mut all = Vec::new();
        give(&mut |raw| {
            all.push((raw.number, String::from_utf8_lossy(raw.text).into_owned()));
            true
        });
        [all.first(), all.last()].into_iter().flatten().cloned().collect()
    }

    #[tokio::test]
    async fn short_ones_are_whole() {
        let index = index(&gzip(b"one\ntwo")).await;
        assert_eq!((index.lines, index.bytes, index.end), (2, 7, End::Whole));
        let both = [(1, "one".to_owned()), (2, "two".to_owned())];
        assert_eq!(ends(|take| index.head(take)), both);
        assert_eq!(ends(|take| index.tail(take)), both);
        assert_eq!(super::tests::index(&gzip(b"")).await.lines, 0);
    }

    #[tokio::test]
    async fn long_ones_keep_both_ends_and_places_to_read_on_from() {
        let text = numbered(400_000);
        for (packed, is_ours) in [(gzip(text.as_bytes()), false), (blocks(text.as_bytes()), true)] {
            let index = index(&packed).await;
            assert_eq!((index.lines, index.bytes, index.end), (400_000, text.len() as u64, End::Whole));
            for (number, text) in
                ends(|take| index.head(take)).into_iter().chain(ends(|take| index.tail(take)))
            {
                assert_eq!(text, format!("line {number}"));
            }
            assert_eq!(ends(|take| index.tail(take))[1].0, 400_000);
            assert_eq!(index.place_before(1), None);
            let Some(place) = index.place_before(300_000) else {
                assert!(!is_ours);
                continue;
            };
            assert!(is_ours && place.lines < 300_000 && place.lines > 100_000, "{place:?}");
            let mut rest = flate2::write::DeflateDecoder::new(Vec::new());
            let from = usize::try_from(place.packed).unwrap();
            rest.write_all(&packed[from..packed.len() - 8]).unwrap();
            let rest = rest.finish().unwrap();
            let next = rest.split(|b| *b == b'\n').nth(1).unwrap();
            assert_eq!(next, format!("line {}", place.lines + 2).as_bytes());
        }
    }

    #[tokio::test]
    async fn bombs_and_damaged_files_end() {
        let bomb = index(&gzip(&vec![b'a'; usize::try_from(MOST_SCANNED).unwrap() + 1])).await;
        assert_eq!(bomb.end, End::Endless);
        assert_eq!(ends(|take| bomb.head(take)).len(), 2, "the beginning of the one line");
        let whole = gzip("some text ".repeat(5000).as_bytes());
        assert_eq!(index(&whole[..whole.len() / 2]).await.end, End::Damaged);
        assert_eq!(index(b"not gzip at all, but a text").await.end, End::Damaged);
        assert_eq!(most_scanned(10), MOST_SCANNED);
        assert_eq!(most_scanned(5 << 20), 500 << 20);
        assert_eq!(most_scanned(u64::MAX), MOST_EVER);
    }
}
