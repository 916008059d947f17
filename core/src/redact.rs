//! Takes what may be credentials out of what could not be taken: it is kept and shown to operators, without secrets.
//!
//! Secrets of a request that could be read are sealed instead ([`crate::seal`]).

use std::{borrow::Cow, sync::LazyLock};

use regex::bytes::{Captures, NoExpand, Regex};
use serde::de::IgnoredAny;

macro_rules! pattern {
    ($(#[$doc:meta])* $name:ident, $($text:expr),+) => {
        $(#[$doc])*
        static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(concat!("(?s-u)", $($text),+)).expect("a constant pattern"));
    };
}

/// A colon and an at sign as JSON can write them.
macro_rules! colon {
    () => {
        r"(?::|\\+u003[aA])"
    };
}
macro_rules! at {
    () => {
        r"(?:@|\\+u0040)"
    };
}

pattern!(
    /// `user:token@` within one text of a JSON document, to its last at sign: a token that breaks the pattern of a PPA (a '/',
    /// a ',', an '@' in it) is a token too.
    IN_ONE_TEXT, r#"[^\s"'\[\],{}/@:]*"#, colon!(), r#"(?:[^"\\]|\\.)+"#, at!()
);
pattern!(
    /// Where nobody can tell where a text ends.
    ANYWHERE, colon!(), ".*", at!()
);
pattern!(
    /// A text that the document's end cut off in the middle, perhaps of a token.
    CUT_OFF, r#""[^"\s]*"#, colon!(), r#"[^"\s\[{][^"]*$"#
);
pattern!(PPAS, r#"("ppas"\s*:)([^\]]*)"#);
pattern!(
    /// A PPA with a colon before its slash that no at sign follows: its user and token, badly put.
    COLON_FIRST, r#""[^"/\s]*"#, colon!(), r#"(?:[^"\\]|\\.)*""#
);

const MARK: NoExpand = NoExpand(b"***@");

/// A body that was refused, without what may be a PPA's credentials.
pub fn body(body: &[u8]) -> Vec<u8> {
    let pattern = if is_json(body) { &IN_ONE_TEXT } else { &ANYWHERE };
    let body = pattern.replace_all(body, MARK);
    let ppas =
        |found: &Captures| [&found[1], &COLON_FIRST.replace_all(&found[2], NoExpand(b"\"***\""))].concat();
    let body = PPAS.replace_all(&body, ppas);
    CUT_OFF.replace_all(&body, NoExpand(b"\"***")).into_owned()
}

/// A value that was refused, as an error may say it.
pub fn value(text: &str) -> Cow<'_, str> {
    match ANYWHERE.replace_all(text.as_bytes(), MARK) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// True for a word and a JSON document: then it is certain where each text in it ends.
fn is_json(body: &[u8]) -> bool {
    let text = std::str::from_utf8(body).ok();
    let params = text.and_then(|text| text.trim().split_once(char::is_whitespace));
    params.is_some_and(|(_, json)| serde_json::from_str::<IgnoredAny>(json.trim()).is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn shown(text: &str) -> String {
        String::from_utf8(body(text.as_bytes())).unwrap()
    }

    #[test]
    fn only_the_credentials_go() {
        for (token, rest) in [
            ("joe:s3cret@own/foo", "***@own/foo"),
            ("joe:s3/cret@own/foo", "***@own/foo"),
            ("joe:a,s3/cret@own/foo", "***@own/foo"),
            ("joe:x@s3/cret@own/foo", "***@own/foo"),
            (":s3/cret@own/foo", "***@own/foo"),
            ("joe:s3 'cr]et@own/foo", "***@own/foo"),
            (r#"joe:s3\"cret@own/foo"#, "***@own/foo"),
            (r"joe\u003as3cret\u0040own/foo", "***@own/foo"),
            (r"\u006aoe\u003A\u00733cret\u0040own/foo", "***@own/foo"),
            ("joe:s3cret/own/foo", "***"),
            (r"joe\u003as3cret/own/foo", "***"),
            ("own/foo:ABCD", "own/foo:ABCD"),
            ("a/b", "a/b"),
        ] {
            let with = |ppa: &str| format!("green {{\"ppas\": [\"a/b\", \"{ppa}\"], \"x\": \"1:2\"}}");
            assert_eq!(shown(&with(token)), with(rest), "{token}");
        }
        let git = shown(r#"green {"test-git": "https://joe:s3cret@host/x", "env": 1}"#);
        assert_eq!(git, r#"green {"test-git": "***@host/x", "env": 1}"#);
        let plain = "green {\"triggers\": [\"a/1:2\"], \"submit-time\": \"2026-11-21 05:36:34\"";
        assert_eq!(shown(plain), plain);
    }

    #[test]
    fn unreadable_bodies_lose_all_that_may_be_one() {
        let bytes = body(b"green {\"ppas\": [\"joe:s3cret@own/foo\", \"a/b\"], \xff \"swiftuser\": 1");
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            !text.contains("s3cret") && text.ends_with("***@own/foo\", \"a/b\"], \u{fffd} \"swiftuser\": 1")
        );
        for body in [
            r#"green {"ppas": ["joe:s3cret@own/foo"]"#,
            r#"green {"ppas": ["joe\u003as3cret\u0040own/foo"]"#,
            r#"green {"ppas": ["joe:x"s3cret@own/foo"]}"#,
            r#"green {"ppas: ["joe:s3cret@own/foo"]}"#,
            "green {'ppas': ['joe:s3cret@own/foo']}",
            "green {'ppas': ['joe:x s3cret@own/foo']}",
            r#"green {"ppas": ["joe:s3cret"#,
            r#"green {"ppas": ["a:b@c/d", "joe:s3cret"#,
            r#"green {"ppas": ["joe:s3cret", "#,
            "joe:s3cret@own/foo",
            "{\"ppas\": [\"joe:s3cret@own/foo\"]}",
        ] {
            assert!(!shown(body).contains("s3cret"), "{body}: {}", shown(body));
        }
    }

    #[test]
    fn values_in_errors() {
        assert_eq!(value("https://joe:s3cret@host"), "https***@host");
        assert_eq!(value("green/1:2"), "green/1:2");
    }

    /// Any character as `\u` and its number.
    fn escaped(text: &str) -> String {
        text.encode_utf16().fold(String::new(), |all, unit| all + &format!("\\u{unit:04x}"))
    }

    proptest! {
        #[test]
        fn no_token_is_left_however_it_is_written(token in "[!-9;-?A-~ ]{6,20}", way in 0..4, broken: bool) {
            let ppa = format!("joe:{token}@own/foo");
            let text = match way {
                0 => Value::from(ppa).to_string(),
                1 => format!("\"{}\"", escaped(&ppa)),
                2 => format!("\"joe\\u003a{}\\u0040own/foo\"", escaped(&token)),
                _ => Value::from(Value::from(ppa).to_string()).to_string(),
            };
            let end = if broken { "" } else { "}" };
            let shown = shown(&format!("green {{\"triggers\": [\"a/1\"], \"ppas\": [{text}]{end}"));
            for left in [token.clone(), escaped(&token), Value::from(token).to_string().trim_matches('"').to_owned()] {
                prop_assert!(!shown.contains(&left), "{} in {}", left, shown);
            }
        }
    }
}
