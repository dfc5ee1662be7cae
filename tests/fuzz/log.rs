//! Checkpoints, keys and tiles: what an auditor or a witness is handed.

use breakglass::tlog::{SignedCheckpoint, Tile, VerifierKey, decode_bundle, encode_bundle};

use crate::{Parsed, fuzz, kit};

const CHECKPOINT: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
const KEY: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";

/// A parser of text that writes what it read.
fn text<T: std::str::FromStr + ToString>(corpus: &[&str]) {
    let corpus: Vec<Vec<u8>> = corpus.iter().map(|text| text.as_bytes().to_vec()).collect();
    fuzz(&corpus, |bytes| {
        let parsed = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<T>().ok());
        parsed.map_or(Parsed::Refused, |value| Parsed::As(value.to_string().into_bytes()))
    });
}

#[test]
fn checkpoints() {
    text::<SignedCheckpoint>(&[CHECKPOINT]);
}

#[test]
fn verifier_keys() {
    text::<VerifierKey>(&[KEY]);
}

#[test]
fn tile_paths() {
    text::<Tile>(&["tile/0/x001/x234/067", "tile/entries/000.p/44", "tile/2/000.p/1"]);
}

#[test]
fn bundles() {
    let (log, _, _) = kit::flow();
    let width = u16::try_from(log.entries.len()).unwrap();
    fuzz(&[encode_bundle(&log.entries).unwrap()], |bytes| match decode_bundle(bytes, width) {
        Ok(entries) => Parsed::As(encode_bundle(&entries).unwrap()),
        Err(_) => Parsed::Refused,
    });
}
