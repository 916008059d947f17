use axum::http::Method;
use base64::{Engine, prelude::BASE64_STANDARD};
use proofhouse_core::{
    bus::Target,
    protocol::AttemptId,
    watch::{Piece, READERS, Watch},
};

use super::buffer::{Buffer, Heard};
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
    let mut at = 0;
    for n in 0..2000 {
        let text = format!("{n} {}\n", "x".repeat(5000));
        buffer.hear(&piece(ID, (at, at, n), &text));
        at += text.len() as u64;
    }
    let all = html(&buffer, 0);
    assert!(all.len() < 1100 << 10 && all.contains("id=\"L1\"") && all.contains("id=\"L2000\""));
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
    assert!(text.contains("data-last=\"2\"") && text.contains("http-equiv=\"refresh\""), "{text}");
    // All who look see the same, from where they were; the end ends it.
    let (page, events) = (format!("{page}/events?after=2"), format!("{page}/events"));
    let had = [("last-event-id", "1")];
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
        assert!(text.contains("id: 3\n") && text.contains("\"over\":true"), "{text}");
    }
    let run = site.finish(id, 0, "first\n").await;
    assert_eq!(site.get(&events).await.status, 204);
    let stored = site.browse(&format!("/run/{uuid}/log")).await;
    assert_eq!(stored.header("location"), format!("/packages/green/noble/amd64/{}/log", run.run_id));
    assert_eq!(site.get(&format!("{events}?after=x")).await.status, 400);
}
