//! What the server answered in place of doing what it was asked.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use crate::{store::StoreError, tls};

/// Why a request was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server's refusal. Its text is left out: it can name a private container.
    Answer {
        status: u16,
        /// Such as `NoSuchKey`; empty in answers to HEAD.
        code: String,
    },
    /// There are no credentials, or the request cannot be made.
    Unusable(String),
    /// No answer, or half of one.
    Away(String),
}

impl<E: ProvideErrorMetadata + Error + 'static> From<SdkError<E, HttpResponse>> for Failure {
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        match &error {
            SdkError::ServiceError(refused) => Self::Answer {
                status: refused.raw().status().as_u16(),
                code: refused.err().code().unwrap_or_default().to_owned(),
            },
            SdkError::ConstructionFailure(_) => Self::Unusable(causes(&error)),
            SdkError::DispatchFailure(_) if lacks_credentials(&error) => Self::Unusable(format!(
                "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile ({})",
                causes(&error)
            )),
            _ => Self::Away(causes(&error)),
        }
    }
}

impl Failure {
    /// A listing of something else, or one that does not go on.
    pub(super) fn other_listing() -> Self {
        Self::Away("its listing is not the one that was asked for".to_owned())
    }

    pub(super) fn has_code(&self, codes: &[&str]) -> bool {
        matches!(self, Self::Answer { code, .. } if codes.contains(&code.as_str()))
    }

    /// The bucket is not there, or no bucket can have its name.
    pub(super) fn no_bucket(&self) -> bool {
        self.has_code(&["NoSuchBucket", "InvalidBucketName"])
    }

    /// Bucket, key, upload, or policy are not there.
    pub(super) fn missing(&self) -> bool {
        self.no_bucket() || matches!(self, Self::Answer { status: 404, .. })
    }

    /// The server has no such function, or we may not use it: another way is open.
    pub(super) fn cannot(&self) -> bool {
        matches!(self, Self::Answer { status: 403 | 405 | 501, .. })
    }

    pub(super) fn into_error(self, address: &str) -> StoreError {
        let address = address.to_owned();
        match self {
            Self::Unusable(reason) => StoreError::Configuration(reason),
            Self::Away(reason) => StoreError::Away { address, reason },
            Self::Answer { status, code } => {
                let reason = format!("HTTP {status} {code}").trim_end().to_owned();
                if passing(status) {
                    StoreError::Away { address, reason }
                } else {
                    StoreError::Forbidden { address, reason }
                }
            }
        }
    }
}

/// True where the same request may work later. 501 is the answer to what a server does not know.
fn passing(status: u16) -> bool {
    (status >= 500 && status != 501) || matches!(status, 408 | 409 | 429)
}

/// True where nothing has credentials for us; where what has some does not answer, it may later.
fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| Error::source(*error));
    causes.filter_map(|cause| cause.downcast_ref()).any(|error| {
        matches!(error, CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_))
    })
}

/// An error with its causes.
pub(super) fn chain(error: &dyn Error) -> String {
    let text = error.to_string();
    if error.source().is_none() { text } else { format!("{text}: {}", causes(error)) }
}

/// The causes of an error, without its first line, which says no more than that there are some.
fn causes(error: &dyn Error) -> String {
    if let Some(explained) = error.source().and_then(tls::explain) {
        return explained;
    }
    let mut texts: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some wrappers repeat their source.
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        cause = error.source();
    }
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass() {
        let retried = |status| Failure::Answer { status, code: String::new() }.into_error("s3").may_retry();
        assert!([408, 409, 429, 500, 502, 503, 507].into_iter().all(retried));
        assert!(![301, 400, 401, 403, 405, 412, 413, 501].into_iter().any(retried));
    }
}
