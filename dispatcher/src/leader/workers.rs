//! What operators want of workers, and which workers are gone for good.

use super::Leader;
use crate::{Error, chain, schedule::Event};

impl Leader {
    /// Looks at what operators want, and tells the workers.
    pub(super) async fn look_at_wanted(&mut self) -> Result<(), Error> {
        let wanted = self.context.database.wanted().await;
        for event in self.kept(wanted.map(|wanted| vec![Event::Wanted(wanted)]), Vec::new())? {
            self.happened(event).await?;
        }
        Ok(())
    }

    /// Forgets workers of which nothing was heard for a month.
    pub(super) async fn forget_gone_workers(&self) {
        if let Err(error) = self.context.database.forget_gone_workers().await {
            tracing::debug!(error = %chain(&error), "workers that are gone could not be forgotten");
        }
    }
}
