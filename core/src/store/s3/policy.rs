//! Bucket policies: who but ourselves may read and list what lies under a prefix.
//!
//! Facts: AWS's "Policies and permissions in Amazon S3"; MinIO and Ceph's radosgw read the same language.

use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope<'a> {
    pub(super) bucket: &'a str,
    /// Of keys; empty: all of the bucket.
    pub(super) prefix: &'a str,
}

/// Who may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reader<'a> {
    Anyone,
    /// A user of the store.
    User(&'a str),
}

impl Reader<'_> {
    /// A user as a principal: an ARN as it stands, `account:user` and `user` as IAM names them.
    fn principal(&self) -> String {
        match self {
            Self::Anyone => "*".to_owned(),
            Self::User(arn) if arn.starts_with("arn:") => (*arn).to_owned(),
            Self::User(user) => {
                let (account, name) = user.rsplit_once(':').unwrap_or(("", user));
                format!("arn:aws:iam::{account}:user/{name}")
            }
        }
    }
}

/// The policy with a rule for `reader` added; none where it is there already.
pub(super) fn with_reader(policy: Option<Value>, scope: &Scope<'_>, reader: &Reader<'_>) -> Option<Value> {
    let rules = rules(scope, reader);
    let mut policy = policy.unwrap_or_else(|| json!({"Version": "2012-10-17"}));
    let mut all = statements(&policy).cloned().collect::<Vec<_>>();
    let sids: Vec<_> = all.iter().filter_map(|statement| statement.get("Sid").cloned()).collect();
    let new: Vec<Value> = rules.into_iter().filter(|rule| !sids.contains(&rule["Sid"])).collect();
    if new.is_empty() {
        return None;
    }
    all.extend(new);
    policy.as_object_mut()?.insert("Statement".to_owned(), Value::Array(all));
    Some(policy)
}

/// Read the objects, list their names. The servers store policies in a form of their own, so the rule's name says what
/// it is about.
fn rules(scope: &Scope<'_>, reader: &Reader<'_>) -> [Value; 2] {
    let Scope { bucket, prefix } = scope;
    let principal = reader.principal();
    let mark = hex::encode(Sha1::digest(format!("{prefix}\n{principal}")));
    let rule = |what: &str, action: &str, resource: String| {
        json!({
            "Sid": format!("Proofhouse{what}{}", &mark[..16]),
            "Effect": "Allow",
            "Principal": {"AWS": [principal]},
            "Action": [action],
            "Resource": [format!("{ARN}{resource}")],
        })
    };
    let get = rule("Get", "s3:GetObject", format!("{bucket}/{prefix}*"));
    let mut list = rule("List", "s3:ListBucket", (*bucket).to_owned());
    if !prefix.is_empty() {
        list["Condition"] = json!({"StringLike": {"s3:prefix": [format!("{prefix}*")]}});
    }
    [get, list]
}

const ARN: &str = "arn:aws:s3:::";

/// True where a policy may let anyone read or list something of `scope`. In doubt it does: what it says of actions and
/// most conditions is not looked at.
pub(super) fn is_open(policy: &Value, scope: &Scope<'_>) -> bool {
    statements(policy).filter_map(Value::as_object).any(|statement| {
        statement.get("Effect").and_then(Value::as_str) == Some("Allow")
            && names_anyone(statement)
            && touches(statement, scope)
    })
}

fn names_anyone(statement: &Map<String, Value>) -> bool {
    let anyone = |value: &Value| texts(value).any(|text| text == "*");
    match statement.get("Principal") {
        Some(Value::Object(kinds)) => kinds.values().any(anyone),
        Some(principal) => anyone(principal),
        None => true, // NotPrincipal
    }
}

fn touches(statement: &Map<String, Value>, scope: &Scope<'_>) -> bool {
    let Some(resources) = statement.get("Resource") else {
        return true; // NotResource
    };
    // Partitions differ (`arn:aws-cn:s3:::`), resources do not.
    texts(resources).map(|arn| arn.rsplit_once(":::").map_or(arn, |(_, resource)| resource)).any(|resource| {
        match resource.split_once('/') {
            Some((bucket, keys)) => meet(bucket, scope.bucket) && meet(keys, &format!("{}*", scope.prefix)),
            // The bucket itself, or all that it holds where the pattern says so.
            None => meet(resource, scope.bucket) && (resource.contains('*') || lists(statement, scope)),
        }
    })
}

