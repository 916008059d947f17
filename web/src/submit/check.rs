//! The checks that need no database, in the contract's order. Either all architectures pass or none is asked for.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proofhouse_core::{
    names::{BadName, Package, Pair, RequestQueue},
    request::{BadRequest, Request},
};
use serde_json::Value;
use uuid::Uuid;

use super::{form::Wanted, who::Person};
use crate::{failure::Failure, settings::Settings};

/// A request for one architecture that passed these checks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Checked {
    pub(super) queue: RequestQueue,
    pub(super) request: Request,
}

/// Checks what was sent; the person is known already.
pub(super) fn check(
    wanted: Wanted,
    person: &Person,
    settings: &Settings,
    now: Timestamp,
) -> Result<Vec<Checked>, Failure> {
    let (release, package) = complete(&wanted)?;
    let pairs = served(&release, &wanted.arches, settings)?;
    let unknown = unknown(&wanted);
    let request = well_formed(wanted, &package, person, settings, now)?;
    unknown?;
    allowed(&request, person)?;
    let several = pairs.len() > 1;
    let own = |pair: Pair| {
        // One name for one run: of several, each gets its own.
        let uuid = request.uuid.filter(|_| !several).unwrap_or_else(Uuid::new_v4);
        let queue = RequestQueue { context: request.natural_context(), pair };
        Checked { queue, request: Request { uuid: Some(uuid), ..request.clone() } }
    };
    Ok(pairs.into_iter().map(own).collect())
}

/// arch, release, package and a trigger are there; runs with PPAs and of an upstream branch need no trigger.
fn complete(wanted: &Wanted) -> Result<(String, String), Failure> {
    let missing = |what: &str| Failure::bad(format!("{what} is missing."), "");
    if wanted.arches.is_empty() {
        return Err(missing("arch"));
    }
    let release = wanted.release.clone().ok_or_else(|| missing("release"))?;
    let package = wanted.package.clone().ok_or_else(|| missing("package"))?;
    let reasons = ["triggers", "ppas", "build-git", "test-git", "test-bzr"];
    let given = |name: &&str| match wanted.params.get(*name) {
        None => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(_) => true,
    };
    if reasons.iter().any(given) {
        Ok((release, package))
    } else {
        Err(Failure::bad("A trigger is missing.", "Name what the test is for: trigger=source/version."))
    }
}

/// The pairs, each once.
fn served(release: &str, arches: &[String], settings: &Settings) -> Result<BTreeSet<Pair>, Failure> {
    let advice = || {
        let releases: Vec<_> = settings.releases().into_iter().map(AsRef::as_ref).collect();
        let arches: Vec<_> = settings.arches().into_iter().map(AsRef::as_ref).collect();
        format!("Releases: {}. Architectures: {}.", releases.join(", "), arches.join(", "))
    };
    let pair = |arch: &String| {
        let pair: Option<Pair> =
            format!("{release}/{arch}").parse().ok().filter(|p| settings.pairs.contains(p));
        pair.ok_or_else(|| {
            let short = |text: &str| text.chars().take(80).collect::<String>();
            Failure::not_served(format!("{}/{} is not configured.", short(release), short(arch)), &advice())
        })
    };
    arches.iter().map(pair).collect()
}

fn unknown(wanted: &Wanted) -> Result<(), Failure> {
    if wanted.unknown.is_empty() {
        return Ok(());
    }
    Err(Failure::bad(format!("Unknown parameters: {}.", wanted.unknown.join(", ")), "Leave them out."))
}

/// Every value follows its pattern.
fn well_formed(
    mut wanted: Wanted,
    package: &str,
    person: &Person,
    settings: &Settings,
    now: Timestamp,
) -> Result<Request, Failure> {
    let package: Package = package.parse().map_err(|e: BadName| Failure::bad(format!("{e}."), ""))?;
    if !package.follows_policy() {
        return Err(Failure::bad(
            format!("{package} is no source package's name."),
            "Source packages have lower-case names of two characters or more.",
        ));
    }
    let params = &mut wanted.params;
    match params.get("requester") {
        // Nobody knows who it is: their word is taken.
        Some(_) if person.may_name => {}
        Some(Value::String(name)) if *name != person.name => {
            return Err(Failure::bad(
                format!("You ask in the name of {}.", person.name),
                "Leave requester out.",
            ));
        }
        _ => {
            params.insert("requester".to_owned(), person.name.clone().into());
        }
    }
    if !params.contains_key("submit-time") {
        params.insert("submit-time".to_owned(), now.strftime("%Y-%m-%d %H:%M:%S").to_string().into());
    }
    if params.contains_key("readable-by") && !params.contains_key("swiftuser") {
        let user = settings.swiftuser.as_ref().ok_or_else(|| {
            Failure::bad(
                "Private runs cannot be asked for here: no reader of the store is configured (swiftuser).",
                "Ask the operators of this site.",
            )
        })?;
        params.insert("swiftuser".to_owned(), user.as_str().into());
    }
    let request = Request::from_params(package, wanted.params).map_err(|e| bad_request(&e))?;
    let mixed = request.triggers.len() > 1 || !request.ppas.is_empty() || request.all_proposed;
    if request.is_baseline() && mixed {
        return Err(Failure::bad(
            "migration-reference/0 stands alone: no other trigger, no PPA, no all-proposed.",
            "",
        ));
    }
    Ok(request)
}

