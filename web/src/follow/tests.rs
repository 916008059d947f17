use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::Method;
use base64::{Engine, prelude::BASE64_STANDARD};
use futures::StreamExt;
use proofhouse_core::{
    bus::Target,
    protocol::AttemptId,
    watch::{Piece, READERS, Watch},
};

use super::{
    Log, Phase,
    buffer::{Buffer, Heard},
    events as viewed,
    keep::holder,
};
use crate::testing::Site;

fn piece(id: AttemptId, (after, offset, lines): (u64, u64, u64), text: &str) -> Piece {
    Piece { id, after, offset, lines, bytes: BASE64_STANDARD.encode(text), over: false }
}

const ID: AttemptId = AttemptId { job: 1, attempt: 1 };
const CHANGED: Heard = Heard { changed: true, missed: false };
const MISSED: Heard = Heard { changed: false, missed: true };

fn html(buffer: &Buffer, behind: u64) -> String {
    buffer.behind(behind).iter().map(|batch| batch.html.clone()).collect()
}

/// Adds long lines, a piece each.
fn grow(buffer: &mut Buffer, lines: u64) {
    for _ in 0..lines {
        let (end, last) = (buffer.end, buffer.last());
        buffer.hear(&piece(ID, (end, end, last), &format!("{}\n", "x".repeat(5000))));
    }
}

#[test]
fn pieces_are_put_together_whatever_happens_on_their_way() {
    let mut buffer = Buffer::default();
    assert_eq!(buffer.hear(&piece(ID, (0, 0, 0), "one\ntw")), CHANGED);
    assert_eq!(buffer.hear(&piece(ID, (9, 9, 1), "lost\n")), MISSED);
    assert_eq!(
        buffer.hear(&piece(ID, (0, 0, 0), "one\ntwo\n<b>\n")),
        CHANGED,
        "what came again is not doubled"
    );
    assert_eq!(buffer.hear(&piece(ID, (0, 0, 0), "one\n")), Heard::default());
    assert_eq!(buffer.last(), 3);
    let shown = html(&buffer, 0);
    assert_eq!(shown.matches("<span id=").count(), 3, "{shown}");
    assert!(shown.contains("two\n</span>") && shown.contains("&#60;b&#62;"), "{shown}");
    assert_eq!(html(&buffer, 1).matches("<span id=").count(), 2);
    // The worker left something out.
    assert_eq!(buffer.hear(&piece(ID, (12, 100, 10), "eleven\nend")), CHANGED);
    assert!(html(&buffer, 3).contains("7 lines left out") && html(&buffer, 3).contains("id=\"L11\""));
    let last = Piece { over: true, ..piece(ID, (110, 110, 11), "") };
    assert_eq!(buffer.hear(&last), CHANGED);
    assert!(html(&buffer, 11).contains("end\n</span>"));
}

#[test]
fn a_line_that_misses_a_part_says_so_when_it_is_whole() {
    let mut buffer = Buffer::default();
    buffer.hear(&piece(ID, (0, 0, 0), "one\ntw"));
    assert_eq!(buffer.hear(&piece(ID, (6, 50, 1), "tail")), Heard::default());
    assert_eq!(buffer.hear(&piece(ID, (54, 54, 1), " of two\n")), CHANGED);
    let shown = html(&buffer, 1);
    assert!(shown.contains("a part of a line left out") && shown.contains("tail of two\n"), "{shown}");
}

#[test]
fn sections_are_named_as_they_begin() {
    let mut buffer = Buffer::default();
    let setup = "autopkgtest [08:00:01]: @@@@@@@@@@@@@@@@@@@@ test bed setup\nGet:1 x\nautopkgtest [08:0";
    buffer.hear(&piece(ID, (0, 0, 0), setup));
    buffer.hear(&piece(
        ID,
        (setup.len() as u64, setup.len() as u64, 2),
        "0:09]: test \"b>: preparing testbed\n",
    ));
    let named = ["test bed setup", "test \"b>"].map(str::to_owned);
    assert_eq!(buffer.sections(), [1, 3].into_iter().zip(named).collect::<Vec<_>>());
    let shown = html(&buffer, 0);
    assert!(shown.contains("id=\"L3\" data-section=\"test &#34;b&#62;\""), "{shown}");
    assert_eq!(shown.matches("data-section").count(), 2, "{shown}");
}

