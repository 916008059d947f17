//! A store that fails: a proxy before its HTTP server, which also knows in which order results became visible.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::{net::TcpListener, task::JoinHandle};

/// How the store fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Weather {
    /// It does not.
    #[default]
    Fair,
    /// It answers everything with this status.
    Status(u16),
    /// It never answers an upload, and stores nothing of it: until somebody cuts the connection.
    Deaf,
    /// It stores what is uploaded, and never answers.
    Mute,
    /// It takes so long for each answer.
    Slow(Duration),
}

#[derive(Default)]
struct Seen {
    weather: Weather,
    /// Run ids of each series in the order in which their `result.tar` came.
    visible: BTreeMap<String, Vec<String>>,
    late: Vec<String>,
    /// Objects that are there.
    objects: BTreeSet<String>,
    /// How many answers failed.
    spoilt: usize,
}

/// Where the store is, for those who fill it and those who read it.
pub(super) struct Front {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Behind {
    server: SocketAddr,
    client: reqwest::Client,
    seen: Arc<Mutex<Seen>>,
}

impl Front {
    /// Before a store's server.
    pub(super) async fn start(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        let behind = Behind { server, client, seen: seen.clone() };
        let app = Router::new().fallback(pass).with_state(behind);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("the store's front ended: {error}");
            }
        });
        Ok(Self { address, seen, task })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How the store fails from now on.
    pub(super) fn set(&self, weather: Weather) {
        lock(&self.seen).weather = weather;
    }

    /// How many answers failed so far.
    pub(super) fn spoilt(&self) -> usize {
        lock(&self.seen).spoilt
    }

    /// Runs that became visible behind a greater one of their series.
    pub(super) fn late(&self) -> Vec<String> {
        lock(&self.seen).late.clone()
    }

    /// Folders of runs that are no results.
    pub(super) fn left(&self) -> BTreeSet<String> {
        let seen = lock(&self.seen);
        let folders = seen.objects.iter().filter_map(|object| object.rsplit_once('/'));
        let is_run = |folder: &str| {
            ["noble", "bookworm"].iter().any(|name| folder.contains(&format!("/autopkgtest-{name}/{name}/")))
        };
        let runs = folders.filter(|(folder, _)| is_run(folder));
        let is_result = |folder: &str| seen.objects.contains(&format!("{folder}/result.tar"));
        runs.filter(|(folder, _)| !is_result(folder)).map(|(folder, _)| folder.to_owned()).collect()
    }

    /// The visible results: `SERIES/RUN_ID`.
    pub(super) fn visible(&self) -> BTreeSet<String> {
        let seen = lock(&self.seen);
        let of = |(series, ids): (&String, &Vec<String>)| -> Vec<String> {
            ids.iter().map(|id| format!("{series}/{id}")).collect()
        };
        seen.visible.iter().flat_map(of).collect()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass(State(behind): State<Behind>, request: Request) -> Response {
    let weather = lock(&behind.seen).weather;
    let spoils = || lock(&behind.seen).spoilt += 1;
    match weather {
        Weather::Status(code) => {
            spoils();
            return StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
        }
        Weather::Slow(pause) => {
            spoils();
            tokio::time::sleep(pause).await;
        }
        Weather::Deaf if request.method() == Method::PUT => {
            spoils();
            return std::future::pending().await;
        }
        Weather::Fair | Weather::Deaf | Weather::Mute => {}
    }
    let is_put = request.method() == Method::PUT;
    let answer = behind.forward(request).await;
    if weather == Weather::Mute && is_put {
        spoils();
        return std::future::pending().await;
    }
    answer.unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response())
}

impl Behind {
    async fn forward(&self, request: Request) -> Result<Response> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, 64 << 20).await?;
        let url = format!("http://{}{}", self.server, parts.uri);
        let mut headers = parts.headers;
        for name in [header::TRANSFER_ENCODING, header::CONNECTION, header::EXPECT] {
            headers.remove(name);
        }
        let sent = self.client.request(parts.method.clone(), url).headers(headers).body(body);
        let answer = sent.send().await?;
        let status = answer.status();
        if status.is_success() {
            self.changed(&parts.method, &unescaped(parts.uri.path()));
        }
        let headers: HeaderMap = answer.headers().clone();
        let bytes = answer.bytes().await?;
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() = status;
        for (name, value) in &headers {
            if name != header::TRANSFER_ENCODING && name != header::CONNECTION {
                response.headers_mut().append(name, value.clone());
            }
        }
        Ok(response)
    }

    /// An object came or went.
    fn changed(&self, method: &Method, path: &str) {
        let mut seen = lock(&self.seen);
        match *method {
            Method::PUT => drop(seen.objects.insert(path.to_owned())),
            Method::DELETE => drop(seen.objects.remove(path)),
            _ => return,
        }
        let Some((folder, "result.tar")) = path.rsplit_once('/') else { return };
        let Some((series, run_id)) = folder.rsplit_once('/') else { return };
        let visible = seen.visible.entry(series.to_owned()).or_default();
        if *method == Method::DELETE {
            seen.late.push(format!("{series}/{run_id} was deleted, and"));
            return;
        }
        if visible.iter().any(|known| known == run_id) {
            return;
        }
        let is_late = visible.iter().any(|other| other.as_str() > run_id);
        visible.push(run_id.to_owned());
        if is_late {
            seen.late.push(format!("{series}/{run_id}"));
        }
    }
}

/// Run ids hold an `@`, which some clients escape.
fn unescaped(path: &str) -> String {
    path.replace("%40", "@")
}
