//! HTTP: discovery, JWKS, health, metrics.
