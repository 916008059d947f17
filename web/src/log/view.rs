//! A log as pages show it.

use super::{Cut, Log, MOST_SCANNED, Section, read_log, sections};
use crate::{app::App, failure::Failure, view::size};
use proofhouse_core::{layout::Container, store::StoreError};

/// A log in sections, with what must be said of it. Its template is `parts/log.html`.
pub(crate) struct LogView {
    /// The whole file.
    pub(crate) raw_path: String,
    pub(crate) sections: Vec<Section>,
    /// What was left out, as people read sizes.
    pub(crate) cut: Option<(String, Cut)>,
    /// The log was not read to its end: it is longer than this.
    pub(crate) endless: Option<String>,
    /// The file is damaged, or ends too early.
    pub(crate) damaged: bool,
}

impl LogView {
    /// Reads a log from the store; `missing` is said where it is not there.
    pub(crate) async fn read(
        app: &App,
        container: &Container,
        object: &str,
        raw_path: String,
        missing: impl FnOnce() -> Failure,
    ) -> Result<Self, Failure> {
        // Few at once: whoever comes next waits for a place.
        let _place = app.logs().acquire().await.map_err(|_| Failure::internal())?;
        let object = app.store().get(container, object, None).await.map_err(|error| {
            // The site's account may be one that does not read what is not public.
            let hidden = container.is_private() && matches!(error, StoreError::Forbidden { .. });
            if error.is_missing() || hidden { missing() } else { error.into() }
        })?;
        let log = read_log(object.stream).await.map_err(|error| {
            tracing::warn!(error = %error, "a log could not be read from the store");
            Failure::away("store")
        })?;
        Ok(Self::new(raw_path, &log))
    }

    /// A log that was read.
    pub(crate) fn new(raw_path: String, log: &Log) -> Self {
        Self {
            raw_path,
            cut: log.cut.map(|cut| (size(cut.bytes), cut)),
            endless: log.endless.then(|| size(MOST_SCANNED)),
            damaged: log.damaged,
            sections: sections(log),
        }
    }
}
