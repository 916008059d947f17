//! Takes secrets out of a text that streams by, also where one lies across two pieces.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD},
};
use proofhouse_core::params::PpaCredentials;
use regex::bytes::{NoExpand, Regex};

const MARK: &[u8] = b"***";

/// What credentials look like where they are used: as they are, within a URL, in HTTP's `Authorization`, in a text's quotes.
pub(crate) fn spellings(credentials: &PpaCredentials) -> Vec<String> {
    let (whole, token) = (credentials.reveal(), credentials.token());
    let mut all: Vec<String> =
        [BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD]
            .iter()
            .map(|base64| base64.encode(&whole))
            .collect();
    all.extend([
        percent_encoded(token, |byte| format!("%{byte:02X}")),
        percent_encoded(token, |byte| format!("%{byte:02x}")),
    ]);
    let quoted = serde_json::Value::from(token).to_string();
    all.push(quoted.trim_matches('"').to_owned());
    all.extend([token.to_owned(), whole]);
    all.sort();
    all.dedup();
    all
}

fn percent_encoded(text: &str, escape: impl Fn(u8) -> String) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if unreserved(byte) { char::from(byte).to_string() } else { escape(byte) })
        .collect()
}

/// Takes secrets out of a stream of bytes.
pub(crate) struct Redactor {
    secrets: Vec<Vec<u8>>,
    pattern: Option<Regex>,
    /// What may be the beginning of a secret.
    held: Vec<u8>,
}

impl Redactor {
    /// For these secrets; empty ones are skipped.
    pub(crate) fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<String> = secrets.into_iter().filter(|secret| !secret.is_empty()).collect();
        // The first alternative wins, so the longer one must come first.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let alternatives: Vec<String> = secrets.iter().map(|secret| regex::escape(secret)).collect();
        let pattern = match &alternatives[..] {
            [] => None,
            some => Some(Regex::new(&some.join("|")).expect("escaped literals are a pattern")),
        };
        Self { secrets: secrets.into_iter().map(String::into_bytes).collect(), pattern, held: Vec::new() }
    }

    /// What of the text so far may be shown.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let Some(pattern) = &self.pattern else {
            return piece.to_vec();
        };
        self.held.extend_from_slice(piece);
        let mut safe = self.held.len() - self.unfinished();
        // A secret that reaches over the border is whole: take it too.
        if let Some(over) = pattern.find_iter(&self.held).find(|m| m.start() < safe && m.end() > safe) {
            safe = over.end();
        }
        let rest = self.held.split_off(safe);
        let ready = std::mem::replace(&mut self.held, rest);
        pattern.replace_all(&ready, NoExpand(MARK)).into_owned()
    }

    /// The rest.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let rest = std::mem::take(&mut self.held);
        match &self.pattern {
            Some(pattern) => pattern.replace_all(&rest, NoExpand(MARK)).into_owned(),
            None => rest,
        }
    }

    /// How many bytes at the end may be the beginning of a secret.
    fn unfinished(&self) -> usize {
        let longest = |secret: &Vec<u8>| {
            (1..secret.len().min(self.held.len() + 1)).rev().find(|n| self.held.ends_with(&secret[..*n]))
        };
        self.secrets.iter().filter_map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_pieces(secrets: &[&str], text: &str, size: usize) -> String {
        let mut redactor = Redactor::new(secrets.iter().map(|s| (*s).to_owned()));
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            out.extend(redactor.push(piece));
        }
        out.extend(redactor.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn secrets_across_any_border() {
        let text = "deb https://joe:t0k.en+@ppa/ x\nt0k.en+ tt0k.en+ t0k.en t0kxen+ ünd t0k.";
        let expected = "deb https://***@ppa/ x\n*** t*** t0k.en t0kxen+ ünd t0k.";
        for size in 1..text.len() {
            assert_eq!(in_pieces(&["t0k.en+", "joe:t0k.en+"], text, size), expected, "pieces of {size}");
        }
    }

    #[test]
    fn credentials_in_every_spelling() {
        let ppa: proofhouse_core::params::Ppa = "joe:t0k?e\"n+x@own/ppa".parse().unwrap();
        let secrets = spellings(&ppa.credentials.unwrap());
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let text = "deb https://joe:t0k?e\"n+x@ppa t0k%3Fe%22n%2Bx t0k%3fe%22n%2bx\n\
            Authorization: Basic am9lOnQwaz9lIm4reA==\npassword t0k?e\"n+x \"t0k?e\\\"n+x\" am9lOnQwaz9lIm4reA";
        let expected = "deb https://***@ppa *** ***\nAuthorization: Basic ***\npassword *** \"***\" ***";
        for size in [1, 3, 7, text.len()] {
            assert_eq!(in_pieces(&secrets, text, size), expected, "pieces of {size}");
        }
    }

    #[test]
    fn one_secret_in_another() {
        for size in 1..9 {
            assert_eq!(in_pieces(&["abc", "abcdef"], "xabcdefabcy", size), "x******y");
        }
    }

    #[test]
    fn without_secrets_nothing_is_held_back() {
        let mut redactor = Redactor::new([String::new()]);
        assert_eq!(redactor.push(b"abc"), b"abc");
        assert!(redactor.finish().is_empty());
    }
}
