//! Words that stand nowhere by chance: a different one in each field of each planted request.

use std::collections::BTreeSet;

use proofhouse_tests::cluster::body;
use serde_json::{Value, json};
use uuid::Uuid;

/// What all words of one kind of run have in common; no other text holds it.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    letters: String,
    /// For fields that hold hex digits.
    hex: String,
    /// The store's user who reads private containers.
    reader: String,
}

impl Mark {
    /// One that nothing on this machine holds. A store that knows its users says who the reader is.
    pub(crate) fn new(reader: Option<&str>) -> Self {
        let random = Uuid::new_v4().simple().to_string();
        let letter = |c: char| char::from(b'g' + u8::try_from(c.to_digit(16).unwrap_or(0)).unwrap_or(0));
        let letters = format!("zq{}", random[..10].chars().map(letter).collect::<String>());
        let reader = reader.map_or_else(|| format!("{letters}swift"), str::to_owned);
        Self { letters, hex: random[24..].to_owned(), reader }
    }

    /// A word of a field and a request.
    pub(crate) fn word(&self, field: &str, label: &str) -> String {
        format!("{}{field}{label}", self.letters)
    }

    /// How all its words begin.
    pub(crate) fn letters(&self) -> &str {
        &self.letters
    }

    /// The words of this mark in a text, in lower case. The first character may be hidden behind an escape.
    pub(crate) fn words(&self, text: &[u8]) -> BTreeSet<String> {
        let text = String::from_utf8_lossy(text).to_lowercase();
        let of = |run: &str| {
            let find = |text: &str| run.find(text);
            let at = find(&self.letters[1..]).or_else(|| find(&self.hex)).or_else(|| find(&self.reader))?;
            Some(run[at..].to_owned())
        };
        text.split(|c: char| !c.is_ascii_alphanumeric()).filter_map(of).collect()
    }

    /// The text with the words of another mark in place of this one's: what never was.
    pub(crate) fn to(&self, other: &Self, text: &str) -> String {
        text.replace(&self.letters, &other.letters)
            .replace(&self.letters.to_uppercase(), &other.letters.to_uppercase())
            .replace(&self.hex, &other.hex)
            .replace(&self.hex.to_uppercase(), &other.hex.to_uppercase())
    }
}

/// A request that is planted.
#[derive(Debug, Clone)]
pub(crate) struct Planted {
    pub(crate) label: &'static str,
    pub(crate) mark: Mark,
    pub(crate) arch: &'static str,
    pub(crate) params: Value,
}

impl Planted {
    /// A request for `arch` with a word in every field that a run has; `env` is the stand-in's. It has no readers.
    pub(crate) fn public(mark: &Mark, label: &'static str, arch: &'static str, env: &[&str]) -> Self {
        let w = |field: &str| mark.word(field, label);
        let mut variables = vec![format!("{}={}", w("env").to_uppercase(), w("value"))];
        variables.extend(env.iter().map(|variable| (*variable).to_owned()));
        // Labels have at most six letters: they fill the last part of a uuid.
        let number = label.bytes().fold(0_u64, |number, byte| (number << 8) | u64::from(byte));
        let params = json!({
            "triggers": [format!("{}/1.{}", w("source"), w("version")), format!("{}/2", w("second"))],
            "env": variables,
            "testname": w("test"),
            "requester": w("asker"),
            "submit-time": w("time"),
            "uuid": format!("{}-0000-4000-8000-{number:012x}", mark.hex),
        });
        Self { label, mark: mark.clone(), arch, params }
    }

    /// The same with a PPA's credentials, readers, and keys that nobody knows.
    pub(crate) fn private(mark: &Mark, label: &'static str, arch: &'static str, env: &[&str]) -> Self {
        let mut planted = Self::public(mark, label, arch, env);
        let w = |field: &str| mark.word(field, label);
        let ppa = format!("{}@{}/{}:{}", planted.login(), w("owner"), w("ppa"), mark.hex.to_uppercase());
        planted.params["ppas"] = json!([ppa]);
        planted.params["swiftuser"] = json!(mark.reader);
        planted.params["readable-by"] = json!([mark.word("reader", "")]);
        planted.params[w("key")] = json!({w("inner"): [w("unknown")]});
        planted.params["release"] = json!(w("release"));
        planted
    }

    /// The same without one parameter.
    pub(crate) fn without(mut self, key: &str) -> Self {
        if let Some(params) = self.params.as_object_mut() {
            params.remove(key);
        }
        self
    }

    /// The same with one parameter more.
    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        self.params[key] = value;
        self
    }

    pub(crate) fn package(&self) -> String {
        self.mark.word("pkg", self.label)
    }

    pub(crate) fn uuid(&self) -> &str {
        self.params["uuid"].as_str().unwrap_or_default()
    }

    /// `user:token` of its PPA.
    pub(crate) fn login(&self) -> String {
        format!("{}:{}", self.mark.word("user", self.label), self.mark.word("tok", self.label))
    }

    pub(crate) fn is_private(&self) -> bool {
        self.params["swiftuser"].is_string()
    }

    pub(crate) fn container(&self) -> String {
        let private = if self.is_private() { "private-" } else { "" };
        if !self.params["ppas"].is_array() {
            return format!("{private}autopkgtest-noble");
        }
        let w = |field: &str| self.mark.word(field, self.label);
        format!("{private}autopkgtest-noble-{}-{}", w("owner"), w("ppa"))
    }

    /// The queue that a client sends it to.
    pub(crate) fn queue(&self) -> String {
        let context = if self.params["ppas"].is_array() { "ppa-" } else { "" };
        format!("debci-{context}noble-{}", self.arch)
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        body(&self.package(), &self.params)
    }
}

/// Users and tokens of PPAs, in clear and in what a database writes as hex digits: no place may hold them.
pub(crate) fn tokens(mark: &Mark, text: &[u8]) -> BTreeSet<String> {
    let clear = mark.words(text);
    let unhexed = mark.words(&from_hex(&String::from_utf8_lossy(text)));
    let field = |word: &str| word.get(mark.letters.len() - 1..).unwrap_or_default().to_owned();
    let is_login = |word: &String| ["user", "tok"].iter().any(|begin| field(word).starts_with(begin));
    clear.into_iter().chain(unhexed).filter(is_login).collect()
}

/// A database writes bytes as hex digits: all runs of them, read.
fn from_hex(text: &str) -> Vec<u8> {
    let runs = text.split(|c: char| !c.is_ascii_hexdigit()).filter(|run| run.len() > 20);
    let byte = |run: &str, at: usize| run.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    runs.flat_map(|run| (0..run.len()).step_by(2).filter_map(move |at| byte(run, at)).chain([b' '])).collect()
}
