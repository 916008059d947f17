//! A job table as this version fills it, written down as SQL.

use anyhow::{Context, Result, bail};
use proofhouse_core::{
    db::{
        Completed, Database, GrantOutcome, JobState, NewRejection, Prepared, PublishOutcome, Taken,
        WorkerRef, token_hash,
    },
    intake::{Incoming, Intake},
    layout::Series,
    outcome::{ExitCode, Fault},
    protocol::{Announce, AttemptId, Ended, Wanted, WorkerId},
    queue::{Cap, Pause},
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use uuid::Uuid;

/// A job table in the making.
struct Fill {
    database: Database,
    epoch: i64,
    worker: WorkerRef,
}

impl Fill {
    async fn begin(url: &str) -> Result<Self> {
        let database = Database::open(url, None)?;
        database.prepare().await?;
        let epoch = database.take_leadership("h1:1", false).await?.context("nobody leads")?;
        let id = WorkerId { name: "w1".parse()?, incarnation: Uuid::from_u128(1) };
        Ok(Self { database, epoch, worker: WorkerRef { id, host: "h1".to_owned() } })
    }

    /// Takes a request in, and leaves its acknowledgement open.
    async fn request(&self, body: &str) -> Result<i64> {
        let intake = Intake { served: ["noble/amd64".parse()?].into(), keys: None, answered: [].into() };
        let queue = "debci-noble-amd64".to_owned();
        let prepared = intake
            .prepare(&Incoming { queue, body: body.to_owned().into(), redelivered: false }, |_, _| None);
        let session = self.database.begin_intake_session(self.epoch, false).await?;
        match &intake.take(&self.database, Some(session), &[prepared]).await?.0[..] {
            [Taken::New { job, .. } | Taken::Merged { job, .. }] => Ok(*job),
            other => bail!("{body}: {other:?}"),
        }
    }

    async fn granted(&self, package: &str) -> Result<AttemptId> {
        let job = self
            .request(&format!("{package}\n{{\"triggers\": [\"{package}/2\"], \"requester\": \"joe\"}}"))
            .await?;
        let id = AttemptId { job, attempt: 1 };
        match self.database.grant(self.epoch, id, &self.worker, &"amd64".parse()?, 160_000).await? {
            GrantOutcome::Granted(_) => Ok(id),
            GrantOutcome::Refused => bail!("{package} was refused"),
        }
    }

    fn ended(id: AttemptId, code: i32) -> Ended {
        Ended {
            id,
            exit_code: ExitCode(code),
            version: Some("green 2".to_owned()),
            duration_seconds: 90,
            fault: None,
            detail: "as it should".to_owned(),
            rule: None,
        }
    }

    async fn publishing(&self, package: &str) -> Result<Completed> {
        let id = self.granted(package).await?;
        let series = Series {
            container: "autopkgtest-noble".parse()?,
            pair: "noble/amd64".parse()?,
            package: package.parse()?,
        };
        match self.database.open_publication(self.epoch, &Self::ended(id, 4), &series).await? {
            PublishOutcome::Granted(p) => Ok(Completed { id, run_id: p.run_id, result_tar: b"tar".to_vec() }),
            other => bail!("{package}: {other:?}"),
        }
    }

    async fn storing(&self, package: &str) -> Result<AttemptId> {
        let completed = self.publishing(package).await?;
        let id = completed.id;
        self.database.complete(self.epoch, completed).await?;
        Ok(id)
    }

    /// A job in each state.
    async fn jobs(&self) -> Result<()> {
        let database = &self.database;
        self.request(
            "waits\n{\"triggers\": [\"waits/2\"], \"uuid\": \"3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e\"}",
        )
        .await?;
        self.request("private\n{\"swiftuser\": \"joe\", \"readable-by\": [\"ann\"]}").await?;
        let obsolete = self.request("obsolete\n{\"triggers\": [\"obsolete/1\"]}").await?;
        database.end_waiting(self.epoch, obsolete, JobState::Obsolete, "superseded").await?;
        self.granted("runs").await?;
        self.publishing("publishes").await?;
        let done = self.storing("done").await?;
        for entry in database.outbox_due(10).await?.iter().filter(|entry| entry.job_id == done.job) {
            database.result_stored(entry).await?;
        }
        self.storing("stores").await?;
        let failed = self.granted("retries").await?;
        let why = Self::ended(failed, 16);
        database.end_attempt(self.epoch, failed, Fault::Testbed, Some(&why), "no testbed", Some(1)).await?;
        let parked = self.granted("parked").await?;
        database.end_attempt(self.epoch, parked, Fault::LeaseLost, None, "no renewal", None).await?;
        Ok(())
    }

    async fn rest(&self) -> Result<()> {
        let database = &self.database;
        let rejection = NewRejection {
            body: b"bad {".to_vec(),
            kind: "bad-json",
            reason: "the parameters are not JSON".to_owned(),
            answer: None,
        };
        let queue = "debci-noble-amd64".to_owned();
        let bad = Prepared { queue, digest: None, redelivered: false, what: Err(rejection) };
        database.take(None, &[bad]).await?;
        let said = Announce {
            host: "h1".to_owned(),
            pools: vec!["amd64".parse()?],
            slots: 4,
            holds: vec![],
            draining: false,
            unable: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            wanted: Wanted::Work,
            leaving: false,
        };
        database.worker_announced(self.epoch, &self.worker.id, &said).await?;
        let other = WorkerId { name: "w2".parse()?, incarnation: Uuid::from_u128(2) };
        database.worker_announced(self.epoch, &other, &said).await?;
        database.want(&other.name, Wanted::Drain).await?;
        let pause = Pause {
            id: 0,
            release: Some("noble".to_owned()),
            arch: None,
            context: Some("ppa".to_owned()),
            person: "ann".to_owned(),
            reason: "the archive moves".to_owned(),
            since_us: 0,
        };
        database.pause(&pause, r#"{"release":"noble","context":"ppa"}"#, 0).await?;
        let cap = Cap {
            kind: "trigger".to_owned(),
            name: "*".to_owned(),
            most: 50,
            person: "ann".to_owned(),
            since_us: 0,
        };
        database.set_cap(&cap, r#"{"trigger":"*","most":50}"#).await?;
        database.add_token("britney", "release-team", &token_hash("secret"), "request", 86_400).await?;
        database.count_requests("joe", 1, 100).await?;
        Ok(())
    }
}

/// The rows of a job table in which everything was done once: `INSERT` statements, and its schema's version.
pub(crate) async fn filled() -> Result<String> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite://{}", folder.path().join("x.db").display());
    let fill = Fill::begin(&url).await?;
    fill.jobs().await?;
    fill.rest().await?;
    let mut text = format!(
        "-- schema version {}\nDELETE FROM leadership;\nDELETE FROM summed;\n",
        fill.database.needed_version()
    );
    fill.database.close().await;
    let mut raw = SqliteConnection::connect(&url).await?;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'
         ORDER BY rowid",
    )
    .fetch_all(&mut raw)
    .await?;
    for table in tables {
        for row in rows(&mut raw, &table).await? {
            text.push_str(&row);
        }
    }
    Ok(text)
}

async fn rows(file: &mut SqliteConnection, table: &str) -> Result<Vec<String>> {
    let columns: Vec<(String, String)> =
        sqlx::query_as(AssertSqlSafe(format!("SELECT name, type FROM pragma_table_info('{table}')")))
            .fetch_all(&mut *file)
            .await?;
    let value = |(name, kind): &(String, String)| match kind.as_str() {
        "BOOLEAN" => format!("CASE {name} WHEN 1 THEN 'TRUE' WHEN 0 THEN 'FALSE' ELSE 'NULL' END"),
        _ => format!("quote({name})"),
    };
    let values: Vec<String> = columns.iter().map(value).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let sql = format!("SELECT {} FROM {table} ORDER BY rowid", values.join(" || ', ' || "));
    let all: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut *file).await?;
    let names = names.join(", ");
    Ok(all.into_iter().map(|row| format!("INSERT INTO {table} ({names}) VALUES ({row});\n")).collect())
}

/// `testcomplete`'s body, with a uuid and a run id that are always the same.
pub(crate) async fn completion() -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let fill = Fill::begin(&format!("sqlite://{}", folder.path().join("x.db").display())).await?;
    fill.storing("green").await?;
    let due = fill.database.outbox_due(1).await?;
    let message = due.first().and_then(|entry| entry.message.as_deref()).context("a message")?;
    let mut message: Value = serde_json::from_str(message)?;
    message["uuid"] = "3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e".into();
    message["swift_dir"] = "noble/amd64/g/green/20261121_053634_abcde@".into();
    Ok(message)
}
