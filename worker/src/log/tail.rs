//! The log's tail for status messages: the first 5 lines, a marker line, about the last 2000 bytes (contract "While it runs").

use std::collections::VecDeque;

use proofhouse_core::phase::Phase;

const HEAD_LINES: usize = 5;
/// A head line that never ends is cut.
const HEAD_BYTES: usize = 2000;
const TAIL_BYTES: usize = 2000;
const MARKER: &str = "[... HEAD ... TAIL ...]\n";

/// Keeps head and tail of a log that streams by.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    head: Vec<u8>,
    lines: usize,
    rest: VecDeque<u8>,
    /// Something between head and tail was dropped.
    cut: bool,
    phase: Phase,
}

impl Tail {
    /// Adds what came.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.phase.push(bytes);
        let mut bytes = bytes;
        while self.lines < HEAD_LINES && self.head.len() < HEAD_BYTES && !bytes.is_empty() {
            let line = bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |n| n + 1);
            let taken = line.min(HEAD_BYTES - self.head.len());
            self.head.extend_from_slice(&bytes[..taken]);
            self.lines += usize::from(bytes[taken - 1] == b'\n');
            bytes = &bytes[taken..];
        }
        let surplus = bytes.len().saturating_sub(TAIL_BYTES);
        self.rest.extend(&bytes[surplus..]);
        let over = self.rest.len().saturating_sub(TAIL_BYTES);
        self.rest.drain(..over);
        self.cut |= surplus + over > 0;
    }

    /// The last bytes, at most so many, and not more than about 2000.
    pub(crate) fn end(&self, most: u64) -> Vec<u8> {
        let all = self.rest.len();
        let skip = usize::try_from(most).map_or(0, |most| all.saturating_sub(most));
        self.rest.iter().skip(skip).copied().collect()
    }

    /// What the run does.
    pub(crate) fn phase(&self) -> Option<&str> {
        self.phase.now()
    }

    /// Head, marker and tail; bytes that are no UTF-8 are replaced.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.head).into_owned();
        if self.rest.is_empty() {
            return text;
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(MARKER);
        // The first line of a tail that was cut is a piece of one, unless it is all there is.
        let skip = if self.cut { self.rest.iter().position(|b| *b == b'\n').map_or(0, |n| n + 1) } else { 0 };
        let rest: Vec<u8> = self.rest.iter().skip(skip).copied().collect();
        text.push_str(&String::from_utf8_lossy(&rest));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(pieces: &[&[u8]]) -> String {
        let mut tail = Tail::default();
        for piece in pieces {
            tail.push(piece);
        }
        tail.text()
    }

    #[test]
    fn a_short_log_is_all_there() {
        assert_eq!(tail(&[]), "");
        assert_eq!(tail(&[b"1\n2", b"\n3"]), "1\n2\n3");
        assert_eq!(tail(&[b"1\n2\n3\n4\n5\n", b"6\n7"]), format!("1\n2\n3\n4\n5\n{MARKER}6\n7"));
    }

    #[test]
    fn a_long_log_begins_with_a_whole_line_after_the_marker() {
        let lines: Vec<String> = (1..=5000).map(|n| format!("line {n}\n")).collect();
        let whole = lines.concat();
        let at_once = tail(&[whole.as_bytes()]);
        let pieces: Vec<&[u8]> = whole.as_bytes().chunks(7).collect();
        assert_eq!(tail(&pieces), at_once);
        let (head, rest) = at_once.split_once(MARKER).unwrap();
        assert_eq!(head, lines[..5].concat());
        assert!(rest.starts_with("line ") && rest.ends_with("line 5000\n"));
        assert!((1980..=2000).contains(&rest.len()), "{}", rest.len());
    }

    #[test]
    fn odd_bytes_and_endless_lines() {
        assert_eq!(tail(&[b"\xff\n"]), "\u{fffd}\n");
        let endless = tail(&[&vec![b'x'; 100_000]]);
        assert!(endless.len() < 5000 && endless.contains(MARKER));
    }
}
