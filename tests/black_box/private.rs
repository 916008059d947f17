//! A private run leaks nothing to those who may not read it (design "What must always hold").
//!
//! Words that stand nowhere by chance are planted in every field of private requests in every state, and are searched for
//! everywhere. A public run beside them shows that each search finds what is there, and each word must be found where it
//! may be.

mod addresses;
mod kept;
mod machine;
mod messages;
mod words;

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use proofhouse_tests::{
    cluster::{Cluster, PATIENCE, SEAL_KEY, stand_in},
    keystone, proofhouse,
    proofhouse::{Proofhouse, Role},
    rabbit, shared,
    wait::wait_for,
};
use serde_json::{Value, json};

use self::{
    addresses::{Run, Viewer},
    machine::Sampler,
    words::{Mark, Planted, tokens},
};

/// What an operator finds in the job table of the words of a request.
const IN_THE_TABLE: &[&str] = &[
    "pkg", "source", "version", "second", "owner", "ppa", "env", "value", "test", "asker", "time", "reader",
    "key", "inner", "unknown",
];
/// What a reader of the container finds.
const IN_THE_STORE: &[&str] =
    &["pkg", "source", "version", "second", "owner", "ppa", "env", "value", "test", "asker", "reader"];

/// What is planted, and how it stands once all has settled.
struct Scene {
    hidden: Mark,
    open: Mark,
    planted: Vec<(Planted, &'static str)>,
}

impl Scene {
    /// Private requests in every state, and public ones beside them. `go` is the file that ends those that hold.
    fn new(reader: Option<&str>, go: &Path) -> Self {
        let (hidden, open) = (Mark::new(reader), Mark::new(None));
        let hold = format!("HOLD={}", go.display());
        let private = |label, arch, env: &[&str]| Planted::private(&hidden, label, arch, env);
        let clone = format!(
            "https://{}/{}#{}",
            hidden.word("host", ""),
            hidden.word("path", ""),
            hidden.word("branch", "")
        );
        let key = hidden.word("key", "same");
        let planted = vec![
            (
                private("wait", "armhf", &[]).with("test-git", json!(clone)).with("build-git", json!(clone)),
                "waiting",
            ),
            // As the site can be asked for it: without keys that nobody knows.
            (private("same", "armhf", &[]).without("release").without(&key), "waiting"),
            (private("hold", "amd64", &["TELL=1", &hold]), "running"),
            (private("done", "amd64", &["TELL=1"]), "done"),
            (private("fail", "amd64", &["EXIT=4"]), "done"),
            (private("park", "amd64", &["TELL=1", "EXIT=16"]), "parked"),
            (private("deny", "amd64", &[]), "parked"),
            (private("plain", "amd64", &[]).without("ppas"), "done"),
            (private("never", "amd64", &[]), "done"),
            (private("off", "arm64", &[]), "done"),
            (Planted::public(&open, "owait", "armhf", &[]), "waiting"),
            (Planted::public(&open, "ohold", "amd64", &[&hold]), "running"),
            (Planted::public(&open, "odone", "amd64", &[]), "done"),
            (Planted::public(&open, "opark", "amd64", &["EXIT=16"]), "parked"),
        ];
        Self { hidden, open, planted }
    }

    fn get(&self, label: &str) -> Result<&Planted> {
        let found = self.planted.iter().find(|(planted, _)| planted.label == label);
        found.map(|(planted, _)| planted).with_context(|| format!("nothing is planted as {label}"))
    }

    /// The same request from somebody else.
    fn merged(&self) -> Result<Planted> {
        let other = Planted::private(&self.hidden, "again", "armhf", &[]);
        let same = self.get("wait")?.clone().with("uuid", other.params["uuid"].clone());
        Ok(same
            .with("requester", other.params["requester"].clone())
            .with("submit-time", other.params["submit-time"].clone()))
    }

