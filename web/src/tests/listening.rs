use std::sync::Arc;

use proofhouse_core::{
    bus::{Declaration, Source},
    protocol::STATUS_EXCHANGE,
};
use tokio_util::sync::CancellationToken;

use crate::{listener::listen, testing::Site};

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
