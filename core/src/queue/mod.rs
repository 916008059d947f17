//! Who goes next: the lanes that waiting jobs stand in, the pools that may run them, and what operators hold back.
//!
//! Nothing here asks a database or a clock: the dispatcher decides with it, pages and command line explain with it.

mod controls;
mod explain;
mod lane;
mod pools;
mod shares;

pub use self::{
    controls::{Cap, CapKind, Controls, Pause},
    explain::{Durations, Estimate, InUse, Reason, Running, Serving, Situation, Subject, Waits, in_words},
    lane::{ANSWERS, ASKED, Class, EMERGENCY, Lane, MOST_RAISED},
    pools::{BadPools, Labels, PoolRules},
    shares::slots_of_people,
};
