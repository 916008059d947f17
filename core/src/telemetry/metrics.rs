//! All metrics. The doc comment of a field is its help text; `proofhouse_` and the field are its name, but for a contract's names.

mod declare;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use self::declare::metrics;
use crate::{
    config::Role,
    names::Context,
    outcome::{Class, Fault},
};

/// From a millisecond to ten seconds.
const SHORT: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// From ten milliseconds to two days: requests may wait that long.
const LONG: &[f64] =
    &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 14_400.0, 43_200.0, 172_800.0];
/// Around one.
const RATIO: &[f64] = &[0.1, 0.25, 0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0, 10.0];

metrics! {
    /// Of every process.
    pub struct Process {
        /// Always 1; the labels say what runs.
        build_info: IntGaugeVec = "proofhouse_build_info", ["version", "role"];
        /// 1 while the link to the broker is up and everything is declared.
        bus_up: IntGauge = "proofhouse_bus_up";
        /// Counts the links to the broker since the start; 1 is the first.
        bus_link_generation: IntGauge = "proofhouse_bus_link_generation";
    }
}

metrics! {
    /// Of a dispatcher.
    pub struct Dispatcher {
        /// Requests committed to the job table as new jobs, by context.
        requests_taken: IntCounterVec = "proofhouse_requests_taken_total", ["context"];
        /// Requests that became part of a job that was there already, by context.
        requests_merged: IntCounterVec = "proofhouse_requests_merged_total", ["context"];
        /// Requests put into the rejected list, by reason.
        requests_rejected: IntCounterVec = "proofhouse_requests_rejected_total", ["reason"];
        /// Seconds from the first message of an intake batch to its commit.
        intake_batch_seconds: Histogram = "proofhouse_intake_batch_seconds", buckets SHORT;
        /// Offers sent to pools.
        offers: IntCounter = "proofhouse_offers_total";
        /// Leases granted to workers.
        grants: IntCounter = "proofhouse_grants_total";
        /// Seconds from the commit of a request to the grant of its first lease, by context.
        grant_wait_seconds: HistogramVec = "proofhouse_grant_wait_seconds", ["context"], buckets LONG;
        /// Seconds by which the first attempt of a job began earlier or later than was said when the job came; of a sample.
        start_estimate_error_seconds: Histogram = "proofhouse_start_estimate_error_seconds", buckets LONG;
        /// What was said over what it took until the first attempt of a job, either of them five seconds at least; of a sample.
        start_estimate_ratio: Histogram = "proofhouse_start_estimate_ratio", buckets RATIO;
        /// Leases that ran out.
        leases_lost: IntCounter = "proofhouse_leases_lost_total";
        /// Attempts that ended without a result, by whose fault it was.
        attempts_failed: IntCounterVec = "proofhouse_attempts_failed_total", ["fault"];
        /// Hosts that are set aside, for their tests end without a result.
        hosts_aside: IntGauge = "proofhouse_hosts_aside";
        /// Results recorded, by class.
        results: IntCounterVec = "proofhouse_results_total", ["class"];
        /// Results recorded but not yet stored and announced.
        outbox_length: IntGauge = "proofhouse_outbox_length";
        /// Unfinished jobs, by state.
        jobs: IntGaugeVec = "proofhouse_jobs", ["state"];
        /// 1 while this dispatcher leads.
        leader: IntGauge = "proofhouse_leader";
        /// Requests that wait: the depth of the old systems' queues.
        queue_size: IntGaugeVec = "autopkgtest_queue_size", ["context", "release", "arch"];
        /// What waits and it may run plus what it has leased, by pool: for autoscalers. What several may run counts for each.
        demand: IntGaugeVec = "proofhouse_demand", ["pool"];
    }
}

metrics! {
    /// Of a worker.
    pub struct Worker {
        /// Tests that this process runs at once.
        slots: IntGauge = "proofhouse_worker_slots";
        /// Slots that hold a test now.
        slots_busy: IntGauge = "proofhouse_worker_slots_busy";
        /// Runs of autopkgtest that ended, by the class of their exit code.
        runs: IntCounterVec = "proofhouse_worker_runs_total", ["class"];
        /// Seconds that the upload of a run's files took.
        upload_seconds: Histogram = "proofhouse_worker_upload_seconds", buckets LONG;
        /// Uploads that had to be tried again.
        upload_retries: IntCounter = "proofhouse_worker_upload_retries_total";
        /// Free room on the disk of the data folder, in bytes.
        disk_free_bytes: IntGauge = "proofhouse_worker_disk_free_bytes";
        /// 1 while it takes work; 0 while something keeps it from it, such as a full disk.
        able: IntGauge = "proofhouse_worker_able";
    }
}

