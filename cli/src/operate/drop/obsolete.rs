//! Which jobs are obsolete: all that triggered them has left the archive.

use proofhouse_core::{db::OperatedRow, params::Trigger};

use super::super::pass::{Change, Verdict};

pub(super) const REASON: &str = "the archive does not have its triggers any more";
pub(super) const UNKNOWN: &str = "the archive's indexes of their release are not known";
const NOT_OF_THE_ARCHIVE: &str = "what they test is not of the archive alone, or has no trigger";
const TOO_NEW: &str = "they came after the archive's indexes were made";
const CURRENT: &str = "a trigger of theirs is in the archive";

/// `as_of_us`: of when the indexes are. `has`: whether they name it.
pub(super) fn judge(job: &OperatedRow, as_of_us: i64, has: impl Fn(&Trigger) -> bool) -> Verdict {
    let Ok(request) = job.request() else { return Verdict::Leave(NOT_OF_THE_ARCHIVE) };
    let own_source = request.test_git.is_some() || request.build_git.is_some() || request.test_bzr.is_some();
    // What a private run tests may never have been in a public archive.
    let foreign = own_source || !request.ppas.is_empty() || request.is_private() || job.private;
    if foreign || request.triggers.is_empty() || request.is_baseline() {
        return Verdict::Leave(NOT_OF_THE_ARCHIVE);
    }
    if job.received_us >= as_of_us {
        return Verdict::Leave(TOO_NEW);
    }
    if request.triggers.iter().any(has) {
        return Verdict::Leave(CURRENT);
    }
    Verdict::Change(Change::End)
}

#[cfg(test)]
mod tests {
    use super::{super::super::filter::tests::job, *};

    fn of(params: &str) -> Verdict {
        judge(&job(1, params), 1_000_000_001, |trigger| trigger.to_string() == "green/2")
    }

    #[test]
    fn all_triggers_must_be_gone() {
        assert_eq!(of(r#"{"triggers": ["green/1"]}"#), Verdict::Change(Change::End));
        assert_eq!(
            of(r#"{"triggers": ["green/1", "blue/2"], "all-proposed": "1"}"#),
            Verdict::Change(Change::End)
        );
        assert_eq!(of(r#"{"triggers": ["green/1", "green/2"]}"#), Verdict::Leave(CURRENT));
    }

    #[test]
    fn what_is_not_of_the_archive_is_never_obsolete() {
        for params in [
            "{}",
            r#"{"triggers": ["migration-reference/0"]}"#,
            r#"{"triggers": ["green/1", "migration-reference/0"]}"#,
            r#"{"triggers": ["green/1"], "ppas": ["joe/foo"]}"#,
            r#"{"triggers": ["green/1"], "test-git": "https://example.org/a.git"}"#,
            r#"{"triggers": ["green/1"], "build-git": "https://example.org/a.git"}"#,
            r#"{"triggers": ["green/1"], "test-bzr": "lp:green"}"#,
            r#"{"triggers": ["green/1"], "swiftuser": "joe"}"#,
            "not JSON",
        ] {
            assert_eq!(of(params), Verdict::Leave(NOT_OF_THE_ARCHIVE), "{params}");
        }
    }

    #[test]
    fn indexes_that_are_older_than_the_request_say_nothing() {
        let row = job(1, r#"{"triggers": ["green/1"]}"#);
        assert_eq!(judge(&row, 1_000_000_000, |_| false), Verdict::Leave(TOO_NEW));
    }
}