/// A request that does not follow the contracts. No text of it holds a secret.
pub(super) fn bad_request(error: &BadRequest) -> Failure {
    Failure::bad(format!("{error}."), "")
}

fn allowed(request: &Request, person: &Person) -> Result<(), Failure> {
    let refuse =
        |text: &str| Err(Failure::forbidden(text, "Ask the operators of this site for another token."));
    if !person.may_request {
        return refuse("This token may not ask for tests: it lacks the scope `request`.");
    }
    if request.force && !person.may_force {
        return refuse(
            "This token may not ask for a second run of what is there already: it lacks the scope `force`.",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proofhouse_core::names::Context;

    use super::*;
    use crate::testing::settings;

    fn joe() -> Person {
        Person { name: "joe".into(), may_request: true, may_force: false, may_name: false }
    }

    fn of(form: &str, person: &Person) -> Result<Vec<Checked>, Failure> {
        check(Wanted::from_form(form.as_bytes())?, person, &settings(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn one_request_for_each_arch() {
        let all = of("release=noble&arch=amd64&arch=arm64&arch=amd64&package=green&trigger=green/2", &joe())
            .unwrap();
        assert_eq!(all.len(), 2);
        assert_ne!(all[0].request.uuid, all[1].request.uuid);
        let request = &all[0].request;
        assert_eq!(request.requester.as_ref().unwrap().as_str(), "joe");
        assert_eq!(request.submit_time.as_deref(), Some("1970-01-01 00:00:00"));
        let ppa = of("release=noble&arch=amd64&package=green&ppa=o/n", &joe()).unwrap();
        assert_eq!(ppa[0].queue.context, Context::Ppa);
        let git = of("release=noble&arch=amd64&package=green&build-git=https://x.org/a%23b", &joe()).unwrap();
        assert_eq!(git[0].queue.context, Context::Upstream);
    }

    #[test]
    fn nobody_asks_in_anothers_name() {
        let body = r#"{"release": "noble", "arch": "amd64", "package": "green", "triggers": ["green/2"], "requester": "ann"}"#;
        let of = |person: &Person| {
            let wanted = Wanted::from_json(body.as_bytes()).unwrap();
            check(wanted, person, &settings(), Timestamp::UNIX_EPOCH)
        };
        assert_eq!(of(&joe()).unwrap_err().status, 400);
        let anybody = of(&Person { may_name: true, ..joe() }).unwrap();
        assert_eq!(anybody[0].request.requester.as_ref().unwrap().as_str(), "ann");
    }

    #[test]
    fn in_the_contracts_order() {
        let good = "release=noble&arch=amd64&package=green&trigger=green/2";
        let cases = [
            ("release=noble&package=green&trigger=green/2", 400),
            ("arch=amd64&package=green&trigger=green/2", 400),
            ("release=noble&arch=amd64&trigger=green/2", 400),
            ("release=noble&arch=amd64&package=green", 400),
            // Missing before unknown pair; unknown pair before bad values.
            ("release=nope&arch=amd64", 400),
            ("release=nope&arch=amd64&package=!&trigger=x", 404),
            ("release=noble&arch=amd64&arch=nope&package=green&trigger=green/2", 404),
            ("release=../x&arch=amd64&package=green&trigger=green/2", 404),
            ("release=noble&arch=amd64&package=Green&trigger=green/2", 400),
            ("release=noble&arch=amd64&package=../green&trigger=green/2", 400),
            ("release=noble&arch=amd64&package=green&trigger=green", 400),
            ("release=noble&arch=amd64&package=green&ppa=o", 400),
            ("release=noble&arch=amd64&package=green&ppa=u:t@o/n", 400),
            (&format!("{good}&env=A=$(x)"), 400),
            (&format!("{good}&testname=a/b"), 400),
            (&format!("{good}&build-git=ext::sh"), 400),
            (&format!("{good}&trigger=migration-reference/0"), 400),
            ("release=noble&arch=amd64&package=green&trigger=migration-reference/0&all-proposed=1", 400),
            (&format!("{good}&x=1"), 400),
            (&format!("{good}&force=1"), 403),
        ];
        for (form, status) in cases {
            assert_eq!(of(form, &joe()).unwrap_err().status, status, "{form}");
        }
        let nobody = Person { may_request: false, ..joe() };
        assert_eq!(of(good, &nobody).unwrap_err().status, 403);
        assert_eq!(of(&format!("{good}&x=1"), &nobody).unwrap_err().status, 400);
        let text = of(&format!("{good}&x=1&y=2"), &joe()).unwrap_err().text;
        assert!(text.contains("x, y"), "{text}");
    }

    #[test]
    fn private_runs_get_the_configured_reader() {
        let form = "release=noble&arch=amd64&package=green&ppa=u:t@o/n&readable-by=joe";
        let checked = of(form, &joe()).unwrap().remove(0);
        assert_eq!(checked.request.swiftuser.as_ref().map(ToString::to_string).as_deref(), Some("reader"));
        let without = Settings { swiftuser: None, ..settings() };
        let wanted = Wanted::from_form(form.as_bytes()).unwrap();
        let refused = check(wanted, &joe(), &without, Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(refused.status, 400);
        assert!(!refused.text.contains("u:t"));
    }
}
