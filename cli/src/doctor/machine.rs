//! What can be found out about this machine.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

use super::check::Check;

/// A program that does not answer is given up after this.
const LIMIT: Duration = Duration::from_secs(20);

/// Where a program is: a path as it stands, or a name found in PATH.
pub(super) fn find(program: &Path) -> Option<PathBuf> {
    let runs = |path: &Path| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 {
        return runs(program).then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| runs(file))
}

/// A program that a package brings.
pub(super) fn program(name: &str, package: &str) -> Check {
    match find(Path::new(name)) {
        Some(path) => Check::good(name, path.display().to_string()),
        None => Check::bad(name, "not in PATH", format!("apt-get install {package}")),
    }
}

/// What a command prints, or the last line of what it complains about.
pub(super) async fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(LIMIT, command.output()).await {
        Ok(output) => output.map_err(|e| e.to_string())?,
        Err(_) => return Err(format!("no answer within {} seconds", LIMIT.as_secs())),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Err(last.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned()))
}

/// A range of subordinate ids of the user in the text of /etc/subuid or /etc/subgid: `user:first:count`.
pub(super) fn subordinate_ids<'a>(text: &'a str, user: &str, id: u32) -> Option<&'a str> {
    let id = id.to_string();
    text.lines().map(str::trim).find(|line| {
        let mut fields = line.split(':');
        let owner = fields.next().is_some_and(|owner| owner == user || owner == id);
        let count = fields.nth(1).and_then(|count| count.parse::<u64>().ok());
        // A Debian system has ids up to 65535 (nobody, nogroup).
        owner && count.is_some_and(|count| count >= 65_536)
    })
}

/// Room on the disk that a folder is, or will be, on.
pub(super) fn free_room(folder: &Path) -> Option<u64> {
    let folder = std::path::absolute(folder).ok()?;
    let there = folder.ancestors().find(|path| path.exists())?;
    let stat = nix::sys::statvfs::statvfs(there).ok()?;
    Some(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_of_a_user() {
        let text = "joe:100000:65536\nsmall:200000:1000\n1001:300000:65536\n";
        for (user, id, found) in
            [("joe", 1, true), ("jo", 1, false), ("small", 2, false), ("ann", 1001, true), ("ann", 7, false)]
        {
            assert_eq!(subordinate_ids(text, user, id).is_some(), found, "{user}");
        }
        assert_eq!(subordinate_ids("", "root", 0), None);
    }

    #[test]
    fn programs() {
        assert!(find(Path::new("sh")).is_some() && find(Path::new("/bin/sh")).is_some());
        assert!(find(Path::new("no-such-program")).is_none() && find(Path::new("/etc/passwd")).is_none());
        assert!(free_room(Path::new("/tmp/not/there/yet")).is_some_and(|free| free > 0));
    }

    #[tokio::test]
    async fn the_last_line_of_a_complaint() {
        assert_eq!(output("sh", &["-c", "echo yes"]).await, Ok("yes\n".to_owned()));
        assert_eq!(output("sh", &["-c", "echo a >&2; echo b >&2; exit 3"]).await, Err("b".to_owned()));
    }
}