#[test]
fn beginning_and_end_of_a_long_log_are_kept() {
    let mut buffer = Buffer::default();
    grow(&mut buffer, 2000);
    let all = html(&buffer, 0);
    assert!(all.len() < 1100 << 10 && all.contains("id=\"L1\"") && all.contains("id=\"L2000\""));
}

#[test]
fn what_comes_at_once_is_kept_within_the_same_bounds() {
    let mut buffer = Buffer::default();
    buffer.hear(&piece(ID, (0, 0, 0), &"\n".repeat(1 << 16)));
    assert!(buffer.behind(0).iter().all(|batch| batch.html.len() < 80 << 10));
    let all = html(&buffer, 0);
    assert!(all.len() < 1100 << 10 && all.contains("id=\"L1\"") && all.contains("id=\"L65536\""));
    let gap = all.split("<em>… ").nth(1).and_then(|gap| gap.split(' ').next()).unwrap();
    assert_eq!(all.matches("<span id=").count() + gap.parse::<usize>().unwrap(), 1 << 16);
    // Whoever had the beginning gets the same end.
    assert!(all.ends_with(&html(&buffer, 60_000)) && html(&buffer, 1 << 16).is_empty());
}

#[tokio::test]
async fn nothing_is_laid_by_for_one_who_is_slow() {
    let site = Site::new().await;
    let log = Arc::new(Log::new(ID, String::new()));
    grow(&mut log.buffer(), 300);
    let mut slow = viewed(&site.app, log.clone(), 0).unwrap().into_body().into_data_stream();
    // How to come again, and the first lines.
    for _ in 0..2 {
        slow.next().await.unwrap().unwrap();
    }
    grow(&mut log.buffer(), 300);
    log.set_phase(Phase::Over);
    let mut rest = String::new();
    while let Some(part) = slow.next().await {
        rest.push_str(&String::from_utf8_lossy(&part.unwrap()));
    }
    assert!(rest.len() < 1100 << 10 && rest.contains("lines left out"), "{}", rest.len());
    assert!(rest.contains("id: 1:600\n") && rest.contains("\"over\":true"));
}

#[tokio::test]
async fn the_last_lines_are_waited_for_when_the_attempt_runs_no_more() {
    let site = Site::new().await;
    let (job, _) = site.queue("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}").await;
    let id = site.start(job).await;
    let [log, mute] = [(); 2].map(|()| Log::new(id, String::new()));
    let mut ended = None;
    assert!(holder(&site.app, &log, &mut ended, Instant::now()).await.is_some());
    site.finish(id, 0, "first\nlast\n").await;
    assert!(holder(&site.app, &log, &mut ended, Instant::now()).await.is_none());
    log.buffer().hear(&piece(id, (0, 0, 0), "first\n"));
    let heard = log.buffer().heard.unwrap();
    holder(&site.app, &log, &mut ended, heard + Duration::from_secs(9)).await;
    assert_eq!(log.buffer().phase(), Phase::Grows);
    log.buffer().hear(&Piece { over: true, ..piece(id, (6, 6, 1), "last\n") });
    assert_eq!(log.buffer().phase(), Phase::Over);
    assert!(html(&log.buffer(), 1).contains("last\n"));
    // From a worker that died nothing comes.
    let (now, mut ended) = (Instant::now(), None);
    for (seconds, phase) in [(0, Phase::Unheard), (9, Phase::Unheard), (11, Phase::Over)] {
        holder(&site.app, &mute, &mut ended, now + Duration::from_secs(seconds)).await;
        assert_eq!(mute.buffer().phase(), phase, "after {seconds} s");
    }
}

