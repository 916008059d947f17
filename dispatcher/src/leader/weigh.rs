//! The last attempt of a job: what all of them together say of the package (contract "Whose fault was it").

use proofhouse_core::{
    db::{AttemptRow, DbError},
    outcome::{ExitCode, Fault},
    protocol::{Ended, WorkerId},
};

use super::Leader;
use crate::schedule::Event;

/// What gates read where the tested software breaks every testbed.
const BROKE_TESTBED: ExitCode = ExitCode(4);

impl Leader {
    /// Whether a result is published although this attempt by itself is none, and with which exit code.
    pub(super) async fn weigh(
        &self,
        worker: WorkerId,
        ended: Ended,
        fault: Fault,
    ) -> Result<Vec<Event>, DbError> {
        let database = &self.context.database;
        let id = ended.id;
        let tried_before = database.job(id.job).await?.map_or(0, |job| job.tried_before);
        let mut tries = database.attempts_of(id.job).await?;
        // A lost lease says nothing of the test.
        tries.retain(|try_| try_.attempt > tried_before && !is(try_, Fault::LeaseLost));
        let earlier = || tries.iter().filter(|try_| try_.attempt < i64::from(id.attempt));
        let code = match fault {
            // Once is no proof: any test can print a kernel's words, and any testbed can die.
            Fault::BrokeTestbed
                if earlier().next().is_some() && earlier().all(|try_| is(try_, Fault::BrokeTestbed)) =>
            {
                Some(BROKE_TESTBED)
            }
            Fault::LogRule => {
                // Without a version the package was never got, whatever passed meanwhile.
                let mut sound = ended.seen(false).has_version;
                for try_ in tries.iter().filter(|try_| is(try_, Fault::LogRule) || try_.id() == id) {
                    sound = sound && database.passed_meanwhile(try_).await?;
                }
                sound.then_some(ended.exit_code)
            }
            _ => None,
        };
        Ok(vec![Event::Weighed(worker, ended, fault, code)])
    }
}

fn is(attempt: &AttemptRow, fault: Fault) -> bool {
    attempt.fault.as_deref() == Some(fault.as_str())
}
