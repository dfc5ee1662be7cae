//! Configuration: raw TOML, parsed once into validated structs.

mod daemon;

pub use daemon::{
    ConfigError, DaemonConfig, DeviceConfig, FileKeyConfig, GrpcConfig, HttpConfig, LogKeyConfig,
    Pkcs11Config, TracingFormat,
};
