//! The examples in `hsm-config/` are what the daemon reads.

use std::fs;
use std::path::Path;

use breakglass::config::{DeviceConfig, LogKeyConfig};

/// The sections of a daemon's configuration that an example shows.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    hsm: DeviceConfig,
    log_key: LogKeyConfig,
    operational: Option<DeviceConfig>,
}

#[test]
fn every_example_is_understood() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("hsm-config");
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let example: Example = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let DeviceConfig::Pkcs11(issuing) = example.hsm else { panic!("{} is no PKCS#11", path.display()) };
        if let LogKeyConfig::Pkcs11(log) = example.log_key {
            assert_ne!(issuing.token, log.token, "{}", path.display());
        }
        if let Some(DeviceConfig::Pkcs11(operational)) = example.operational {
            assert_ne!(issuing.token, operational.token, "{}", path.display());
        }
        let says = text.contains("UNTESTED") || text.contains("Tested on every run");
        assert!(says, "{} says whether it was ever tried", path.display());
        names.push(path.file_stem().unwrap().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    assert_eq!(names, ["cloudhsm", "kryoptic", "luna", "nshield", "softhsm", "tpm2", "yubihsm2"]);
}
