//! Intake: the one way by which requests come into the job table, from queues and from the web alike.
//!
//! [`Intake::prepare`] decides without a database; [`Intake::take`] commits a batch and splits it where it must.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    db::{Database, DbError, IntakeSession, NewJob, NewRejection, Prepared, Taken},
    names::{Package, Pair, RequestQueue},
    params::{Ppa, Trigger},
    queue::{ANSWERS, ASKED},
    redact,
    request::{BadRequest, MAX_BODY, Request},
    run_id::RunHash,
    seal::SealKeys,
};

/// A message as it came.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The queue's name, whatever it is.
    pub queue: String,
    /// The bytes.
    pub body: Bytes,
    /// The broker gave it out before.
    pub redelivered: bool,
}

/// What intake has to know.
#[derive(Debug, Clone)]
pub struct Intake {
    /// The pairs that are served, those that are switched off among them.
    pub served: BTreeSet<Pair>,
    /// Seals credentials.
    pub keys: Option<SealKeys>,
    /// Queues on which bad requests are answered with exit code 20.
    pub answered: BTreeSet<RequestQueue>,
}

impl Intake {
    /// Decides what a message of a client's queue is. It is remembered by its digest, so that a redelivery has no effect.
    /// `sort` says where the job stands; none: the leader sorts it later.
    pub fn prepare(
        &self,
        incoming: &Incoming,
        sort: impl Fn(&RequestQueue, &Request) -> Option<String>,
    ) -> Prepared {
        let what = self.decide(&incoming.queue, &incoming.body, sort).map_err(|error| NewRejection {
            body: redact::body(&incoming.body),
            kind: error.kind(),
            reason: error.to_string(),
            answer: self.answer(&incoming.queue, &incoming.body, &error).map(Box::new),
        });
        Prepared {
            queue: incoming.queue.clone(),
            digest: Some(hex::encode(Sha256::digest(&incoming.body))),
            redelivered: incoming.redelivered,
            what: what.map(Box::new),
        }
    }

    fn decide(
        &self,
        queue: &str,
        body: &[u8],
        sort: impl Fn(&RequestQueue, &Request) -> Option<String>,
    ) -> Result<NewJob, BadRequest> {
        let queue: RequestQueue = queue.parse().map_err(BadRequest::Queue)?;
        if !self.served.contains(&queue.pair) {
            return Err(BadRequest::NotServed(queue.pair));
        }
        let request = Request::parse(body)?;
        let job = self.job(&queue, &request, Some(body))?;
        Ok(NewJob { lane: sort(&queue, &request), ..job })
    }

    /// The job that a person's request becomes. `body`: the bytes as they came, which are kept where they hold no credentials.
    pub fn job(
        &self,
        queue: &RequestQueue,
        request: &Request,
        body: Option<&[u8]>,
    ) -> Result<NewJob, BadRequest> {
        let text = request.to_body();
        let hashed = body.unwrap_or(text.as_bytes());
        let kept = if request.has_credentials() {
            let sealed = request.sealed(self.keys.as_ref())?.to_body();
            // What is sealed is longer than what came, and has its limits, too: nobody could run what cannot be read again.
            Request::parse(sealed.as_bytes())?;
            sealed
        } else {
            String::from_utf8_lossy(hashed).into_owned()
        };
        // What is sealed or written anew can be longer than what came, and must be read again.
        if kept.len() > MAX_BODY {
            return Err(BadRequest::TooLarge(kept.len()));
        }
        Ok(NewJob {
            identity: request.identity(queue.context, &queue.pair, self.keys.as_ref())?,
            uuid: request.uuid,
            context: queue.context,
            pair: queue.pair.clone(),
            package: request.package.clone(),
            lane: Some(ASKED.to_owned()),
            trigger: request.triggers.first().map(ToString::to_string).unwrap_or_default(),
            body: kept,
            run_hash: RunHash::of(hashed, &queue.pair).as_str().to_owned(),
            private: request.is_private(),
            volatile: request.is_volatile(),
            force: request.force,
            requester: request.requester.as_ref().map(ToString::to_string),
            answer: None,
        })
    }

    /// The answer to a bad request whose package and triggers can be read, where an operator has switched that on.
    fn answer(&self, queue: &str, body: &[u8], error: &BadRequest) -> Option<NewJob> {
        let queue: RequestQueue = queue.parse().ok()?;
        if !self.answered.contains(&queue) || !self.served.contains(&queue.pair) {
            return None;
        }
        // Wherever they stand: what is published must not repeat them.
        if redact::body(body) != body {
            return None;
        }
        let readable = Readable::of(body)?;
        let mut request = Request::plain(readable.package);
        request.triggers = readable.triggers;
        request.ppas = readable.ppas;
        // Another identity than the good request's: it must never join a run, nor be joined by one.
        let mut job = self.job(&queue, &request, None).ok()?;
        job.identity = format!("answer:{}", hex::encode(Sha256::digest(body)));
        job.lane = Some(ANSWERS.to_owned());
        job.answer = Some((20, format!("This request could not be run: {error}.\n")));
        Some(job)
    }

