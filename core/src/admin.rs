//! The admin port: `/metrics`, `/healthz`, `/readyz`. For probes and Prometheus, never for the outside.

use std::{fmt::Write as _, io, net::SocketAddr};

use axum::{
    Router,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;

use crate::{health::Health, lifecycle::Shutdown};

/// The admin port cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("the admin port {address} cannot be opened (setting admin)")]
pub struct AdminError {
    address: SocketAddr,
    source: io::Error,
}

#[derive(Clone)]
struct Admin {
    registry: Registry,
    health: Health,
    shutdown: Shutdown,
}

/// Opens the port and serves it until all other tasks have ended. Returns its address, which tells the port where 0 was asked for.
pub async fn serve(
    address: SocketAddr,
    registry: Registry,
    health: Health,
    shutdown: &Shutdown,
) -> Result<SocketAddr, AdminError> {
    let failed = |source| AdminError { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let router = router(Admin { registry, health, shutdown: shutdown.clone() });
    shutdown.spawn_service("admin server", async move { axum::serve(listener, router).await });
    tracing::info!(admin.address = %bound, "metrics and health on http://{bound}");
    Ok(bound)
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .layer(map_response(secure))
        .with_state(admin)
}

/// Texts for programs: a browser that is led here shows them as such, and keeps nothing.
async fn secure(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    response.headers_mut().extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    match TextEncoder::new().encode_to_string(&admin.registry.gather()) {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text),
        Err(e) => {
            let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (StatusCode::INTERNAL_SERVER_ERROR, plain, format!("{e}\n"))
        }
    }
}

/// Alive and fully started: it stays 200 when a server that we need is away, for a restart would not bring that back.
async fn healthz(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.health.report().started {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting: not everything that is configured exists yet\n")
    }
}

/// Able to work now: a line for each thing that must hold.
async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    let report = admin.health.report();
    let draining = admin.shutdown.drain().is_cancelled();
    let mut text = String::new();
    for (name, line) in [(!report.started, "starting\n"), (draining, "draining: finishing what runs\n")] {
        if name {
            text.push_str(line);
        }
    }
    for (name, state) in &report.conditions {
        let state = state.as_ref().map_or_else(String::as_str, |()| "ok");
        let _ = writeln!(text, "{name}: {state}");
    }
    let ready = report.is_ready() && !draining;
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Role, lifecycle::BoxError, telemetry::metrics::Metrics};

    async fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    #[tokio::test]
    async fn health_and_readiness_over_a_life() {
        let (shutdown, health) = (Shutdown::new(), Health::new());
        let any_port = "127.0.0.1:0".parse().unwrap();
        let metrics = Metrics::new(Role::Dispatcher);
        let address = serve(any_port, metrics.registry.clone(), health.clone(), &shutdown).await.unwrap();
        let drain = shutdown.drain().clone();
        shutdown.spawn("work", async move {
            drain.cancelled().await;
            Ok::<(), BoxError>(())
        });

        let (bus, store) = (health.condition("bus"), health.condition("store"));
        assert_eq!(get(address, "/healthz").await.0, 503);
        assert_eq!(
            get(address, "/readyz").await,
            (503, "starting\nbus: not reached yet\nstore: not reached yet\n".into())
        );
        bus.holds();
        store.holds();
        health.started();
        assert_eq!(get(address, "/healthz").await, (200, "ok\n".into()));
        assert_eq!(get(address, "/readyz").await, (200, "bus: ok\nstore: ok\n".into()));

        store.fails("the store at h is away");
        assert_eq!(get(address, "/healthz").await.0, 200);
        assert_eq!(get(address, "/readyz").await, (503, "bus: ok\nstore: the store at h is away\n".into()));
        store.holds();

        let (status, text) = get(address, "/metrics").await;
        assert!(status == 200 && text.contains("proofhouse_build_info{"), "{text}");

        for path in ["/metrics", "/healthz", "/readyz", "/nope"] {
            let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
            for name in ["content-security-policy", "x-content-type-options", "x-frame-options"] {
                assert!(answer.headers().contains_key(name), "{path}: {name}");
            }
        }

        let again = serve(address, metrics.registry.clone(), health, &shutdown).await.unwrap_err();
        assert!(again.to_string().contains("setting admin"));
        shutdown.next_stage();
        shutdown.finished().await.unwrap();
        assert!(reqwest::get(format!("http://{address}/healthz")).await.is_err());
    }

    #[tokio::test]
    async fn a_draining_process_is_not_ready() {
        let (shutdown, health) = (Shutdown::new(), Health::new());
        health.started();
        shutdown.next_stage();
        let admin = Admin { registry: Registry::new(), health, shutdown };
        let (status, text) = readyz(State(admin)).await;
        assert_eq!(
            (status, text.as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "draining: finishing what runs\n")
        );
    }
}
