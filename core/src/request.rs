//! A request: what a client asks for, read from a queue's message, a form or the command line.
//!
//! Facts: contract "Requests", headings "Body", "Identity", "Bad requests".

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    layout::Container,
    names::{BadName, Context, Package, Pair},
    params::{BzrSource, EnvVar, GitSource, Person, Ppa, SwiftUser, TestName, Trigger},
    seal::SealKeys,
};

/// The largest body that is read, in bytes.
pub const MAX_BODY: usize = 1 << 20;

/// The most that the items of a list have together, in bytes, with one more for each.
///
/// They become arguments of a program, and variables of its environment: the kernel takes 128 KiB in one, and 2 MiB in all.
const MAX_LIST: usize = 64 << 10;

/// A request that follows the contracts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The source package.
    pub package: Package,
    /// What the test is for; the migrating item comes first.
    pub triggers: Vec<Trigger>,
    /// Further archives; the last one names the container.
    pub ppas: Vec<Ppa>,
    /// Variables for the test's environment.
    pub env: Vec<EnvVar>,
    /// Tests from a clone, packages from the archive.
    pub test_git: Option<GitSource>,
    /// A clone that is built and tested.
    pub build_git: Option<GitSource>,
    /// Like `test_git`, by bzr.
    pub test_bzr: Option<BzrSource>,
    /// All of -proposed, not the triggers alone.
    pub all_proposed: bool,
    /// One test only.
    pub testname: Option<TestName>,
    /// Makes the run private and names the container's reader.
    pub swiftuser: Option<SwiftUser>,
    /// Who may read a private result on the web.
    pub readable_by: Vec<Person>,
    /// Who asked.
    pub requester: Option<Person>,
    /// When the client says that it asked: shown, nothing else.
    pub submit_time: Option<String>,
    /// Names the run.
    pub uuid: Option<Uuid>,
    /// A second run of what is already there is wanted.
    pub force: bool,
    /// Keys that nobody here knows: kept, shown, without effect.
    pub unknown: BTreeMap<String, Value>,
}

/// Why a request is refused. No message of it holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Over [`MAX_BODY`].
    #[error("the body has {0} bytes; at most {MAX_BODY} are read")]
    TooLarge(usize),
    /// Not UTF-8.
    #[error("the body is not UTF-8 (byte {0})")]
    NotUtf8(usize),
    /// Nothing but white space.
    #[error("the body names no package")]
    NoPackage,
    /// The first word is no package name.
    #[error(transparent)]
    Package(BadName),
    /// What follows the package does not parse as JSON.
    #[error("the parameters are not JSON: line {line}, column {column}")]
    Json {
        /// Line in the parameters, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// JSON, but no object.
    #[error("the parameters are JSON but not an object")]
    NotAnObject,
    /// A parameter of the wrong type.
    #[error("parameter {key:?} must be {expected}")]
    WrongType {
        /// The parameter.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A list that no command line takes.
    #[error("parameter {key:?} has {bytes} bytes in all; at most {MAX_LIST} are taken")]
    TooMuch {
        /// The parameter.
        key: &'static str,
        /// What its items have together, with one more for each.
        bytes: usize,
    },
    /// A parameter's value that breaks its pattern.
    #[error("parameter {key:?}: {source}")]
    BadValue {
        /// The parameter.
        key: &'static str,
        /// What is wrong.
        source: BadName,
    },
    /// Private credentials, but nobody who may read the result.
    #[error("a PPA has credentials but the request has no swiftuser: its result would be public")]
    CredentialsWithoutReader,
    /// `readable-by` without `swiftuser`.
    #[error(
        "readable-by without swiftuser: its sender believes the run to be private, and it would be public"
    )]
    ReadableByWithoutReader,
    /// Credentials, and no key to seal them with.
    #[error("the request has credentials, and no seal key is configured here (seal_key_file)")]
    NoSealKey,
    /// The queue does not follow the naming rule.
    #[error("{0}")]
    Queue(BadName),
    /// The pair is not configured.
    #[error("{0} is not served here (not among the configured releases and arches)")]
    NotServed(Pair),
}

