//! Where a job stands: in a lane, or among those that are answered without a run.

use proofhouse_core::{
    db::JobRow,
    names::{Context as QueueContext, RequestQueue},
    protocol::Listed,
    queue::{ANSWERS, ASKED, Class, Labels, Lane},
    request::Request,
};

use crate::{
    Settings,
    answer::{self, Screened},
};

/// For a message of a client's queue.
pub(crate) fn lane_text(settings: &Settings, queue: &RequestQueue, request: &Request) -> String {
    let class = match queue.context {
        QueueContext::Huge => Class::Bulk,
        _ if request.requester.is_none() => Class::Gates,
        _ => Class::People,
    };
    let requester = request.requester.as_ref().map(ToString::to_string);
    sorted(settings, queue, request, class, requester.as_deref())
}

fn sorted(
    settings: &Settings,
    queue: &RequestQueue,
    request: &Request,
    class: Class,
    requester: Option<&str>,
) -> String {
    let lists = settings.lists.borrow();
    if answer::screen(request, &queue.pair, &lists, &settings.switched_off) != Screened::Run {
        return ANSWERS.to_owned();
    }
    let listed = lists.of(&request.package, &queue.pair);
    let trigger = request.triggers.first().map(ToString::to_string);
    let key = match (class, requester) {
        (Class::People, Some(requester)) => requester.to_owned(),
        _ => trigger.unwrap_or_default(),
    };
    let key = Lane::key_of(&key);
    let labels = labels(settings, request, class, listed);
    Lane { level: 0, class, context: queue.context, pair: queue.pair.clone(), labels, key }.to_string()
}

fn labels(settings: &Settings, request: &Request, class: Class, listed: Listed) -> String {
    settings.pools.lane_labels(&Labels::of(request, class, listed))
}

/// For a job that waits: one that no leader sorted, or whose lists or pools may have changed since. None: it stands where
/// it should, or cannot be read.
pub(crate) fn lane_of(settings: &Settings, job: &JobRow) -> Option<String> {
    let (Ok(context), Ok(pair), Ok(request)) = (job.context(), job.pair(), job.request()) else {
        return None;
    };
    let queue = RequestQueue { context, pair };
    let requester = job.requesters.lines().next().filter(|name| !name.is_empty());
    let was = job.lane.as_deref();
    let now = match was.map(str::parse::<Lane>) {
        _ if job.answer_code.is_some() => ANSWERS.to_owned(),
        Some(Ok(lane)) => {
            let fresh = sorted(settings, &queue, &request, lane.class, requester);
            // What an operator or a person who joined did to it stays.
            fresh.parse::<Lane>().map_or(fresh, |fresh| Lane { labels: fresh.labels, ..lane }.to_string())
        }
        _ => {
            let class = match queue.context {
                QueueContext::Huge => Class::Bulk,
                _ if was == Some(ASKED) || requester.is_some() => Class::People,
                _ => Class::Gates,
            };
            sorted(settings, &queue, &request, class, requester)
        }
    };
    (was != Some(now.as_str())).then_some(now)
}
