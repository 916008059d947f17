//! Instances of LXD that nobody runs any more: autopkgtest removes its own, unless it is killed.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use proofhouse_core::protocol::AttemptId;
use serde::Deserialize;
use tokio::{process::Command, time::timeout};
use tracing::{info, warn};

use crate::settings::Lxd;

/// What the labels of an instance begin with.
const LABEL: &str = "user.proofhouse.";
/// A remote with thousands of instances takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// What `lxc launch` is told, to label an instance.
pub(crate) fn labels(worker: &str, id: AttemptId) -> [String; 3] {
    [("job", id.job.to_string()), ("attempt", id.attempt.to_string()), ("worker", worker.to_owned())]
        .map(|(label, value)| format!("{LABEL}{label}={value}"))
}

/// An instance, as `lxc list` tells of it.
#[derive(Debug, Deserialize)]
struct Instance {
    name: String,
    config: BTreeMap<String, String>,
}

impl Instance {
    fn has(&self, labels: &[String]) -> bool {
        labels.iter().all(|label| {
            let (key, value) = label.split_once('=').unwrap_or_default();
            self.config.get(key).is_some_and(|found| found == value)
        })
    }
}

/// Deletes what earlier lives of this worker left.
pub(crate) async fn sweep(lxd: &Lxd, worker: &str) {
    let [_, _, of_worker] = labels(worker, AttemptId { job: 0, attempt: 0 });
    delete(lxd, &[of_worker]).await;
}

/// Deletes what an attempt left.
pub(crate) async fn delete_of(lxd: &Lxd, worker: &str, id: AttemptId) {
    delete(lxd, &labels(worker, id)).await;
}

async fn delete(lxd: &Lxd, labels: &[String]) {
    let remote = lxd.remote.as_ref().map_or_else(String::new, |remote| format!("{remote}:"));
    let listed = match lxc(&["list", &remote, "--format", "json"]).await {
        Ok(listed) => listed,
        Err(error) => return warn!("testbeds that were left cannot be looked for: {error}"),
    };
    let Ok(instances) = serde_json::from_slice::<Vec<Instance>>(&listed) else {
        return warn!("testbeds that were left cannot be looked for: `lxc list` prints no list");
    };
    for instance in instances.iter().filter(|instance| instance.has(labels)) {
        let name = format!("{remote}{}", instance.name);
        match lxc(&["delete", "--force", &name]).await {
            Ok(_) => info!("testbed {name} was left, and is deleted"),
            Err(error) => warn!("testbed {name} was left, and cannot be deleted: {error}"),
        }
    }
}

/// What `lxc` prints, or why it failed.
async fn lxc(args: &[&str]) -> Result<Vec<u8>, String> {
    let mut command = Command::new("lxc");
    command.args(args.iter().filter(|arg| !arg.is_empty())).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.map_err(|_| "lxc does not answer".to_owned())?;
    let output = output.map_err(|error| format!("lxc cannot be run: {error}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_known_by_all_its_labels() {
        let listed = r#"[{"name": "autopkgtest-lxd-abc", "status": "Running", "config":
            {"user.proofhouse.job": "7", "user.proofhouse.attempt": "2", "user.proofhouse.worker": "one", "limits.cpu": "2"}}]"#;
        let instances: Vec<Instance> = serde_json::from_str(listed).unwrap();
        let has = |labels: &[String]| instances[0].has(labels);
        let id = AttemptId { job: 7, attempt: 2 };
        assert!(has(&labels("one", id)));
        assert!(has(&labels("one", id)[2..]));
        assert!(!has(&labels("two", id)));
        assert!(!has(&labels("one", AttemptId { job: 7, attempt: 3 })));
        assert!(!has(&labels("on", id)[2..]));
    }
}