    /// A folder of lists that keep one of them from being run.
    fn lists(&self, folder: &Path) -> Result<String> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("never_run"), format!("{}\n", self.get("never")?.package()))?;
        Ok(folder.display().to_string())
    }

    async fn settled(&self, database: &str, labels: impl Fn(&str) -> bool) -> Result<()> {
        let mut last = String::new();
        let waited = wait_for("all jobs to settle", PATIENCE, async || {
            let states = kept::states(database).await.ok()?;
            last = format!("{states:?}");
            let as_planned = |(planted, state): &(Planted, &str)| {
                !labels(planted.label) || states.get(&planted.package()).is_some_and(|s| s == state)
            };
            self.planted.iter().all(as_planned).then_some(())
        });
        waited.await.with_context(|| last)
    }

    /// All of one kind, as addresses name them.
    async fn runs(&self, database: &str, private: bool) -> Result<Vec<Run>> {
        let run_ids = kept::run_ids(database).await?;
        let run = |planted: &Planted| Run {
            result: run_ids
                .get(&planted.package())
                .cloned()
                .unwrap_or_else(|| "20260101_000000_aaaaa@".to_owned()),
            planted: planted.clone(),
        };
        let mut runs: Vec<Run> =
            self.planted.iter().map(|(p, _)| p).filter(|p| p.is_private() == private).map(run).collect();
        if private {
            runs.push(run(&self.merged()?));
        }
        Ok(runs)
    }

    /// One of them.
    async fn run(&self, label: &str, database: &str) -> Result<Vec<Run>> {
        let private = self.get(label)?.is_private();
        Ok(self.runs(database, private).await?.into_iter().filter(|run| run.planted.label == label).collect())
    }

    /// The whole site, as these people see it.
    async fn search_site(&self, database: &str, viewers: &[&Viewer]) -> Result<()> {
        let (hidden, open) = (self.runs(database, true).await?, self.runs(database, false).await?);
        for viewer in viewers {
            viewer.finds_nothing(&hidden, &self.hidden).await?;
            viewer.finds_all(&open, &self.open).await?;
            let seen = viewer.crawl(&self.hidden).await?;
            let shown = seen.iter().any(|path| !self.open.words(path.as_bytes()).is_empty());
            ensure!(shown && seen.len() > 10, "the links lead nowhere: {seen:?}");
        }
        Ok(())
    }

    /// Log lines and metrics of a process say nothing.
    async fn search_process(&self, name: &str, process: &Proofhouse, alive: bool) -> Result<()> {
        let metrics = if alive { process.metrics().await? } else { String::new() };
        for line in process.log().lines().chain(metrics.lines()) {
            let told = self.hidden.words(line.as_bytes());
            ensure!(told.is_empty(), "{name} tells {told:?}: {line}");
        }
        Ok(())
    }

    /// A request that equals a private one tells nothing to those who may not read that, and leads those who may to it.
    async fn ask_for_the_same(&self, stranger: &Viewer, reader: &Viewer) -> Result<()> {
        let same = self.get("same")?;
        let mut asked = same.clone().without("uuid").without("requester").without("submit-time").params;
        asked["release"] = json!("noble");
        asked["arch"] = json!(same.arch);
        asked["package"] = json!(same.package());
        let (status, answer) = reader.submit(&asked).await?;
        ensure!(
            status == 409 && answer.to_string().contains(same.uuid()),
            "the reader is told {status} {answer}"
        );
        let never = Mark::new(None);
        let twin: Value = serde_json::from_str(&self.hidden.to(&never, &asked.to_string()))?;
        for expected in [200, 409] {
            let (status, mut answer) = stranger.submit(&asked).await?;
            let (other, mut none) = stranger.submit(&twin).await?;
            ensure!((status, other) == (expected, expected), "{status} {answer}, {other} {none}");
            ensure!(!answer.to_string().contains(same.uuid()), "a stranger is told {answer}");
            for answer in [&mut answer, &mut none] {
                for at in ["/uuid", "/url", "/requests/0/uuid", "/requests/0/url"] {
                    if let Some(value) = answer.pointer_mut(at) {
                        *value = Value::Null;
                    }
                }
            }
            let (answer, none) = (self.hidden.to(&never, &answer.to_string()), none.to_string());
            ensure!(answer == none, "{answer} differs from what never was: {none}");
        }
        Ok(())
    }
}

