//! A file of rules. Strict: what is not known is a mistake, and each mistake names its line.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use globset::GlobBuilder;
use regex::bytes::RegexBuilder;
use serde::Deserialize;
use toml::Spanned;

use super::{Reads, Rule, SHIPPED, class_of};
use crate::{
    config::{Mistake, Place},
    outcome::{ExitCode, RuleVerdict, decided_by},
};

/// The size of a compiled pattern, in bytes.
const SIZE_LIMIT: usize = 1 << 20;
const LONGEST_NAME: usize = 60;
/// All exit codes that a rule can be about.
const FAILING: [i32; 4] = [4, 6, 12, 14];
const TESTBED: [i32; 1] = [ExitCode::TESTBED.0];

/// A file of rules that cannot be used: everything that is wrong with it, a line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rules cannot be used:\n  {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "))]
pub struct BadRules(pub Vec<Mistake>);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    off: Vec<Spanned<String>>,
    #[serde(default)]
    rule: Vec<Draft>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    name: Spanned<String>,
    verdict: RuleVerdict,
    #[serde(rename = "match")]
    pattern: Spanned<String>,
    exit_codes: Option<Vec<Spanned<i32>>>,
    reads: Option<Reads>,
    #[serde(default)]
    not_for: Vec<Spanned<String>>,
    why: Spanned<String>,
}

/// The shipped rules.
pub(super) fn shipped() -> Result<Vec<Rule>, BadRules> {
    let mut rules = parse(SHIPPED, Path::new("defaults.toml"), Vec::new())?;
    for rule in &mut rules {
        rule.shipped = true;
    }
    Ok(rules)
}

/// The rules of a text, and those of `shipped` that it does not switch off.
pub(super) fn parse(text: &str, path: &Path, mut shipped: Vec<Rule>) -> Result<Vec<Rule>, BadRules> {
    let mut reading = Reading { text, path: path.to_owned(), mistakes: Vec::new() };
    let file: File = toml::from_str(text).map_err(|error| {
        reading.mistake(error.span().map_or(0, |span| span.start), "not rules", error.message());
        BadRules(std::mem::take(&mut reading.mistakes))
    })?;
    for name in &file.off {
        let known = shipped.len();
        shipped.retain(|rule| rule.name != *name.get_ref());
        if shipped.len() == known {
            reading.mistake(
                name.span().start,
                "off",
                format!("{:?} is no shipped rule (proofhouse rules ls)", name.get_ref()),
            );
        }
    }
    let mut taken: HashSet<String> = shipped.iter().map(|rule| rule.name.clone()).collect();
    let own: Vec<Rule> = file.rule.into_iter().map(|draft| reading.rule(draft, &mut taken)).collect();
    if reading.mistakes.is_empty() { Ok([own, shipped].concat()) } else { Err(BadRules(reading.mistakes)) }
}

struct Reading<'a> {
    text: &'a str,
    path: PathBuf,
    mistakes: Vec<Mistake>,
}