    /// Commits a batch; one that the database refuses is split, so that a bad message never holds up the rest.
    pub async fn take(
        &self,
        database: &Database,
        session: Option<IntakeSession>,
        batch: &[Prepared],
    ) -> Result<(Vec<Taken>, Vec<i64>), DbError> {
        match database.take(session, batch).await {
            Err(DbError::Statement(error)) if batch.len() > 1 => {
                tracing::warn!(error = %error, batch.length = batch.len(), "a batch of requests is refused by the database: splitting it");
                let (left, right) = batch.split_at(batch.len() / 2);
                let (mut taken, mut unsettled) = Box::pin(self.take(database, session, left)).await?;
                let (more, further) = Box::pin(self.take(database, session, right)).await?;
                taken.extend(more);
                unsettled.extend(further);
                Ok((taken, unsettled))
            }
            Err(DbError::Statement(error)) if batch.iter().all(Prepared::may_be_refused) => {
                let rejected: Vec<Prepared> = batch.iter().map(|p| refused(p, &error.to_string())).collect();
                database.take(session, &rejected).await
            }
            outcome => outcome,
        }
    }
}

/// A request that the database itself refuses.
fn refused(prepared: &Prepared, error: &str) -> Prepared {
    let body = match &prepared.what {
        Ok(job) => redact::body(job.body.as_bytes()),
        Err(rejection) => rejection.body.clone(),
    };
    let reason = format!("the database refuses it: {error}");
    let what = Err(NewRejection { body, kind: "database", reason, answer: None });
    Prepared { what, ..prepared.clone() }
}

/// What can be read of a bad request without doubt, and is nobody's secret.
struct Readable {
    package: Package,
    triggers: Vec<Trigger>,
    ppas: Vec<Ppa>,
}

