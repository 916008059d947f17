//! What a run does just now, by autopkgtest's own lines in its log. Any test can print such a line.

use std::sync::LazyLock;

use regex::bytes::Regex;

/// No line of autopkgtest's is longer, in bytes.
const LONGEST: usize = 300;

static MARK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"autopkgtest \[\d\d:\d\d:\d\d\]: (?:@{10,} ?(.{1,100})|(test [^ :]{1,100}): )")
        .expect("a constant pattern")
});

/// What begins with a line; none where it says nothing of that.
fn begun(line: &[u8]) -> Option<String> {
    let mark = MARK.captures(line)?;
    let phase = mark.get(1).or_else(|| mark.get(2))?;
    let phase = String::from_utf8_lossy(phase.as_bytes()).trim().to_owned();
    Some(phase).filter(|phase| !phase.is_empty())
}

/// What a log that streams by says is done now.
#[derive(Debug, Default)]
pub struct Phase {
    /// The beginning of the line that is not whole yet.
    line: Vec<u8>,
    now: Option<String>,
}

impl Phase {
    /// Adds what came.
    pub fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                if let Some(phase) = begun(&self.line) {
                    self.now = Some(phase);
                }
                self.line.clear();
            }
        }
    }

    /// `test bed setup`, `test smoke`; none before the first.
    pub fn now(&self) -> Option<&str> {
        self.now.as_deref()
    }

    /// The same of a text that is there.
    pub fn of(text: &str) -> Option<String> {
        let mut phase = Self::default();
        phase.push(text.as_bytes());
        phase.push(b"\n");
        phase.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mark_is_what_it_does() {
        let log = "autopkgtest [08:00:01]: @@@@@@@@@@@@@@@@@@@@ test bed setup\nGet:1 x\n";
        assert_eq!(Phase::of(log).as_deref(), Some("test bed setup"));
        let log = format!("{log} 12s autopkgtest [08:00:09]: test smoke: [-----------------------\nfine\n");
        assert_eq!(Phase::of(&log).as_deref(), Some("test smoke"));
        assert_eq!(Phase::of("nothing"), None);
        let mut pieces = Phase::default();
        for piece in log.as_bytes().chunks(7) {
            pieces.push(piece);
        }
        pieces.push(&vec![b'x'; 1 << 20]);
        assert_eq!(
            (pieces.now(), pieces.line.len()),
            (Some("test smoke"), LONGEST),
            "however long a line is"
        );
    }
}
