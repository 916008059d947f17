//! A part of a log: lines from one on, or those in which something is found, with what stands around them.

use std::{
    collections::VecDeque,
    io::{self, Write},
    time::Instant,
};

use flate2::write::{DeflateDecoder, MultiGzDecoder};
use regex::bytes::Regex;

use super::{
    feed::Unpack,
    index::Place,
    lines::{Lines, Raw},
    plain::plain,
};

/// So many lines a page shows.
pub(crate) const MOST_SHOWN: usize = 5000;
/// And so much of them, in bytes.
const MOST_BYTES: usize = 768 * 1024;
/// So many lines in which something was found a page shows; more are counted.
const MOST_HITS: u64 = 200;
/// So many lines are shown before and behind each.
const AROUND: usize = 5;

/// A line that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) number: u64,
    pub(crate) text: Vec<u8>,
    /// All of it, in bytes.
    pub(crate) length: u64,
    /// It was searched for.
    pub(crate) hit: bool,
}

impl Shown {
    pub(crate) fn new(raw: Raw<'_>, hit: bool) -> Self {
        Self { number: raw.number, text: raw.text.to_vec(), length: raw.length, hit }
    }

    pub(crate) fn raw(&self) -> Raw<'_> {
        Raw { number: self.number, text: &self.text, length: self.length }
    }
}

/// Lines that are shown, and what was counted.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) lines: Vec<Shown>,
    bytes: usize,
    /// The line from which there is more to show.
    pub(crate) next: Option<u64>,
    /// In so many lines it was found.
    pub(crate) hits: u64,
    /// Of so many.
    pub(crate) searched: u64,
    /// The search took too long, and ended at the last line that it read.
    pub(crate) late: bool,
}

impl Part {
    /// Shows one more; false where there is no room.
    pub(crate) fn show(&mut self, line: Shown) -> bool {
        if self.lines.len() >= MOST_SHOWN || self.bytes + line.text.len() > MOST_BYTES {
            return false;
        }
        self.bytes += line.text.len();
        self.lines.push(line);
        true
    }
}

/// What is looked for.
pub(super) struct Sought {
    /// From this line on.
    pub(super) from: u64,
    /// Only lines in which this is.
    pub(super) pattern: Option<Regex>,
    /// Until then.
    pub(super) until: Instant,
    /// No more than this, in bytes.
    pub(super) most: u64,
}

/// Reads a part of a log.
pub(super) struct Reader {
    decoder: Decoder,
}

enum Decoder {
    /// A file from its beginning.
    Whole(MultiGzDecoder<Sink>),
    /// One of ours, from a place on.
    Rest(DeflateDecoder<Sink>),
}

impl Reader {
    pub(super) fn new(sought: Sought, place: Option<Place>) -> Self {
        let sink = Sink {
            lines: Lines::behind(place.map_or(0, |place| place.lines)),
            before: VecDeque::new(),
            behind: 0,
            total: 0,
            part: Part::default(),
            has_enough: false,
            sought,
        };
        let decoder = match place {
            None => Decoder::Whole(MultiGzDecoder::new(sink)),
            Some(_) => Decoder::Rest(DeflateDecoder::new(sink)),
        };
        Self { decoder }
    }

    fn sink(&mut self) -> &mut Sink {
        match &mut self.decoder {
            Decoder::Whole(decoder) => decoder.get_mut(),
            Decoder::Rest(decoder) => decoder.get_mut(),
        }
    }

    pub(super) fn finish(mut self) -> Part {
        // What is damaged is shown as far as it goes; the index knows of it.
        let _ = match &mut self.decoder {
            Decoder::Whole(decoder) => decoder.try_finish(),
            Decoder::Rest(decoder) => decoder.try_finish(),
        };
        self.sink().finish()
    }
}

impl Unpack for Reader {
    fn take(&mut self, packed: &[u8]) -> bool {
        let written = match &mut self.decoder {
            Decoder::Whole(decoder) => decoder.write_all(packed),
            Decoder::Rest(decoder) => decoder.write_all(packed),
        };
        written.is_ok()
    }
}

