//! `/api/v1`: all that pages show, as JSON. Its description is made of the handlers themselves.
//!
//! One more operation takes two lines: `#[utoipa::path(…)]` before its handler, which answers `Json` of a type with
//! `ToSchema`, and one among the [`operations`] here. Names of types stand in the description: they must differ.

mod data;
mod now;
mod page;
mod past;
mod run;

use std::sync::LazyLock;

use axum::{
    Json, Router,
    http::header,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

pub(crate) use self::data::{JobData, ResultData, StandingData, WaitsData};
use crate::{app::App, files, pages, submit};

/// Makes of one line each operation's route and its part of the description.
macro_rules! operations {
    ($($method:ident $path:literal $($handler:ident)::+;)+) => {
        /// The description.
        #[derive(OpenApi)]
        #[openapi(
            paths($($($handler)::+),+),
            info(
                title = "Proofhouse",
                description = "What was tested, what runs and what waits. Lists page by key: `next` is the address of the part \
                    behind.\n\nPrivate runs are in none of it, but as counts. Errors are problems (RFC 9457); their types are \
                    described at /api."
            ),
            tags(
                (name = "now", description = "What waits, what runs, and who runs it"),
                (name = "past", description = "What came out"),
                (name = "ask", description = "Asking for tests")
            )
        )]
        struct Described;

        /// Every operation.
        fn routed() -> Router<App> {
            Router::new()$(.route($path, $method($($handler)::+)))+
        }

        #[cfg(test)]
        const ROUTED: &[(&str, &str)] = &[$((stringify!($method), $path)),+];
    };
}

operations! {
    get "/api/v1/results" past::results;
    get "/api/v1/packages" past::packages;
    get "/api/v1/packages/{package}" past::package;
    get "/api/v1/packages/{package}/{release}/{arch}" past::runs;
    get "/api/v1/packages/{package}/{release}/{arch}/{run_id}" run::by_id;
    get "/api/v1/runs/{uuid}" run::by_uuid;
    get "/api/v1/compare/{package}/{release}/{arch}/{before}/{after}" pages::compare::json;
    get "/api/v1/triggers/{source}/{version}" pages::trigger::json;
    get "/api/v1/failing" pages::lists::standings::failing_json;
    get "/api/v1/flaky" pages::lists::flaky::json;
    get "/api/v1/slow" pages::lists::standings::slow_json;
    get "/api/v1/stale" pages::lists::standings::stale_json;
    get "/api/v1/stuck" pages::lists::stuck::json;
    get "/api/v1/releases/{release}" pages::release::json;
    get "/api/v1/users/{user}" pages::user::json;
    get "/api/v1/users/{user}/ppas" pages::user::ppas_json;
    get "/api/v1/users/{user}/ppas/{ppa}" pages::ppa::json;
    get "/api/v1/search" pages::search::json;
    get "/api/v1/statistics" pages::statistics::json;
    get "/api/v1/queues" now::queues;
    get "/api/v1/queue" now::queue;
    get "/api/v1/queue/{context}/{release}/{arch}" pages::queue::json;
    get "/api/v1/running" now::running;
    get "/api/v1/parked" pages::parked::json;
    get "/api/v1/waiting" pages::waiting::json;
    get "/api/v1/demand" files::demand;
    get "/api/v1/infrastructure" pages::infrastructure::json;
    get "/api/v1/alerts" now::alerts;
    post "/api/v1/requests" submit::api;
}

/// Every operation, its description, and the page to read and try them.
pub(crate) fn router() -> Router<App> {
    routed()
        .route("/api", get(page::get))
        .route("/api/try", get(page::attempt))
        .route("/api/v1/openapi.json", get(document))
}

/// The description.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document = serde_json::to_value(Described::openapi()).unwrap_or_default();
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        for (path, operations) in paths {
            for (method, operation) in operations.as_object_mut().into_iter().flatten() {
                complete(path, method, operation);
            }
        }
    }
    document["components"]["schemas"]["Problem"] = problem();
    document
});

