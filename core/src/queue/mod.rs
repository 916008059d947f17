//! Who goes next: the lanes that waiting jobs stand in, the pools that may run them, and what operators hold back.
//!
//! Nothing here asks a database or a clock: the dispatcher decides with it, pages and command line explain with it.

mod controls;
mod lane;
mod pools;

pub use self::{
    controls::{Cap, CapKind, Controls, Pause},
    lane::{ANSWERS, ASKED, Class, EMERGENCY, Lane, MOST_RAISED},
    pools::{BadPools, Labels, PoolRules},
};
