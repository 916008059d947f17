//! What the broker says where a queue or exchange is not as it must be, in words that say what to do.

use super::errors::{ACCESS_REFUSED, Failure};
use crate::bus::Declaration;

/// The broker's code for "there already, and different".
pub(super) const DIFFERENT: u16 = 406;
/// The broker's code for a queue that is another connection's alone.
const LOCKED: u16 = 405;

/// The failure to declare this, for people.
pub(super) fn explain(declaration: &Declaration, failure: Failure) -> Failure {
    let Failure::Refused { code, text } = failure else { return failure };
    let (thing, name, delete) = match declaration {
        Declaration::Fanout { name, .. } => ("exchange", name.clone(), "delete_exchange"),
        _ => ("queue", declaration.name(), "delete_queue"),
    };
    let text = match code {
        DIFFERENT | LOCKED => format!(
            "the {thing} {name} exists, but not as {} ({}). Remove it once nobody uses it any more, with the management \
             plugin or `{delete}`, and let those who declare it declare it so",
            needed(declaration),
            difference(&text)
        ),
        ACCESS_REFUSED => format!(
            "there is no {thing} {name}, or this user may not use it ({text}). Start a dispatcher whose user may declare \
             it, declare {} by hand, or give this user the permission (deploy/rabbitmq/definitions.json)",
            needed(declaration)
        ),
        _ => format!("{name}: {text}"),
    };
    Failure::Refused { code, text }
}

fn needed(declaration: &Declaration) -> &'static str {
    match declaration {
        Declaration::Fanout { .. } => "an exchange of type fanout",
        _ => "a durable queue that does not delete itself, without arguments",
    }
}

/// "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'" without what we know.
fn difference(text: &str) -> String {
    let said = text.rsplit_once(" - ").map_or(text, |(_, said)| said);
    let Some(argument) = said.strip_prefix("inequivalent arg ").and_then(|rest| rest.split(' ').next())
    else {
        return said.to_owned();
    };
    let Some((_, is)) = said.rsplit_once(" but current is ") else { return said.to_owned() };
    format!("{} is {}", argument.trim_matches('\''), is.trim_start_matches("the value "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(code: u16, text: &str) -> String {
        let failure = Failure::Refused { code, text: text.to_owned() };
        explain(&Declaration::Queue("proofhouse.asks".into()), failure).into_text()
    }

    /// The texts are RabbitMQ 3.10's.
    #[test]
    fn what_is_different_is_named() {
        for (text, named) in [
            (
                "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'proofhouse.asks' in vhost '/': received \
                 none but current is the value '5' of type 'signedint'",
                "(x-max-length is '5' of type 'signedint')",
            ),
            (
                "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'proofhouse.asks' in vhost '/': received 'true' \
                 but current is 'false'",
                "(durable is 'false')",
            ),
            ("PRECONDITION_FAILED - something else", "(something else)"),
        ] {
            let said = queue(DIFFERENT, text);
            assert!(said.contains(named) && said.contains("the queue proofhouse.asks exists"), "{said}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let text = "ACCESS_REFUSED - configure access to queue 'proofhouse.asks' in vhost '/' refused for user 'worker'";
        let said = queue(ACCESS_REFUSED, text);
        assert!(said.contains("there is no queue proofhouse.asks") && said.contains("'worker'"), "{said}");
        assert_eq!(queue(504, "odd"), "proofhouse.asks: odd");
    }
}
