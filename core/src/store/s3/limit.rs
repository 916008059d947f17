//! What a server says is read up to a limit; the SDK has none.

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextMut,
    },
    error::BoxError,
    primitives::SdkBody,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use http_body_util::Limited;

use crate::store::MAX_ANSWER;

/// Listings, policies and errors: all but the bytes of objects, which are read as they come.
#[derive(Debug)]
pub(super) struct ShortAnswers;

impl Intercept for ShortAnswers {
    fn name(&self) -> &'static str {
        "ShortAnswers"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        asked: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let object = asked.load::<Metadata>().is_some_and(|asked| asked.name() == "GetObject");
        let response = context.response_mut();
        if !(object && response.status().is_success()) {
            let limit = usize::try_from(MAX_ANSWER).unwrap_or(usize::MAX);
            let body = std::mem::replace(response.body_mut(), SdkBody::taken());
            *response.body_mut() = SdkBody::from_body_1_x(Limited::new(body, limit));
        }
        Ok(())
    }
}
