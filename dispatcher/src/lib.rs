//! Proofhouse dispatcher.
