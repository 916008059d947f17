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

/// How often in a row those are looked for who were forked while the others were killed.
const ROUNDS: usize = 100;

/// What `/proc` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) parent: i32,
    threads: usize,
}

/// All processes.
pub(crate) fn all() -> HashMap<i32, Stat> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return HashMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read(entry.path().join("stat")).ok()?;
            Some((pid, read_stat(&stat)?))
        })
        .collect()
}

/// A line of `/proc/N/stat`. Behind the name, which may itself hold blanks and brackets, the parent is the second field and
/// the number of threads the eighteenth.
fn read_stat(stat: &[u8]) -> Option<Stat> {
    let behind = stat.iter().rposition(|b| *b == b')')? + 1;
    let mut fields = std::str::from_utf8(&stat[behind..]).ok()?.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    Some(Stat { parent, threads: fields.nth(15)?.parse().ok()? })
}

/// All that descend from `roots`, without these. Each is looked at once: a hostile run has many, and one below the other.
fn descendants(roots: &HashSet<i32>, all: &HashMap<i32, Stat>) -> HashSet<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, stat) in all {
        children.entry(stat.parent).or_default().push(*pid);
    }
    let mut found = HashSet::new();
    let mut left: Vec<i32> = roots.iter().copied().collect();
    while let Some(parent) = left.pop() {
        let new = children.remove(&parent).unwrap_or_default();
        let new = new.into_iter().filter(|pid| !roots.contains(pid) && found.insert(*pid));
        left.extend(new.collect::<Vec<_>>());
    }
    found
}

fn below_this_process(all: &HashMap<i32, Stat>) -> HashSet<i32> {
    descendants(&HashSet::from([Pid::this().as_raw()]), all)
}

/// Kills all descendants of this process. What they fork meanwhile is killed in the next round, at once: with a pause they
/// would be as many again.
pub(crate) fn kill_descendants() {
    let mut killed = HashSet::new();
    for _ in 0..ROUNDS {
        let mut new = below_this_process(&all());
        new.retain(|pid| killed.insert(*pid));
        if new.is_empty() {
            return;
        }
        kill_all(&new);
    }
}

/// How many threads the descendants of this process have together.
pub(crate) fn threads_below() -> usize {
    let all = all();
    below_this_process(&all).iter().map(|pid| all[pid].threads).sum()
}

/// How many threads this machine has. One short read: the fourth field of `/proc/loadavg` is `running/all`.
pub(crate) fn threads_of_machine() -> Option<usize> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').nth(3)?.split_once('/')?.1.parse().ok()
}

/// Kills what earlier runs under `folder` left behind: processes that carry its mark, and their descendants.
pub(crate) fn kill_marked(folder: &Path) {
    let all = all();
    let mut marked: HashSet<i32> = all.keys().copied().filter(|pid| is_marked(*pid, folder)).collect();
    marked.extend(descendants(&marked, &all));
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
    fn parents_and_threads_of_processes_with_odd_names() {
        let rest = "7 12 12 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 3 0 999";
        let read = |name: &str| read_stat(format!("12 ({name}) S {rest}").as_bytes());
        for name in ["sh", "a) b", ") R 1 (", ""] {
            assert_eq!(read(name), Some(Stat { parent: 7, threads: 3 }), "{name}");
        }
        assert_eq!(read_stat(b""), None);
        let me = all()[&Pid::this().as_raw()];
        assert!(me.parent == Pid::parent().as_raw() && me.threads > 0, "{me:?}");
    }

    #[test]
    fn descendants_at_any_depth() {
        let all = [(2, 1), (3, 2), (4, 3), (5, 1), (6, 9), (2000, 2000)];
        let all = all.map(|(pid, parent)| (pid, Stat { parent, threads: 1 })).into();
        assert_eq!(descendants(&HashSet::from([2]), &all), HashSet::from([3, 4]));
        assert_eq!(descendants(&HashSet::from([2, 3]), &all), HashSet::from([4]));
        assert_eq!(descendants(&HashSet::from([2000]), &all), HashSet::new());
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
