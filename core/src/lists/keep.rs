//! Keeps lists up to date while a process runs.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{BadLine, Lists, Source, SourceError};
use crate::telemetry::chain;

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the lists of {0} cannot be brought up to date")]
    Update(Source, #[source] SourceError),
    #[error("the lists in {0} cannot be read")]
    Read(PathBuf, #[source] io::Error),
}

/// Reads the lists at once and then every `period` until `stop`, and sends them to `lists`. What cannot be brought up to
/// date stays as it was, and each new reason is logged once. `data` is the folder under which clones lie.
pub async fn keep(
    source: Source,
    data: PathBuf,
    period: Duration,
    lists: watch::Sender<Arc<Lists>>,
    stop: CancellationToken,
) {
    let mut keeper = Keeper { source, data, said: None, bad: BTreeSet::new(), loaded: false };
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sent = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Some(Some(new)) = stop.run_until_cancelled(keeper.turn()).await {
            let first = !std::mem::replace(&mut sent, true);
            lists.send_if_modified(|lists| {
                let is_new = first || **lists != new;
                if is_new {
                    *lists = Arc::new(new);
                }
                is_new
            });
        }
    }
}

struct Keeper {
    source: Source,
    data: PathBuf,
    said: Option<String>,
    bad: BTreeSet<BadLine>,
    loaded: bool,
}

impl Keeper {
    async fn turn(&mut self) -> Option<Lists> {
        let update =
            self.source.update(&self.data).await.map_err(|e| Failure::Update(self.source.clone(), e));
        let failed = update.as_ref().err().map(|e| chain(e));
        // After a restart a clone of before serves until git answers; later, a pull that failed changed nothing.
        let read = match update {
            Ok(folder) => load(&folder),
            Err(e) if self.loaded => Err(e),
            Err(_) => load(&self.source.folder(&self.data)),
        };
        let unread = read.as_ref().err().map(|e| chain(e));
        self.say(failed.or(unread));
        let (lists, bad) = read.ok()?;
        for line in bad.difference(&self.bad) {
            tracing::warn!("{line}: the line is skipped");
        }
        self.bad = bad;
        self.loaded = true;
        Some(lists)
    }

    fn say(&mut self, failure: Option<String>) {
        if self.said != failure {
            if let Some(text) = &failure {
                tracing::warn!("{text}; what was read before stays");
            } else {
                tracing::info!("the lists of {} are up to date again", self.source);
            }
        }
        self.said = failure;
    }
}

fn load(folder: &Path) -> Result<(Lists, BTreeSet<BadLine>), Failure> {
    Lists::load(folder).map_err(|e| Failure::Read(folder.to_owned(), e))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn git(folder: &Path, arguments: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"];
        let output = Command::new("git").current_dir(folder).args(identity).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit(repository: &Path, never_run: &str) {
        std::fs::write(repository.join("never_run"), never_run).unwrap();
        git(repository, &["add", "."]);
        git(repository, &["commit", "--quiet", "-m", "lists"]);
    }

    fn never(lists: &Lists, package: &str) -> bool {
        lists.of(&package.parse().unwrap(), &"noble/amd64".parse().unwrap()).never
    }

    #[tokio::test]
    async fn a_repository_is_followed_and_a_failed_pull_keeps_the_lists() {
        let dir = tempfile::tempdir().unwrap();
        let (origin, data) = (dir.path().join("origin"), dir.path().join("data"));
        std::fs::create_dir(&origin).unwrap();
        git(&origin, &["init", "--quiet"]);
        commit(&origin, "green\n");

        let source: Source = format!("file://{}", origin.display()).parse().unwrap();
        let (sender, mut lists) = watch::channel(Arc::new(Lists::default()));
        let stop = CancellationToken::new();
        let period = Duration::from_millis(20);
        let keeper = tokio::spawn(keep(source.clone(), data.clone(), period, sender, stop.clone()));
        lists.wait_for(|l| never(l, "green")).await.unwrap();
        commit(&origin, "blue\n");
        lists.wait_for(|l| never(l, "blue") && !never(l, "green")).await.unwrap();
        stop.cancel();
        keeper.await.unwrap();

        std::fs::rename(&origin, dir.path().join("away")).unwrap();
        let mut keeper = Keeper { source, data, said: None, bad: BTreeSet::new(), loaded: false };
        assert!(never(&keeper.turn().await.unwrap(), "blue"), "the clone of before serves after a restart");
        assert!(keeper.said.as_ref().unwrap().contains("git pull failed"), "{:?}", keeper.said);
        assert!(keeper.turn().await.is_none(), "nothing new");
        std::fs::rename(dir.path().join("away"), &origin).unwrap();
        assert!(never(&keeper.turn().await.unwrap(), "blue"));
        assert_eq!(keeper.said, None);
    }

    #[tokio::test]
    async fn empty_lists_are_lists_that_were_read() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, mut lists) = watch::channel(Arc::new(Lists::default()));
        let (source, data) = (Source::Folder(dir.path().to_owned()), dir.path().to_owned());
        let keeper = keep(source, data, Duration::from_secs(3600), sender, CancellationToken::new());
        tokio::select! {
            () = keeper => unreachable!("nobody stopped it"),
            changed = lists.changed() => changed.unwrap(),
        }
    }

    #[tokio::test]
    async fn a_folder_that_goes_away_keeps_the_lists() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("lists");
        let source = Source::Folder(folder.clone());
        let data = dir.path().to_owned();
        let mut keeper = Keeper { source, data, said: None, bad: BTreeSet::new(), loaded: false };
        assert!(keeper.turn().await.is_none());
        assert!(keeper.said.as_ref().unwrap().contains("cannot be read"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("never_run"), "green\nbad line\n").unwrap();
        assert!(never(&keeper.turn().await.unwrap(), "green"));
        assert_eq!((keeper.said.as_ref(), keeper.bad.len()), (None, 1));
    }
}
