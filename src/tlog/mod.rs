//! Pure transparency log: leaves, proofs, checkpoints, tiles (RFC 6962, C2SP). Knows nothing of what the entries mean.
