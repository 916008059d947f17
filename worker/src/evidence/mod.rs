//! What is kept of a run: `result.tar` and `artifacts.tar.gz` (contract "Objects").
//!
//! The output folder is hostile: a test may have left anything there.

mod artifacts;
mod result_tar;
mod testinfo;
mod version;

use std::{fs, io, path::Path};

use proofhouse_core::{outcome::ExitCode, request::Request};

pub(crate) use testinfo::{RunInfo, augment_bytes};
pub(crate) use version::newer_trigger;

use crate::files;

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) exit_code: ExitCode,
    /// Whole seconds.
    pub(crate) duration: u64,
}

/// Packs the artifacts, `limit` bytes of them at most, and reads `testpkg-version`, where it can be read.
pub(crate) fn collect(out: &Path, artifacts: &Path, limit: u64) -> io::Result<Option<String>> {
    fs::create_dir_all(out)?;
    let version = version::read(&out.join("testpkg-version"));
    artifacts::pack(out, artifacts, limit)?;
    Ok(version)
}

/// Adds what only we know to the output folder; the bytes of `result.tar`.
pub(crate) fn result_tar(
    out: &Path,
    request: &Request,
    run: &RunInfo,
    ending: Ending,
) -> io::Result<Vec<u8>> {
    fs::create_dir_all(out)?;
    let write = |name: &str, text: String| files::write_new(&out.join(name), text.as_bytes(), 0o644);
    write("exitcode", format!("{}\n", ending.exit_code))?;
    write("duration", format!("{}\n", ending.duration))?;
    if let Some(requester) = &request.requester {
        write("requester", format!("{requester}\n"))?;
    }
    write("testinfo.json", testinfo::augment(&out.join("testinfo.json"), request, run, ending.exit_code))?;
    let version = version::read(&out.join("testpkg-version"));
    let shown = version.unwrap_or_else(|| format!("{} unknown", request.package));
    write("testpkg-version", format!("{shown}\n"))?;
    result_tar::pack(out)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read, os::unix::fs::symlink};

    use super::*;

    fn run_info() -> RunInfo {
        RunInfo {
            uuid: uuid::Uuid::nil(),
            worker: "w".to_owned(),
            attempt: 2,
            rule: None,
            runner_exit_code: ExitCode(4),
        }
    }

    fn ending(code: i32) -> Ending {
        Ending { exit_code: ExitCode(code), duration: 12 }
    }

    fn members(tar: &[u8]) -> BTreeMap<String, String> {
        let mut archive = tar::Archive::new(tar);
        archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let name = entry.path().unwrap().display().to_string();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                (name, text)
            })
            .collect()
    }

    #[test]
    fn a_plain_run() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        for (name, text) in [
            ("testpkg-version", "green 2\n"),
            ("testbed-packages", "libc6\t2\n"),
            ("summary", "t1 PASS\n"),
            ("log", "the log"),
            ("t1-stdout", "out"),
        ] {
            fs::write(out.join(name), text).unwrap();
        }
        let body = b"green {\"requester\": \"joe\", \"triggers\": [\"green/2\"]}";
        let request = Request::parse(body).unwrap();
        let packed = dir.path().join("artifacts.tar.gz");
        assert_eq!(collect(&out, &packed, u64::MAX).unwrap().as_deref(), Some("green 2"));
        let members = members(&result_tar(&out, &request, &run_info(), ending(4)).unwrap());
        assert_eq!(
            members.keys().map(String::as_str).collect::<Vec<_>>(),
            [
                "duration",
                "exitcode",
                "requester",
                "summary",
                "testbed-packages",
                "testinfo.json",
                "testpkg-version"
            ]
        );
        assert_eq!((members["exitcode"].as_str(), members["duration"].as_str()), ("4\n", "12\n"));
        assert_eq!(
            (members["requester"].as_str(), members["testpkg-version"].as_str()),
            ("joe\n", "green 2\n")
        );
        assert_eq!(artifacts::tests::names(&packed), ["t1-stdout"]);
    }

    #[test]
    fn no_output_folder_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let request = Request::parse(b"green").unwrap();
        let packed = dir.path().join("artifacts.tar.gz");
        let out = dir.path().join("out");
        assert_eq!(collect(&out, &packed, u64::MAX).unwrap(), None);
        let members = members(&result_tar(&out, &request, &run_info(), ending(20)).unwrap());
        assert_eq!(members["testpkg-version"], "green unknown\n");
        assert!(members["testinfo.json"].contains("\"attempts\": 2"));
    }

    #[test]
    fn links_out_of_the_folder_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        let secret = dir.path().join("secret");
        fs::write(&secret, "root:x hash\n").unwrap();
        for name in
            ["testpkg-version", "testinfo.json", "testbed-packages", "summary", "exitcode", "duration"]
        {
            symlink(&secret, out.join(name)).unwrap();
        }
        let request = Request::parse(b"green").unwrap();
        let packed = dir.path().join("artifacts.tar.gz");
        assert_eq!(collect(&out, &packed, u64::MAX).unwrap(), None);
        let result_tar = result_tar(&out, &request, &run_info(), ending(0)).unwrap();
        assert!(!String::from_utf8_lossy(&result_tar).contains("root:x"));
        assert_eq!(fs::read_to_string(&secret).unwrap(), "root:x hash\n");
    }
}
