//! The arguments of autopkgtest that follow from a request alone: the worker runs it with them, and the site shows them to who
//! wants to repeat it (contract "The command line, in this order").

use crate::{names::Pair, params::Trigger, request::Request};

/// Releases whose i386 is a whole architecture; since focal it is a partial one, tested on amd64's image.
const WHOLE_I386: [&str; 4] = ["precise", "trusty", "xenial", "bionic"];

/// The pair is tested on the image of another architecture.
pub fn is_partial(pair: &Pair) -> bool {
    pair.arch.as_str() == "i386" && !WHOLE_I386.contains(&pair.release.as_str())
}

/// The architecture of the testbed's image: amd64 where i386 is partial.
pub fn image_arch(pair: &Pair) -> &str {
    if is_partial(pair) { "amd64" } else { pair.arch.as_str() }
}

/// 4: what a partial architecture needs.
pub fn partial(pair: &Pair) -> &'static [&'static str] {
    if is_partial(pair) { &["-a", "i386"] } else { &[] }
}

/// 8: what of -proposed is used.
pub fn pocket(request: &Request) -> Option<String> {
    let from_clone = request.test_git.is_some() || request.test_bzr.is_some();
    if from_clone || (!request.ppas.is_empty() && !request.all_proposed) {
        return None;
    }
    let all = "--apt-pocket=proposed";
    let sources: Vec<String> = request
        .triggers
        .iter()
        .filter(|trigger| !trigger.is_baseline())
        .map(|trigger| format!("src:{}", trigger.source))
        .collect();
    match (request.all_proposed, sources.is_empty()) {
        (true, _) => Some(all.to_owned()),
        (false, true) => None,
        // A kernel and its many packages are of no use one without the other.
        (false, false) if request.package.as_str().starts_with("linux") => Some(all.to_owned()),
        (false, false) => Some(format!("{all}={}", sources.join(","))),
    }
}

/// 11: the environment, and the test's name.
pub fn environment(request: &Request) -> impl Iterator<Item = String> {
    let env = request.env.iter().map(|variable| format!("--env={variable}"));
    let triggers = adt_test_triggers(&request.triggers).map(|variable| format!("--env={variable}"));
    let testname = request.testname.as_ref().map(|name| format!("--testname={name}"));
    env.chain(triggers).chain(testname)
}

/// `ADT_TEST_TRIGGERS=a/1 b/2`, where there are triggers: for the test, and for those who read its result.
pub fn adt_test_triggers(triggers: &[Trigger]) -> Option<String> {
    let words: Vec<String> = triggers.iter().map(ToString::to_string).collect();
    (!words.is_empty()).then(|| format!("ADT_TEST_TRIGGERS={}", words.join(" ")))
}
