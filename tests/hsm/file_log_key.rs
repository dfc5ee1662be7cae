//! The log key in a file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use breakglass::hsm::{Backend, FileLogKey, LogSigner as _};
use testkit::temp_dir;

use crate::common::{hex, rng};

#[test]
fn is_made_once_and_read_again() {
    let dir = temp_dir();
    let path = dir.path().join("log.key");
    let made = FileLogKey::create(&path, &mut rng()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let read = FileLogKey::open(&path).unwrap();
    assert_eq!(made.public_key(), read.public_key());
    let signature = read.sign_ed25519(b"a checkpoint").unwrap();
    made.public_key().verify(b"a checkpoint", &signature).unwrap();
    assert!(made.public_key().verify(b"another one", &signature).is_err());
    assert_eq!(read.health().unwrap().kid, read.public_key().thumbprint());
    assert_eq!(read.describe().backend, Backend::File);

    let before = fs::read(&path).unwrap();
    assert_eq!(FileLogKey::create(&path, &mut rng()).unwrap_err().reason(), "HSM_KEY_FILE");
    assert_eq!(fs::read(&path).unwrap(), before, "never overwritten");
}

#[test]
fn is_refused_when_others_can_read_it() {
    let dir = temp_dir();
    let path = dir.path().join("log.key");
    FileLogKey::create(&path, &mut rng()).unwrap();
    for mode in [0o644, 0o640, 0o604, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = FileLogKey::open(&path).unwrap_err();
        assert_eq!(error.reason(), "HSM_KEY_FILE");
        assert!(error.to_string().contains("0600"), "{error}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    FileLogKey::open(&path).unwrap();
}

#[test]
fn is_refused_when_it_is_something_else() {
    let dir = temp_dir();
    let path = dir.path().join("log.key");
    FileLogKey::create(&path, &mut rng()).unwrap();
    let good = fs::read(&path).unwrap();
    let mut wrong_curve = good.clone();
    wrong_curve[11] ^= 1;
    for bad in [&good[..47], &wrong_curve, &[0; 48], b"", &[good.clone(), vec![0]].concat(), &[1; 5000]] {
        fs::write(&path, bad).unwrap();
        assert_eq!(FileLogKey::open(&path).unwrap_err().reason(), "HSM_KEY_FILE", "{} bytes", bad.len());
    }
    assert_eq!(FileLogKey::open(dir.path()).unwrap_err().reason(), "HSM_KEY_FILE", "a directory");
    assert_eq!(FileLogKey::open(&dir.path().join("absent")).unwrap_err().reason(), "HSM_KEY_FILE");
}

/// `openssl` reads the file and verifies the signature.
#[test]
fn agrees_with_openssl() {
    let dir = temp_dir();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let key = FileLogKey::create(&dir.path().join("log.key"), &mut rng()).unwrap();
    fs::write(file("message"), b"a checkpoint").unwrap();
    fs::write(file("signature"), key.sign_ed25519(b"a checkpoint").unwrap()).unwrap();
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    openssl(&["pkey", "-inform", "DER", "-in", &file("log.key"), "-pubout", "-out", &file("pub.pem")]);
    let verify = [
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        &file("pub.pem"),
        "-rawin",
        "-in",
        &file("message"),
        "-sigfile",
    ];
    assert!(openssl(&[&verify[..], &[&file("signature")]].concat()).contains("Verified Successfully"));
}

#[test]
fn says_nothing_secret_in_debug() {
    let dir = temp_dir();
    let path = dir.path().join("log.key");
    let key = FileLogKey::create(&path, &mut rng()).unwrap();
    let seed = &fs::read(&path).unwrap()[16..];
    let seed_hex = hex(seed);
    let seed_list = format!("{seed:?}");
    let text = format!("{key:?}");
    assert!(!text.contains(&seed_hex) && !text.contains(seed_list.trim_matches(['[', ']'])), "{text}");
}
