//! Clients that were not written here judge the virtual card: ykman, OpenSC and yubico-piv-tool.

use std::path::PathBuf;
use std::process::Command;
use virtual_yubikey::harness::{Remote, in_stack};
use virtual_yubikey::{CardSpec, Version};

const OPENSC: [&str; 2] = ["/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so", "/usr/lib/opensc-pkcs11.so"];
const MANAGEMENT_KEY: &str = "010203040506070801020304050607080102030405060708";

/// Runs a client to its end and returns what it said. Its smart card service is the test's (inherited environment).
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{said}\n{errors}");
    said + &errors
}

/// ykman of the tests' virtual environment, which is made if it is not there.
pub(crate) fn ykman(serial: u32, arguments: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/lib/python-venv");
    let python = run(&mut Command::new(script));
    let ykman = PathBuf::from(python.lines().next().unwrap()).with_file_name("ykman");
    run(Command::new(ykman).arg("--device").arg(serial.to_string()).args(arguments))
}

fn file(stack: &Remote, name: &str) -> String {
    stack.dir().join(name).to_str().unwrap().to_owned()
}

/// A key in 9c with a certificate, made by ykman alone.
fn make_key(stack: &Remote, serial: u32) -> String {
    let public = file(stack, &format!("{serial}.pub"));
    let policies = ["--pin-policy", "ALWAYS", "--touch-policy", "ALWAYS"];
    let generate = ["piv", "keys", "generate", "-a", "ECCP256", "-m", MANAGEMENT_KEY];
    ykman(serial, &[generate.as_slice(), &policies, &["9c", &public]].concat());
    let certify = ["piv", "certificates", "generate", "-P", "123456", "-m", MANAGEMENT_KEY, "-s", "CN=carol"];
    ykman(serial, &[certify.as_slice(), &["9c", &public]].concat());
    public
}

#[test]
fn ykman_generates_attests_and_describes() {
    let cards = [CardSpec::new(1).version(Version::V5_4_3), CardSpec::new(2).version(Version::V5_7_4)];
    in_stack("foreign::ykman_generates_attests_and_describes", &cards, |stack| {
        for (serial, firmware, algorithm) in [(1, "5.4.3", "TDES"), (2, "5.7.4", "AES192")] {
            let fresh = ykman(serial, &["piv", "info"]);
            assert!(fresh.contains(firmware) && fresh.contains(algorithm), "{fresh}");
            assert!(fresh.contains("3/3") && fresh.contains("default PIN"), "{fresh}");
            make_key(stack, serial);
            let (statement, device) = (file(stack, "statement.pem"), file(stack, "f9.pem"));
            ykman(serial, &["piv", "keys", "attest", "9c", &statement]);
            ykman(serial, &["piv", "certificates", "export", "f9", &device]);
            let root = file(stack, "ca/root.pem");
            let verify = ["verify", "-CAfile", &root, "-untrusted", &device, &statement];
            assert!(run(Command::new("openssl").args(verify)).contains("OK"));
            let key = ykman(serial, &["piv", "keys", "info", "9c"]);
            assert_eq!(key.matches("ALWAYS").count(), 2, "{key}");
            assert!(ykman(serial, &["piv", "info"]).contains("CN=carol"));
        }
    });
}

#[test]
fn ykman_manages_pin_puk_and_management_key() {
    in_stack("foreign::ykman_manages_pin_puk_and_management_key", &[CardSpec::new(7)], |_| {
        ykman(7, &["piv", "access", "change-pin", "-P", "123456", "-n", "654321"]);
        ykman(7, &["piv", "access", "change-puk", "-p", "12345678", "-n", "87654321"]);
        ykman(7, &["piv", "access", "unblock-pin", "-p", "87654321", "-n", "111111"]);
        let change = ["piv", "access", "change-management-key", "-m", MANAGEMENT_KEY, "-P", "111111"];
        ykman(7, &[change.as_slice(), &["--generate", "--protect"]].concat());
        let info = ykman(7, &["piv", "info"]);
        assert!(!info.contains("default"), "{info}");
        ykman(7, &["piv", "reset", "--force"]);
        assert!(ykman(7, &["piv", "info"]).contains("default PIN"));
    });
}

#[test]
fn opensc_lists_and_signs() {
    let cards = [CardSpec::new(1).version(Version::V5_4_3)];
    in_stack("foreign::opensc_lists_and_signs", &cards, |stack| {
        let public = make_key(stack, 1);
        let module = OPENSC.into_iter().find(|path| std::path::Path::new(path).exists()).unwrap();
        let pkcs11 =
            |arguments: &[&str]| run(Command::new("pkcs11-tool").arg("--module").arg(module).args(arguments));
        assert!(pkcs11(&["-L"]).contains("carol"));
        assert!(pkcs11(&["-O"]).contains("EC_POINT 256 bits"));
        let (digest, signature) = (file(stack, "digest"), file(stack, "signature"));
        std::fs::write(&digest, [0x33; 32]).unwrap();
        let asked = stack.counts(1).touches.asked;
        let sign = ["--login", "--pin", "123456", "--id", "02", "--sign", "-m", "ECDSA"];
        let files = ["--signature-format", "openssl", "-i", &digest, "-o", &signature];
        pkcs11(&[sign.as_slice(), &files].concat());
        assert_eq!(stack.counts(1).touches.asked, asked + 1);
        let verify =
            ["pkeyutl", "-verify", "-pubin", "-inkey", &public, "-in", &digest, "-sigfile", &signature];
        assert!(run(Command::new("openssl").args(verify)).contains("Verified Successfully"));
    });
}

#[test]
fn yubico_piv_tool_shows_the_status() {
    let cards = [CardSpec::new(12_345_678).version(Version::V5_4_3)];
    in_stack("foreign::yubico_piv_tool_shows_the_status", &cards, |stack| {
        make_key(stack, 12_345_678);
        let status = run(Command::new("yubico-piv-tool").args(["-a", "status"]));
        for expected in ["5.4.3", "12345678", "ECCP256", "CN=carol", "PIN tries left:\t3"] {
            assert!(status.contains(expected), "{expected}: {status}");
        }
    });
}
