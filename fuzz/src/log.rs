//! Logs: what is made of one while it streams by, and what a page shows of it.

use std::{io::Read, sync::LazyLock};

use bytes::Bytes;
use flate2::read::GzDecoder;
use proofhouse_core::{names::Package, outcome::ExitCode};
use proofhouse_worker::untrusted::{self, Logged};
use tokio::runtime::{Builder, Runtime};

use crate::{choice, gzip, html};

const SECRET: &str = "s3cr3t-t0k3n";
const BEFORE: &str = "autopkgtest [10:00:00]: starting date and time: 2026-11-21 10:00:00+0000
autopkgtest [10:00:01]: test a: preparing testbed
autopkgtest [10:00:02]: test a: [-----------------------
";
const BEHIND: &str = "autopkgtest [10:00:03]: test a: -----------------------]
autopkgtest [10:00:03]: test a:  - - - - - - - - - - results - - - - - - - - - -
a                    FAIL non-zero exit status 1
autopkgtest [10:00:03]: test a:  - - - - - - - - - - stderr - - - - - - - - - -
";
const SUMMARY: &str = "\nautopkgtest [10:00:04]: @@@@@@@@@@@@@@@@@@@@ summary
a                    FAIL non-zero exit status 1
";

static PACKAGE: LazyLock<Package> = LazyLock::new(|| "green".parse().expect("a package"));
thread_local!(static RUNTIME: Runtime = Builder::new_current_thread().build().expect("a runtime"));

/// No secret stays in a log, pieces make no difference, and nothing that a test prints counts as autopkgtest's own.
pub(crate) fn log(data: &[u8]) {
    let (size, data) = choice(data);
    let logged = |log: &[u8], size: usize| {
        untrusted::log(log.chunks(size.max(1)), &[SECRET, "t0k3n"]).expect("memory takes what is written")
    };
    let whole = logged(data, data.len());
    let pieces = logged(data, usize::from(size));
    let unpacked = unpack(&whole);
    assert_eq!(unpacked, unpack(&pieces));
    assert_eq!(whole.tail, pieces.tail);
    assert_eq!(whole.findings.matches(), pieces.findings.matches());
    assert!(!contains(&unpacked, SECRET) && !contains(&unpacked, "t0k3n") && !whole.tail.contains("t0k3n"));
    assert!(whole.tail.len() <= 3 * 4100);

    // What a test prints comes as its output, and once more as its stderr.
    let printed = [BEFORE.as_bytes(), data, BEHIND.as_bytes(), data, SUMMARY.as_bytes()].concat();
    let hit = logged(&printed, usize::from(size)).findings.decide(ExitCode(4), &PACKAGE);
    assert_eq!(hit, None, "a test forges a fault of the infrastructure");
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn unpack(logged: &Logged) -> Vec<u8> {
    let mut unpacked = Vec::new();
    GzDecoder::new(&logged.packed[..]).read_to_end(&mut unpacked).expect("a gzip file");
    unpacked
}

/// A page shows any `log.gz` as text alone.
pub(crate) fn page(data: &[u8]) {
    let (how, data) = choice(data);
    let packed = if how % 2 == 0 { gzip(data) } else { data.to_owned() };
    let size = usize::from(how).max(1) * 64;
    let pieces = packed.chunks(size).map(Bytes::copy_from_slice).collect();
    let page = RUNTIME.with(|runtime| runtime.block_on(proofhouse_web::untrusted::log_page(pieces)));
    html::check(&page.expect("the page is made"));
}