impl Readable {
    fn of(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok().filter(|t| t.len() <= MAX_BODY)?;
        let (package, params) = text.trim().split_once(char::is_whitespace)?;
        let Ok(Value::Object(params)) = serde_json::from_str(params.trim()) else { return None };
        if params.contains_key("swiftuser") || params.contains_key("readable-by") {
            return None;
        }
        let texts = |key: &str| -> Option<Vec<String>> {
            match params.get(key) {
                None => Some(Vec::new()),
                Some(value) => serde_json::from_value(value.clone()).ok(),
            }
        };
        let triggers: Vec<Trigger> =
            texts("triggers")?.iter().map(|t| t.parse().ok()).collect::<Option<_>>()?;
        let ppas: Vec<Ppa> = texts("ppas")?.iter().map(|t| t.parse().ok()).collect::<Option<_>>()?;
        let secret = ppas.iter().any(|p| p.credentials.is_some());
        if triggers.is_empty() || secret || triggers.iter().any(Trigger::is_baseline) {
            return None;
        }
        Some(Self { package: package.parse().ok()?, triggers, ppas })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intake(answered: &[&str]) -> Intake {
        Intake {
            served: ["noble/amd64".parse().unwrap()].into(),
            keys: Some(SealKeys::parse(&SealKeys::generate()).unwrap()),
            answered: answered.iter().map(|q| q.parse().unwrap()).collect(),
        }
    }

    fn prepare(intake: &Intake, queue: &str, body: &str) -> Result<Box<NewJob>, NewRejection> {
        let incoming = Incoming { queue: queue.to_owned(), body: body.to_owned().into(), redelivered: false };
        intake.prepare(&incoming, |_, _| None).what
    }

    #[test]
    fn a_request_becomes_a_job() {
        let body = "green\n{\"triggers\": [\"green/2\"],  \"submit-time\": \"x\"}";
        let job = prepare(&intake(&[]), "debci-huge-noble-amd64", body).unwrap();
        assert_eq!(job.body, body, "raw bodies are shown as they came");
        assert_eq!((job.trigger.as_str(), job.context), ("green/2", crate::names::Context::Huge));
        assert_eq!(job.run_hash, RunHash::of(body.as_bytes(), &job.pair).as_str());
    }

    #[test]
    fn credentials_are_never_kept() {
        let body = "green\n{\"ppas\": [\"joe:s3cret@own/foo\"], \"swiftuser\": \"sec\"}";
        let job = prepare(&intake(&[]), "debci-ppa-noble-amd64", body).unwrap();
        assert!(job.private && job.volatile && !job.body.contains("s3cret"));
        for body in [
            "green\n{\"ppas\": [\"joe:s3cret@own/foo\"]}",
            "green\n{\"ppas\": [\"joe\\u003as3cret\\u0040own/foo\"], \"swiftuser\": 1}",
            "green\n{\"test-git\": \"https://joe:s3cret@own/foo\"}",
            "green\n{\"triggers\": [\"joe:s3cret@own/foo\"]}",
            "joe:s3cret@own/foo",
        ] {
            let rejection = prepare(&intake(&[]), "debci-ppa-noble-amd64", body).unwrap_err();
            let kept = String::from_utf8(rejection.body).unwrap();
            assert!(!kept.contains("s3cret") && !rejection.reason.contains("s3cret"), "{body}");
        }
    }

    #[test]
    fn what_is_kept_can_be_read_again() {
        // A number's other spelling is four times as long.
        let numbers = vec!["1e9"; 200_000].join(",");
        let body = format!(
            "green {{\"ppas\": [\"joe:s3cret@own/foo\"], \"swiftuser\": \"sec\", \"x\": [{numbers}]}}"
        );
        assert!(body.len() < MAX_BODY && Request::parse(body.as_bytes()).is_ok());
        let rejection = prepare(&intake(&[]), "debci-ppa-noble-amd64", &body).unwrap_err();
        assert_eq!(rejection.kind, "too-large");
        // Neither can a token be so long that it is too long once it is sealed.
        let token = "s3cret".repeat(600);
        let body = format!("green {{\"ppas\": [\"joe:{token}@own/foo\"], \"swiftuser\": \"sec\"}}");
        assert!(Request::parse(body.as_bytes()).is_ok());
        let rejection = prepare(&intake(&[]), "debci-ppa-noble-amd64", &body).unwrap_err();
        assert_eq!(rejection.kind, "bad-value");
        let said = rejection.reason + &String::from_utf8(rejection.body).unwrap();
        assert!(said.contains("4096 characters") && !said.contains("s3cret"), "{said}");
    }

    #[test]
    fn without_a_key_there_are_no_credentials() {
        let intake = Intake { keys: None, ..intake(&[]) };
        let body = "green\n{\"ppas\": [\"joe:s3cret@own/foo\"], \"swiftuser\": \"sec\"}";
        let rejection = prepare(&intake, "debci-ppa-noble-amd64", body).unwrap_err();
        assert_eq!(rejection.kind, "no-seal-key");
        assert!(!String::from_utf8(rejection.body).unwrap().contains("s3cret"));
        assert!(prepare(&intake, "debci-noble-amd64", "green\n{\"swiftuser\": \"sec\"}").unwrap().private);
    }

    #[test]
    fn what_an_old_key_sealed_is_read_with_a_new_one_in_front() {
        let (old, new) = (SealKeys::generate(), SealKeys::generate());
        let with = |keys: &str| Intake { keys: Some(SealKeys::parse(keys).unwrap()), ..intake(&[]) };
        let body = "green\n{\"ppas\": [\"joe:s3cret@own/foo\"], \"swiftuser\": \"sec\"}";
        let queue = "debci-ppa-noble-amd64";
        let [kept, again] = [(); 2].map(|()| prepare(&with(&old), queue, body).unwrap());
        assert_eq!(kept.identity, again.identity, "the same request");
        assert_ne!(kept.body, again.body, "sealed each time anew");
        let both = SealKeys::parse(&format!("{new}\n{old}")).unwrap();
        let sealed = Request::parse(kept.body.as_bytes()).unwrap();
        assert_eq!(both.open_ppa(&sealed.ppas[0]).unwrap().reveal(), "joe:s3cret@own/foo");
        assert!(SealKeys::parse(&new).unwrap().open_ppa(&sealed.ppas[0]).is_err());
    }

    #[test]
    fn queues_that_are_not_ours() {
        for (queue, kind) in
            [("x", "bad-queue"), ("debci-noble-arm64", "not-served"), ("debci-x-noble-amd64", "bad-queue")]
        {
            assert_eq!(prepare(&intake(&[]), queue, "green").unwrap_err().kind, kind);
        }
    }

    #[test]
    fn only_what_can_be_read_is_answered_and_only_where_switched_on() {
        let queue = "debci-noble-amd64";
        let bad = "green {\"triggers\": [\"green/2\"], \"env\": [\"A=$(x)\"]}";
        assert!(prepare(&intake(&[]), queue, bad).unwrap_err().answer.is_none());
        let answer = prepare(&intake(&[queue]), queue, bad).unwrap_err().answer.unwrap();
        assert_eq!(answer.answer.as_ref().unwrap().0, 20);
        for never in [
            "green {\"triggers\": [\"green/2\"], \"env\": 1, \"swiftuser\": \"x\"}",
            "green {\"triggers\": [\"green/2\"], \"readable-by\": \"x\"}",
            "green {\"triggers\": [\"green/2\"], \"ppas\": [\"joe\"]}",
            "green {\"triggers\": [\"green/2\"], \"ppas\": [\"u:t@joe/foo\"]}",
            "green {\"triggers\": [\"migration-reference/0\"], \"env\": 1}",
            "green {\"triggers\": [\"green/2\"], \"test-git\": \"https://u:t@host/x\"}",
            "green {\"triggers\": \"green/2\"}",
            "green {\"env\": 1}",
            "gr_een {\"triggers\": [\"green/2\"]}",
            "green {",
        ] {
            assert!(prepare(&intake(&[queue]), queue, never).unwrap_err().answer.is_none(), "{never}");
        }
    }
}
