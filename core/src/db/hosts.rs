//! How hosts fared: what the table's attempts say of the machines that they ran on.

use std::collections::BTreeMap;

use super::{AttemptRow, Database, DbError, connection::args};
use crate::host_health::{Health, REMEMBERED, tells_of_host};

/// Older attempts say nothing of a host any more.
const SINCE_US: i64 = 24 * 3600 * 1_000_000;

/// How a host fared lately.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HostRecord {
    /// Its health.
    pub health: Health,
    /// Microseconds since its last fault.
    pub last_fault_us: i64,
}

macro_rules! lately {
    ($jobs:literal) => {
        concat!(
            "SELECT host, fault, ended_us FROM (
                SELECT host, fault, ended_us, row_number() OVER (PARTITION BY host ORDER BY ended_us DESC) AS place
                FROM attempts ",
            $jobs,
            " WHERE ended_us > $1
                    AND (fault IS NULL OR fault NOT IN ('broke-testbed', 'old-version', 'store', 'lease-lost'))
             ) AS lately WHERE place <= $2 ORDER BY ended_us"
        )
    };
}

const OF_ALL: &str = lately!("");
const OF_PUBLIC: &str = lately!("JOIN jobs ON jobs.id = job_id AND NOT jobs.private");

impl Database {
    /// Each host on which an attempt failed within the last day.
    pub async fn host_records(&self) -> Result<BTreeMap<String, HostRecord>, DbError> {
        self.records(OF_ALL).await
    }

    /// The same by the attempts of public jobs alone, for everybody: when and where a private one failed is nobody's business.
    /// So it may say of a host that it is set aside, or that it is not, where the scheduler, which counts all, says otherwise.
    pub async fn public_host_records(&self) -> Result<BTreeMap<String, HostRecord>, DbError> {
        self.records(OF_PUBLIC).await
    }

    async fn records(&self, lately: &'static str) -> Result<BTreeMap<String, HostRecord>, DbError> {
        let now = self.now_us().await?;
        let rows: Vec<(String, Option<String>, i64)> =
            self.all(lately, args![now - SINCE_US, REMEMBERED]).await?;
        let mut records = BTreeMap::new();
        for (host, fault, ended_us) in rows {
            // What another version named tells of the host, as most faults do.
            let failed = fault.is_some_and(|fault| fault.parse().map_or(true, tells_of_host));
            let record: &mut HostRecord = records
                .entry(host)
                .or_insert(HostRecord { health: Health::default(), last_fault_us: i64::MAX });
            record.health.ended(!failed);
            if failed {
                record.last_fault_us = now - ended_us;
            }
        }
        records.retain(|_, record| record.last_fault_us < i64::MAX);
        Ok(records)
    }

    /// True where a test of another job passed on the attempt's host after that attempt began.
    pub async fn passed_meanwhile(&self, attempt: &AttemptRow) -> Result<bool, DbError> {
        let row: Option<(i64,)> = self
            .optional(
                "SELECT job_id FROM attempts WHERE host = $1 AND job_id <> $2 AND ended_us >= $3 AND state = 'recorded'
                    AND exit_code IN (0, 2) LIMIT 1",
                args![&attempt.host, attempt.job_id, attempt.granted_us],
            )
            .await?;
        Ok(row.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Fault;

    #[test]
    fn what_tells_nothing_of_a_host_is_not_read() {
        for fault in Fault::ALL {
            assert_eq!(OF_ALL.contains(&format!("'{fault}'")), !tells_of_host(fault), "{fault}");
        }
    }
}
