//! Every address of the site, and the search through what they answer.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use reqwest::{Client, Method, header::HeaderMap, redirect::Policy};
use scraper::{Html, Selector};

use super::words::{Mark, Planted};

/// Addresses, with what a curious person would put into them. `true`: shows a public run today, so that the search is
/// known to find what is there. New addresses belong here (contract "The site").
const ADDRESSES: &[(&str, bool)] = &[
    ("/", true),
    ("/packages", true),
    ("/packages/?q={stem}", true),
    ("/packages?q={package}", true),
    ("/packages/{package}", true),
    ("/packages/{prefix}/{package}", true),
    ("/packages/{package}/noble/{arch}", true),
    ("/packages/{prefix}/{package}/noble/{arch}", true),
    ("/packages/{package}/noble/{arch}?before={run_id}", true),
    ("/packages/{package}/noble/{arch}/{run_id}", true),
    ("/packages/{package}/noble/{arch}/{run_id}?container={container}", true),
    ("/packages/{package}/noble/{arch}/{run_id}/log", true),
    ("/packages/{package}/noble/{arch}/{run_id}/log?container={container}", true),
    ("/run/{uuid}", true),
    ("/run/{uuid}/attempts/1/log", true),
    ("/run/{uuid}/attempts/1/log.gz", true),
    ("/run/{uuid}/attempts/2/log", false),
    ("/running", true),
    ("/recent", true),
    ("/recent?user={user}", true),
    ("/recent?release=noble&arch={arch}&limit=10000", true),
    ("/recent?result=pass&offset=0", true),
    ("/queues.json", true),
    ("/queued.json", true),
    ("/queue_size.json", true),
    ("/static/running.json", true),
    ("/static/autopkgtest.db", false),
    ("/static/autopkgtest.db.sha256", false),
    ("/api/experimental/recent.json?limit=10000", true),
    ("/api/experimental/recent.json?user={user}", true),
    ("/api/v1/requests", false),
    ("/api/v1/retry/{run_id}", false),
    ("/api/v1/runs/{uuid}", false),
    ("/api/v1/jobs/{uuid}", false),
    ("/api/v1/packages/{package}", false),
    ("/api/v1/demand", false),
    ("/api/v1/openapi.json", false),
    ("/results", false),
    ("/results/{container}", true),
    ("/results/{container}/", true),
    ("/results/{container}/?format=json", true),
    ("/results/{container}/?delimiter=@&prefix={folder_of_package}", true),
    ("/results/{container}?format=plain&prefix={folder}", true),
    ("/results/{container}/{folder}/result.tar", true),
    ("/results/{container}/{folder}/log.gz", true),
    ("/results/{container}/{folder}/artifacts.tar.gz", true),
    ("/results/{container}/{folder}/readable-by", false),
    ("/results/proofhouse-attempts/", false),
    ("/results/proofhouse-attempts/?prefix={uuid}", false),
    ("/results/proofhouse-attempts/{uuid}/1/log.gz", false),
    ("/private-results/{container}/", false),
    ("/private-results/{container}/{folder}/log.gz", false),
    ("/user/{user}/", false),
    ("/user/{user}/ppa", false),
    ("/user/{owner}/ppa/{ppa}", false),
    ("/trigger/{source}/{version}", false),
    ("/feeds/package/{package}", false),
    ("/feeds/user/{user}", false),
    ("/feeds/trigger/{source}/{version}", false),
    ("/badge/{package}/noble/{arch}.svg", false),
    ("/compare?package={package}&release=noble&arch={arch}", false),
    ("/statistics", false),
    ("/flaky", false),
    ("/slow", false),
    ("/failing", false),
    ("/stuck", false),
    ("/infrastructure", false),
    ("/parked", false),
    ("/request", false),
    ("/request.cgi?release=never&arch={arch}&package={package}&trigger={source}/{version}", false),
    ("/login", false),
    ("/metrics", false),
    ("/healthz", false),
    ("/nowhere/{package}", false),
];

