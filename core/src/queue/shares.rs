//! How slots are shared: what a context pays for a turn, and how many slots people have first.

use crate::names::Context;

impl Context {
    /// What a context pays for a turn: the inverse of its share (ubuntu 4, upstream 2, ppa 2, huge 1).
    pub const fn price(self) -> u32 {
        match self {
            Self::Ubuntu => 3,
            Self::Upstream | Self::Ppa => 6,
            Self::Huge => 12,
        }
    }
}

/// On so many of a pool's slots people go first; on a single slot they take turns with the others instead.
pub const fn slots_of_people(slots: usize) -> usize {
    slots / 2
}
