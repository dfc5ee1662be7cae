//! Configuration: raw TOML, parsed once into validated structs.

pub mod chain;
pub mod client;
mod daemon;

pub use daemon::{
    ConfigError, DaemonConfig, DeviceConfig, FileKeyConfig, GrpcConfig, HttpConfig, LogKeyConfig,
    Pkcs11Config, TracingFormat,
};
