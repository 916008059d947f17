//! `/results/{container}/…`: the store with Swift's semantics, for whatever store there is (contract "What readers do").

mod listing;
mod name;
pub(crate) mod object;

use axum::{
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};

use self::name::Place;
pub(crate) use self::object::get as file;
use crate::{app::App, failure::Failure};

/// What is stored is other people's: nothing in it acts on this site.
pub(crate) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
);

/// Any method below `/results`.
pub(crate) async fn any(State(app): State<App>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    if request.method != Method::GET && request.method != Method::HEAD {
        let allow = [(header::ALLOW, HeaderValue::from_static("GET, HEAD"))];
        return (allow, Failure::method("GET and HEAD")).into_response();
    }
    let answer = read(&app, &request).await;
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

async fn read(app: &App, request: &Parts) -> Result<Response, Failure> {
    let Place { container, object } = Place::parse(request.uri.path()).ok_or_else(unauthorized)?;
    // A container that is missing, private or forbidden: nobody can tell which.
    if container.is_private() || !app.store().is_public(&container).await.or_else(not_readable)? {
        return Err(unauthorized());
    }
    match object {
        None => listing::get(app, &container, request).await,
        Some(Ok(object)) => object::get(app, &container, &object, request).await,
        Some(Err(_)) => Err(Failure::not_found("There is no such file.")),
    }
}

fn unauthorized() -> Failure {
    Failure { status: StatusCode::UNAUTHORIZED, ..Failure::not_found("There is no such container for you.") }
}

/// A store that refuses is a store that says 401; one that is away is away.
fn not_readable(error: proofhouse_core::store::StoreError) -> Result<bool, Failure> {
    use proofhouse_core::store::StoreError::Forbidden;
    match error {
        Forbidden { .. } => Ok(false),
        error if error.is_missing() => Ok(false),
        error => Err(error.into()),
    }
}

/// Errors of reading a container that is public: gone meanwhile is 401, as is forbidden.
fn store_failure(error: proofhouse_core::store::StoreError) -> Failure {
    use proofhouse_core::store::StoreError::{Forbidden, NoContainer};
    match error {
        Forbidden { .. } | NoContainer(_) => unauthorized(),
        error => error.into(),
    }
}
