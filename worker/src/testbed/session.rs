//! A session of its own for each command in a testbed of `unshare`.
//!
//! Such a testbed numbers its processes by itself, and still they belong to autopkgtest's process group: a test that kills its
//! group, from wherever it believes to be, would kill autopkgtest with it, and its failure would look like one of ours.
//! autopkgtest and its server find `unshare` in PATH, and there another one stands first.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use crate::files;

const UNSHARE: &str = r#"#!/bin/sh
PATH=${PATH#"${0%/*}":}
exec setsid --wait unshare "$@"
"#;

/// Writes it below the work folder. Returns the PATH that leads to it.
pub(crate) fn path(work: &Path) -> io::Result<OsString> {
    let folder = work.join("bin");
    fs::create_dir(&folder)?;
    files::write_new(&folder.join("unshare"), UNSHARE.as_bytes(), 0o700)?;
    let others = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let all = std::iter::once(folder).chain(std::env::split_paths(&others).collect::<Vec<PathBuf>>());
    std::env::join_paths(all).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_unshared_leads_a_session_and_finds_the_real_one() {
        let work = tempfile::tempdir().unwrap();
        let script = r"printf '%s ' $$; cut -d ' ' -f 5,6 /proc/$$/stat; command -v unshare; exit 7";
        let path = path(work.path()).unwrap();
        let output = Command::new("sh")
            .args(["-c", "unshare sh -c \"$0\"", script])
            .env("PATH", path)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let [ids, found] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
        let [pid, group, session] = ids.split(' ').collect::<Vec<_>>()[..] else { panic!("{said}") };
        assert!(pid == group && pid == session, "{ids}");
        assert!(!Path::new(found).starts_with(work.path()), "{found}");
        assert_eq!(output.status.code(), Some(7));
    }
}