impl BadRequest {
    /// The reason's name in metrics and in JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "too-large",
            Self::NotUtf8(_) => "not-utf8",
            Self::NoPackage => "no-package",
            Self::Package(_) => "bad-package",
            Self::Json { .. } => "bad-json",
            Self::NotAnObject => "not-an-object",
            Self::WrongType { .. } => "wrong-type",
            Self::TooMuch { .. } => "too-much",
            Self::BadValue { .. } => "bad-value",
            Self::CredentialsWithoutReader => "credentials-without-swiftuser",
            Self::ReadableByWithoutReader => "readable-by-without-swiftuser",
            Self::NoSealKey => "no-seal-key",
            Self::Queue(_) => "bad-queue",
            Self::NotServed(_) => "not-served",
        }
    }
}

/// Splits a body into its first word and the JSON object behind it (empty when there is none).
fn split(body: &[u8]) -> Result<(Package, Map<String, Value>), BadRequest> {
    if body.len() > MAX_BODY {
        return Err(BadRequest::TooLarge(body.len()));
    }
    let text = std::str::from_utf8(body).map_err(|e| BadRequest::NotUtf8(e.valid_up_to()))?.trim();
    if text.is_empty() {
        return Err(BadRequest::NoPackage);
    }
    let (package, params) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let package = package.parse().map_err(BadRequest::Package)?;
    let params = match params.trim() {
        "" => Map::new(),
        json => match serde_json::from_str(json) {
            Ok(Value::Object(map)) => map,
            Ok(_) => return Err(BadRequest::NotAnObject),
            // serde_json's own text can quote the input, which may hold a token.
            Err(e) => {
                return Err(BadRequest::Json { line: e.line(), column: e.column() });
            }
        },
    };
    Ok((package, params))
}

/// Takes the parameters out of a map, one by one, with their types checked.
struct Reader(Map<String, Value>);

impl Reader {
    fn text(&mut self, key: &'static str) -> Result<Option<String>, BadRequest> {
        match self.0.shift_remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(BadRequest::WrongType { key, expected: "a string" }),
        }
    }

    fn one<T: std::str::FromStr<Err = BadName>>(
        &mut self,
        key: &'static str,
    ) -> Result<Option<T>, BadRequest> {
        self.text(key)?.map(|t| t.parse().map_err(|source| BadRequest::BadValue { key, source })).transpose()
    }

    fn list<T: std::str::FromStr<Err = BadName>>(&mut self, key: &'static str) -> Result<Vec<T>, BadRequest> {
        let wrong = BadRequest::WrongType { key, expected: "a list of strings" };
        let items = match self.0.shift_remove(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(wrong),
        };
        let bytes = items.iter().map(|item| item.as_str().map_or(0, str::len) + 1).sum();
        if bytes > MAX_LIST {
            return Err(BadRequest::TooMuch { key, bytes });
        }
        items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => text.parse().map_err(|source| BadRequest::BadValue { key, source }),
                _ => Err(wrong.clone()),
            })
            .collect()
    }

    /// A switch: its presence decides, whatever its value.
    fn switch(&mut self, key: &'static str) -> Result<bool, BadRequest> {
        match self.0.shift_remove(key) {
            None => Ok(false),
            Some(Value::Array(_) | Value::Object(_)) => Err(BadRequest::WrongType { key, expected: "\"1\"" }),
            Some(_) => Ok(true),
        }
    }

    fn people(&mut self, key: &'static str) -> Result<Vec<Person>, BadRequest> {
        match self.0.get(key) {
            Some(Value::String(_)) => Ok(self.one(key)?.into_iter().collect()),
            _ => self.list(key).map_err(|e| match e {
                BadRequest::WrongType { key, .. } => {
                    BadRequest::WrongType { key, expected: "a string or a list of strings" }
                }
                other => other,
            }),
        }
    }

    fn submit_time(&mut self) -> Result<Option<String>, BadRequest> {
        let key = "submit-time";
        let text = self.text(key)?;
        match text {
            Some(t) if t.len() > 64 || t.chars().any(char::is_control) => Err(BadRequest::BadValue {
                key,
                source: BadName::new("time", &t, "YYYY-MM-DD HH:MM:SS, at most 64 characters"),
            }),
            other => Ok(other),
        }
    }

    fn uuid(&mut self) -> Result<Option<Uuid>, BadRequest> {
        let key = "uuid";
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        match Uuid::try_parse(&text) {
            Ok(uuid) => Ok(Some(uuid)),
            Err(_) => {
                Err(BadRequest::BadValue { key, source: BadName::new("uuid", &text, "a UUID (version 4)") })
            }
        }
    }
}

