//! What must never be written down: PINs, tokens in the clear, private keys.

use std::{
    fs,
    path::{Path, PathBuf},
};

use breakglass::jose::b64;
use serde_json::json;

use crate::world::World;

/// Every regular file below a folder.
pub fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&entry.path(), found),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn no_pin_no_token_and_no_key_is_in_any_log_or_file() {
    let world = World::new();
    let daemon = world.start_with(&[("RUST_LOG", "trace")]);
    let client = world.client("erin/file");
    let wish = world.wish(json!({}));
    let jwt = wish.grant_all(&client).unwrap();
    assert_eq!(wish.redeem(&client).unwrap(), jwt);
    let exported = client.entries().unwrap().concat();
    let log = daemon.process.log_path().to_owned();
    assert!(daemon.stop().success());

    let pins = ["issuing.pin", "log.pin"].map(|name| (name, fs::read_to_string(world.path(name)).unwrap()));
    let tls = fs::read_to_string(world.path("tls.key.pem")).unwrap();
    let signature = jwt.rsplit('.').next().unwrap();
    let mut secrets: Vec<(String, Vec<u8>)> = vec![
        ("the JWT".into(), jwt.clone().into_bytes()),
        ("the JWT's signature".into(), signature.as_bytes().to_vec()),
        ("the JWT's signature, raw".into(), b64::decode(signature).unwrap()),
        ("the TLS key".into(), tls.lines().nth(1).unwrap().as_bytes().to_vec()),
    ];
    for (name, pin) in &pins {
        assert!(pin.trim().len() >= 8, "{name} is too short to be looked for");
        secrets.push(((*name).into(), pin.trim().as_bytes().to_vec()));
    }
    let mut searched = Vec::new();
    files(world.dir.path(), &mut searched);
    files(world.hsm.dir(), &mut searched);
    // These are the places where they are kept.
    searched.retain(|path| {
        !path.ends_with("issuing.pin") && !path.ends_with("log.pin") && !path.ends_with("tls.key.pem")
    });
    for path in &searched {
        let bytes = fs::read(path).unwrap();
        for (what, secret) in &secrets {
            assert!(!holds(&bytes, secret), "{what} is in {}", path.display());
        }
    }
    for (what, secret) in &secrets {
        assert!(!holds(&exported, secret), "{what} is in the audit log");
    }
    let traced = fs::read(log).unwrap();
    let found = holds(&traced, b"breakglassd serves") && holds(&exported, wish.id().to_string().as_bytes());
    assert!(found, "the search can find things");
    assert!(searched.iter().any(|path| path.ends_with("log.sqlite")));
}
