//! What a store's server says, read without a server: the readers themselves, for `fuzz/`.

use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Entry, ListQuery, Store, StoreError, s3::S3, swift};
use crate::layout::Container;

/// A container's listing in Swift's JSON; none where it is not the one that was asked for.
pub fn swift_listing(json: &[u8], query: &ListQuery) -> Option<Vec<Entry>> {
    swift::listing(json, query)
}

/// The names in Swift's listing of an account; none where it is no listing.
pub fn swift_containers(json: &[u8]) -> Option<Vec<String>> {
    swift::containers(json).ok()
}

/// A container's listing from an S3 server that gives these answers, one after the other, and then none.
pub async fn s3_listing(
    answers: Vec<Vec<u8>>,
    container: &Container,
    query: &ListQuery,
) -> Result<Vec<Entry>, StoreError> {
    let replay = Replay(Arc::new(Mutex::new(answers.into_iter())));
    let client = http_client_fn(move |_, _| SharedHttpConnector::new(replay.clone()));
    S3::over(client).list(container, query).await
}

#[derive(Debug, Clone)]
struct Replay(Arc<Mutex<std::vec::IntoIter<Vec<u8>>>>);

impl HttpConnector for Replay {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let answer = self.0.lock().unwrap_or_else(PoisonError::into_inner).next();
        let answer = answer.ok_or_else(|| ConnectorError::user("no further answer".into()));
        let ok = StatusCode::try_from(200).unwrap_or_else(|_| unreachable!("200 is a status"));
        HttpConnectorFuture::ready(answer.map(|text| HttpResponse::new(ok, SdkBody::from(text))))
    }
}
