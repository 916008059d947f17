//! Proofhouse web.