impl Request {
    /// Reads a message's body: `srcpkg`, or `srcpkg`, white space, JSON object.
    pub fn parse(body: &[u8]) -> Result<Self, BadRequest> {
        let (package, params) = split(body)?;
        Self::from_params(package, params)
    }

    /// Builds a request from its parameters as JSON has them.
    pub fn from_params(package: Package, params: Map<String, Value>) -> Result<Self, BadRequest> {
        let mut read = Reader(params);
        let request = Self {
            package,
            triggers: read.list("triggers")?,
            ppas: read.list("ppas")?,
            env: read.list("env")?,
            test_git: read.one("test-git")?,
            build_git: read.one("build-git")?,
            test_bzr: read.one("test-bzr")?,
            all_proposed: read.switch("all-proposed")?,
            testname: read.one("testname")?,
            swiftuser: read.one("swiftuser")?,
            readable_by: read.people("readable-by")?,
            requester: read.one("requester")?,
            submit_time: read.submit_time()?,
            uuid: read.uuid()?,
            force: read.switch("force")?,
            unknown: read.0.into_iter().collect(),
        };
        if request.swiftuser.is_none() {
            if request.has_credentials() {
                return Err(BadRequest::CredentialsWithoutReader);
            }
            if !request.readable_by.is_empty() {
                return Err(BadRequest::ReadableByWithoutReader);
            }
        }
        Ok(request)
    }

    /// A request for `package` with no parameters.
    pub fn plain(package: Package) -> Self {
        Self {
            package,
            triggers: Vec::new(),
            ppas: Vec::new(),
            env: Vec::new(),
            test_git: None,
            build_git: None,
            test_bzr: None,
            all_proposed: false,
            testname: None,
            swiftuser: None,
            readable_by: Vec::new(),
            requester: None,
            submit_time: None,
            uuid: None,
            force: false,
            unknown: BTreeMap::new(),
        }
    }

    /// True when only named people may see anything of it.
    pub const fn is_private(&self) -> bool {
        self.swiftuser.is_some()
    }

    /// True when a PPA carries credentials.
    pub fn has_credentials(&self) -> bool {
        self.ppas.iter().any(|p| p.credentials.is_some())
    }

    /// True when `migration-reference/0` is among the triggers.
    pub fn is_baseline(&self) -> bool {
        self.triggers.iter().any(Trigger::is_baseline)
    }

    /// True when what it names may have changed since an equal request began to run.
    pub const fn is_volatile(&self) -> bool {
        !self.ppas.is_empty()
            || self.test_git.is_some()
            || self.build_git.is_some()
            || self.test_bzr.is_some()
            || self.all_proposed
    }

    /// The container that its result goes to.
    pub fn container(&self, pair: &Pair) -> Container {
        Container::of_run(&pair.release, self.ppas.last(), self.is_private())
    }

    /// The context that its parameters ask for, where no queue says it.
    pub const fn natural_context(&self) -> Context {
        if self.test_git.is_some() || self.build_git.is_some() || self.test_bzr.is_some() {
            Context::Upstream
        } else if self.ppas.is_empty() {
            Context::Ubuntu
        } else {
            Context::Ppa
        }
    }