#[tokio::test]
async fn who_had_an_attempt_gets_no_lines_of_another() {
    let site = Site::new().await;
    let (job, uuid) = site.queue("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}").await;
    let events = format!("/run/{uuid}/log/events");
    let first = site.start(job).await;
    site.fail(first, Some(0)).await;
    let text = site.get(&format!("{events}?after=1:5000")).await.text();
    assert!(text.contains("\"over\":true") && text.contains(&format!("\"/run/{uuid}\"")), "{text}");
    site.start(job).await;
    let answer = site.send(Method::GET, &events, &[("last-event-id", "1:5000")], "").await;
    let text = answer.text();
    assert!(text.contains("\"over\":true") && text.contains("another one runs"), "{text}");
    assert!(text.contains(&format!("\"/run/{uuid}/log\"")) && !text.contains("<span"), "{text}");
}

#[tokio::test]
async fn a_log_is_followed_to_its_end() {
    let site = Site::new().await;
    let (job, uuid) = site.queue("debci-noble-amd64", "green {\"triggers\": [\"green/1\"]}").await;
    let page = format!("/run/{uuid}/log");
    assert_eq!(site.browse(&page).await.header("location"), format!("/run/{uuid}"), "it does not run yet");
    let id = site.start(job).await;
    let asked = site.browse(&page);
    let answer = async {
        let (target, message) = site.bus.first_sent().await;
        let Target::Queue(mailbox) = target else { panic!("{target:?}") };
        assert!(mailbox.starts_with("proofhouse.worker.worker-7."), "{mailbox}");
        let watch: Watch = serde_json::from_slice(&message.body).unwrap();
        assert!(watch.to.starts_with(READERS) && watch.from == 0 && watch.watch == id);
        site.app.follows().hear(&piece(id, (0, 0, 0), "first\n<i>second</i>\n"));
    };
    let (first, ()) = tokio::join!(asked, answer);
    assert_eq!(first.status, 200, "with what is known, however soon the worker answers");
    let text = site.browse(&page).await.text();
    assert!(text.contains("id=\"L2\"") && !text.contains("<i>"), "{text}");
    assert!(
        text.contains("data-attempt=\"1\" data-last=\"2\"") && text.contains("http-equiv=\"refresh\""),
        "{text}"
    );
    // All who look see the same, from where they were; the end ends it.
    let (page, events) = (format!("{page}/events?after=1:2"), format!("{page}/events"));
    let had = [("last-event-id", "1:1")];
    let viewers =
        async { tokio::join!(site.get(&page), site.get(&events), site.send(Method::GET, &page, &had, "")) };
    let end = async {
        tokio::task::yield_now().await;
        site.app.follows().hear(&piece(id, (20, 20, 2), "third\n"));
        site.app.follows().hear(&Piece { over: true, ..piece(id, (26, 26, 3), "") });
    };
    let (all, ()) = tokio::join!(viewers, end);
    for (answer, lines) in [(all.0, 1), (all.1, 3), (all.2, 3)] {
        let text = answer.text();
        assert_eq!(answer.header("content-type"), "text/event-stream");
        assert_eq!(text.matches("<span id=").count(), lines, "{text}");
        assert!(text.contains("id: 1:3\n") && text.contains("\"over\":true"), "{text}");
    }
    let run = site.finish(id, 0, "first\n").await;
    // Whoever lost the connection before the end gets it; later it is said that there is no more.
    let text = site.get(&page).await.text();
    assert!(text.contains("id=\"L3\"") && text.contains("\"over\":true"), "{text}");
    site.app.follows().logs().clear();
    let text = site.get(&page).await.text();
    assert!(!text.contains("<span") && text.contains("\"over\":true"), "{text}");
    assert_eq!(site.get(&events).await.status, 204);
    let stored = site.browse(&format!("/run/{uuid}/log")).await;
    assert_eq!(stored.header("location"), format!("/packages/green/noble/amd64/{}/log", run.run_id));
    for bad in ["x", "5", "1:x", "1:-1"] {
        assert_eq!(site.get(&format!("{events}?after={bad}")).await.status, 400, "{bad}");
    }
}