impl Reading<'_> {
    fn mistake(&mut self, offset: usize, name: &str, what: impl std::fmt::Display) {
        let line = self.text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1;
        let place = Place::File { file: self.path.clone(), line };
        self.mistakes.push(Mistake::at(&place, name, what));
    }

    /// The rule; where something is wrong with it, that is noted.
    fn rule(&mut self, draft: Draft, taken: &mut HashSet<String>) -> Rule {
        self.check_name(&draft.name, taken);
        self.check_pattern(&draft.pattern);
        if draft.why.get_ref().trim().is_empty() {
            self.mistake(draft.why.span().start, "why", "a sentence for people is missing");
        }
        let (codes, reads) = match draft.verdict {
            RuleVerdict::Infrastructure => (&FAILING[..], Reads::Autopkgtest),
            RuleVerdict::Package => (&TESTBED[..], Reads::Everything),
        };
        let exit_codes = match draft.exit_codes {
            Some(given) => self.exit_codes(&given, draft.verdict, codes),
            None => codes.iter().copied().map(ExitCode).collect(),
        };
        Rule {
            name: draft.name.into_inner(),
            verdict: draft.verdict,
            pattern: draft.pattern.into_inner(),
            exit_codes,
            reads: draft.reads.unwrap_or(reads),
            globs: draft.not_for.iter().filter_map(|glob| self.glob(glob)).collect(),
            not_for: draft.not_for.into_iter().map(Spanned::into_inner).collect(),
            why: draft.why.into_inner(),
            shipped: false,
        }
    }

    fn check_name(&mut self, name: &Spanned<String>, taken: &mut HashSet<String>) {
        let (at, name) = (name.span().start, name.get_ref());
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(allowed) {
            self.mistake(
                at,
                "name",
                format!("{name:?} is no name: up to {LONGEST_NAME} of a-z, 0-9 and - are"),
            );
        } else if decided_by::ALL.contains(&name.as_str()) {
            self.mistake(at, "name", format!("{name:?} says something else in results"));
        } else if !taken.insert(name.clone()) {
            self.mistake(
                at,
                "name",
                format!("{name:?} is the name of another rule; `off` switches a shipped one off"),
            );
        }
    }

    fn check_pattern(&mut self, pattern: &Spanned<String>) {
        let at = pattern.span().start;
        match RegexBuilder::new(pattern.get_ref()).unicode(false).size_limit(SIZE_LIMIT).build() {
            Ok(regex) if regex.is_match(b"") => self.mistake(at, "match", "matches every line"),
            Ok(_) => {}
            Err(error) => {
                // The text shows the place with a mark on a line of its own; the last line says what is wrong.
                let text = error.to_string();
                let what = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                self.mistake(
                    at,
                    "match",
                    format!("{:?} is no regular expression: {what}", pattern.get_ref()),
                );
            }
        }
    }

    fn exit_codes(&mut self, given: &[Spanned<i32>], verdict: RuleVerdict, allowed: &[i32]) -> Vec<ExitCode> {
        let codes: Vec<ExitCode> = given.iter().map(|code| ExitCode(*code.get_ref())).collect();
        for (code, at) in codes.iter().zip(given) {
            if code.class() != class_of(verdict) {
                self.mistake(
                    at.span().start,
                    "exit_codes",
                    format!("{code} is none that such a verdict changes: {allowed:?} are"),
                );
            }
        }
        codes
    }

    fn glob(&mut self, glob: &Spanned<String>) -> Option<globset::GlobMatcher> {
        let built = GlobBuilder::new(glob.get_ref()).build();
        built
            .map(|glob| glob.compile_matcher())
            .map_err(|error| {
                let what = format!("{:?} is no glob: {}", glob.get_ref(), error.kind());
                self.mistake(glob.span().start, "not_for", what);
            })
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str =
        "[[rule]]\nname = \"mine\"\nverdict = \"package\"\nmatch = \"x\"\nwhy = \"Because.\"\n";

    fn read(text: &str) -> Result<Vec<Rule>, BadRules> {
        parse(text, Path::new("r.toml"), shipped()?)
    }

    fn mistakes(text: &str) -> Vec<String> {
        read(text).unwrap_err().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn own_rules_come_first_and_switch_shipped_ones_off() {
        let names = |text: &str| read(text).unwrap().into_iter().map(|rule| rule.name).collect::<Vec<_>>();
        let all = names("");
        assert_eq!(names(RULE), [&["mine".to_owned()], &all[..]].concat());
        let without = format!("off = [\"{}\"]\n{RULE}", all[1]);
        assert_eq!(names(&without).len(), all.len());
        assert!(!names(&without).contains(&all[1]));
        let in_its_place = without.replace("mine", &all[1]);
        assert_eq!(names(&in_its_place)[0], all[1]);
    }

    #[test]
    fn defaults_follow_the_verdict() {
        let rules =
            read(&format!("{RULE}{}", RULE.replace("mine", "b").replace("package", "infrastructure")));
        let rules = rules.unwrap();
        assert_eq!((&rules[0].exit_codes[..], rules[0].reads), (&[ExitCode(16)][..], Reads::Everything));
        assert_eq!(rules[1].exit_codes, FAILING.map(ExitCode));
        assert_eq!(rules[1].reads, Reads::Autopkgtest);
        assert!(!rules[0].shipped && rules[2].shipped);
    }

    #[test]
    fn mistakes_have_places() {
        let with = |more: &str| format!("{RULE}{more}\n");
        let taken = shipped().unwrap()[0].name.clone();
        for (text, expected) in [
            (with("exitcodes = [4]"), "r.toml:6: not rules: unknown field `exitcodes`"),
            ("of = []".to_owned(), "r.toml:1: not rules: unknown field `of`"),
            ("\nx = ".to_owned(), "r.toml:2: not rules: "),
            (RULE.replace("why = \"Because.\"\n", ""), "r.toml:1: not rules: missing field `why`"),
            (RULE.replace("\"package\"", "\"test\""), "r.toml:3: not rules: unknown variant `test`"),
            (with("reads = \"all\""), "r.toml:6: not rules: unknown variant `all`"),
            (with(RULE), "r.toml:7: name: \"mine\" is the name of another rule"),
            (RULE.replace("mine", &taken), "is the name of another rule; `off`"),
            (RULE.replace("mine", "exit-code"), "r.toml:2: name: \"exit-code\" says something else"),
            (RULE.replace("mine", "Mine"), "r.toml:2: name: \"Mine\" is no name"),
            (
                RULE.replace("\"x\"", "\"x(\""),
                "r.toml:4: match: \"x(\" is no regular expression: unclosed group",
            ),
            (RULE.replace("\"x\"", "\"x*\""), "r.toml:4: match: matches every line"),
            (RULE.replace("\"x\"", "'\\w{1000}{1000}'"), "r.toml:4: match: "),
            (RULE.replace("Because.", " "), "r.toml:5: why: a sentence for people is missing"),
            (
                with("exit_codes = [4]"),
                "r.toml:6: exit_codes: 4 is none that such a verdict changes: [16] are",
            ),
            (with("not_for = [\"a[\"]"), "r.toml:6: not_for: \"a[\" is no glob: "),
            ("off = [\"nothing\"]".to_owned(), "r.toml:1: off: \"nothing\" is no shipped rule"),
        ] {
            let found = mistakes(&text);
            assert!(found.len() == 1 && found[0].contains(expected), "{expected:?} in {found:?}");
        }
        let two = RULE.replace("mine", "Mine").replace("\"x\"", "\"\"");
        assert_eq!(mistakes(&two).len(), 2, "all at once");
    }
}
