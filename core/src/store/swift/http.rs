//! Requests to Swift: where they go, how long they may stand still, what a refusal means.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use reqwest::{Certificate, Client, Method, Response, StatusCode, header::HeaderMap, redirect};
use tokio::sync::watch;
use url::Url;

use super::{
    Swift,
    login::{Grant, TOKEN_HEADER},
    upload::Upload,
};
use crate::{
    layout::Container,
    store::{MAX_ANSWER, StoreError, collect},
    tls::{self, Authorities},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A request during which nothing moves for so long is given up. It has no other limit: an upload may take hours.
const STALL: Duration = Duration::from_secs(60);

/// One request.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// None: the account.
    pub(super) container: Option<&'a Container>,
    pub(super) object: Option<&'a str>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: HeaderMap,
    pub(super) upload: Option<&'a Upload>,
}

impl<'a> Ask<'a> {
    pub(super) fn new(method: Method, container: Option<&'a Container>, object: Option<&'a str>) -> Self {
        Self { method, container, object, query: Vec::new(), headers: HeaderMap::new(), upload: None }
    }

    fn url(&self, storage: &Url) -> Url {
        let mut url = storage.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            path.extend(self.container.map(Container::as_str));
            path.extend(self.object.into_iter().flat_map(|name| name.split('/')));
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }
}

/// A client that follows no redirect (the token would go along) and unpacks nothing (`log.gz` is served as it is).
pub(super) fn client(cacert: Option<&str>, authorities: &Authorities) -> Result<Client, StoreError> {
    let refused = |e: reqwest::Error| StoreError::Configuration(chain(e));
    let mut builder = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(redirect::Policy::none())
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .user_agent(concat!("proofhouse/", env!("CARGO_PKG_VERSION")));
    let read =
        |path: &str| std::fs::read(path).map_err(|source| StoreError::Io { path: path.to_owned(), source });
    let pems = [cacert.map(read).transpose()?, authorities.pem().map(|pem| pem.as_bytes().to_vec())];
    for pem in pems.into_iter().flatten() {
        for certificate in Certificate::from_pem_bundle(&pem).map_err(refused)? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(refused)
}

impl Swift {
    /// Sends a request; where the token is not accepted, once more with a new one.
    pub(super) async fn send(&self, ask: &Ask<'_>) -> Result<Response, StoreError> {
        let grant = self.identity.grant().await?;
        let response = self.send_once(ask, &grant).await;
        match response {
            Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
                let grant = self.identity.renew(Some(&grant)).await?;
                self.send_once(ask, &grant).await
            }
            // A server that refuses a long body may close the link before its 401 is read.
            Err(error) if ask.upload.is_some() => {
                self.identity.forget(&grant).await;
                Err(error)
            }
            done => done,
        }
    }

    /// Whether somebody without a token may list a container.
    pub(super) async fn is_open_to_all(&self, container: &Container) -> Result<bool, StoreError> {
        let grant = self.identity.grant().await?;
        let ask = Ask::new(Method::HEAD, Some(container), None);
        let asked = self.client.head(ask.url(&grant.storage)).timeout(STALL).send().await;
        match asked.map_err(|e| self.away(chain(e)))?.status() {
            status if status.is_success() => Ok(true),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(false),
            status => Err(refusal(&self.address, status)),
        }
    }

    async fn send_once(&self, ask: &Ask<'_>, grant: &Arc<Grant>) -> Result<Response, StoreError> {
        let mut request = self
            .client
            .request(ask.method.clone(), ask.url(&grant.storage))
            .headers(ask.headers.clone())
            .header(TOKEN_HEADER, self.identity.token(grant).await?);
        let (progress, watched) = watch::channel(());
        if let Some(upload) = ask.upload {
            request = request.headers(upload.headers()).body(upload.body(progress).await?);
        }
        match unless_stalled(request.send(), watched).await {
            Some(response) => response.map_err(|e| self.away(chain(e))),
            None => Err(self.stalled()),
        }
    }

    /// The bytes of a response.
    pub(super) fn stream(&self, response: Response) -> BoxStream<'static, Result<Bytes, StoreError>> {
        let address = self.address.clone();
        let away = move |reason| StoreError::Away { address: address.clone(), reason };
        let chunks = Some(response.bytes_stream().boxed());
        stream::unfold((chunks, away), |(chunks, away)| async move {
            let mut chunks = chunks?;
            match tokio::time::timeout(STALL, chunks.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(chunk))) => Some((Ok(chunk), (Some(chunks), away))),
                Ok(Some(Err(error))) => Some((Err(away(chain(error))), (None, away))),
                Err(_) => Some((Err(away(stall_text())), (None, away))),
            }
        })
        .boxed()
    }

    /// All bytes of a short response.
    pub(super) async fn text(&self, response: Response) -> Result<Bytes, StoreError> {
        collect(self.stream(response), MAX_ANSWER).await
    }

    pub(super) fn away(&self, reason: String) -> StoreError {
        StoreError::Away { address: self.address.clone(), reason }
    }

    fn stalled(&self) -> StoreError {
        self.away(stall_text())
    }
}

