//! The target that `FUZZ_TARGET` names, under libFuzzer; without it (`--cfg fuzzing` is not given), the files that are its
//! arguments, each once.

#![cfg_attr(fuzzing, no_main)]

use std::sync::LazyLock;

use proofhouse_fuzz::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET is one of {:?}", TARGETS.map(|(name, _)| name))).1
});

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    std::env::args_os().skip(1).try_for_each(|file| {
        TARGET(&std::fs::read(file)?);
        Ok(())
    })
}
