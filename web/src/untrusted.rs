//! What tests, buses and clients say, shown and read without a site: the functions themselves, for `fuzz/`.

use std::{collections::BTreeMap, time::Instant};

use askama::Template;
use bytes::Bytes;
use futures::stream;
use proofhouse_core::{names::RequestQueue, request::Request};

use crate::{
    live::{Live, Now},
    log::LogView,
    pages,
    running::Heard,
    settings::Settings,
    submit,
};

#[derive(Template)]
#[template(source = r#"{% include "parts/log.html" %}"#, ext = "html")]
struct Page {
    log: LogView,
}

/// What a page shows of a `log.gz` that comes in these pieces.
pub async fn log_page(pieces: Vec<Bytes>) -> Result<String, askama::Error> {
    let Some(log) = LogView::whole("/raw".to_owned(), stream::iter(pieces.into_iter().map(Ok))).await else {
        unreachable!("no store is asked")
    };
    Page { log }.render()
}

/// The page of what runs, where only these status messages were heard; none where it cannot be made.
pub fn running_page<'a>(messages: impl IntoIterator<Item = &'a [u8]>) -> Option<String> {
    let (heard, now) = (Heard::default(), Instant::now());
    for message in messages {
        heard.hear_message(message, now);
    }
    let (public, private) = heard.now(now);
    let runs = public.into_iter().map(|said| Live::of_message(said, now)).collect();
    let private: BTreeMap<_, _> = private.into_iter().map(|pair| (pair, 1)).collect();
    pages::running::alone(&Now { runs, private, ..Now::default() }).ok()
}

/// The requests that a form (or a JSON object) of somebody who may do everything asks for; none where it is refused.
pub fn submitted(body: &[u8], json: bool, settings: &Settings) -> Option<Vec<(RequestQueue, Request)>> {
    submit::asked(body, json, settings)
}