fn stall_text() -> String {
    format!("nothing moved for {} s", STALL.as_secs())
}

/// The result, or none where neither it nor any progress came for too long.
async fn unless_stalled<T>(work: impl Future<Output = T>, mut progress: watch::Receiver<()>) -> Option<T> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Some(done),
            () = tokio::time::sleep(STALL) => return None,
            Ok(()) = progress.changed() => {}
        }
    }
}

/// What a status that nobody expected means.
pub(super) fn refusal(address: &str, status: StatusCode) -> StoreError {
    let (address, reason) = (address.to_owned(), format!("HTTP {status}"));
    let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS];
    if status.is_server_error() || passing.contains(&status) {
        StoreError::Away { address, reason }
    } else {
        StoreError::Forbidden { address, reason }
    }
}

/// An error with its causes, without the URL: it names the object.
pub(super) fn chain(error: reqwest::Error) -> String {
    let plain = error.url().is_some_and(|url| url.scheme() == "http");
    let error = error.without_url();
    if let Some(explained) = tls::explain(&error) {
        return explained;
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    // What a server that waits for TLS does with plain text.
    if plain && error.is_request() && !error.is_connect() && !error.is_timeout() {
        text.push_str("; where it wants TLS, the URL begins with https://");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_requests_go() {
        let container: Container = "autopkgtest-noble".parse().unwrap();
        for storage in ["https://host/swift/v1", "https://host/swift/v1/"] {
            let storage = storage.parse().unwrap();
            let mut ask =
                Ask::new(Method::GET, Some(&container), Some("noble/a b/c++%2e?#/20260101@/log.gz"));
            assert_eq!(
                ask.url(&storage).as_str(),
                "https://host/swift/v1/autopkgtest-noble/noble/a%20b/c++%252e%3F%23/20260101@/log.gz"
            );
            ask.object = None;
            ask.query = vec![("marker", "a&b@/é".to_owned())];
            assert_eq!(
                ask.url(&storage).as_str(),
                "https://host/swift/v1/autopkgtest-noble?marker=a%26b%40%2F%C3%A9"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_moves_is_not_given_up() {
        let (progress, watched) = watch::channel(());
        let upload = async move {
            for _ in 0..10 {
                tokio::time::sleep(STALL / 2).await;
                progress.send_replace(());
            }
        };
        assert!(unless_stalled(upload, watched).await.is_some());
        let (_progress, watched) = watch::channel(());
        assert!(unless_stalled(std::future::pending::<()>(), watched).await.is_none());
    }

    #[test]
    fn what_may_pass() {
        let retried = |code| refusal("swift", StatusCode::from_u16(code).unwrap()).may_retry();
        assert!([429, 500, 502, 503, 507].into_iter().all(retried));
        assert!(![301, 400, 401, 403, 412, 413].into_iter().any(retried));
    }
}
