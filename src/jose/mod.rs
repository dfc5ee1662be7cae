//! Pure JOSE: strict JSON, digests, keys, JWS, JWE. Knows nothing of requests or custodians.
