//! What a terminal would show in colours, as styles of the page. Whatever else a terminal would do is left out.

use super::plain::{ESCAPES, shown};

/// A line that changes its style more often goes on as it was.
const MOST_PIECES: usize = 200;

/// A part of a line in one style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Classes of the style sheet; none where nothing is said.
    pub(crate) class: String,
    pub(crate) text: String,
}

/// How a terminal would write (ECMA-48, "Select graphic rendition").
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Style {
    bold: bool,
    italic: bool,
    underlined: bool,
    /// One of sixteen.
    colour: Option<u8>,
}

impl Style {
    fn class(self) -> String {
        let words = [(self.bold, "ab"), (self.italic, "ai"), (self.underlined, "au")];
        let words = words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word.to_owned());
        words.chain(self.colour.map(|n| format!("a{n}"))).collect::<Vec<_>>().join(" ")
    }

    /// Takes the numbers of one sequence. Colours behind the text, and others than the sixteen, are left out.
    fn select(&mut self, numbers: &str) {
        let mut numbers = numbers.split([';', ':']).map(|number| match number {
            "" => Some(0),
            number => number.parse::<u8>().ok(),
        });
        while let Some(number) = numbers.next() {
            match number {
                Some(0) => *self = Self::default(),
                Some(1) => self.bold = true,
                Some(3) => self.italic = true,
                Some(4) => self.underlined = true,
                Some(22) => self.bold = false,
                Some(23) => self.italic = false,
                Some(24) => self.underlined = false,
                Some(n @ 30..=37) => self.colour = Some(n - 30),
                Some(n @ 90..=97) => self.colour = Some(n - 90 + 8),
                Some(39) => self.colour = None,
                Some(n @ (38 | 48)) => {
                    let colour = match numbers.next() {
                        Some(Some(5)) => numbers.next().flatten().filter(|colour| *colour < 16),
                        Some(Some(2)) => numbers.by_ref().take(3).last().and(None),
                        _ => None,
                    };
                    if n == 38 {
                        self.colour = colour;
                    }
                }
                _ => {}
            }
        }
    }
}

/// A line in its styles: each begins with none. Of what a carriage return overwrote, the last state stays.
pub(crate) fn styled(line: &str) -> Vec<Piece> {
    let line = line.trim_end_matches('\r');
    let line = line.rsplit('\r').next().unwrap_or(line);
    let (mut pieces, mut style, mut at) = (Vec::new(), Style::default(), 0);
    let mut add = |style: Style, text: &str| {
        if text.is_empty() {
            return;
        }
        let (class, text) = (style.class(), text.chars().map(shown));
        let is_full = pieces.len() >= MOST_PIECES;
        match pieces.last_mut() {
            Some(Piece { class: last, text: before }) if is_full || *last == class => before.extend(text),
            _ => pieces.push(Piece { class, text: text.collect() }),
        }
    };
    if line.contains('\u{1b}') {
        for escape in ESCAPES.find_iter(line) {
            add(style, &line[at..escape.start()]);
            at = escape.end();
            let numbers = escape.as_str().strip_prefix("\u{1b}[").and_then(|text| text.strip_suffix('m'));
            if let Some(numbers) = numbers {
                style.select(numbers);
            }
        }
    }
    add(style, &line[at..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Vec<(String, String)> {
        styled(line).into_iter().map(|piece| (piece.class, piece.text)).collect()
    }

    fn owned<const N: usize>(pieces: [(&str, &str); N]) -> Vec<(String, String)> {
        pieces.map(|(class, text)| (class.to_owned(), text.to_owned())).into()
    }

    #[test]
    fn styles_and_nothing_else() {
        assert_eq!(of("plain"), owned([("", "plain")]));
        assert_eq!(
            of("\x1b[1;31mred\x1b[0m, \x1b[4;92mlit\x1b[m"),
            owned([("ab a1", "red"), ("", ", "), ("au a10", "lit")])
        );
        assert_eq!(of("\x1b[38;5;3mx\x1b[48;2;1;4;9my\x1b[38;2;9;9;9mz"), owned([("a3", "xy"), ("", "z")]));
        assert_eq!(
            of("\x1b[999999mx\x1b]0;title\x07\x1b[2Jy\x08\u{202e}\u{2028}"),
            owned([("", "xy\u{fffd}\u{fffd}\u{fffd}")])
        );
        assert_eq!(of("10%\r\x1b[32m99%\r"), owned([("a2", "99%")]));
        assert!(of("").is_empty());
    }

    #[test]
    fn a_flood_of_styles_ends() {
        let flood = (0..10_000).map(|n| format!("\x1b[3{}mx", n % 8)).collect::<Vec<_>>().concat();
        let pieces = styled(&flood);
        assert_eq!(pieces.len(), MOST_PIECES);
        assert_eq!(pieces.iter().map(|piece| piece.text.len()).sum::<usize>(), 10_000);
    }
}