/// True where the condition on prefixes leaves names of `scope` to be listed.
fn lists(statement: &Map<String, Value>, scope: &Scope<'_>) -> bool {
    let condition = statement.get("Condition");
    let prefixes =
        ["StringLike", "StringEquals"].iter().find_map(|operator| condition?.get(operator)?.get("s3:prefix"));
    prefixes.is_none_or(|prefixes| texts(prefixes).any(|prefix| meet(prefix, &format!("{}*", scope.prefix))))
}

/// True where two patterns may have a text in common, by what stands before their first wildcards.
fn meet(one: &str, other: &str) -> bool {
    let fixed = |pattern: &str| pattern.find(['*', '?', '$']).map(|end| pattern[..end].to_owned());
    match (fixed(one), fixed(other)) {
        (None, None) => one == other,
        (Some(head), None) => other.starts_with(&head),
        (None, Some(head)) => one.starts_with(&head),
        (Some(one), Some(other)) => one.starts_with(&other) || other.starts_with(&one),
    }
}

fn statements(policy: &Value) -> impl Iterator<Item = &Value> {
    items(policy.get("Statement"))
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    items(Some(value)).filter_map(Value::as_str)
}

/// A list's items; what stands alone is a list of one.
fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    match value {
        Some(Value::Array(items)) => items.as_slice(),
        Some(item) => std::slice::from_ref(item),
        None => &[],
    }
    .iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Scope<'_> = Scope { bucket: "autopkgtest-noble", prefix: "" };
    const PART: Scope<'_> = Scope { bucket: "results", prefix: "private-autopkgtest-noble/" };

    #[test]
    fn rules_are_added_once_and_leave_others_alone() {
        let public = Scope { bucket: "results", prefix: "autopkgtest-" };
        let policy = with_reader(None, &public, &Reader::Anyone).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&policy).unwrap());
        assert_eq!(with_reader(Some(policy.clone()), &public, &Reader::Anyone), None);
        let both = with_reader(Some(policy.clone()), &PART, &Reader::User("123456789012:ci")).unwrap();
        let list = both["Statement"].as_array().unwrap();
        assert_eq!((list.len(), &list[..2]), (4, policy["Statement"].as_array().unwrap().as_slice()));
        assert_eq!(list[2]["Principal"], json!({"AWS": ["arn:aws:iam::123456789012:user/ci"]}));
        let alone = json!({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Principal": "*"}});
        let more = with_reader(Some(alone.clone()), &ALL, &Reader::Anyone).unwrap();
        assert_eq!(
            (&more["Statement"][0], more["Statement"].as_array().unwrap().len()),
            (&alone["Statement"], 3)
        );
    }

    #[test]
    fn users_as_principals() {
        for (user, arn) in [
            ("arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:root"),
            ("123456789012:ci", "arn:aws:iam::123456789012:user/ci"),
            ("ci", "arn:aws:iam:::user/ci"),
        ] {
            assert_eq!(Reader::User(user).principal(), arn);
        }
    }

    #[test]
    fn ours_open_what_they_are_for_and_nothing_else() {
        let public = Scope { bucket: "results", prefix: "autopkgtest-" };
        let policy = with_reader(None, &public, &Reader::Anyone).unwrap();
        assert!(is_open(&policy, &public) && !is_open(&policy, &PART) && !is_open(&policy, &ALL));
        let policy = with_reader(None, &PART, &Reader::User("ci")).unwrap();
        assert!(!is_open(&policy, &PART));
        assert!(is_open(&with_reader(None, &ALL, &Reader::Anyone).unwrap(), &ALL));
    }

    #[test]
    fn what_others_open() {
        let statement = |principal: Value, resource: &str| {
            json!({"Statement": [{"Effect": "Allow", "Principal": principal, "Action": "s3:GetObject",
                "Resource": format!("arn:aws-cn:s3:::{resource}")}]})
        };
        for open in
            ["results/*", "results/private-*", "results/private-autopkgtest-noble/x", "results", "*", "r*/*"]
        {
            assert!(is_open(&statement(json!("*"), open), &PART), "{open}");
            assert!(is_open(&statement(json!({"AWS": "*"}), open), &PART), "{open}");
            assert!(!is_open(&statement(json!({"AWS": "arn:aws:iam::1:root"}), open), &PART), "{open}");
        }
        for closed in
            ["results/autopkgtest-*", "result/*", "results/private-autopkgtest-noblesse/x", "result"]
        {
            assert!(!is_open(&statement(json!("*"), closed), &PART), "{closed}");
        }
        assert!(is_open(&json!({"Statement": {"Effect": "Allow", "NotPrincipal": {"AWS": "x"}}}), &PART));
        assert!(!is_open(&json!({"Statement": {"Effect": "Deny", "Principal": "*"}}), &PART));
    }
}
