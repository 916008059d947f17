//! The proofhouse binary.
fn main() {}
