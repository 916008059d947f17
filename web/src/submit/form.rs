//! What a client sent, as a form or as JSON, brought to one shape. Nothing is checked here but the shape.

use serde_json::{Map, Value};
use url::form_urlencoded;
use utoipa::ToSchema;

use crate::failure::Failure;

/// What a client asks for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) release: Option<String>,
    pub(super) arches: Vec<String>,
    pub(super) package: Option<String>,
    /// Under the names that requests have on the queues.
    pub(super) params: Map<String, Value>,
    /// Names that nobody knows.
    pub(super) unknown: Vec<String>,
}

/// The JSON object that asks for tests; what else requests may hold is in it as on the queues.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "it describes what `Wanted::from_json` reads")]
pub(super) struct Asked {
    /// The release.
    release: String,
    /// The architectures; a single one may stand without a list.
    arch: Vec<String>,
    /// The source package.
    package: String,
    /// The uploads that it is for, `source/version` each.
    triggers: Option<Vec<String>>,
    /// PPAs to take packages from, `owner/name` each; the last one names the container.
    ppas: Option<Vec<String>>,
    /// Variables of the test, `NAME=value` each.
    env: Option<Vec<String>>,
    /// Everything from the pocket `proposed`, not only what the triggers name.
    all_proposed: Option<bool>,
    /// Only this test of the package.
    testname: Option<String>,
    /// A git repository to build and test, with a branch behind `#`.
    build_git: Option<String>,
    /// Who may see it; nobody else does then.
    readable_by: Option<Vec<String>>,
    /// Also where the same is queued or runs; the token needs the scope.
    force: Option<bool>,
}

/// Parameters of requests that JSON may hold.
const JSON_KEYS: [&str; 14] = [
    "triggers",
    "ppas",
    "env",
    "test-git",
    "build-git",
    "test-bzr",
    "all-proposed",
    "testname",
    "swiftuser",
    "readable-by",
    "requester",
    "submit-time",
    "uuid",
    "force",
];

fn twice(name: &str) -> Failure {
    Failure::bad(format!("{name} is given twice."), "Give it once.")
}

impl Wanted {
    /// Reads `name=value&…`. Empty values are those of a form's empty fields: not given.
    pub(super) fn from_form(form: &[u8]) -> Result<Self, Failure> {
        let mut wanted = Self::default();
        for (name, value) in form_urlencoded::parse(form).filter(|(_, value)| !value.is_empty()) {
            let value = value.into_owned();
            match &*name {
                "release" => set(&mut wanted.release, "release", value)?,
                "package" => set(&mut wanted.package, "package", value)?,
                "arch" => wanted.arches.push(value),
                "trigger" => wanted.push("triggers", value),
                "ppa" => wanted.push("ppas", value),
                "readable-by" => wanted.push("readable-by", value),
                "env" => {
                    for variable in value.split(';').map(str::trim).filter(|v| !v.is_empty()) {
                        wanted.push("env", variable.to_owned());
                    }
                }
                "all-proposed" | "testname" | "build-git" | "force" => {
                    if wanted.params.insert(name.to_string(), value.into()).is_some() {
                        return Err(twice(&name));
                    }
                }
                _ => wanted.unknown.push(name.chars().take(80).collect()),
            }
        }
        Ok(wanted)
    }

    /// Reads a JSON object: `release`, `arch` (one or a list), `package`, and the parameters of requests.
    pub(super) fn from_json(body: &[u8]) -> Result<Self, Failure> {
        let Ok(Value::Object(map)) = serde_json::from_slice(body) else {
            return Err(Failure::bad(
                "The body is not a JSON object.",
                "Send release, arch, package and the request's parameters.",
            ));
        };
        let mut wanted = Self::default();
        for (name, value) in map {
            match name.as_str() {
                "release" => wanted.release = Some(text("release", value)?),
                "package" => wanted.package = Some(text("package", value)?),
                "arch" => wanted.arches = texts("arch", value)?,
                known if JSON_KEYS.contains(&known) => {
                    wanted.params.insert(name, value);
                }
                _ => wanted.unknown.push(name.chars().take(80).collect()),
            }
        }
        Ok(wanted)
    }

    fn push(&mut self, name: &str, value: String) {
        let list = self.params.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(items) = list {
            items.push(value.into());
        }
    }
}

fn set(place: &mut Option<String>, name: &str, value: String) -> Result<(), Failure> {
    if place.replace(value).is_some() { Err(twice(name)) } else { Ok(()) }
}

fn text(name: &str, value: Value) -> Result<String, Failure> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(Failure::bad(format!("{name} must be a string."), "")),
    }
}

fn texts(name: &str, value: Value) -> Result<Vec<String>, Failure> {
    match value {
        Value::Array(items) => items.into_iter().map(|item| text(name, item)).collect(),
        one => Ok(vec![text(name, one)?]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn forms() {
        let form = b"release=noble&arch=amd64&arch=arm64&package=green&trigger=green%2F2&trigger=a%2F1&ppa=o%2Fn&env=A_B=1;C_D=x+y&all-proposed=1&testname=&delete=1";
        let wanted = Wanted::from_form(form).unwrap();
        assert_eq!(wanted.arches, ["amd64", "arm64"]);
        assert_eq!(
            Value::Object(wanted.params),
            json!({"triggers": ["green/2", "a/1"], "ppas": ["o/n"], "env": ["A_B=1", "C_D=x y"], "all-proposed": "1"})
        );
        assert_eq!(wanted.unknown, ["delete"]);
        assert!(Wanted::from_form(b"package=a&package=b").is_err());
        assert!(Wanted::from_form(b"testname=a&testname=b").is_err());
    }

    #[test]
    fn json_bodies() {
        let body =
            json!({"release": "noble", "arch": "amd64", "package": "green", "triggers": ["green/2"], "x": 1});
        let wanted = Wanted::from_json(body.to_string().as_bytes()).unwrap();
        assert_eq!((wanted.arches, wanted.unknown), (vec!["amd64".to_owned()], vec!["x".to_owned()]));
        for bad in ["", "[]", "{", "{\"arch\": 1}", "{\"arch\": [1]}", "{\"release\": []}", "\u{fffd}"] {
            assert!(Wanted::from_json(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
