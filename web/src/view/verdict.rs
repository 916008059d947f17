//! A run's outcome in a sentence: the first thing that its page says.

use proofhouse_core::outcome::Class;

use crate::evidence::TestData;

/// So many tests are named.
const NAMED: usize = 5;

/// What came out, and what that says of the package.
pub(crate) fn verdict(class: Class, tests: &[TestData]) -> String {
    match class {
        Class::Tmpfail => "The testbed failed, which says nothing about the package.".to_owned(),
        Class::Error | Class::Otherfail => {
            "The run itself failed, which says nothing about the package.".to_owned()
        }
        Class::Denylisted => "It was not run.".to_owned(),
        Class::Neutral => match tests.iter().find(|test| test.result == "skip") {
            Some(test) if !test.reason.is_empty() => format!("No test had its say: {}.", test.reason),
            _ => "No test had its say.".to_owned(),
        },
        Class::Fail => failed(tests),
        Class::Pass => passed(tests),
    }
}

fn failed(tests: &[TestData]) -> String {
    let failures: Vec<&str> = tests.iter().filter(|t| t.is_failure()).map(|t| t.name.as_str()).collect();
    match (failures.len(), tests.len()) {
        // A package that cannot be built or installed fails before any test.
        (0, _) => "It failed before a test had its say.".to_owned(),
        (1, 1) => format!("Its only test failed: {}.", failures[0]),
        (n, all) if n <= NAMED => format!("{n} of {all} tests failed: {}.", failures.join(", ")),
        (n, all) => {
            let named = failures[..NAMED].join(", ");
            format!("{n} of {all} tests failed: {named} and {} more.", n - NAMED)
        }
    }
}

fn passed(tests: &[TestData]) -> String {
    let count = |result: &str| tests.iter().filter(|test| test.result == result).count();
    let (passed, skipped, flaky) = (count("pass"), count("skip"), count("flaky"));
    match (passed, tests.len()) {
        (_, 0) => return "It passed.".to_owned(),
        (1, 1) => return "Its only test passed.".to_owned(),
        (n, all) if n == all => return format!("All {n} tests passed."),
        _ => {}
    }
    let mut parts = vec![format!("{passed} of {} tests passed", tests.len())];
    if skipped > 0 {
        parts.push(format!("{skipped} skipped"));
    }
    if flaky > 0 {
        parts.push(format!("{flaky} failed that the package calls flaky"));
    }
    format!("{}.", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests(results: &[&'static str]) -> Vec<TestData> {
        let test = |(n, result): (usize, &&'static str)| TestData {
            name: format!("t{n}"),
            result,
            reason: "why".to_owned(),
            seconds: None,
        };
        results.iter().enumerate().map(test).collect()
    }

    #[test]
    fn in_a_sentence() {
        for (class, results, text) in [
            (Class::Pass, &[][..], "It passed."),
            (Class::Pass, &["pass", "pass"], "All 2 tests passed."),
            (
                Class::Pass,
                &["pass", "skip", "flaky"],
                "1 of 3 tests passed, 1 skipped, 1 failed that the package calls flaky.",
            ),
            (Class::Fail, &["fail"], "Its only test failed: t0."),
            (Class::Fail, &["pass", "fail"], "1 of 2 tests failed: t1."),
            (Class::Fail, &["fail"; 7], "7 of 7 tests failed: t0, t1, t2, t3, t4 and 2 more."),
            (Class::Fail, &[], "It failed before a test had its say."),
            (Class::Neutral, &["skip"], "No test had its say: why."),
        ] {
            assert_eq!(verdict(class, &tests(results)), text);
        }
    }
}
