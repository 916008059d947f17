//! Who descends from whom, and who belongs to a work folder: read from `/proc`.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The variable that marks every process of a run with its work folder.
pub(crate) const MARK: &str = "PROOFHOUSE_WORK";

/// All processes and their parents.
pub(crate) fn parents() -> HashMap<i32, i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return HashMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read(entry.path().join("stat")).ok()?;
            Some((pid, parent_of(&stat)?))
        })
        .collect()
}

/// The parent in a line of `/proc/N/stat`: the second field behind the name, which may itself hold blanks and brackets.
fn parent_of(stat: &[u8]) -> Option<i32> {
    let behind = stat.iter().rposition(|b| *b == b')')? + 1;
    std::str::from_utf8(&stat[behind..]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// All that descend from `roots`, without these.
fn descendants(roots: &HashSet<i32>, parents: &HashMap<i32, i32>) -> HashSet<i32> {
    let mut found: HashSet<i32> = HashSet::new();
    loop {
        let before = found.len();
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| roots.contains(parent) || found.contains(parent))
                .map(|(pid, _)| *pid)
                .collect::<Vec<_>>(),
        );
        if found.len() == before {
            return found;
        }
    }
}

/// Kills all descendants of this process.
pub(crate) fn kill_descendants() {
    let me = HashSet::from([Pid::this().as_raw()]);
    kill_all(&descendants(&me, &parents()));
}

/// Kills what earlier runs under `folder` left behind: processes that carry its mark, and their descendants.
pub(crate) fn kill_marked(folder: &Path) {
    let parents = parents();
    let mut marked: HashSet<i32> = parents.keys().copied().filter(|pid| is_marked(*pid, folder)).collect();
    marked.extend(descendants(&marked, &parents));
    marked.remove(&Pid::this().as_raw());
    kill_all(&marked);
}

fn is_marked(pid: i32, folder: &Path) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else {
        return false;
    };
    let prefix = format!("{MARK}=");
    environment
        .split(|b| *b == 0)
        .filter_map(|variable| variable.strip_prefix(prefix.as_bytes()))
        .any(|value| Path::new(std::ffi::OsStr::from_bytes(value)).starts_with(folder))
}

fn kill_all(pids: &HashSet<i32>) {
    for pid in pids {
        // It may be gone, or belong to a user namespace whose first process goes with it.
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_of_processes_with_odd_names() {
        assert_eq!(parent_of(b"12 (a) b) S 7 12 12"), Some(7));
        assert_eq!(parent_of(b"12 (sh) R 1"), Some(1));
        assert_eq!(parent_of(b""), None);
    }

    #[test]
    fn descendants_at_any_depth() {
        let parents = HashMap::from([(2, 1), (3, 2), (4, 3), (5, 1), (6, 9)]);
        let found = descendants(&HashSet::from([2]), &parents);
        assert_eq!(found, HashSet::from([3, 4]));
    }

    #[test]
    fn what_an_earlier_life_left_is_found_by_its_mark() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .env(MARK, folder.path().join("7.1"))
            .spawn()
            .unwrap();
        // Between fork and exec the child still has this test's environment.
        while !is_marked(i32::try_from(child.id()).unwrap(), folder.path()) {
            std::thread::yield_now();
        }
        kill_marked(folder.path());
        assert!(!child.wait().unwrap().success());
    }
}