/// How a browser, a script and a program ask.
const ASKS: &[(Method, &str)] = &[
    (Method::GET, "text/html,*/*;q=0.8"),
    (Method::GET, "*/*"),
    (Method::GET, "application/json"),
    (Method::HEAD, "*/*"),
    (Method::POST, "*/*"),
];
/// For so many runs all of these are asked, for the others those of people and scripts.
const THOROUGHLY: usize = 3;

/// What differs from one answer to the next.
const PASSING: [&str; 3] = ["date", "connection", "transfer-encoding"];

/// Somebody who looks.
pub(crate) struct Viewer {
    pub(crate) site: String,
    /// An API token.
    pub(crate) token: Option<String>,
    http: Client,
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Viewer {
    pub(crate) fn new(site: String, token: Option<String>) -> Result<Self> {
        // No gzip by itself: what is stored comes as it lies there.
        let http = Client::builder().redirect(Policy::none()).no_gzip().build()?;
        Ok(Self { site, token, http })
    }

    async fn ask(&self, method: &Method, path: &str, accept: &str) -> Result<Answer> {
        let mut request =
            self.http.request(method.clone(), format!("{}{path}", self.site)).header("accept", accept);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), headers(answer.headers()));
        Ok(Answer { status, headers, body: readable(&answer.bytes().await?) })
    }

    /// Sends a request for a test; status and body.
    pub(crate) async fn submit(&self, body: &serde_json::Value) -> Result<(u16, serde_json::Value)> {
        let url = format!("{}/api/v1/requests", self.site);
        let mut request = self.http.post(url).json(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// No address shows a word, and each answers of a private run what it answers of one that never was.
    pub(crate) async fn finds_nothing(&self, hidden: &[Run], mark: &Mark) -> Result<()> {
        let never = Mark::new(None);
        let mut seen = BTreeSet::new();
        for (number, run) in hidden.iter().enumerate() {
            let asks = if number < THOROUGHLY { ASKS } else { &ASKS[..2] };
            for (pattern, _) in ADDRESSES {
                let path = run.fill(pattern);
                if !seen.insert(path.clone()) {
                    continue;
                }
                let twin = Some(mark.to(&never, &path)).filter(|twin| *twin != path);
                for (method, accept) in asks {
                    self.compare(method, &path, twin.as_deref(), accept, mark, &never).await?;
                }
            }
        }
        Ok(())
    }

    async fn compare(
        &self,
        method: &Method,
        path: &str,
        twin: Option<&str>,
        accept: &str,
        mark: &Mark,
        never: &Mark,
    ) -> Result<()> {
        let answer = self.ask(method, path, accept).await?;
        let text = format!("{:?} {}", answer.headers, answer.body);
        let asked = mark.words(path.as_bytes());
        let told: Vec<_> =
            mark.words(text.as_bytes()).into_iter().filter(|word| !asked.contains(word)).collect();
        ensure!(told.is_empty(), "{method} {path} ({accept}) shows {told:?}: {text}");
        let Some(twin) = twin else { return Ok(()) };
        let none = self.ask(method, twin, accept).await?;
        let headers = answer.headers.iter().map(|(k, v)| (k.clone(), mark.to(never, v))).collect();
        let same = Answer { status: answer.status, headers, body: mark.to(never, &answer.body) };
        ensure!(same == none, "{method} {path} ({accept}) differs from what never was: {same:?}\n{none:?}");
        Ok(())
    }

    /// The positive control: the same search finds a public run wherever it is shown.
    pub(crate) async fn finds_all(&self, open: &[Run], mark: &Mark) -> Result<()> {
        for (pattern, _) in ADDRESSES.iter().filter(|(_, shows)| *shows) {
            let mut found = false;
            for run in open {
                let path = run.fill(pattern);
                let answer = self.ask(&ASKS[0].0, &path, ASKS[0].1).await?;
                let counts = pattern.contains("size") && answer.status == 200;
                let all = format!("{:?} {}", answer.headers, answer.body);
                found |= counts || (answer.status < 400 && !mark.words(all.as_bytes()).is_empty());
            }
            ensure!(found, "{pattern} shows nothing of a public run");
        }
        Ok(())
    }

    /// Follows every link from the first page on; the addresses that were read.
    pub(crate) async fn crawl(&self, mark: &Mark) -> Result<BTreeSet<String>> {
        const MOST: usize = 400;
        let link = Selector::parse("[href], [src], [action]").map_err(|e| anyhow::anyhow!("{e}"))?;
        let mut seen = BTreeSet::from(["/".to_owned()]);
        let mut left = vec!["/".to_owned()];
        while let Some(path) = left.pop() {
            let answer = self.ask(&ASKS[0].0, &path, ASKS[0].1).await?;
            let text = format!("{:?} {}", answer.headers, answer.body);
            let told = mark.words(text.as_bytes());
            ensure!(told.is_empty(), "{path} shows {told:?}: {text}");
            let page = Html::parse_document(&answer.body);
            let links = page.select(&link).filter_map(|element| {
                let element = element.value();
                element.attr("href").or(element.attr("src")).or(element.attr("action"))
            });
            let next = links.chain(answer.headers.get("location").map(String::as_str)).map(|link| {
                let path = link.split('#').next().unwrap_or_default();
                path.strip_prefix(&self.site).unwrap_or(path).to_owned()
            });
            for path in next.filter(|path| path.starts_with('/')) {
                if seen.len() < MOST && seen.insert(path.clone()) {
                    left.push(path);
                }
            }
        }
        Ok(seen)
    }
}

fn headers(all: &HeaderMap) -> BTreeMap<String, String> {
    let text = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    // The weak tag of a page is a hash of its text, which is compared itself.
    let is_of_text = |name: &str, value: &str| name == "etag" && value.starts_with("W/");
    let passes = |name: &str, value: &str| PASSING.contains(&name) || is_of_text(name, value);
    all.iter().map(text).filter(|(name, value)| !passes(name, value)).collect()
}

/// The text of an answer; what is packed is unpacked.
pub(crate) fn readable(bytes: &[u8]) -> String {
    let mut unpacked = Vec::new();
    let packed = bytes.starts_with(&[0x1f, 0x8b]);
    if packed && std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes), &mut unpacked).is_ok() {
        return String::from_utf8_lossy(&unpacked).into_owned();
    }
    String::from_utf8_lossy(bytes).into_owned()
}

/// What is filled into addresses.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) planted: Planted,
    /// The run id of its result, or one of no result.
    pub(crate) result: String,
}

impl Run {
    fn fill(&self, pattern: &str) -> String {
        let Planted { mark, label, arch, .. } = &self.planted;
        let w = |field: &str| mark.word(field, label);
        let package = self.planted.package();
        let folder_of_package = format!("noble/{arch}/{}/{package}/", &package[..1]);
        let mut path = pattern.to_owned();
        for (name, value) in [
            ("{stem}", mark.letters().to_owned()),
            ("{package}", package.clone()),
            ("{prefix}", package[..1].to_owned()),
            ("{arch}", (*arch).to_owned()),
            ("{run_id}", self.result.clone()),
            ("{uuid}", self.planted.uuid().to_owned()),
            ("{container}", self.planted.container()),
            ("{folder}", format!("{folder_of_package}{}", self.result)),
            ("{folder_of_package}", folder_of_package.clone()),
            ("{user}", w("asker")),
            ("{owner}", w("owner")),
            ("{ppa}", w("ppa")),
            ("{source}", w("source")),
            ("{version}", format!("1.{}", w("version"))),
        ] {
            path = path.replace(name, &value);
        }
        path
    }
}