    /// The parameters as JSON, in the order of the contract's table. PPAs carry their credentials as they are here.
    pub fn params(&self) -> Map<String, Value> {
        let mut map = Map::new();
        let mut list = |key: &str, items: Vec<String>| {
            if !items.is_empty() {
                map.insert(key.to_owned(), items.into());
            }
        };
        list("triggers", self.triggers.iter().map(ToString::to_string).collect());
        list("ppas", self.ppas.iter().map(Ppa::reveal).collect());
        list("env", self.env.iter().map(ToString::to_string).collect());
        list("readable-by", self.readable_by.iter().map(ToString::to_string).collect());
        let mut text = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                map.insert(key.to_owned(), value.into());
            }
        };
        text("test-git", self.test_git.as_ref().map(ToString::to_string));
        text("build-git", self.build_git.as_ref().map(ToString::to_string));
        text("test-bzr", self.test_bzr.as_ref().map(ToString::to_string));
        text("all-proposed", self.all_proposed.then(|| "1".to_owned()));
        text("testname", self.testname.as_ref().map(ToString::to_string));
        text("swiftuser", self.swiftuser.as_ref().map(ToString::to_string));
        text("requester", self.requester.as_ref().map(ToString::to_string));
        text("submit-time", self.submit_time.clone());
        text("uuid", self.uuid.map(|u| u.to_string()));
        text("force", self.force.then(|| "1".to_owned()));
        map.extend(self.unknown.clone());
        map
    }

    /// The message's body: package, line feed, JSON; the package alone when there is nothing else.
    pub fn to_body(&self) -> String {
        let params = self.params();
        if params.is_empty() {
            self.package.to_string()
        } else {
            format!("{}\n{}", self.package, Value::Object(params))
        }
    }

    /// The same request with its credentials sealed.
    pub fn sealed(&self, keys: Option<&SealKeys>) -> Result<Self, BadRequest> {
        let mut sealed = self.clone();
        for ppa in &mut sealed.ppas {
            if let Some(credentials) = &ppa.credentials {
                ppa.credentials = Some(keys.ok_or(BadRequest::NoSealKey)?.seal(credentials));
            }
        }
        Ok(sealed)
    }

    /// What makes two requests the same: 64 hex digits over everything but `requester`, `submit-time`, `uuid` and `force`.
    ///
    /// `huge` and plain count as one context. Take it before sealing.
    pub fn identity(
        &self,
        context: Context,
        pair: &Pair,
        keys: Option<&SealKeys>,
    ) -> Result<String, BadRequest> {
        let mut same = Self { requester: None, submit_time: None, uuid: None, force: false, ..self.clone() };
        same.triggers.sort();
        same.readable_by.sort();
        for ppa in &mut same.ppas {
            if let Some(credentials) = &mut ppa.credentials {
                credentials.token = keys.ok_or(BadRequest::NoSealKey)?.keyed_hash(credentials);
            }
        }
        let family = if context == Context::Huge { Context::Ubuntu } else { context };
        // Sorted keys at every depth: the order in which a client wrote them means nothing.
        let text =
            format!("{family}\n{pair}\n{}\n{}", same.package, canonical(&Value::Object(same.params())));
        Ok(hex::encode(Sha256::digest(text)))
    }
}

