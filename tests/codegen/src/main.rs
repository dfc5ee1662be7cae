//! Generates `src/grpc/gen` from `proto/`.

fn main() {}
