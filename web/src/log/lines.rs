//! Lines of a text that streams by.

use memchr::memchr;

/// So much of a line is looked at, in bytes: a line can be as long as a log.
const LONGEST_LINE: usize = 8 * 1024;

/// A line as it lies in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a> {
    /// From 1.
    pub(crate) number: u64,
    /// Without its line feed, and not more than [`LONGEST_LINE`].
    pub(crate) text: &'a [u8],
    /// All of it, in bytes.
    pub(crate) length: u64,
}

/// Divides a text into lines as it comes.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// How many were whole.
    whole: u64,
    /// The beginning of the next one.
    begun: Vec<u8>,
    /// How much of it there was, in bytes.
    length: u64,
}

impl Lines {
    /// Behind so many lines.
    pub(crate) fn behind(whole: u64) -> Self {
        Self { whole, ..Self::default() }
    }

    /// How many were whole.
    pub(crate) const fn whole(&self) -> u64 {
        self.whole
    }

    /// Gives each line that is whole to `take`, until that wants no more and says false.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut take: impl FnMut(Raw<'_>) -> bool) -> bool {
        while let Some(end) = memchr(b'\n', bytes) {
            let line = &bytes[..end];
            bytes = &bytes[end + 1..];
            let more = if self.length == 0 {
                self.whole += 1;
                let text = &line[..line.len().min(LONGEST_LINE)];
                take(Raw { number: self.whole, text, length: line.len() as u64 })
            } else {
                self.begin(line);
                self.end(&mut take)
            };
            if !more {
                return false;
            }
        }
        self.begin(bytes);
        true
    }

    fn begin(&mut self, bytes: &[u8]) {
        let room = LONGEST_LINE - self.begun.len();
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.length += bytes.len() as u64;
    }

    fn end(&mut self, take: &mut impl FnMut(Raw<'_>) -> bool) -> bool {
        self.whole += 1;
        let more = take(Raw { number: self.whole, text: &self.begun, length: self.length });
        self.begun.clear();
        self.length = 0;
        more
    }

    /// The last line, where nothing ended it.
    pub(crate) fn finish(&mut self, mut take: impl FnMut(Raw<'_>) -> bool) {
        if self.length > 0 {
            self.end(&mut take);
        }
    }

    /// The line that is not whole yet, once it is longer than what is looked at.
    pub(crate) fn overlong(&self) -> Option<Raw<'_>> {
        (self.begun.len() == LONGEST_LINE).then(|| Raw {
            number: self.whole + 1,
            text: &self.begun,
            length: self.length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_no_difference_and_long_lines_are_cut() {
        let text = [b"one\n\ntwo\r\n".to_vec(), vec![b'x'; 3 * LONGEST_LINE], b"\nlast".to_vec()].concat();
        for step in [1, 7, text.len()] {
            let (mut lines, mut all) = (Lines::default(), Vec::new());
            let mut take = |raw: Raw<'_>| {
                all.push((raw.number, raw.text.len(), raw.length));
                true
            };
            for piece in text.chunks(step) {
                assert!(lines.push(piece, &mut take));
            }
            lines.finish(&mut take);
            let long = 3 * LONGEST_LINE as u64;
            assert_eq!(all, [(1, 3, 3), (2, 0, 0), (3, 4, 4), (4, LONGEST_LINE, long), (5, 4, 4)]);
        }
        let mut lines = Lines::behind(5);
        let mut first = 0;
        assert!(!lines.push(b"a\nb\n", |raw| {
            first = raw.number;
            false
        }));
        assert_eq!((first, lines.whole()), (6, 6), "whoever has enough gets no more");
    }
}
