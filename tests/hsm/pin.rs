//! PIN files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use breakglass::hsm::UserPin;
use testkit::temp_dir;

use crate::common::{pin, rng};

#[test]
fn a_random_pin_is_long_and_goes_into_a_new_private_file() {
    let dir = temp_dir();
    let path = dir.path().join("pin");
    let made = UserPin::random(&mut rng());
    assert_eq!(made.reveal().len(), 32);
    assert_ne!(made.reveal(), UserPin::random(&mut rng()).reveal());
    made.write_new(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(UserPin::from_file(&path).unwrap().reveal(), made.reveal());
    assert_eq!(pin("other").write_new(&path).unwrap_err().reason(), "HSM_PIN_FILE");
    assert_eq!(UserPin::from_file(&path).unwrap().reveal(), made.reveal(), "never overwritten");
}

#[test]
fn a_pin_file_may_end_with_one_newline_and_keeps_its_blanks() {
    let dir = temp_dir();
    let path = dir.path().join("pin");
    for (content, expected) in [("abc\n", "abc"), ("abc", "abc"), ("abc\n\n", "abc\n"), (" a b ", " a b ")] {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(UserPin::from_file(&path).unwrap().reveal(), expected);
    }
}

#[test]
fn an_unusable_pin_file_is_refused_without_its_content() {
    let dir = temp_dir();
    let path = dir.path().join("pin");
    for (content, mode) in [
        (b"secret-pin".to_vec(), 0o644),
        (b"secret-pin".to_vec(), 0o660),
        (b"secret-pin".to_vec(), 0o601),
        (b"".to_vec(), 0o600),
        (b"\n".to_vec(), 0o600),
        (b"secret-pin\xff".to_vec(), 0o600),
        ([b"secret-pin".as_slice(), &[b'x'; 300]].concat(), 0o600),
        ([b"secret-pin".as_slice(), &[b'x'; 9000]].concat(), 0o600),
    ] {
        fs::write(&path, &content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = UserPin::from_file(&path).unwrap_err();
        assert_eq!(error.reason(), "HSM_PIN_FILE", "{mode:o} {content:?}");
        assert!(!format!("{error} {error:?}").contains("secret-pin"));
    }
    assert_eq!(UserPin::from_file(&dir.path().join("absent")).unwrap_err().reason(), "HSM_PIN_FILE");
}

#[test]
fn a_pin_never_shows_in_debug() {
    assert_eq!(format!("{:?}", pin("secret-pin")), "UserPin(redacted)");
}
