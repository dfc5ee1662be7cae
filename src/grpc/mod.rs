//! gRPC: services, pinned TLS, and the single mapping from errors to statuses.
