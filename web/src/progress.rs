//! How far a run is that is under way, as its messages and the runs before it tell.

use std::time::Instant;

use jiff::Timestamp;
use proofhouse_core::{db::DbError, names::Package, phase::Phase, protocol::Status};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{app::App, live, log::plain, private::PublicJob, view::duration};

/// What messages say of a run is cut behind so many characters.
const LONGEST: usize = 100;

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Progress {
    /// For how long it has been running, in seconds.
    pub(crate) seconds: i64,
    /// What it does, by the last line of autopkgtest's own in its log: any test can print one.
    pub(crate) phase: Option<String>,
    /// How long the newest run of the same package took there in which a test had its say, in seconds.
    pub(crate) usual_seconds: Option<i64>,
    /// Who runs it.
    pub(crate) worker: Option<String>,
    /// On what kind of testbed: the provider's name.
    pub(crate) testbed: Option<String>,
    #[serde(skip)]
    pub(crate) logtail: String,
}

/// How far a job is; none where it does not run.
pub(crate) async fn progress(
    app: &App,
    job: &PublicJob,
    now: Timestamp,
) -> Result<Option<Progress>, DbError> {
    if !live::is_running(job.state()) {
        return Ok(None);
    }
    let said = live::heard_of(app, &job.uuid);
    let since = (now.as_microsecond() - job.changed_us) / 1_000_000;
    let logtail = said.as_ref().map(|said| plain(&said.status.logtail)).unwrap_or_default();
    let status = said.as_ref().map(|said| &said.status);
    let says = |part: fn(&Status) -> Option<&String>| status.and_then(part).map(|text| words(text));
    Ok(Some(Progress {
        seconds: said.as_ref().map_or(since.max(0), |said| said.duration(Instant::now())),
        // Other systems' messages have the log's end alone.
        phase: says(|status| status.phase.as_ref()).or_else(|| Phase::of(&logtail)),
        usual_seconds: usual(app, job).await?,
        worker: says(|status| status.worker.as_ref()),
        testbed: says(|status| status.testbed.as_ref()),
        logtail,
    }))
}

/// How long such a run took last.
async fn usual(app: &App, job: &PublicJob) -> Result<Option<i64>, DbError> {
    let Ok(package) = job.package.parse::<Package>() else { return Ok(None) };
    let standings = app.db().standings_of(&package).await?;
    let own = standings.into_iter().find(|s| s.release == job.release && s.arch == job.arch);
    Ok(own.map(|standing| standing.duration_seconds))
}

/// A few words of a message, which may say anything.
pub(crate) fn words(text: &str) -> String {
    plain(text).lines().next().unwrap_or_default().chars().take(LONGEST).collect()
}

impl Progress {
    /// `It runs for 1 min 01 s on worker-7 (lxd): test smoke. The newest run took 2 min 05 s.`
    pub(crate) fn sentence(&self) -> String {
        let worker = self.worker.as_ref().map(|worker| format!(" on {worker}")).unwrap_or_default();
        let testbed = self.testbed.as_ref().map(|testbed| format!(" ({testbed})")).unwrap_or_default();
        let phase = self.phase.as_ref().map(|phase| format!(": {phase}")).unwrap_or_default();
        let before = match self.usual_seconds {
            Some(usual) if self.seconds > 2 * usual.max(60) => {
                format!(" That is long: the run before took {}.", duration(usual))
            }
            Some(usual) => format!(" The run before took {}.", duration(usual)),
            None => String::new(),
        };
        format!("It runs for {}{worker}{testbed}{phase}.{before}", duration(self.seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_sentence() {
        let mut progress = Progress {
            seconds: 61,
            phase: Some("test smoke".to_owned()),
            usual_seconds: Some(125),
            worker: Some("worker-7".to_owned()),
            testbed: Some("lxd".to_owned()),
            logtail: String::new(),
        };
        assert_eq!(
            progress.sentence(),
            "It runs for 1 min 01 s on worker-7 (lxd): test smoke. The run before took 2 min 05 s."
        );
        progress.seconds = 7300;
        assert!(progress.sentence().contains("That is long"));
    }
}