metrics! {
    /// Of the site.
    pub struct Web {
        /// Requests answered, by route and status.
        http_requests: IntCounterVec = "proofhouse_http_requests_total", ["route", "status"];
        /// Seconds to the answer, by route.
        http_request_seconds: HistogramVec = "proofhouse_http_request_seconds", ["route"], buckets SHORT;
    }
}

/// The metrics of one process. Those of a role that it does not have count unseen.
#[derive(Debug)]
pub struct Metrics {
    /// What `/metrics` shows.
    pub registry: Registry,
    /// Of every process.
    pub process: Process,
    /// Of a dispatcher.
    pub dispatcher: Dispatcher,
    /// Of a worker.
    pub worker: Worker,
    /// Of the site.
    pub web: Web,
}

impl Metrics {
    /// Those of a process with this role, all at zero.
    pub fn new(role: Role) -> Self {
        let registry = Registry::new();
        let shown = |part| role.includes(part).then_some(&registry);
        let metrics = Self {
            process: Process::new(Some(&registry)),
            dispatcher: Dispatcher::new(shown(Role::Dispatcher)),
            worker: Worker::new(shown(Role::Worker)),
            web: Web::new(shown(Role::Web)),
            registry,
        };
        metrics.process.build_info.with_label_values(&[env!("CARGO_PKG_VERSION"), role.as_str()]).set(1);
        metrics.start_at_zero();
        metrics
    }

    /// Labels whose values are known are there from the start: a rate over a counter that appears with its first event misses it.
    fn start_at_zero(&self) {
        let Dispatcher {
            requests_taken, requests_merged, grant_wait_seconds, attempts_failed, results, ..
        } = &self.dispatcher;
        for context in Context::ALL.map(Context::as_str) {
            requests_taken.with_label_values(&[context]);
            requests_merged.with_label_values(&[context]);
            grant_wait_seconds.with_label_values(&[context]);
        }
        for class in Class::ALL.map(Class::as_str) {
            results.with_label_values(&[class]);
            self.worker.runs.with_label_values(&[class]);
        }
        for fault in Fault::ALL.map(Fault::as_str) {
            attempts_failed.with_label_values(&[fault]);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    fn text(metrics: &Metrics) -> String {
        TextEncoder::new().encode_to_string(&metrics.registry.gather()).unwrap()
    }

    #[test]
    fn a_role_shows_its_own() {
        for (role, shown, hidden) in [
            (Role::Up, &["proofhouse_leader", "proofhouse_worker_slots", "proofhouse_bus_up"][..], &[][..]),
            (Role::Dispatcher, &["proofhouse_leader", "proofhouse_bus_up"], &["proofhouse_worker_slots"]),
            (Role::Worker, &["proofhouse_worker_slots"], &["proofhouse_leader"]),
            (Role::Web, &["proofhouse_build_info"], &["proofhouse_leader", "proofhouse_worker_slots"]),
        ] {
            let text = text(&Metrics::new(role));
            let has = |name: &&str| text.contains(&format!("# HELP {name} "));
            assert!(shown.iter().all(has) && !hidden.iter().any(has), "{role:?}: {text}");
        }
    }

    #[test]
    fn known_labels_start_at_zero() {
        let metrics = Metrics::new(Role::Up);
        let before = text(&metrics);
        assert!(before.contains("proofhouse_results_total{class=\"pass\"} 0"), "{before}");
        assert!(before.contains("proofhouse_requests_taken_total{context=\"huge\"} 0"), "{before}");
        assert!(before.contains("proofhouse_attempts_failed_total{fault=\"testbed\"} 0"), "{before}");
        metrics.dispatcher.queue_size.with_label_values(&["ubuntu", "noble", "amd64"]).set(7);
        let line = "autopkgtest_queue_size{arch=\"amd64\",context=\"ubuntu\",release=\"noble\"} 7";
        assert!(text(&metrics).contains(line));
        assert!(before.contains("# HELP proofhouse_leader 1 while this dispatcher leads."), "{before}");
    }
}
