use std::sync::Arc;

use proofhouse_core::{
    bus::{Declaration, Source},
    protocol::STATUS_EXCHANGE,
};
use tokio_util::sync::CancellationToken;

use crate::{
    listener::listen,
    testing::{Site, texts},
};

#[tokio::test]
async fn status_messages_reach_the_pages() {
    let site = Site::new().await;
    let stop = CancellationToken::new();
    let task = tokio::spawn(listen(site.app.clone(), stop.clone()));
    site.bus.deliver("not json").await;
    let message = r#"{"release": "focal", "architecture": "i386", "package": "red", "running": true, "params": {},
        "duration": 5, "logtail": "hello"}"#;
    site.bus.deliver(message).await;
    assert!(site.browse("/running").await.text().contains("id=\"pkg-red\""));
    site.bus.deliver(&message.replace("true", "false")).await;
    assert!(!site.browse("/running").await.text().contains("pkg-red"));
    let bus = Arc::clone(&site.bus);
    assert_eq!(
        *bus.declared.lock().unwrap(),
        [Declaration::Fanout { name: STATUS_EXCHANGE.to_owned(), durable: false }]
    );
    let consumed = bus.consumed.lock().unwrap().clone();
    let [Source::Mailbox { name, exchanges }] = &consumed[..] else { panic!("{consumed:?}") };
    assert!(name.starts_with("proofhouse.web.") && *exchanges == [STATUS_EXCHANGE]);
    stop.cancel();
    task.await.unwrap();
}

/// As the old system's workers write it: no uuid, parameters as they came, a tail with its marker.
#[tokio::test]
async fn runs_of_the_old_system_are_shown() {
    let site = Site::new().await;
    let stop = CancellationToken::new();
    let task = tokio::spawn(listen(site.app.clone(), stop.clone()));
    let message = r#"{"release": "noble", "architecture": "amd64", "package": "red", "running": true, "duration": 61,
        "params": {"triggers": ["red/2", "blue/1"], "requester": "joe", "submit-time": "2026-11-21 05:36:34", "all-proposed": "1"},
        "logtail": "  0s autopkgtest starts\n[... HEAD ... TAIL ...]\n 60s the <b>end</b>"}"#;
    site.bus.deliver(message).await;
    let private = r#"{"release": "noble", "architecture": "amd64", "package": "private-test", "running": true, "params": {},
        "duration": 5, "logtail": "Running private test"}"#;
    site.bus.deliver(private).await;
    let page = site.browse("/running").await;
    let text = texts(&page.html(), "main").join(" ");
    for shown in ["red/2", "blue/1", "1 min 01 s", "[... HEAD ... TAIL ...]", "the <b>end</b>"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert!(text.contains("private"), "{text}");
    let json = site.browse("/static/running.json").await.json();
    let run = json["red"].as_object().unwrap().values().next().unwrap()["noble"]["amd64"].clone();
    assert_eq!((&run[0]["requester"], run[1].as_i64()), (&"joe".into(), Some(61)));
    assert!(json["private-test"].is_object(), "{json}");
    for ended in [message, private] {
        site.bus.deliver(&ended.replace("\"running\": true", "\"running\": false")).await;
    }
    assert_eq!(site.browse("/static/running.json").await.json(), serde_json::json!({}));
    stop.cancel();
    task.await.unwrap();
}
