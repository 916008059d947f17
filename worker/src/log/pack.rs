//! gzip in blocks that know nothing of each other, so that a log that grows slowly keeps a block, and no compressor: with
//! its window and its tables that is six times as much, for each test that runs.

use std::io::{self, Write};

use flate2::{Compress, Compression, Crc, FlushCompress};

/// What is packed at once.
const BLOCK: usize = 64 << 10;
/// RFC 1952: deflate, no name and no time, of an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// RFC 1951: the last block, and empty.
const LAST: [u8; 2] = [3, 0];

/// One gzip member, written as it is packed.
pub(super) struct Packer<W: Write> {
    out: W,
    /// What is not written yet of it.
    header: &'static [u8],
    crc: Crc,
    pending: Vec<u8>,
}

impl<W: Write> Packer<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, header: &HEADER, crc: Crc::new(), pending: Vec::new() }
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
                return self.out.write_all(&packed);
            }
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        self.out.write_all(std::mem::take(&mut self.header))
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.pack()?;
        }
        self.begin()?;
        self.out.write_all(&LAST)?;
        self.out.write_all(&self.crc.sum().to_le_bytes())?;
        self.out.write_all(&self.crc.amount().to_le_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

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
                    let mut packed = Vec::new();
                    let mut packer = Packer::new(&mut packed);
                    whole[..length].chunks(step).for_each(|chunk| packer.push(chunk).unwrap());
                    packer.finish().unwrap();
                    // Not of several: browsers read the first alone.
                    let mut decoder = GzDecoder::new(&packed[..]);
                    let mut read = Vec::new();
                    decoder.read_to_end(&mut read).unwrap();
                    assert_eq!(read, &whole[..length]);
                    assert!(decoder.into_inner().is_empty(), "one member");
                }
            }
        }
    }
}
