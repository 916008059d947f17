//! Who we are to Swift: Keystone v3, or the v1 authentication of tempauth and radosgw.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use openstack::session::Session;
use reqwest::{Client, StatusCode, header::HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::RwLock;
use url::Url;

use super::{
    header,
    http::{chain, refusal},
    keystone::{self, Keystone},
};
use crate::{store::StoreError, tls::Authorities};

/// Every request carries its token in this.
pub(super) const TOKEN_HEADER: &str = "x-auth-token";

/// How long a login may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A token that ends sooner is replaced before it is used.
const MARGIN: Duration = Duration::from_secs(60);

/// How we log in. It has no `Debug`: it holds secrets.
pub(super) enum Login {
    /// `GET {url}` with user and key.
    V1 {
        url: Url,
        user: String,
        key: SecretString,
    },
    Keystone(Box<Keystone>),
}

impl Login {
    /// v1 where the URL's path ends in `/v1.0` (or `/v1`), else Keystone.
    pub(super) fn new(
        url: Url,
        variable: &dyn Fn(&str) -> Option<String>,
        authorities: &Authorities,
    ) -> Result<Self, StoreError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = url.path().trim_end_matches('/');
        if !path.ends_with("/v1.0") && !path.ends_with("/v1") {
            return Ok(Self::Keystone(Box::new(Keystone::new(url, &variable, authorities)?)));
        }
        let user = variable("OS_USERNAME").or_else(|| variable("ST_USER"));
        let key = variable("OS_PASSWORD").or_else(|| variable("ST_KEY"));
        let (Some(user), Some(key)) = (user, key) else {
            return Err(StoreError::Configuration(
                "Swift's v1 authentication needs OS_USERNAME (account:user) and OS_PASSWORD, or ST_USER and ST_KEY"
                    .to_owned(),
            ));
        };
        Ok(Self::V1 { url, user, key: key.into() })
    }

    /// A file of certificates to trust.
    pub(super) fn cacert(&self) -> Option<&str> {
        match self {
            Self::V1 { .. } => None,
            Self::Keystone(keystone) => keystone.cacert.as_deref(),
        }
    }
}

/// What a login gave.
pub(super) struct Grant {
    /// The account's URL.
    pub(super) storage: Url,
    token: Token,
}

enum Token {
    Fixed(HeaderValue, Option<Instant>),
    Session(Session),
}

impl Grant {
    fn ends_soon(&self) -> bool {
        matches!(self.token, Token::Fixed(_, Some(end)) if end.saturating_duration_since(Instant::now()) < MARGIN)
    }
}

/// The login and what it gave last.
pub(super) struct Identity {
    login: Login,
    address: String,
    client: Client,
    current: RwLock<Option<Arc<Grant>>>,
}

impl Identity {
    pub(super) fn new(login: Login, address: String, client: Client) -> Self {
        Self { login, address, client, current: RwLock::new(None) }
    }

    /// The present grant; logs in where there is none.
    pub(super) async fn grant(&self) -> Result<Arc<Grant>, StoreError> {
        let current = self.current.read().await.clone();
        match current {
            Some(grant) if !grant.ends_soon() => Ok(grant),
            stale => self.renew(stale.as_ref()).await,
        }
    }

    /// Logs in anew, unless somebody else did since `stale` was given.
    pub(super) async fn renew(&self, stale: Option<&Arc<Grant>>) -> Result<Arc<Grant>, StoreError> {
        let mut current = self.current.write().await;
        match (&*current, stale) {
            (Some(grant), Some(stale)) if !Arc::ptr_eq(grant, stale) => return Ok(Arc::clone(grant)),
            (Some(grant), None) => return Ok(Arc::clone(grant)),
            _ => {}
        }
        // Forgotten first: one that was refused is not offered again where the login fails.
        *current = None;
        let grant = Arc::new(self.within_limit(self.log_in()).await?);
        *current = Some(Arc::clone(&grant));
        Ok(grant)
    }

    /// Makes the next request log in anew.
    pub(super) async fn forget(&self, stale: &Arc<Grant>) {
        let mut current = self.current.write().await;
        if current.as_ref().is_some_and(|grant| Arc::ptr_eq(grant, stale)) {
            *current = None;
        }
    }

    /// The token to send.
    pub(super) async fn token(&self, grant: &Grant) -> Result<HeaderValue, StoreError> {
        let mut token = match &grant.token {
            Token::Fixed(token, _) => token.clone(),
            Token::Session(session) => {
                let token = async {
                    let token = keystone::token(session, &grant.storage).await;
                    token.map_err(|e| keystone::failure(&self.address, &e))
                };
                self.within_limit(token).await?
            }
        };
        token.set_sensitive(true);
        Ok(token)
    }

    async fn log_in(&self) -> Result<Grant, StoreError> {
        match &self.login {
            Login::V1 { url, user, key } => self.log_in_v1(url, user, key).await,
            Login::Keystone(keystone) => {
                let (session, storage) = match keystone.log_in().await {
                    Ok(done) => done,
                    Err(error) => return Err(self.keystone_failed(keystone, &error).await),
                };
                Ok(Grant { storage, token: Token::Session(session) })
            }
        }
    }

    /// The crate's errors have no causes: where nobody answered, our own client says what stands in the way.
    async fn keystone_failed(&self, keystone: &Keystone, error: &openstack::Error) -> StoreError {
        let failure = keystone::failure(&self.address, error);
        match self.client.get(keystone.url.clone()).send().await {
            Err(error) if matches!(failure, StoreError::Away { .. }) => self.away(chain(error)),
            Ok(_) | Err(_) => failure,
        }
    }

    async fn log_in_v1(&self, url: &Url, user: &str, key: &SecretString) -> Result<Grant, StoreError> {
        let mut key = header(key.expose_secret())?;
        key.set_sensitive(true);
        let request = self.client.get(url.clone()).header("x-auth-user", user).header("x-auth-key", key);
        let response = request.send().await.map_err(|e| self.away(chain(e)))?;
        match response.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let reason = format!("{} does not accept the credentials", self.address);
                return Err(StoreError::Configuration(reason));
            }
            status => return Err(refusal(&self.address, status)),
        }
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let storage = header("x-storage-url").and_then(|url| url.parse().ok());
        let token = response.headers().get(TOKEN_HEADER).cloned();
        let (Some(storage), Some(token)) = (storage, token) else {
            let reason = format!("{} is no Swift v1 authentication: it names no storage", self.address);
            return Err(StoreError::Configuration(reason));
        };
        let seconds = header("x-auth-token-expires").and_then(|text| text.parse().ok());
        let end = seconds.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
        Ok(Grant { storage, token: Token::Fixed(token, end) })
    }

    async fn within_limit<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let done = tokio::time::timeout(LIMIT, work).await;
        done.unwrap_or_else(|_| Err(self.away(format!("no login within {} s", LIMIT.as_secs()))))
    }

    fn away(&self, reason: String) -> StoreError {
        StoreError::Away { address: self.address.clone(), reason }
    }
}
