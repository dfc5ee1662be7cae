//! Signed notes, with keys that ring made.

use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;

/// The example of tlog-checkpoint; its key is not published, so it only parses.
const SPEC: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
/// The key of Go's checksum database, as every Go release carries it.
const SUM_DB: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";

fn key(seed: u8, name: &str) -> (Ed25519KeyPair, VerifierKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    (pair, VerifierKey::new(name.parse().unwrap(), public))
}

fn signed(seed: u8) -> (SignedCheckpoint, VerifierKey) {
    let (pair, key) = key(seed, "example.com/log");
    let checkpoint = Checkpoint { origin: key.name().clone(), size: 7, root: Log::sized(7).frontier.root() };
    let signature = pair.sign(checkpoint.to_string().as_bytes()).as_ref().try_into().unwrap();
    (SignedCheckpoint::assemble(checkpoint, &key, &signature).unwrap(), key)
}

#[test]
fn the_example_of_the_spec_comes_back_byte_for_byte() {
    let note: SignedCheckpoint = SPEC.parse().unwrap();
    assert_eq!(note.unverified().size, 20_852_163);
    assert_eq!(note.unverified().origin.as_str(), "example.com/behind-the-sofa");
    assert_eq!(note.to_string(), SPEC);
}

#[test]
fn a_known_verifier_key_comes_back_and_has_its_id() {
    let key: VerifierKey = SUM_DB.parse().unwrap();
    assert_eq!(key.id(), [0x03, 0x3d, 0xe0, 0xae]);
    assert_eq!(key.to_string(), SUM_DB);
    for bad in [
        SUM_DB.replace("033de0ae", "033de0af"),
        SUM_DB.replace("033de0ae", "033DE0AE"),
        SUM_DB.replace("+033de0ae", ""),
        SUM_DB.replace("Ac4z", "Ag4z"),
        SUM_DB.replace("sum.golang.org", ""),
        SUM_DB.replace("sum.golang.org", "sum golang"),
        SUM_DB[..SUM_DB.len() - 1].to_owned(),
        String::new(),
    ] {
        assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
    }
}

#[test]
fn only_the_key_that_signed_verifies() {
    let (note, key_1) = signed(1);
    assert_eq!(note.verify(&key_1).unwrap().size, 7);
    let (_, same_name) = key(2, "example.com/log");
    assert_eq!(note.verify(&same_name), Err(TlogError::Unsigned));
    let (_, other_name) = key(1, "example.com/other");
    assert_eq!(note.verify(&other_name), Err(TlogError::OriginMismatch));
    let reread: SignedCheckpoint = note.to_string().parse().unwrap();
    assert_eq!(reread, note);
    let larger: SignedCheckpoint = note.to_string().replacen("\n7\n", "\n8\n", 1).parse().unwrap();
    assert_eq!(larger.verify(&key_1), Err(TlogError::BadSignature));
}

#[test]
fn a_wrong_signature_of_the_device_is_noticed_at_once() {
    let (note, key) = signed(1);
    let refused = SignedCheckpoint::assemble(note.unverified().clone(), &key, &[0; 64]);
    assert_eq!(refused, Err(TlogError::BadSignature));
}

#[test]
fn cosignatures_are_kept_and_a_second_wrong_line_of_a_known_key_is_not_forgiven() {
    let (mut note, key) = signed(1);
    let witness = NoteSignature {
        name: "witness.example".parse().unwrap(),
        key_id: [1, 2, 3, 4],
        signature: vec![4; 72],
    };
    note.add(witness.clone()).unwrap();
    note.add(witness).unwrap();
    assert_eq!(note.signatures().len(), 2);
    let reread: SignedCheckpoint = note.to_string().parse().unwrap();
    assert_eq!(reread.signatures(), note.signatures());
    reread.verify(&key).unwrap();
    note.add(NoteSignature::by(&key, &[0; 64])).unwrap();
    assert_eq!(note.verify(&key), Err(TlogError::BadSignature));
}

#[test]
fn malformed_notes_are_refused() {
    let good = signed(1).0.to_string();
    let long = good.replace("example.com/log", &"x".repeat(256));
    let (_, line) = good.trim_end().rsplit_once('\n').unwrap();
    for (why, bad) in [
        ("empty", String::new()),
        ("no blank line", good.replace("\n\n", "\n")),
        ("no signature", good.split_once("\n\n").unwrap().0.to_owned() + "\n\n"),
        ("no last newline", good.trim_end().to_owned()),
        ("an extension line", good.replace("\n\n", "\nmore\n\n")),
        ("an empty line in the text", good.replace("\n7\n", "\n\n7\n")),
        ("a leading zero", good.replace("\n7\n", "\n07\n")),
        ("a sign", good.replace("\n7\n", "\n+7\n")),
        ("no size", good.replace("\n7\n", "\n\n")),
        ("a size beyond 2^53", good.replace("\n7\n", "\n9007199254740992\n")),
        ("carriage returns", good.replace('\n', "\r\n")),
        ("a tab", good.replace("example.com/log\n", "example.com/log\t\n")),
        ("a space in the origin", good.replace("example.com/log\n", "example.com /log\n")),
        ("a plus in the origin", good.replace("example.com/log\n", "example.com+log\n")),
        ("an origin of 256 bytes", long),
        ("a hyphen for the dash", good.replace('\u{2014}', "-")),
        ("base64 without padding", good.replace('=', "")),
        ("65 signatures", format!("{good}{}", format!("{line}\n").repeat(64))),
        ("a signature line without name", good.replace(line, "\u{2014} AAAAAAAA")),
        ("a signature of nothing", good.replace(line, "\u{2014} example.com/log AAAAAA==")),
        ("128 KiB", good.clone() + &format!("\u{2014} w {}\n", "A".repeat(10_000)).repeat(14)),
    ] {
        assert!(bad.parse::<SignedCheckpoint>().is_err(), "{why}");
    }
    let full: SignedCheckpoint = format!("{good}{}", format!("{line}\n").repeat(63)).parse().unwrap();
    assert_eq!(full.signatures().len(), 64);
}

proptest! {
    #[test]
    fn no_changed_byte_of_a_note_verifies(at in any::<prop::sample::Index>(), mask in 1..=255_u8) {
        let (note, key) = signed(1);
        let mut bytes = note.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        let believed = String::from_utf8(bytes).ok().and_then(|text| text.parse::<SignedCheckpoint>().ok());
        prop_assert!(believed.is_none_or(|note| note.verify(&key).is_err()));
    }
}