/// What all operations have in common.
fn complete(path: &str, method: &str, operation: &mut Value) {
    let words = path.trim_start_matches("/api/v1/").split(['/', '-']);
    let words: Vec<&str> = words.map(|word| word.trim_matches(['{', '}'])).collect();
    operation["operationId"] = format!("{method}_{}", words.join("_")).into();
    let has_input = operation.get("parameters").is_some() || operation.get("requestBody").is_some();
    let all = [
        ("400", "A parameter, or the body, is not what it should be.", has_input),
        (
            "404",
            "There is nothing of that name that everybody may see.",
            path.contains('{') || path == "/api/v1/statistics",
        ),
        ("429", "So much was asked for from this address that others would have to wait.", true),
        ("503", "The database does not answer, or more is asked for than can be answered.", true),
    ];
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, description, _) in all.into_iter().filter(|(.., is_one)| *is_one) {
        responses.entry(status).or_insert_with(|| json!({"description": description}));
    }
    for (_, response) in responses.iter_mut().filter(|(status, _)| status.starts_with(['4', '5'])) {
        let schema = json!({"$ref": "#/components/schemas/Problem"});
        response["content"] = json!({"application/problem+json": {"schema": schema}});
    }
    responses.sort_keys();
}

/// An error (RFC 9457).
fn problem() -> Value {
    let text = |what: &str| json!({"type": "string", "description": what});
    json!({
        "type": "object",
        "description": "Why there is no answer (RFC 9457).",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "format": "uri", "description": "What kind of problem it is: an address that describes it."},
            "title": text("The kind in words."),
            "status": {"type": "integer", "description": "The status of the answer."},
            "detail": text("What is wrong this time."),
            "advice": text("What to do."),
            "error": text("As detail."),
            "url": text("The path of the run that this is about."),
        }
    })
}

/// The parts of the description's paths: path, then method, then operation.
fn all() -> impl Iterator<Item = (&'static str, &'static str, &'static Value)> {
    static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    let paths = DOCUMENT["paths"].as_object().unwrap_or(&NONE);
    paths.iter().flat_map(|(path, operations)| {
        let operations = operations.as_object().unwrap_or(&NONE);
        operations.iter().map(|(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// `/api/v1/openapi.json`.
async fn document() -> Response {
    ([(header::CACHE_CONTROL, "public, max-age=300")], Json(&*DOCUMENT)).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `UPDATE=1 cargo test -p proofhouse-web --lib api::` writes it anew.
    #[test]
    fn the_description_is_the_one_in_the_book() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/openapi.json");
        let text = serde_json::to_string_pretty(&*DOCUMENT).unwrap() + "\n";
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(file, &text).unwrap();
        }
        let book = std::fs::read_to_string(file).unwrap_or_default();
        assert!(book == text, "docs/reference/openapi.json is not what the code says: run with UPDATE=1");
    }

    #[test]
    fn what_is_described_is_what_there_is() {
        let described: BTreeSet<_> = all().map(|(path, method, _)| (method, path)).collect();
        assert_eq!(described, ROUTED.iter().copied().collect());
    }

    #[test]
    fn every_operation_is_described() {
        let mut ids = BTreeSet::new();
        for (path, method, operation) in all() {
            let what = format!("{method} {path}");
            assert!(path.starts_with("/api/v1/"), "{what}");
            assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{what}");
            assert!(operation["tags"][0].is_string(), "{what}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{what}");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(
                    parameter["description"].as_str().is_some_and(|text| !text.is_empty()),
                    "{what}: {parameter}"
                );
            }
        }
        assert!(ids.len() >= 14, "{ids:?}");
        let schemas = DOCUMENT["components"]["schemas"].as_object().unwrap();
        for (name, schema) in schemas {
            for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
                let described =
                    schema["description"].is_string() || schema.get("$ref").or(schema.get("oneOf")).is_some();
                assert!(described, "{name}.{field}: {schema}");
            }
        }
    }
}