/// JSON with sorted keys.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, String> = map.iter().map(|(k, v)| (k, canonical(v))).collect();
            let fields: Vec<String> =
                sorted.into_iter().map(|(k, v)| format!("{}:{v}", Value::String(k.clone()))).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair() -> Pair {
        "noble/amd64".parse().unwrap()
    }

    fn parse(text: &str) -> Result<Request, BadRequest> {
        Request::parse(text.as_bytes())
    }

    fn identity(text: &str) -> String {
        parse(text).unwrap().identity(Context::Ubuntu, &pair(), None).unwrap()
    }

    #[test]
    fn as_britney_writes_them() {
        let request =
            parse("green\n{\"triggers\": [\"green/2\"], \"submit-time\": \"2026-11-21 05:36:34\"}").unwrap();
        assert_eq!(request.triggers[0].to_string(), "green/2");
        assert_eq!(request.container(&pair()).as_str(), "autopkgtest-noble");
        let request = parse("darkgreen {\"triggers\": [\"green/2\"], \"ppas\": [\"joe/foo\", \"awesome-developers/staging\"]}").unwrap();
        assert_eq!(request.container(&pair()).as_str(), "autopkgtest-noble-awesome-developers-staging");
        assert_eq!(parse("green").unwrap(), Request::plain("green".parse().unwrap()));
        assert_eq!(parse("green \t\n").unwrap(), parse("green").unwrap());
    }

    #[test]
    fn every_kind_of_bad_request() {
        let cases: [(&[u8], &str); 20] = [
            (b"\xff\xfe", "not-utf8"),
            (b"", "no-package"),
            (b" \n ", "no-package"),
            (b"{}", "bad-package"),
            (b"a..b {}", "bad-package"),
            (b"../etc", "bad-package"),
            (b"green {", "bad-json"),
            (b"green {} x", "bad-json"),
            (b"green []", "not-an-object"),
            (b"green 1", "not-an-object"),
            (b"green {\"triggers\": \"green/2\"}", "wrong-type"),
            (b"green {\"triggers\": [1]}", "wrong-type"),
            (b"green {\"requester\": 1}", "wrong-type"),
            (b"green {\"all-proposed\": []}", "wrong-type"),
            (b"green {\"triggers\": [\"green\"]}", "bad-value"),
            (b"green {\"ppas\": [\"joe\"]}", "bad-value"),
            (b"green {\"uuid\": \"x\"}", "bad-value"),
            (b"green {\"env\": [\"A=$(x)\"]}", "bad-value"),
            (b"green {\"ppas\": [\"u:t@joe/foo\"]}", "credentials-without-swiftuser"),
            (b"green {\"readable-by\": [\"joe\"]}", "readable-by-without-swiftuser"),
        ];
        for (body, kind) in cases {
            let error = Request::parse(body).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
        }
        for (key, item) in [("triggers", "a/1"), ("env", "AB=1"), ("ppas", "a/b"), ("readable-by", "joe")] {
            let list = |n: usize| {
                format!(
                    "green {{\"swiftuser\": \"s\", \"{key}\": [{}]}}",
                    vec![format!("\"{item}\""); n].join(", ")
                )
            };
            let most = MAX_LIST / (item.len() + 1);
            assert!(parse(&list(most)).is_ok(), "{key}");
            assert_eq!(parse(&list(most + 1)).unwrap_err().kind(), "too-much", "{key}");
        }
        let large = vec![b'a'; MAX_BODY + 1];
        assert_eq!(Request::parse(&large).unwrap_err().kind(), "too-large");
    }

    #[test]
    fn identity_leaves_out_who_asked_and_when() {
        let one = identity(
            "green {\"triggers\": [\"a/1\", \"b/2\"], \"requester\": \"x\", \"x\": {\"a\": 1, \"b\": 2}}",
        );
        let two = identity(
            "green {\"x\": {\"b\": 2, \"a\": 1}, \"triggers\": [\"b/2\", \"a/1\"], \"submit-time\": \"now\", \"force\": \"1\", \"uuid\": \"6a1d4c5e-94c5-4f8e-9b1c-3a8d1b7a2c11\"}",
        );
        assert_eq!(one, two);
        let different = [
            "green {\"triggers\": [\"a/1\"]}",
            "green {\"triggers\": [\"a/1\", \"b/2\"]}",
            "green {\"triggers\": [\"a/1\", \"b/2\"], \"x\": {\"a\": 1, \"b\": 3}}",
            "green {\"triggers\": [\"a/1\", \"b/2\"], \"x\": {\"a\": 1, \"b\": 2}, \"env\": [\"AB=1\"]}",
            "blue {\"triggers\": [\"a/1\", \"b/2\"], \"x\": {\"a\": 1, \"b\": 2}}",
        ];
        for text in different {
            assert_ne!(one, identity(text), "{text}");
        }
    }

    #[test]
    fn contexts_and_spellings_that_count_as_one() {
        let request = parse("green {\"all-proposed\": 1, \"test-git\": \"https://x.org/a b\"}").unwrap();
        let other = parse("green {\"all-proposed\": \"1\", \"test-git\": \"https://x.org/a#b\"}").unwrap();
        let of = |r: &Request, c| r.identity(c, &pair(), None).unwrap();
        assert_eq!(of(&request, Context::Ubuntu), of(&other, Context::Huge));
        assert_ne!(of(&request, Context::Ubuntu), of(&other, Context::Upstream));
    }

    #[test]
    fn credentials_are_sealed_and_hashed() {
        let keys = SealKeys::parse(&SealKeys::generate()).unwrap();
        let text = "green {\"ppas\": [\"joe:s3cret@own/foo\"], \"swiftuser\": \"sec\"}";
        let request = parse(text).unwrap();
        assert_eq!(request.sealed(None), Err(BadRequest::NoSealKey));
        let body = request.sealed(Some(&keys)).unwrap().to_body();
        assert!(!body.contains("s3cret"));
        assert!(parse(&body).unwrap().is_private());
        let of = |t: &str| parse(t).unwrap().identity(Context::Ppa, &pair(), Some(&keys)).unwrap();
        assert_eq!(of(text), of(text));
        assert_ne!(of(text), of(&text.replace("s3cret", "other")));
    }

    prop_compose! {
        fn any_request()(
            package in "[a-z0-9][a-z0-9+-]{1,12}",
            triggers in proptest::collection::vec("[a-z]{2,5}/[0-9a-z.~:+-]{1,6}", 0..4),
            ppas in proptest::collection::vec("[a-z]{2,5}/[a-z]{2,5}", 0..3),
            env in proptest::collection::vec("[A-Z]{2,5}=[a-z0-9 ]{0,6}", 0..3),
            all_proposed in any::<bool>(), force in any::<bool>(),
            testname in proptest::option::of("[a-z]{1,8}"), requester in proptest::option::of("[a-z]{1,8}"),
            unknown in proptest::collection::btree_map("x[a-z]{1,4}", any::<i32>(), 0..3),
        ) -> Request {
            let mut request = Request::plain(package.parse().unwrap());
            request.triggers = triggers.iter().map(|t| t.parse().unwrap()).collect();
            request.ppas = ppas.iter().map(|t| t.parse().unwrap()).collect();
            request.env = env.iter().map(|t| t.parse().unwrap()).collect();
            request.all_proposed = all_proposed;
            request.force = force;
            request.testname = testname.map(|t| t.parse().unwrap());
            request.requester = requester.map(|t| t.parse().unwrap());
            request.unknown = unknown.into_iter().map(|(k, v)| (k, v.into())).collect();
            request
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(request in any_request()) {
            prop_assert_eq!(Request::parse(request.to_body().as_bytes()).unwrap(), request);
        }

        #[test]
        fn the_order_of_triggers_means_nothing(request in any_request()) {
            let mut reversed = request.clone();
            reversed.triggers.reverse();
            let of = |r: &Request| r.identity(Context::Ubuntu, &pair(), None).unwrap();
            prop_assert_eq!(of(&request), of(&reversed));
        }

        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(request) = Request::parse(&body) {
                prop_assert_eq!(Request::parse(request.to_body().as_bytes()).unwrap(), request);
            }
        }

        #[test]
        fn any_json_is_read_or_refused(key in "(triggers|ppas|env|swiftuser|uuid|force|x)", json in "[\\[\\]{}\":,a-z0-9/ ]{0,30}") {
            let _ = Request::parse(format!("green {{\"{key}\": {json}}}").as_bytes());
        }
    }
}
