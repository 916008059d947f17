//! Whether this machine ran out of memory.

use std::fs;

/// How many processes the kernel has killed by now for want of memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kills(u64);

impl Kills {
    /// None where the kernel does not say.
    pub(crate) fn now() -> Option<Self> {
        Self::read(&fs::read_to_string("/proc/vmstat").ok()?)
    }

    fn read(vmstat: &str) -> Option<Self> {
        vmstat.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok().map(Self))
    }

    /// Whether there were more of them by `later`.
    pub(crate) fn until(self, later: Option<Self>) -> bool {
        later.is_some_and(|later| later.0 > self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted() {
        let read = |text: &str| Kills::read(text);
        let (two, three) =
            (read("nr_free_pages 3\noom_kill 2\n").unwrap(), read("oom_kill 3\noom_kill_x 9\n"));
        assert!(two.until(three) && !two.until(Some(two)) && !two.until(None));
        assert!(read("nr_free_pages 3\n").is_none());
    }
}
