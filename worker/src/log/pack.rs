//! gzip in blocks that know nothing of each other, so that a log that grows slowly keeps a block, and no compressor: with
//! its window and its tables that is six times as much, for each test that runs.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
};

use flate2::{Compress, Compression, Crc, FlushCompress, read::DeflateDecoder};
use memchr::memchr_iter;
use proofhouse_core::evidence::{LOG_BLOCK as BLOCK, LOG_HEADER as HEADER};

/// RFC 1951: the last block, and empty.
const LAST: [u8; 2] = [3, 0];

/// A block that is packed.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// Where it begins in the file.
    at: u64,
    /// How many lines are whole before it.
    lines: u64,
}

/// A part of what was packed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Where it begins, in bytes of the text.
    pub(crate) offset: u64,
    /// How many lines are whole before it.
    pub(crate) lines: u64,
    pub(crate) bytes: Vec<u8>,
    /// How much text there is.
    pub(crate) total: u64,
}

/// One gzip member, written as it is packed.
pub(super) struct Packer<W: Write> {
    out: W,
    /// What is not written yet of it.
    header: &'static [u8],
    crc: Crc,
    pending: Vec<u8>,
    blocks: Vec<Block>,
    /// How much is written.
    written: u64,
    /// How many lines are whole before what is pending.
    lines: u64,
}

fn lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

impl<W: Write> Packer<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            header: &HEADER,
            crc: Crc::new(),
            pending: Vec::new(),
            blocks: Vec::new(),
            written: 0,
            lines: 0,
        }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - self.pending.len()));
            self.pending.extend_from_slice(now);
            bytes = rest;
            if self.pending.len() == BLOCK {
                self.pack()?;
            }
        }
        Ok(())
    }

    /// A full flush ends at a whole byte, and what comes behind it does not refer to it.
    fn pack(&mut self) -> io::Result<()> {
        let block = std::mem::take(&mut self.pending);
        let mut deflate = Compress::new(Compression::default(), false);
        let mut packed = Vec::with_capacity(block.len() / 2);
        loop {
            // It says that it is done by leaving room.
            packed.reserve(BLOCK / 8);
            let done = usize::try_from(deflate.total_in()).unwrap_or(usize::MAX);
            deflate.compress_vec(&block[done..], &mut packed, FlushCompress::Full)?;
            if packed.len() < packed.capacity() {
                self.begin()?;
                self.blocks.push(Block { at: self.written, lines: self.lines });
                self.lines += lines(&block);
                return self.write(&packed);
            }
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        let header = std::mem::take(&mut self.header);
        self.write(header)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// How much text is packed.
    fn begun(&self) -> u64 {
        (self.blocks.len() * BLOCK) as u64
    }

    fn total(&self) -> u64 {
        self.begun() + self.pending.len() as u64
    }

    /// What is not packed yet: the end of the text, from an offset on if that lies in it.
    pub(super) fn end(&self, from: u64) -> Chunk {
        let (begun, total) = (self.begun(), self.total());
        let offset = from.clamp(begun, total);
        let (before, bytes) = self.pending.split_at(usize::try_from(offset - begun).unwrap_or(0));
        Chunk { offset, lines: self.lines + lines(before), bytes: bytes.to_vec(), total }
    }

    /// The text from an offset on, as far as its block goes; `packed` is the file that is written.
    pub(super) fn read(&self, from: u64, packed: impl FnOnce() -> io::Result<File>) -> io::Result<Chunk> {
        let place = usize::try_from(from / BLOCK as u64).ok().and_then(|at| self.blocks.get(at));
        let Some(block) = place else { return Ok(self.end(from)) };
        let mut file = packed()?;
        file.seek(SeekFrom::Start(block.at))?;
        let mut bytes = Vec::with_capacity(BLOCK);
        DeflateDecoder::new(file).take(BLOCK as u64).read_to_end(&mut bytes)?;
        let before = bytes.len().min(usize::try_from(from % BLOCK as u64).unwrap_or(0));
        let behind = bytes.split_off(before);
        Ok(Chunk { offset: from, lines: block.lines + lines(&bytes), bytes: behind, total: self.total() })
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.pack()?;
        }
        self.begin()?;
        self.write(&LAST)?;
        let (sum, amount) = (self.crc.sum(), self.crc.amount());
        self.write(&sum.to_le_bytes())?;
        self.write(&amount.to_le_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn it_is_one_member_of_all_that_was_pushed() {
        let noise = std::iter::successors(Some(1_u32), |n| {
            Some(n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223))
        });
        let noise: Vec<u8> = noise.take(3 * BLOCK + 7).map(|n| n.to_be_bytes()[0]).collect();
        let text = "autopkgtest [12:00:00]: test smoke: PASS\n".repeat(10_000);
        for whole in [&noise[..], text.as_bytes()] {
            for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, whole.len()] {
                for step in [1000, BLOCK, whole.len()] {
                    let mut member = Vec::new();
                    let mut packer = Packer::new(&mut member);
                    whole[..length].chunks(step).for_each(|chunk| packer.push(chunk).unwrap());
                    packer.finish().unwrap();
                    // Not of several: browsers read the first alone.
                    let mut decoder = GzDecoder::new(&member[..]);
                    let mut read = Vec::new();
                    decoder.read_to_end(&mut read).unwrap();
                    assert_eq!(read, &whole[..length]);
                    assert!(decoder.into_inner().is_empty(), "one member");
                }
            }
        }
    }

    #[test]
    fn what_was_packed_is_read_while_more_comes() {
        let text = (1..=40_000).map(|n| format!("line {n}\n")).collect::<Vec<_>>().concat();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.gz");
        let mut packer = Packer::new(File::create(&path).unwrap());
        text.as_bytes().chunks(1000).for_each(|piece| packer.push(piece).unwrap());
        let (mut read, mut at) = (Vec::new(), 0);
        while at < text.len() as u64 {
            let chunk = packer.read(at, || File::open(&path)).unwrap();
            assert_eq!((chunk.offset, chunk.total), (at, text.len() as u64));
            assert_eq!(chunk.lines, lines(&text.as_bytes()[..read.len()]));
            // As a reader does that was cut off within a block.
            let taken = chunk.bytes.len().min(50_001);
            read.extend_from_slice(&chunk.bytes[..taken]);
            at += taken as u64;
        }
        assert!(read == text.as_bytes());
        let nothing = packer.read(at + 5, || unreachable!("it is not packed")).unwrap();
        assert_eq!((nothing.offset, nothing.lines, nothing.bytes.len()), (at, 40_000, 0));
    }
}
