//! The folder tests/vectors/jose: each file names one input and the reason that it gets, or `OK`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use base64::Engine as _;
use breakglass::jose::{CompactJwt, GeneralJws, IssuingPublicKey, JoseError, P256PublicKey, Typ, json, jwe};
use proptest::prelude::*;
use proptest::sample::Index;
use serde::Deserialize;
use serde_json::Value;

use crate::foreign::{root, run};
use crate::keys::Key;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    what: String,
    kind: String,
    reason: String,
    input: Option<String>,
    input_base64: Option<String>,
    /// The JWK of the issuing key.
    key: Option<String>,
}

impl Vector {
    fn bytes(&self) -> Vec<u8> {
        match (&self.input, &self.input_base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(text)) => base64::engine::general_purpose::STANDARD.decode(text).unwrap(),
            _ => panic!("one input: {}", self.what),
        }
    }

    /// What the reader of this kind of thing says. The seeds are those of `make_vectors.py`.
    fn judge(&self) -> Result<(), JoseError> {
        let bytes = self.bytes();
        let text = || std::str::from_utf8(&bytes).unwrap();
        match self.kind.as_str() {
            "json" => json::parse::<Value>(&bytes, 65_536).map(drop),
            "key" => json::parse::<P256PublicKey>(&bytes, 65_536).map(drop),
            "statement" => {
                let jws = GeneralJws::parse(&bytes, 65_536)?;
                jws.signatures
                    .iter()
                    .try_for_each(|s| s.verify(&jws.payload, &Key::new(2).public, Typ::Approval))
            }
            "token" => CompactJwt::parse(text(), 8192)?.verify(&Key::new(3).public.into()),
            "issuing-token" => {
                let key = json::parse(self.key.as_deref().unwrap_or_default().as_bytes(), 65_536)?;
                CompactJwt::parse(text(), 8192)?.verify(&key)
            }
            "issuing-key" => json::parse::<IssuingPublicKey>(&bytes, 65_536).map(drop),
            "jwe" => jwe::decrypt(text(), &Key::new(4).secret).map(drop),
            kind => panic!("unknown kind {kind}"),
        }
    }
}

fn folder() -> PathBuf {
    root().join("tests/vectors/jose")
}

fn vectors() -> Vec<(String, Vector)> {
    let mut paths: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn each_gets_its_reason() {
    let wrong: Vec<String> = vectors()
        .into_iter()
        .filter_map(|(name, vector)| {
            let judged = vector.judge();
            let reason = judged.as_ref().map_or_else(JoseError::reason, |()| "OK");
            (reason != vector.reason)
                .then(|| format!("{name}: {} expected, {reason}: {judged:?}", vector.reason))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every kind has an input that is accepted, and every reason that a reader can give has one that gets it.
#[test]
fn nothing_is_left_unproven() {
    let all = vectors();
    for kind in ["json", "key", "statement", "token", "issuing-token", "issuing-key", "jwe"] {
        assert!(all.iter().any(|(_, v)| v.kind == kind && v.reason == "OK"), "no good {kind}");
    }
    let found: BTreeSet<&str> = all.iter().map(|(_, vector)| vector.reason.as_str()).collect();
    let every = BTreeSet::from([
        "OK",
        "TOO_LONG",
        "BASE64_INVALID",
        "LENGTH_WRONG",
        "JSON_MALFORMED",
        "JSON_NOT_CANONICAL",
        "JSON_DUPLICATE_MEMBER",
        "JSON_NUMBER_NOT_INTEGER",
        "JSON_INTEGER_TOO_BIG",
        "JSON_TOO_DEEP",
        "TEXT_FORBIDDEN_CHARACTER",
        "TEXT_NOT_NFC",
        "JSON_SHAPE_UNEXPECTED",
        "HEADER_MEMBER_NOT_ALLOWED",
        "HEADER_MEMBER_MISSING",
        "HEADER_VALUE_INVALID",
        "ALG_NOT_ALLOWED",
        "TYP_UNKNOWN",
        "TYP_UNEXPECTED",
        "KID_MISMATCH",
        "SIGNATURE_INVALID",
        "SIGNATURE_COUNT",
        "COMPACT_MALFORMED",
        "DECRYPT_FAILED",
    ]);
    assert_eq!(found, every);
}

/// The folder is what its generator makes: no vector was bent by hand to fit the code.
#[test]
fn the_folder_is_what_python_makes() {
    let python = run(root().join("scripts/lib/python-venv"), &[]);
    let made = tempfile::tempdir().unwrap();
    run(python, &[&root().join("tests/jose/make_vectors.py"), made.path()]);
    let content = |folder: &Path| -> BTreeMap<_, _> {
        let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        entries.map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap())).collect()
    };
    let (made, kept) = (content(made.path()), content(&folder()));
    let names = |files: &BTreeMap<_, _>| files.keys().cloned().collect::<Vec<std::ffi::OsString>>();
    assert_eq!(names(&made), names(&kept));
    for (name, bytes) in made {
        assert!(kept[&name] == bytes, "{} differs: run make_vectors.py", name.display());
    }
}

/// What is signed or sealed has one text: no character of it can be another one.
#[test]
fn every_character_of_a_good_one_counts() {
    let free = ["json", "key", "issuing-key"];
    let good = vectors().into_iter().filter(|(_, v)| v.reason == "OK" && !free.contains(&v.kind.as_str()));
    for (name, mut vector) in good {
        let bytes = vector.bytes();
        for at in 0..bytes.len() {
            for replacement in [b'A', b'"'].into_iter().filter(|byte| *byte != bytes[at]) {
                let mut changed = bytes.clone();
                changed[at] = replacement;
                vector.input = Some(String::from_utf8(changed).unwrap());
                assert!(vector.judge().is_err(), "{name}: byte {at} as {}", char::from(replacement));
            }
        }
    }
}

proptest! {
    /// No reader panics, whatever happens to a vector.
    #[test]
    fn nothing_panics(which in any::<Index>(), cut in any::<Index>(), end in any::<Index>(), byte in 0x20_u8..0x7f) {
        static ALL: LazyLock<Vec<(String, Vector)>> = LazyLock::new(vectors);
        let all = &*ALL;
        let (_, vector) = &all[which.index(all.len())];
        let mut bytes = vector.bytes();
        if !bytes.is_empty() {
            let at = cut.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(end.index(bytes.len()) + 1);
        }
        let input = Some(String::from_utf8_lossy(&bytes).into_owned());
        let (kind, key) = (vector.kind.clone(), vector.key.clone());
        let changed = Vector { input, input_base64: None, kind, key, ..Vector::default() };
        let _ = changed.judge();
    }
}
