//! A whole site over an embedded database, and the life of runs on it.

use std::{io::Write, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request as HttpRequest, StatusCode},
};
use flate2::{Compression, write::GzEncoder};
use proofhouse_core::{
    db::{Completed, Database, GrantOutcome, PublishOutcome, Taken, WorkerRef},
    intake::Incoming,
    layout::{ATTEMPTS, Series, attempt_log},
    outcome::{ExitCode, Fault},
    protocol::{Announce, AttemptId, Ended, Wanted, WorkerId},
};
use scraper::Html;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;
use uuid::Uuid;

use super::{TestBus, TestStore, settings};
use crate::{App, Web, router, settings::Settings};

/// A site.
pub(crate) struct Site {
    pub(crate) db: Database,
    pub(crate) store: Arc<TestStore>,
    pub(crate) bus: Arc<TestBus>,
    pub(crate) web: Web,
    pub(crate) app: App,
    router: Router,
    pub(crate) epoch: i64,
    _folder: TempDir,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn html(&self) -> Html {
        Html::parse_document(&self.text())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

/// The texts of all elements that a selector finds.
pub(crate) fn texts(html: &Html, selector: &str) -> Vec<String> {
    let selector = scraper::Selector::parse(selector).unwrap();
    let words = |e: scraper::ElementRef<'_>| {
        e.text().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    html.select(&selector).map(words).collect()
}

/// A run that ended with a result.
pub(crate) struct Stored {
    pub(crate) uuid: Uuid,
    pub(crate) run_id: String,
    pub(crate) folder: String,
    pub(crate) container: String,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with(settings()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/x.db", folder.path().display());
        let db = Database::open(&url, None).unwrap();
        db.prepare().await.unwrap();
        let epoch = db.take_leadership("test", false).await.unwrap().unwrap();
        let (store, bus) = (Arc::new(TestStore::default()), Arc::new(TestBus::default()));
        let web = Web {
            settings,
            database: db.clone(),
            store: store.clone(),
            bus: bus.clone(),
            on_response: Arc::new(|_, _, _| {}),
        };
        let app = App::new(web.clone());
        Self { db, store, bus, web, app: app.clone(), router: router(app), epoch, _folder: folder }
    }

    pub(crate) async fn ask(&self, request: HttpRequest<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        uri: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = HttpRequest::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.ask(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// As a script asks.
    pub(crate) async fn get(&self, uri: &str) -> Answer {
        self.send(Method::GET, uri, &[("accept", "*/*")], "").await
    }

    /// As a browser asks.
    pub(crate) async fn browse(&self, uri: &str) -> Answer {
        self.send(Method::GET, uri, &[("accept", "text/html,*/*;q=0.8"), ("sec-fetch-site", "none")], "")
            .await
    }

    /// Queues a request, as a client's message does.
    pub(crate) async fn queue(&self, queue: &str, body: &str) -> (i64, Uuid) {
        let incoming = Incoming { queue: queue.to_owned(), body: body.to_owned().into(), redelivered: false };
        let mut prepared = self.web.settings.intake.prepare(&incoming, |_, _| None);
        prepared.digest = None;
        let (taken, _) = self.db.take(None, &[prepared]).await.unwrap();
        match taken[0] {
            Taken::New { job, uuid } | Taken::Merged { job, uuid, .. } => (job, uuid),
            ref other => panic!("{other:?}: {body}"),
        }
    }

    /// A message that cannot be taken.
    pub(crate) async fn reject(&self, queue: &str, body: &str) {
        let incoming = Incoming { queue: queue.to_owned(), body: body.to_owned().into(), redelivered: false };
        let prepared = self.web.settings.intake.prepare(&incoming, |_, _| None);
        let (taken, _) = self.db.take(None, &[prepared]).await.unwrap();
        assert!(!matches!(taken[0], Taken::New { .. } | Taken::Merged { .. }));
    }

    /// The leader puts jobs into lanes.
    pub(crate) async fn sort(&self, lanes: &[(i64, String)]) {
        let unsorted: Vec<_> = lanes.iter().map(|(job, lane)| (*job, None, lane.clone())).collect();
        self.db.sort_jobs(self.epoch, &unsorted).await.unwrap();
    }

    /// A worker takes a job.
    pub(crate) async fn start(&self, job: i64) -> AttemptId {
        let attempts = self.db.job(job).await.unwrap().unwrap().attempts;
        let id = AttemptId { job, attempt: i32::try_from(attempts).unwrap() + 1 };
        let worker = WorkerRef {
            id: WorkerId { name: "worker-7".parse().unwrap(), incarnation: Uuid::nil() },
            host: "host".into(),
        };
        let granted = self.db.grant(self.epoch, id, &worker, &"amd64".parse().unwrap(), 60).await.unwrap();
        assert!(matches!(granted, GrantOutcome::Granted(_)));
        id
    }

    /// The attempt fails for a reason that is not the package's.
    pub(crate) async fn fail(&self, id: AttemptId, pause_us: Option<i64>) {
        assert!(self.db.end_attempt(self.epoch, id, Fault::Testbed, None, "", pause_us).await.unwrap());
    }

    /// The log of a failed attempt, as a worker stores it.
    pub(crate) fn keep_log(&self, uuid: Uuid, attempt: i32, log: &str) {
        self.store.add(ATTEMPTS, &attempt_log(uuid, attempt), &gzip(log));
    }

    /// The run ends with a result, and its files are stored.
    pub(crate) async fn finish(&self, id: AttemptId, code: i32, log: &str) -> Stored {
        let job = self.db.job(id.job).await.unwrap().unwrap();
        let pair = job.pair().unwrap();
        let container = job.request().unwrap().container(&pair);
        let series = Series { container: container.clone(), pair, package: job.package.parse().unwrap() };
        let ended = Ended {
            id,
            exit_code: ExitCode(code),
            version: Some(format!("{} 2.10-3", job.package)),
            duration_seconds: 125,
            fault: None,
            detail: String::new(),
            rule: None,
        };
        let outcome = self.db.open_publication(self.epoch, &ended, &series).await.unwrap();
        let PublishOutcome::Granted(publication) = outcome else { panic!("granted") };
        let run_id = publication.run_id;
        let done = Completed { id, run_id: run_id.clone(), result_tar: b"tar".to_vec() };
        assert!(self.db.complete(self.epoch, done).await.unwrap());
        let due = self.db.outbox_due(1000).await.unwrap();
        let entry = due.iter().find(|entry| entry.folder == series.folder(&run_id)).unwrap();
        assert!(self.db.result_stored(entry).await.unwrap());
        self.store.add(container.as_str(), &series.object(&run_id, "log.gz"), &gzip(log));
        self.store.add(container.as_str(), &series.object(&run_id, "result.tar"), b"tar");
        Stored {
            uuid: job.uuid.parse().unwrap(),
            run_id: run_id.to_string(),
            folder: series.folder(&run_id),
            container: container.to_string(),
        }
    }

    /// Queue, run, result.
    pub(crate) async fn result(&self, queue: &str, body: &str, code: i32, log: &str) -> Stored {
        let (job, _) = self.queue(queue, body).await;
        let id = self.start(job).await;
        self.finish(id, code, log).await
    }

    /// The leader sums up what is stored.
    pub(crate) async fn sum_up(&self) {
        while self.db.next_edition(self.epoch, 1000).await.unwrap() > 0 {}
        while self.db.sum_up(self.epoch, 1000).await.unwrap() > 0 {}
    }

    /// A worker says that it is there.
    pub(crate) async fn announce(&self, name: &str, host: &str, slots: u32) {
        let id = WorkerId { name: name.parse().unwrap(), incarnation: Uuid::nil() };
        let announce = Announce {
            host: host.to_owned(),
            pools: vec!["amd64".parse().unwrap()],
            slots,
            holds: Vec::new(),
            draining: false,
            unable: None,
            version: "0".to_owned(),
            wanted: Wanted::Work,
            leaving: false,
        };
        self.db.worker_announced(self.epoch, &id, &announce).await.unwrap();
    }

    /// As from another machine.
    pub(crate) async fn get_from(&self, address: &str, uri: &str) -> Answer {
        let peer: std::net::IpAddr = address.parse().unwrap();
        let request = HttpRequest::builder().uri(uri).extension(ConnectInfo(SocketAddr::from((peer, 9))));
        self.ask(request.body(Body::empty()).unwrap()).await
    }

    /// A token's secret.
    pub(crate) async fn token(&self, person: &str, scopes: &str) -> String {
        let secret = format!("secret-of-{person}-{}", Uuid::new_v4());
        let hash = proofhouse_core::db::token_hash(&secret);
        self.db.add_token("test", person, &hash, scopes, 600).await.unwrap();
        secret
    }
}

pub(crate) fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}