/// Where what is unpacked goes.
struct Sink {
    sought: Sought,
    lines: Lines,
    /// The last lines before this one.
    before: VecDeque<Shown>,
    /// So many lines are still shown behind one that was found.
    behind: usize,
    total: u64,
    part: Part,
    has_enough: bool,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.has_enough {
            self.total += bytes.len() as u64;
            let mut lines = std::mem::take(&mut self.lines);
            self.has_enough = !lines.push(bytes, |line| self.read(line)) || self.total > self.sought.most;
            self.lines = lines;
            if !self.has_enough && Instant::now() >= self.sought.until {
                self.has_enough = true;
                self.part.late = true;
                self.part.next.get_or_insert((self.lines.whole() + 1).max(self.sought.from));
            }
        }
        if self.has_enough { Err(io::Error::other("enough was read")) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn finish(&mut self) -> Part {
        if !self.has_enough {
            let mut lines = std::mem::take(&mut self.lines);
            lines.finish(|line| self.read(line));
            self.has_enough = true;
        }
        std::mem::take(&mut self.part)
    }

    fn read(&mut self, line: Raw<'_>) -> bool {
        if line.number < self.sought.from {
            return true;
        }
        let Some(pattern) = &self.sought.pattern else {
            let has_room = self.part.show(Shown::new(line, false));
            if !has_room {
                self.part.next = Some(line.number);
            }
            return has_room;
        };
        let is_hit = if line.text.contains(&b'\x1b') {
            pattern.is_match(plain(&String::from_utf8_lossy(line.text)).as_bytes())
        } else {
            pattern.is_match(line.text)
        };
        self.part.searched += 1;
        self.part.hits += u64::from(is_hit);
        // What is found from here on is counted alone.
        if self.part.next.is_none() {
            self.show(line, is_hit);
        }
        true
    }

    fn show(&mut self, line: Raw<'_>, is_hit: bool) {
        let mut has_room = true;
        if is_hit && self.part.hits > MOST_HITS {
            has_room = false;
        } else if is_hit {
            self.behind = AROUND;
            for line in self.before.drain(..) {
                has_room = has_room && self.part.show(line);
            }
            has_room = has_room && self.part.show(Shown::new(line, true));
        } else if self.behind > 0 {
            self.behind -= 1;
            has_room = self.part.show(Shown::new(line, false));
        } else {
            self.remember(line);
        }
        if !has_room {
            self.part.next = Some(line.number);
        }
    }

    /// In the place of the oldest, whose memory it takes.
    fn remember(&mut self, line: Raw<'_>) {
        let mut text = match self.before.len() {
            AROUND => self.before.pop_front().map(|line| line.text).unwrap_or_default(),
            _ => Vec::new(),
        };
        text.clear();
        text.extend_from_slice(line.text);
        self.before.push_back(Shown { number: line.number, text, length: line.length, hit: false });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn part(text: &str, from: u64, pattern: Option<&str>) -> Part {
        let sought = Sought {
            from,
            pattern: pattern.map(|pattern| Regex::new(pattern).unwrap()),
            until: Instant::now() + Duration::from_secs(3600),
            most: 1 << 30,
        };
        let mut reader = Reader::new(sought, None);
        reader.take(&proofhouse_core::evidence::gzip(text.as_bytes()).unwrap());
        reader.finish()
    }

    fn numbered(lines: u64) -> String {
        (1..=lines).fold(String::new(), |text, n| text + &format!("line {n}\n"))
    }

    fn numbers(part: &Part) -> Vec<u64> {
        part.lines.iter().map(|line| line.number).collect()
    }

    #[test]
    fn lines_from_one_on() {
        let text = numbered(20_000);
        let middle = part(&text, 7000, None);
        assert_eq!((middle.lines.len(), middle.next), (MOST_SHOWN, Some(7000 + MOST_SHOWN as u64)));
        assert_eq!(middle.lines[0].text, b"line 7000");
        let end = part(&text, 19_999, None);
        assert_eq!((numbers(&end), end.next), (vec![19_999, 20_000], None));
        assert!(part(&text, 30_000, None).lines.is_empty());
        let long = part(&format!("{}\n", "x".repeat(8000)).repeat(1000), 1, None);
        assert!(long.lines.len() < 100 && long.next == Some(long.lines.len() as u64 + 1));
    }

    #[test]
    fn what_is_found_stands_among_its_neighbours() {
        let found = part(&numbered(100), 1, Some("line (3|50|54)$"));
        assert_eq!((found.hits, found.searched, found.next), (3, 100, None));
        assert_eq!(numbers(&found), (1..=8).chain(45..=59).collect::<Vec<_>>());
        let hits: Vec<u64> = found.lines.iter().filter(|line| line.hit).map(|line| line.number).collect();
        assert_eq!(hits, [3, 50, 54]);
        assert_eq!(part("\x1b[31mre\x1b[0md\n", 1, Some("^red$")).hits, 1, "as it is shown");
    }

    #[test]
    fn all_are_counted_and_the_rest_has_an_address() {
        let all = part(&numbered(1000), 1, Some("line"));
        assert_eq!((all.hits, all.searched, all.next), (1000, 1000, Some(MOST_HITS + 1)));
        let rest = part(&numbered(1000), MOST_HITS + 1, Some("line"));
        assert_eq!((rest.hits, rest.lines[0].number), (1000 - MOST_HITS, MOST_HITS + 1));
    }

    #[test]
    fn a_search_that_takes_too_long_says_so() {
        let sought =
            Sought { from: 1, pattern: Some(Regex::new("x").unwrap()), until: Instant::now(), most: 1 << 30 };
        let mut reader = Reader::new(sought, None);
        assert!(!reader.take(&proofhouse_core::evidence::gzip(numbered(9000).as_bytes()).unwrap()));
        let part = reader.finish();
        assert!(part.late && part.next.is_some_and(|next| next > 1), "{part:?}");
    }
}
