//! Parts for tests: a store in memory, a bus that writes down, a site over an embedded database.

mod bus;
mod site;
mod store;

use std::sync::Arc;

use proofhouse_core::{intake::Intake, seal::SealKeys};

pub(crate) use self::{
    bus::TestBus,
    site::{Answer, Site, Stored, gzip, texts},
    store::TestStore,
};
use crate::settings::Settings;

/// Two releases on two architectures; one pair is switched off.
pub(crate) fn settings() -> Settings {
    let pairs: std::collections::BTreeSet<_> =
        ["noble/amd64", "noble/arm64", "jammy/amd64"].map(|p| p.parse().unwrap()).into();
    let keys = SealKeys::parse(&SealKeys::generate()).unwrap();
    Settings {
        site: "https://tests.example/".parse().unwrap(),
        disabled: ["jammy/amd64".parse().unwrap()].into(),
        intake: Arc::new(Intake { served: pairs.clone(), keys: Some(keys), answered: [].into() }),
        pairs,
        swiftuser: Some("reader".parse().unwrap()),
        open: false,
        parked_answer: None,
        pools: Arc::default(),
        requests_per_hour: 20,
        trusted_proxies: vec![],
        address_rate: 100,
    }
}
