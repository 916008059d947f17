//! The release and arch pairs that are served.

use std::collections::BTreeMap;

use crate::names::{Arch, Pair, Release};

/// The configured pairs. Some may be switched off: their requests are taken, and answered with exit code 99.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Served(BTreeMap<Pair, bool>);

impl Served {
    /// `releases` × `arches`, `pairs`, and `disabled`, which are configured but switched off.
    pub fn new(releases: &[Release], arches: &[Arch], pairs: &[Pair], disabled: &[Pair]) -> Self {
        let product = releases.iter().flat_map(|release| {
            arches.iter().map(|arch| Pair { release: release.clone(), arch: arch.clone() })
        });
        let on = product.chain(pairs.iter().cloned()).map(|pair| (pair, true));
        let off = disabled.iter().cloned().map(|pair| (pair, false));
        Self(on.chain(off).collect())
    }

    /// All configured pairs, also those that are switched off: each has its queues.
    pub fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.0.keys()
    }

    /// True where the pair is configured.
    pub fn contains(&self, pair: &Pair) -> bool {
        self.0.contains_key(pair)
    }

    /// True where the pair is configured and not switched off.
    pub fn is_on(&self, pair: &Pair) -> bool {
        self.0.get(pair) == Some(&true)
    }

    /// True where no pair is configured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These architectures and those of pairs that are on, each once, sorted.
    pub fn arches_with(&self, arches: &[Arch]) -> Vec<Arch> {
        let on = self.0.iter().filter(|(_, on)| **on).map(|(pair, _)| &pair.arch);
        let mut all: Vec<Arch> = arches.iter().chain(on).cloned().collect();
        all.sort();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_pairs_and_what_is_off() {
        let of = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<Pair>>();
        let releases: Vec<Release> = ["noble", "jammy"].map(|t| t.parse().unwrap()).into();
        let arches: Vec<Arch> = ["amd64", "arm64"].map(|t| t.parse().unwrap()).into();
        let served =
            Served::new(&releases, &arches, &of(&["sid/riscv64"]), &of(&["jammy/arm64", "xenial/i386"]));
        let all: Vec<String> = served.pairs().map(ToString::to_string).collect();
        assert_eq!(
            all,
            ["jammy/amd64", "jammy/arm64", "noble/amd64", "noble/arm64", "sid/riscv64", "xenial/i386"]
        );
        let off: Vec<String> = served.pairs().filter(|p| !served.is_on(p)).map(ToString::to_string).collect();
        assert_eq!(off, ["jammy/arm64", "xenial/i386"]);
        assert!(!served.contains(&"noble/i386".parse().unwrap()));
        let arches: Vec<String> = served.arches_with(&arches).iter().map(ToString::to_string).collect();
        assert_eq!(arches, ["amd64", "arm64", "riscv64"]);
    }
}
