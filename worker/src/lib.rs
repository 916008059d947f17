//! Proofhouse worker.
