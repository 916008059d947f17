//! Text without what a terminal, or a browser's text direction, would act on.

use std::sync::LazyLock;

use regex::Regex;

pub(super) static ESCAPES: LazyLock<Regex> = LazyLock::new(|| {
    // Control sequences; operating system commands to their end; other two-character escapes (ECMA-48).
    Regex::new(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-Z\\^-~])")
        .expect("a constant pattern")
});

/// The text without escape sequences and control characters. Line feeds and tabs stay; of what a carriage return
/// overwrote, the last state stays.
pub(crate) fn plain(text: &str) -> String {
    if text.bytes().all(|b| matches!(b, b'\t' | b'\n' | b' '..=b'~')) {
        return text.to_owned();
    }
    let text = ESCAPES.replace_all(text, "");
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |l| (l, "\n"));
        let line = line.trim_end_matches('\r');
        let line = line.rsplit('\r').next().unwrap_or(line);
        out.extend(line.chars().map(shown));
        out.push_str(end);
    }
    out
}

/// What stands for a character that is not shown as it is.
pub(super) const fn shown(c: char) -> char {
    match c {
        '\t' => c,
        // Controls, and marks that turn the direction of text: a line could read as another.
        '\u{0}'..='\u{1f}'
        | '\u{7f}'..='\u{9f}'
        | '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        // And what ends a line without being its end.
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_terminal_codes() {
        assert_eq!(plain("\x1b[1;31mred\x1b[0m \x1b]0;title\x07x\x1b(B\n"), "red x\n");
        assert_eq!(plain("10%\r50%\r100%\r\nnext\r\n"), "100%\nnext\n");
        assert_eq!(plain("a\tb\x00c\u{202e}d"), "a\tb\u{fffd}c\u{fffd}d");
        assert_eq!(plain("\x1b"), "\u{fffd}");
    }
}
