//! Which part of a log an address asks for.

use regex::bytes::{Regex, RegexBuilder};
use url::form_urlencoded;

use crate::failure::Failure;

/// Longest text that is searched for, in characters.
pub(crate) const LONGEST_QUERY: usize = 200;
/// What a pattern may take once it is compiled, in bytes.
const LARGEST_PATTERN: usize = 1 << 20;

/// Which part of a log an address asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// From this line on.
    pub(crate) from: Option<u64>,
    /// Only lines in which this is.
    pub(crate) query: Option<String>,
    /// The text is a regular expression.
    pub(crate) regex: bool,
    /// Capitals count.
    pub(crate) case: bool,
    /// Which log, beside the path.
    container: Option<String>,
}

impl Wanted {
    /// Reads a query. Names that are not known are skipped.
    pub(crate) fn parse(query: &str) -> Result<Self, Failure> {
        let mut wanted = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty()) {
            match &*name {
                "from" => wanted.from = Some(line(&value)?),
                "q" => wanted.query = Some(text(&value)?),
                "regex" => wanted.regex = switch("regex", &value)?,
                "case" => wanted.case = switch("case", &value)?,
                "container" => wanted.container = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(wanted)
    }

    /// What a line is searched with.
    pub(crate) fn pattern(&self) -> Result<Option<Regex>, Failure> {
        let Some(query) = &self.query else { return Ok(None) };
        let pattern = if self.regex { query.clone() } else { regex::escape(query) };
        let built = RegexBuilder::new(&pattern)
            .case_insensitive(!self.case)
            .size_limit(LARGEST_PATTERN)
            .dfa_size_limit(LARGEST_PATTERN)
            .build();
        let advice = "Mind the brackets, or search for it as a text.";
        built
            .map(Some)
            .map_err(|_| Failure::bad("q is no regular expression, or one that takes too much.", advice))
    }

    /// The log itself, beside the path: as names and values.
    pub(crate) fn log(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.container.iter().map(|container| ("container", container.as_str()))
    }

    /// The same search, or the log as it is, from a line on.
    pub(crate) fn link(&self, path: &str, searching: bool, from: Option<u64>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.log());
        if let Some(text) = self.query.as_deref().filter(|_| searching) {
            query.append_pair("q", text);
            let switches = [("regex", self.regex), ("case", self.case)];
            query.extend_pairs(switches.into_iter().filter(|(_, is)| *is).map(|(name, _)| (name, "1")));
        }
        if let Some(from) = from {
            query.append_pair("from", &from.to_string());
        }
        match query.finish() {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }
}

fn line(value: &str) -> Result<u64, Failure> {
    value
        .trim()
        .parse()
        .ok()
        .filter(|line| *line > 0)
        .ok_or_else(|| Failure::bad("from must be the number of a line.", "Lines are counted from 1."))
}

fn text(value: &str) -> Result<String, Failure> {
    if value.chars().count() > LONGEST_QUERY {
        let text = format!("q has more than {LONGEST_QUERY} characters.");
        return Err(Failure::bad(text, "Search for a part of it."));
    }
    Ok(value.to_owned())
}

fn switch(name: &str, value: &str) -> Result<bool, Failure> {
    match value {
        "1" | "on" | "true" => Ok(true),
        "0" | "off" | "false" => Ok(false),
        _ => Err(Failure::bad(format!("{name} must be 1 or 0."), "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let wanted = Wanted::parse("container=c&q=a+b%26&regex=&case=1&from=7&x=y").unwrap();
        assert_eq!((wanted.from, wanted.regex, wanted.case), (Some(7), false, true));
        assert_eq!(wanted.link("/log", true, Some(9)), "/log?container=c&q=a+b%26&case=1&from=9");
        assert_eq!(wanted.link("/log", false, None), "/log?container=c");
        assert_eq!(Wanted::parse("q=&from=").unwrap().link("/log", true, None), "/log");
        for bad in ["from=0", "from=x", "from=-1", "case=maybe", &format!("q={}", "x".repeat(201))] {
            assert_eq!(Wanted::parse(bad).unwrap_err().status, 400, "{bad}");
        }
    }

    #[test]
    fn patterns() {
        let of = |query: &str| Wanted::parse(query).unwrap().pattern();
        assert!(of("").unwrap().is_none());
        assert!(of("q=a.c").unwrap().unwrap().is_match(b"xA.Cx"));
        assert!(!of("q=a.c&case=1").unwrap().unwrap().is_match(b"xA.Cx"));
        assert!(!of("q=a.c").unwrap().unwrap().is_match(b"abc"));
        assert!(of("q=%5Ea.c%24&regex=1").unwrap().unwrap().is_match(b"abc"));
        for bad in ["q=(&regex=1", "q=(a%7B1000%7D)%7B1000%7D&regex=1"] {
            assert_eq!(of(bad).unwrap_err().status, 400, "{bad}");
        }
    }
}
