//! Output: text with colour on a terminal alone, or one JSON value.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;

/// Prints one JSON value.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    self::text(&text)
}

/// Prints text. A reader that went away, as `head` does, is no error.
pub(crate) fn text(text: &str) -> Result<()> {
    bytes(text.as_bytes()).map(drop)
}

/// Prints bytes as they are. False: nobody reads any more.
pub(crate) fn bytes(bytes: &[u8]) -> Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("stdout cannot be written to"),
    }
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    /// For stdout.
    pub(crate) fn stdout() -> Self {
        Self(io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none())
    }

    /// No colours.
    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self(false)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }
}

/// Microseconds since 1970 as `2026-11-21T05:36:34Z`.
pub(crate) fn time(us: i64) -> String {
    let time = Timestamp::from_second(us.div_euclid(1_000_000)).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Text of others without what would steer a terminal, in one line of at most `limit` characters.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let clean: String =
        text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit + 1).collect();
    if clean.chars().count() > limit {
        clean.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
    } else {
        clean
    }
}

/// Rows under a heading, in columns as wide as they must be; the last one runs free.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let width =
        |n: usize| rows.iter().map(|row| row[n].chars().count()).chain([heading[n].len()]).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let rows = rows.iter().map(|row| line(std::array::from_fn(|n| row[n].as_str())));
    std::iter::once(line(heading)).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        let rows = [["1", "debci-noble-amd64", "ä"], ["23", "x", "b c"]].map(|r| r.map(str::to_owned));
        insta::assert_snapshot!(table(["ID", "QUEUE", "WHY"], &rows));
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(one_line("a\x1b[31mb\nc", 80), "a [31mb c");
        assert_eq!(one_line("abcdef", 4), "abc…");
        assert_eq!(one_line("abcd", 4), "abcd");
    }

    #[test]
    fn times() {
        assert_eq!(time(1_795_239_394_999_999), "2026-11-21T05:36:34Z");
    }
}
