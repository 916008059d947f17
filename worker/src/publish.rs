//! Stores a run's evidence, tried again with growing pauses while the lease lives.

use std::{path::PathBuf, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use proofhouse_core::{
    faults::{self, Step},
    layout::{Container, Series, attempt_log, file},
    protocol::Grant,
    request::Request,
    run_id::RunId,
    store::{Access, Body, ContentHeaders, StoreError},
};
use tracing::{info, warn};

use crate::{attempt::Shared, files, workdir::WorkDir};

/// An outage of the store is sat out for about an hour; after that the attempt is given up.
const PATIENT: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_secs(1))
    .with_factor(2.0)
    .with_max_delay(Duration::from_secs(60))
    .with_max_times(66)
    .with_jitter();
/// The log of an attempt that is no result is worth a few tries.
const BEST_EFFORT: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_secs(1))
    .with_factor(2.0)
    .with_max_delay(Duration::from_secs(10))
    .with_max_times(5);

/// One object to be stored.
struct Upload {
    object: String,
    body: Body,
    headers: ContentHeaders,
}

impl Upload {
    fn file(object: String, path: PathBuf, kind: &str) -> Self {
        Self { object, body: Body::File(path), headers: ContentHeaders::of(kind) }
    }
}

/// Stores log, artifacts and, of a private run, its readers.
pub(crate) async fn evidence(
    shared: &Shared,
    container: &Container,
    grant: &Grant,
    request: &Request,
    run_id: &RunId,
    work: &WorkDir,
) -> Result<(), StoreError> {
    let series =
        Series { container: container.clone(), pair: grant.pair.clone(), package: request.package.clone() };
    let object = |name| series.object(run_id, name);
    let mut uploads = vec![
        Upload::file(object(file::LOG), work.log(), file::LOG),
        Upload::file(object(file::ARTIFACTS), work.artifacts(), file::ARTIFACTS),
    ];
    if !request.readable_by.is_empty() {
        uploads.push(Upload {
            object: object(file::READABLE_BY),
            body: Body::Bytes(files::lines(&request.readable_by).into()),
            headers: ContentHeaders::of(file::READABLE_BY),
        });
    }
    let access = request.swiftuser.clone().map_or(Access::Public, Access::Reader);
    let _timer = shared.settings.metrics.worker.upload_seconds.start_timer();
    put(shared, container, &access, &uploads, PATIENT).await
}

/// Stores the log of an attempt that is no result, where only we can read it.
pub(crate) async fn failed_log(shared: &Shared, grant: &Grant, work: &WorkDir) {
    let object = attempt_log(grant.uuid, grant.id.attempt);
    let uploads = [Upload::file(object, work.log(), file::LOG)];
    let container = Container::attempts();
    // Its error could name a private run's uuid, which is not for logs.
    if put(shared, &container, &Access::Internal, &uploads, BEST_EFFORT).await.is_ok() {
        info!("the log of the failed attempt is kept");
    } else {
        warn!("the log of the failed attempt is not kept: it could not be stored");
    }
}

async fn put(
    shared: &Shared,
    container: &Container,
    access: &Access,
    uploads: &[Upload],
    tries: ExponentialBuilder,
) -> Result<(), StoreError> {
    // Errors can name a private run's container or package: the pauses alone are told.
    let store = &shared.store;
    let again = |_: &StoreError, pause: Duration| {
        shared.settings.metrics.worker.upload_retries.inc();
        warn!(pause_seconds = pause.as_secs(), "the store failed; trying again");
    };
    (|| store.ensure_container(container, access))
        .retry(tries)
        .when(StoreError::may_retry)
        .notify(again)
        .await?;
    for upload in uploads {
        (|| store.put(container, &upload.object, &upload.body, &upload.headers))
            .retry(tries)
            .when(StoreError::may_retry)
            .notify(again)
            .await?;
        faults::reached(Step::Uploaded);
    }
    Ok(())
}
