//! A stream of bytes in lines of bounded length.

/// What rules read of a line: the rest of a longer one is not looked at.
const HEAD: usize = 8 << 10;
/// What is kept of a longer line's end: autopkgtest's marker stands there when what a test printed has no newline.
pub(super) const TAIL: usize = 512;

/// The line that is being read.
#[derive(Debug, Default)]
pub(super) struct Line(Vec<u8>);

impl Line {
    /// Adds a piece without a newline.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let room = HEAD.saturating_sub(self.0.len()).min(piece.len());
        let (head, rest) = piece.split_at(room);
        self.0.extend_from_slice(head);
        self.0.extend_from_slice(&rest[rest.len().saturating_sub(TAIL)..]);
        let surplus = self.0.len().saturating_sub(HEAD + TAIL);
        self.0.drain(HEAD.min(self.0.len())..HEAD.min(self.0.len()) + surplus);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Its beginning, without the column of seconds that newer autopkgtests put before each line.
    pub(super) fn head(&self) -> &[u8] {
        let head = &self.0[..self.0.len().min(HEAD)];
        let head = head.strip_suffix(b"\r").unwrap_or(head);
        let column = head.trim_ascii_start();
        let digits = column.iter().take_while(|b| b.is_ascii_digit()).count();
        match column[digits..].strip_prefix(b"s ") {
            Some(rest) if digits > 0 => rest,
            _ => head,
        }
    }

    /// Its end.
    pub(super) fn tail(&self) -> &[u8] {
        &self.0[self.0.len().saturating_sub(TAIL)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pieces: &[&[u8]]) -> Line {
        let mut line = Line::default();
        for piece in pieces {
            line.push(piece);
        }
        line
    }

    #[test]
    fn a_long_line_keeps_beginning_and_end() {
        let text: Vec<u8> = (0..100_000_u32).map(|n| b'a' + u8::try_from(n % 23).unwrap()).collect();
        for size in [1, 7, 500, 5000, 8192, 9000, 100_000] {
            let line = line(&text.chunks(size).collect::<Vec<_>>());
            assert_eq!(line.head(), &text[..HEAD], "pieces of {size}");
            assert_eq!(line.tail(), &text[text.len() - TAIL..], "pieces of {size}");
            assert_eq!(line.0.len(), HEAD + TAIL);
        }
    }

    #[test]
    fn a_column_of_seconds_is_no_part_of_it() {
        for (text, head) in [
            ("E: no", "E: no"),
            ("  5s E: no", "E: no"),
            ("1234s E: no\r", "E: no"),
            ("5s", "5s"),
            ("s x", "s x"),
            ("  indented", "  indented"),
            (" 12s   indented", "  indented"),
            ("", ""),
        ] {
            assert_eq!(line(&[text.as_bytes()]).head(), head.as_bytes(), "{text:?}");
        }
    }
}
