//! The gRPC client with pinned TLS.