/// Bad requests that hold a token, each in another way.
fn bad(hidden: &Mark) -> Vec<Vec<u8>> {
    let planted = |label| Planted::private(hidden, label, "amd64", &[]);
    let ppa = |planted: Planted, ppa: String| planted.with("ppas", json!([ppa]));
    let text = |planted: &Planted| String::from_utf8_lossy(&planted.body()).into_owned();
    let (third, fourth, fifth, sixth, seventh) =
        (planted("bad3"), planted("bad4"), planted("bad5"), planted("bad6"), planted("bad7"));
    let (slash, no_at) = (format!("{}/@x@a/b/c", third.login()), format!("{}/a/b", fourth.login()));
    let fifth = text(&fifth);
    let cut = fifth.find("tokbad5").unwrap_or(0) + 5;
    let escaped = |planted: &Planted| {
        let login = planted.login();
        text(planted).replace(
            &format!("{login}@"),
            &format!("{}\\u0040", login.replace(':', "\\u003a").replace('t', "\\u0074")),
        )
    };
    let git = format!("https://{}@host/x", planted("bad9").login());
    vec![
        planted("bad1").without("swiftuser").without("readable-by").body(),
        planted("bad2").without("swiftuser").without("ppas").body(),
        ppa(third, slash).body(),
        ppa(fourth, no_at).body(),
        fifth.as_bytes()[..cut].to_vec(),
        escaped(&sixth).trim_end_matches('}').as_bytes().to_vec(),
        escaped(&seventh.with("triggers", json!(1))).into_bytes(),
        [&text(&planted("bad8")).into_bytes()[..], b"\xff"].concat(),
        planted("bad9")
            .without("swiftuser")
            .without("readable-by")
            .without("ppas")
            .with("test-git", json!(git))
            .body(),
    ]
}

/// With a key for what is new in front of the one that sealed what is there.
fn rotated() -> String {
    format!("{}\n{SEAL_KEY}", "ab".repeat(32))
}

