//! Configuration: raw TOML, parsed once into validated structs.
