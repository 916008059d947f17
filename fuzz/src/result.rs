//! Results: `result.tar` as it is read back, and `testinfo.json` as a test left it.

use std::sync::LazyLock;

use proofhouse_core::{
    evidence::{self, Contents},
    index::Said,
    request::Request,
};
use proofhouse_worker::untrusted;
use uuid::Uuid;

use crate::choice;

const NAMES: [&str; 6] =
    ["exitcode", "testpkg-version", "duration", "testinfo.json", "requester", "./exitcode"];
const BLOCK: usize = 512;
/// `result.tar` travels in a message.
const MAX_TESTINFO: usize = 1 << 19;

/// A `result.tar` is read as far as it goes, and says nothing that a database or a page cannot hold.
pub(crate) fn tar(data: &[u8]) {
    let (how, data) = choice(data);
    let bytes = if how % 2 == 0 { summed(data) } else { made(data) };
    let said = Said::of(&bytes);
    match &said {
        Ok(said) => {
            let texts = [&said.triggers, &said.requester, &said.rule];
            let texts = texts.into_iter().flatten().chain([&said.version, &said.env]);
            texts.for_each(|text| assert!(!text.contains(char::is_control), "{text:?}"));
            assert!(!said.version.is_empty() && said.version.chars().count() <= 1000);
            assert!(said.duration_seconds >= 0);
        }
        Err(reason) => assert!(reason.len() < 1000),
    }
    assert!(evidence::damage(&bytes).is_some() || said.is_ok(), "{said:?}");
    let contents = Contents::of(&bytes);
    assert_eq!(contents.damage, evidence::damage(&bytes));
    assert!(contents.tests.iter().flatten().all(|test| test.name.chars().count() <= 200));
    let (tests, _) = evidence::test_packages(data);
    assert!(tests.values().all(|packages| packages.versions.len() <= 20_000));
}

/// The bytes, with right sums where they may be a member's header.
fn summed(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_owned();
    for block in bytes.chunks_exact_mut(BLOCK).filter(|block| &block[257..262] == b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

/// A sound archive of the parts between bytes 0xff, cut off where the first says.
fn made(data: &[u8]) -> Vec<u8> {
    let (cut, data) = choice(data);
    let parts = data.split(|byte| *byte == 0xff).take(2 * NAMES.len());
    let members: Vec<_> =
        NAMES.iter().cycle().zip(parts).map(|(name, part)| (*name, part.to_owned())).collect();
    let mut tar = evidence::result_tar(&members).expect("memory takes what is written");
    tar.truncate(tar.len().saturating_sub(usize::from(cut) * 64));
    tar
}

static REQUESTS: LazyLock<[Request; 3]> = LazyLock::new(|| {
    [
        "green",
        r#"green {"triggers": ["green/2", "a/1"], "requester": "joe"}"#,
        r#"green {"triggers": ["migration-reference/0"], "testname": "t", "all-proposed": "1"}"#,
    ]
    .map(|body| Request::parse(body.as_bytes()).expect("a request"))
});

/// Whatever a test leaves as `testinfo.json`, readers find the request's own triggers and name.
pub(crate) fn testinfo(data: &[u8]) {
    let (which, data) = choice(data);
    let request = &REQUESTS[usize::from(which) % REQUESTS.len()];
    let uuid = Uuid::from_u128(7);
    let text = untrusted::testinfo(data, request, uuid);
    assert!(text.len() <= MAX_TESTINFO, "{}", text.len());
    let members = [("exitcode", b"4\n".to_vec()), ("testinfo.json", text.into_bytes())];
    let said = Said::of(&evidence::result_tar(&members).expect("memory takes what is written"));
    let said = said.expect("it has an exit code");
    let triggers: Vec<String> = request.triggers.iter().map(ToString::to_string).collect();
    assert_eq!(said.triggers.unwrap_or_default(), triggers.join(" "));
    assert_eq!(said.uuid, Some(uuid));
}