async fn token(database: &str, person: &str) -> Result<String> {
    let args = ["token", "add", "search", "--person", person, "--json", "--database", database];
    let output = proofhouse::run(&args, &[]).await?;
    let said: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(said["secret"].as_str().context("a secret")?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_finds_a_private_run_in_a_cluster() -> Result<()> {
    let cloud = shared::cloud().await?;
    let (owner, reader) = (cloud.project("search").await?, cloud.project("search-reader").await?);
    let (account, owner_token) = (owner.public_url(), owner.token().await?);
    let cluster = Cluster::on_folder().await?;
    let (go, data) = (cluster.folder().join("go"), cluster.folder().join("worker").display().to_string());
    let scene = Scene::new(Some(&reader.user_id), &go);
    let own =
        |role: Role| role.arg("--store", owner.store_url()).envs(owner.env()).env("PROOFHOUSE_LOG", "debug");
    let pairs =
        |role: Role| own(role).arg("--arches", "amd64,armhf,arm64").arg("--disabled-pairs", "noble/arm64");
    let dispatcher = pairs(cluster.dispatcher())
        .arg("--retry-attempts", "2")
        .arg("--lists", scene.lists(&cluster.folder().join("lists"))?)
        .arg("--answer-bad-requests", "debci-ppa-noble-amd64,debci-noble-amd64")
        .start()
        .await?;
    let tracer = messages::Tracer::start(&cluster.bus).await?;
    let webs = (pairs(cluster.web()).start().await?, pairs(cluster.web()).start().await?);
    // A container that is another reader's already.
    let denied = format!("{account}/{}", scene.get("deny")?.container());
    let (http, acl) = (reqwest::Client::new(), "*:another");
    let made = http.put(&denied).header("X-Auth-Token", &owner_token).header("X-Container-Read", acl);
    made.send().await?.error_for_status()?;

    let secrets = [SEAL_KEY, keystone::PASSWORD, rabbit::PASSWORD].map(str::to_owned).to_vec();
    let sampler = Sampler::start(scene.hidden.clone(), scene.open.clone(), data.clone().into(), secrets);
    let worker = || own(cluster.worker("one")).arg("--slots", "4").arg("--data", &data);
    let first = worker().start().await?;
    let client = cluster.client().await?;
    for (planted, _) in &scene.planted {
        client.publish(&planted.queue(), &planted.body()).await?;
    }
    client.publish(&scene.merged()?.queue(), &scene.merged()?.body()).await?;
    let bad = bad(&scene.hidden);
    for body in &bad {
        client.publish("debci-ppa-noble-amd64", body).await?;
    }
    scene.settled(&cluster.database, |_| true).await?;
    machine::work_folders(Path::new(&data), &scene.hidden)?;

    // Its worker is killed and comes back with a new key: the test is begun anew.
    first.kill9().await?;
    let second = worker().env("PROOFHOUSE_SEAL_KEY", rotated()).start().await?;
    wait_for("the second attempt", PATIENCE, async || {
        let holding = machine::work_folders(Path::new(&data), &scene.hidden).is_ok();
        (second.log().matches(" begins").count() >= 2 && holding).then_some(())
    })
    .await?;

    let [anyone, stranger, named] = [
        Viewer::new(webs.0.site_url()?, None)?,
        Viewer::new(webs.1.site_url()?, Some(token(&cluster.database, "eve").await?))?,
        Viewer::new(
            webs.0.site_url()?,
            Some(token(&cluster.database, &scene.hidden.word("reader", "")).await?),
        )?,
    ];
    scene.search_site(&cluster.database, &[&anyone, &stranger]).await?;
    scene.ask_for_the_same(&stranger, &named).await?;
    messages::rejected(&cluster.json(&["rejected"]).await?, &scene.hidden, bad.len())?;

    std::fs::write(&go, "")?;
    wait_for("the end of what was held", PATIENCE, async || {
        let states = kept::states(&cluster.database).await.ok()?;
        let done =
            |label| states.get(&scene.get(label).ok()?.package()).filter(|state| *state == "done").map(drop);
        done("hold").and(done("ohold"))
    })
    .await?;
    anyone.finds_nothing(&scene.run("hold", &cluster.database).await?, &scene.hidden).await?;
    anyone.crawl(&scene.hidden).await?;
    sampler.check()?;
    drop(sampler);
    tracer.search(&scene.hidden, &scene.open)?;
    let dump = kept::dump(&cluster.database).await?;
    kept::job_table(dump.as_bytes(), &scene.hidden, &[IN_THE_TABLE, &["release"]].concat())?;
    machine::nothing_left(Path::new(&data), &scene.hidden)?;
    for (name, process) in
        [("dispatcher", &dispatcher), ("second worker", &second), ("web", &webs.0), ("web", &webs.1)]
    {
        scene.search_process(name, process, true).await?;
    }
    scene.search_process("first worker", &first, false).await?;
    ensure!(!scene.open.words(dispatcher.log().as_bytes()).is_empty(), "the dispatcher logs nothing");
    search_swift(&scene, &account, &owner_token, &reader.token().await?).await?;
    let kept = http.head(&denied).header("X-Auth-Token", &owner_token).send().await?;
    ensure!(kept.headers().get("x-container-read").is_some_and(|kept| kept.as_bytes() == acl.as_bytes()));
    Ok(())
}

/// The store, as anyone, as a reader, and as its owner sees it.
async fn search_swift(scene: &Scene, account: &str, owner: &str, reader: &str) -> Result<()> {
    let (mut public, mut private) = (String::new(), String::new());
    for name in kept::containers(account, owner).await? {
        let open = kept::container(account, None, &name).await?;
        let is_public = name.starts_with("autopkgtest-") || name == "proofhouse-published";
        ensure!(open.is_some() == is_public, "{name} is open to anyone, or is not: {}", open.is_some());
        public.push_str(&open.unwrap_or_default());
        if name.starts_with("private-") {
            let read = kept::container(account, Some(reader), &name).await?;
            let denied = name == scene.get("deny")?.container();
            ensure!(read.is_none() == denied, "{name} is {read:?} to the reader");
            private.push_str(&read.unwrap_or_default());
        }
    }
    search_store(scene, &public, &private)?;
    let attempts = kept::container(account, Some(owner), "proofhouse-attempts").await?;
    let attempts = attempts.context("the owner is refused")?;
    no_token(&scene.hidden, &attempts)?;
    kept::holds(&scene.hidden, attempts.as_bytes(), &["pkg"], "the failed attempts")
}

fn search_store(scene: &Scene, public: &str, private: &str) -> Result<()> {
    let told = scene.hidden.words(public.as_bytes());
    ensure!(told.is_empty(), "public containers tell {told:?}");
    kept::holds(&scene.open, public.as_bytes(), &["pkg", "source"], "the public container")?;
    kept::holds(&scene.hidden, private.as_bytes(), IN_THE_STORE, "the reader's view")?;
    let (results, readers) =
        (private.matches("/result.tar\n").count(), private.matches("/readable-by\n").count());
    ensure!(
        results == readers && results >= 6,
        "{results} private results, {readers} of them say who may read them"
    );
    no_token(&scene.hidden, private)
}

/// Neither as it is, nor as HTTP sends it.
fn no_token(hidden: &Mark, text: &str) -> Result<()> {
    let told = tokens(hidden, text.as_bytes());
    ensure!(told.is_empty(), "{told:?} is in the store");
    ensure!(text.contains("deb https://***@archive/"), "the log was not redacted, or not written: {text}");
    let basic = text.lines().filter_map(|line| line.split("Authorization: Basic ").nth(1));
    for sent in basic {
        ensure!(sent.starts_with("***"), "a token is in the store as {sent}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_finds_a_private_run_in_one_process() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let go = folder.path().join("go");
    let scene = Scene::new(None, &go);
    let up = Proofhouse::role("up")
        .arg("--releases", "noble")
        .arg("--arches", "amd64,armhf,arm64")
        .arg("--disabled-pairs", "noble/arm64")
        .arg("--provider", "null")
        .arg("--slots", "2")
        .arg("--autopkgtest", stand_in())
        .arg("--min-free-mib", "1")
        .arg("--lease-seconds", "3")
        .arg("--retry-attempts", "2")
        .arg("--retry-pause-seconds", "1")
        .arg("--lists", scene.lists(&folder.path().join("lists"))?)
        .env("STAND_IN_STARTS", folder.path().join("starts").display().to_string())
        .env("PROOFHOUSE_LOG", "debug")
        .start()
        .await?;
    let data = up.data();
    let (store, database) =
        (data.join("store"), format!("sqlite://{}", data.join("proofhouse.db").display()));
    // A container that is another reader's already.
    std::fs::create_dir_all(store.join(".readers"))?;
    std::fs::create_dir_all(store.join(scene.get("deny")?.container()))?;
    std::fs::write(store.join(".readers").join(scene.get("deny")?.container()), "another")?;
    let key = std::fs::read_to_string(data.join("seal.key"))?.trim().to_owned();
    let sampler = Sampler::start(scene.hidden.clone(), scene.open.clone(), data.clone(), vec![key]);

    // What ends comes first, then what fills both slots, then what waits.
    let held = ["hold", "ohold"];
    let waits = ["wait", "same", "owait"];
    ask(&scene, &data, folder.path(), |label| !held.contains(&label) && !waits.contains(&label)).await?;
    scene.settled(&database, |label| !held.contains(&label) && !waits.contains(&label)).await?;
    ask(&scene, &data, folder.path(), |label| held.contains(&label)).await?;
    scene.settled(&database, |label| !waits.contains(&label)).await?;
    ask(&scene, &data, folder.path(), |label| waits.contains(&label)).await?;
    scene.settled(&database, |_| true).await?;
    machine::work_folders(&data.join("work"), &scene.hidden)?;

    let site = up.site_url()?;
    let anyone = Viewer::new(site.clone(), None)?;
    let stranger = Viewer::new(site.clone(), Some(token(&database, "eve").await?))?;
    let named = Viewer::new(site, Some(token(&database, &scene.hidden.word("reader", "")).await?))?;
    scene.search_site(&database, &[&anyone]).await?;
    scene.ask_for_the_same(&stranger, &named).await?;

    // While nothing can be uploaded the private run is being published.
    let (uploads, aside) = (store.join(".uploads"), store.join(".aside"));
    std::fs::rename(&uploads, &aside)?;
    std::fs::write(&uploads, "in the way")?;
    std::fs::write(&go, "")?;
    let package = scene.get("hold")?.package();
    let reaches = async |state: &str| {
        wait_for(&format!("the held run to be {state}"), PATIENCE, async || {
            kept::states(&database).await.ok()?.get(&package).filter(|now| *now == state).map(drop)
        })
        .await
    };
    reaches("publishing").await?;
    stranger.finds_nothing(&scene.run("hold", &database).await?, &scene.hidden).await?;
    std::fs::remove_file(&uploads)?;
    std::fs::rename(&aside, &uploads)?;
    reaches("done").await?;

    sampler.check()?;
    drop(sampler);
    scene.search_process("up", &up, true).await?;
    ensure!(up.log().contains("attempt 1.1 begins"), "up logs nothing");
    let bytes = kept::sqlite(&data.join("proofhouse.db"))?;
    kept::job_table(&bytes, &scene.hidden, IN_THE_TABLE)?;
    let (public, private) = kept::folder(&store);
    search_store(&scene, &public, &private)?;
    wait_for("the work folders to be gone", Duration::from_secs(20), async || {
        machine::nothing_left(&data.join("work"), &scene.hidden).ok()
    })
    .await?;
    let denied = scene.get("deny")?.container();
    ensure!(
        std::fs::read_to_string(store.join(".readers").join(&denied))? == "another",
        "the reader was changed"
    );
    ensure!(machine::files(&store.join(denied)).is_empty(), "another reader's container was written to");
    Ok(())
}

/// Asks for some of what is planted by the command line, which is handed a list: a process list shows options.
async fn ask(scene: &Scene, data: &Path, folder: &Path, labels: impl Fn(&str) -> bool) -> Result<()> {
    let mut all: Vec<Planted> = scene.planted.iter().map(|(planted, _)| planted.clone()).collect();
    all.push(scene.merged()?);
    // In a list this key says where to run.
    let all: Vec<Planted> = all.into_iter().map(|planted| planted.without("release")).collect();
    for arch in ["amd64", "armhf", "arm64"] {
        for context in ["ubuntu", "ppa"] {
            let fits = |p: &&Planted| {
                p.arch == arch && labels(p.label) && p.params["ppas"].is_array() == (context == "ppa")
            };
            let lines: Vec<String> =
                all.iter().filter(fits).map(|p| format!("{} {}", p.package(), p.params)).collect();
            if lines.is_empty() {
                continue;
            }
            let list = folder.join("list");
            std::fs::write(&list, lines.join("\n"))?;
            let (list, data) = (list.display().to_string(), data.display().to_string());
            let args =
                ["request", "noble", arch, "--context", context, "--file", &list, "--data", &data, "--json"];
            let output = proofhouse::run(&args, &[]).await?;
            ensure!(output.status.success(), "{output:?}");
        }
    }
    Ok(())
}
