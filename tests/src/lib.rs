//! Proofhouse tests.
