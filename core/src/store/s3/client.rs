//! The SDK's client: whom it trusts, who we are to it, how long it waits.

use std::{path::Path, time::Duration};

use aws_config::{
    BehaviorVersion, Region, meta::region::RegionProviderChain, profile::region::ProfileFileRegionProvider,
    retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig, timeout::TimeoutConfig,
};
use aws_sdk_s3::{
    Client,
    config::{Credentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient},
};
use aws_smithy_http_client::{
    Builder,
    tls::{self, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use tokio::sync::OnceCell;

use super::{S3Address, limit::ShortAnswers};
use crate::{store::StoreError, tls::Authorities};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the beginning of an answer may take, per try. An upload has more: see [`patience`].
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The slowest upload that is not given up, in bytes a second.
const SLOWEST: u64 = 64 * 1024;

/// A client that is made when first used: the profile's files are read then. It has no `Debug`: it holds secrets.
pub(super) struct Connection {
    endpoint: Option<String>,
    region: Option<Region>,
    /// From the variables; without them the rest of the usual chain is asked.
    keys: Option<Credentials>,
    http: SharedHttpClient,
    client: OnceCell<Client>,
}

impl Connection {
    /// Trusts the system's authorities, those given, and those of `AWS_CA_BUNDLE`.
    pub(super) fn new(
        address: &S3Address,
        variable: &dyn Fn(&str) -> Option<String>,
        authorities: &Authorities,
    ) -> Result<Self, StoreError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let region = address.region.clone().or_else(|| variable("AWS_REGION"));
        let region = region.or_else(|| variable("AWS_DEFAULT_REGION")).map(Region::new);
        let keys = match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(secret)) => {
                let token = variable("AWS_SESSION_TOKEN");
                Some(Credentials::new(id, secret, token, None, "environment"))
            }
            (None, None) => None,
            _ => {
                let reason = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY need each other".to_owned();
                return Err(StoreError::Configuration(reason));
            }
        };
        let bundle = variable("AWS_CA_BUNDLE");
        let bundles: Vec<&Path> =
            bundle.as_deref().map(Path::new).into_iter().chain(authorities.path()).collect();
        let http = http_client(&bundles)?;
        let endpoint = address.endpoint.as_ref().map(ToString::to_string);
        Ok(Self { endpoint, region, keys, http, client: OnceCell::new() })
    }

    /// To a server that is reached in another way, once for each request.
    pub(super) fn over(server: SharedHttpClient) -> Self {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(server.clone())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("id", "secret", None, None, "none"))
            .retry_config(RetryConfig::disabled())
            .interceptor(ShortAnswers)
            .force_path_style(true);
        let client = OnceCell::new_with(Some(Client::from_conf(config.build())));
        Self { endpoint: None, region: None, keys: None, http: server, client }
    }

    pub(super) async fn client(&self) -> &Client {
        self.client.get_or_init(|| self.connect()).await
    }

    async fn connect(&self) -> Client {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ANSWER_TIMEOUT)
            .build();
        // The region is never asked from the machine's metadata service, which does not answer in most places.
        let region = RegionProviderChain::first_try(self.region.clone())
            .or_else(ProfileFileRegionProvider::new())
            .or_else("us-east-1");
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(self.http.clone())
            .region(region)
            .retry_config(RetryConfig::standard())
            .timeout_config(timeouts)
            // Uploads have an end by their length, and downloads are watched where they are read.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // Other checksums come behind the bytes, in chunks of AWS's own, which others refuse.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(keys) = &self.keys {
            loader = loader.credentials_provider(keys.clone());
        }
        let shared = loader.load().await;
        let config = aws_sdk_s3::config::Builder::from(&shared).force_path_style(true);
        Client::from_conf(config.interceptor(ShortAnswers).build())
    }
}

/// The timeouts for an upload of `length` bytes.
pub(super) fn patience(length: u64) -> aws_sdk_s3::config::Builder {
    let limit = ANSWER_TIMEOUT + Duration::from_secs(length / SLOWEST);
    let timeouts =
        TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(limit).build();
    aws_sdk_s3::config::Builder::new().timeout_config(timeouts)
}

/// A client that trusts the system's authorities and those in `bundles`, which are PEM files.
fn http_client(bundles: &[&Path]) -> Result<SharedHttpClient, StoreError> {
    let mut trusted = TrustStore::default();
    for path in bundles {
        let failed = |source| StoreError::Io { path: path.display().to_string(), source };
        let pem = std::fs::read(path).map_err(failed)?;
        check_certificates(&pem)
            .map_err(|e| StoreError::Configuration(format!("{}: {e}", path.display())))?;
        trusted.add_pem_certificate(pem);
    }
    let tls = TlsContext::builder().with_trust_store(trusted).build();
    let tls = tls.map_err(|e| StoreError::Configuration(e.to_string()))?;
    let builder = Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring));
    Ok(builder.tls_context(tls).build_https())
}

/// The SDK's client panics where a certificate cannot be read; reqwest's says so.
fn check_certificates(pem: &[u8]) -> reqwest::Result<()> {
    let mut builder = reqwest::Client::builder();
    for certificate in reqwest::Certificate::from_pem_bundle(pem)? {
        builder = builder.add_root_certificate(certificate);
    }
    builder.build().map(drop)
}
