//! What the filters of lists have in common.

use globset::{GlobBuilder, GlobMatcher};
use url::form_urlencoded;

use super::parameter;
use crate::failure::Failure;

/// Longer names there are none.
const LONGEST: usize = 200;

/// A filter's text; empty where the address says nothing.
pub(crate) fn text(query: Option<&str>, name: &str) -> Result<String, Failure> {
    let text = parameter(query, name).unwrap_or_default().trim().to_owned();
    // PostgreSQL has no NUL in texts.
    if text.contains('\0') { Err(Failure::bad("A filter holds a NUL.", "")) } else { Ok(text) }
}

/// An address with those of these parameters that say something.
pub(crate) fn address(base: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    let query = query.finish();
    if query.is_empty() { base.to_owned() } else { format!("{base}?{query}") }
}

/// Names with wildcards, as a filter has them; empty: all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wildcard {
    text: String,
    matcher: Option<GlobMatcher>,
}

impl Wildcard {
    /// The filter of this name.
    pub(crate) fn read(query: Option<&str>, name: &str) -> Result<Self, Failure> {
        let text = text(query, name)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || ".+-_*?".contains(c);
        if text.len() > LONGEST || !text.chars().all(is_name) {
            let advice = "A name may hold letters, digits, . + - and _; * stands for any of them, ? for one.";
            return Err(Failure::bad(format!("{name} is no name."), advice));
        }
        let matcher = if text.contains(['*', '?']) { Self::glob(&text) } else { None };
        Ok(Self { text, matcher })
    }

    fn glob(text: &str) -> Option<GlobMatcher> {
        GlobBuilder::new(text).build().ok().map(|glob| glob.compile_matcher())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(crate) fn fits(&self, name: &str) -> bool {
        match &self.matcher {
            Some(matcher) => matcher.is_match(name),
            None => self.text.is_empty() || self.text == name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_is_left_out() {
        assert_eq!(address("/x", &[("a", "1 &"), ("b", "")]), "/x?a=1+%26");
        assert_eq!(address("/x", &[("b", "")]), "/x");
    }

    #[test]
    fn names_with_wildcards() {
        let fits = |pattern: &str, name: &str| {
            let query = address("", &[("package", pattern)]);
            Wildcard::read(query.strip_prefix('?'), "package").map(|wildcard| wildcard.fits(name))
        };
        for (pattern, name, is) in [
            ("", "green", true),
            ("green", "green", true),
            ("green", "greenhouse", false),
            ("lib*-perl", "libfoo-perl", true),
            ("lib*++", "libstdc++", true),
            ("gree?", "green", true),
            ("*", "green", true),
        ] {
            assert_eq!(fits(pattern, name).unwrap(), is, "{pattern} {name}");
        }
        for bad in ["a b", "a\0", "[a]", "{a,b}", "é"] {
            assert!(fits(bad, "a").is_err(), "{bad}");
        }
    }
}
