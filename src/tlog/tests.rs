//! Known vectors of RFC 6962's test data, and everything else against a reference that is the RFC's recursion, word by
//! word, and shares nothing with the code under test but SHA-256.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;

/// The eight leaves of the test data that Certificate Transparency's implementations share.
const CT_LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
/// The roots of their first 1 to 8.
const CT_ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// A log of distinct entries, with its complete nodes.
struct Log {
    entries: Vec<Vec<u8>>,
    frontier: Frontier,
    nodes: BTreeMap<NodeId, Hash>,
}

impl Log {
    fn of(entries: Vec<Vec<u8>>) -> Self {
        let mut log = Self { entries, frontier: Frontier::empty(), nodes: BTreeMap::new() };
        for entry in &log.entries {
            log.frontier.append(leaf_hash(entry), |id, hash| {
                // Positions are dense and in order: what a store relies on.
                assert_eq!(id.position(), log.nodes.len() as u64);
                assert_eq!(log.nodes.insert(id, hash), None);
            });
        }
        log
    }

    fn sized(size: u64) -> Self {
        Self::of((0..size).map(|index| format!("entry {index}").into_bytes()).collect())
    }

    fn node(&self, id: NodeId) -> Option<Hash> {
        self.nodes.get(&id).copied()
    }

    fn reference_root(&self, size: u64) -> Hash {
        mth(&self.entries[..usize::try_from(size).unwrap()])
    }
}

fn sha(parts: &[&[u8]]) -> Hash {
    Hash::from_bytes(Sha256::digest(parts.concat()).into())
}

/// MTH of RFC 6962 section 2.1.
fn mth(entries: &[Vec<u8>]) -> Hash {
    match entries {
        [] => sha(&[]),
        [entry] => sha(&[&[0], entry]),
        _ => {
            let (left, right) = entries.split_at(k(entries.len()));
            sha(&[&[1], mth(left).as_bytes(), mth(right).as_bytes()])
        }
    }
}

/// PATH of section 2.1.1.
fn path(m: usize, entries: &[Vec<u8>]) -> Vec<Hash> {
    if entries.len() == 1 {
        return vec![];
    }
    let (left, right) = entries.split_at(k(entries.len()));
    if m < left.len() {
        [path(m, left), vec![mth(right)]].concat()
    } else {
        [path(m - left.len(), right), vec![mth(left)]].concat()
    }
}

/// SUBPROOF of section 2.1.2.
fn subproof(m: usize, entries: &[Vec<u8>], whole: bool) -> Vec<Hash> {
    if m == entries.len() {
        return if whole { vec![] } else { vec![mth(entries)] };
    }
    let (left, right) = entries.split_at(k(entries.len()));
    if m <= left.len() {
        [subproof(m, left, whole), vec![mth(right)]].concat()
    } else {
        [subproof(m - left.len(), right, false), vec![mth(left)]].concat()
    }
}

/// The largest power of two smaller than n.
fn k(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

#[test]
fn known_roots_of_certificate_transparency() {
    let empty = unhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(Frontier::empty().root().as_bytes().as_slice(), empty);
    let log = Log::of(CT_LEAVES.into_iter().map(unhex).collect());
    for (size, root) in (1..).zip(CT_ROOTS) {
        assert_eq!(root_at(size, |id| log.node(id)).unwrap().as_bytes().as_slice(), unhex(root));
    }
    assert_eq!(log.frontier.root().as_bytes().as_slice(), unhex(CT_ROOTS[7]));
}

#[test]
fn known_proofs_of_certificate_transparency() {
    let log = Log::of(CT_LEAVES.into_iter().map(unhex).collect());
    let hex =
        |proof: Vec<Hash>| -> Vec<Vec<u8>> { proof.iter().map(|hash| hash.as_bytes().to_vec()).collect() };
    let inclusion = inclusion_proof(5, 8, |id| log.node(id)).unwrap();
    let expected = [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    assert_eq!(hex(inclusion), expected.map(unhex));
    let consistency = consistency_proof(6, 8, |id| log.node(id)).unwrap();
    let expected = [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    assert_eq!(hex(consistency), expected.map(unhex));
}

#[test]
fn every_tree_up_to_300_has_the_reference_root() {
    let log = Log::sized(300);
    let mut frontier = Frontier::empty();
    for size in 0..=300 {
        assert_eq!(frontier.root(), log.reference_root(size), "frontier at {size}");
        assert_eq!(root_at(size, |id| log.node(id)).unwrap(), frontier.root(), "nodes at {size}");
        assert_eq!(Frontier::from_nodes(size, |id| log.node(id)).unwrap(), frontier);
        assert_eq!(
            nodes_for_size(size),
            log.nodes.keys().filter(|id| (id.index + 1) << id.level <= size).count() as u64
        );
        frontier.append(leaf_hash(format!("entry {size}").as_bytes()), |_, _| {});
    }
}

#[test]
fn every_proof_up_to_70_is_the_reference_one_and_verifies() {
    let log = Log::sized(70);
    for to in 0..=70_u64 {
        let root = log.reference_root(to);
        let entries = &log.entries[..usize::try_from(to).unwrap()];
        for from in 0..=to {
            let proof = consistency_proof(from, to, |id| log.node(id)).unwrap();
            if from > 0 {
                assert_eq!(proof, subproof(usize::try_from(from).unwrap(), entries, true), "{from} in {to}");
            }
            verify_consistency(from, &log.reference_root(from), to, &root, &proof).unwrap();
        }
        for index in 0..to {
            let proof = inclusion_proof(index, to, |id| log.node(id)).unwrap();
            let at = usize::try_from(index).unwrap();
            assert_eq!(proof, path(at, entries), "{index} in {to}");
            verify_inclusion(&leaf_hash(&entries[at]), index, to, &proof, &root).unwrap();
        }
    }
}

#[test]
fn covers_are_exact_and_as_coarse_as_can_be() {
    for (lo, hi) in (0..80_u64).flat_map(|lo| (lo..80).map(move |hi| (lo, hi))) {
        let cover = covering_nodes(lo, hi);
        let mut next = lo;
        for node in &cover {
            assert_eq!(node.index << node.level, next, "{lo}..{hi}");
            next += 1 << node.level;
        }
        assert_eq!(next, hi);
        // Two neighbours that were children of one node would be that node.
        let joinable = |pair: &[NodeId]| pair[0].level == pair[1].level && pair[0].index.is_multiple_of(2);
        assert!(!cover.windows(2).any(joinable), "{lo}..{hi}: {cover:?}");
    }
}

#[test]
fn proofs_outside_the_tree_are_refused() {
    let log = Log::sized(5);
    let node = |id| log.node(id);
    assert_eq!(inclusion_proof(5, 5, node), Err(TlogError::IndexOutOfRange { index: 5, size: 5 }));
    assert_eq!(inclusion_proof(0, 0, node), Err(TlogError::IndexOutOfRange { index: 0, size: 0 }));
    assert_eq!(consistency_proof(4, 3, node), Err(TlogError::SizesReversed { from: 4, to: 3 }));
    assert_eq!(inclusion_proof(0, 6, node).unwrap_err().reason(), "LOG_NODE_MISSING");
    assert_eq!(inclusion_proof(0, u64::MAX, node).unwrap_err().reason(), "LOG_INDEX_OUT_OF_RANGE");
    assert_eq!(root_at(u64::MAX, node).unwrap_err().reason(), "LOG_INDEX_OUT_OF_RANGE");
    let root = log.frontier.root();
    assert_eq!(
        verify_inclusion(&root, 0, u64::MAX, &[], &root).unwrap_err().reason(),
        "LOG_INDEX_OUT_OF_RANGE"
    );
    assert_eq!(
        verify_consistency(1, &root, u64::MAX, &root, &[]).unwrap_err().reason(),
        "LOG_SIZES_REVERSED"
    );
    // The empty tree is a prefix of every tree, but only the empty tree.
    let empty = Hash::of_empty_tree();
    verify_consistency(0, &empty, 5, &root, &[]).unwrap();
    assert_eq!(verify_consistency(0, &root, 5, &root, &[]), Err(TlogError::ProofMismatch));
    assert_eq!(verify_consistency(0, &empty, 0, &root, &[]), Err(TlogError::ProofMismatch));
    assert_eq!(verify_consistency(0, &empty, 5, &root, &[root]), Err(TlogError::ProofLength));
    assert_eq!(verify_consistency(5, &root, 5, &empty, &[]), Err(TlogError::ProofMismatch));
}

#[test]
fn frontiers_that_do_not_fit_cannot_be_read() {
    let frontier = Log::sized(11).frontier;
    let json = serde_json::to_string(&frontier).unwrap();
    assert_eq!(serde_json::from_str::<Frontier>(&json).unwrap(), frontier);
    for bad in [
        json.replace("11", "12"),
        json.replace("11", "9007199254740993"),
        json.replace("{\"size\"", "{\"more\":1,\"size\""),
        json.replace('=', ""),
    ] {
        assert!(serde_json::from_str::<Frontier>(&bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn inclusion_verifies_and_no_mutation_does(size in 1..300_u64, at in any::<prop::sample::Index>(), flip in any::<(prop::sample::Index, u8)>()) {
        let log = Log::sized(size);
        let index = at.index(usize::try_from(size).unwrap()) as u64;
        let leaf = leaf_hash(&log.entries[usize::try_from(index).unwrap()]);
        let root = log.reference_root(size);
        let proof = inclusion_proof(index, size, |id| log.node(id)).unwrap();
        prop_assert_eq!(&proof, &path(usize::try_from(index).unwrap(), &log.entries));
        prop_assert_eq!(inclusion_nodes(index, size).unwrap().iter().filter(|id| log.node(**id).is_none()).count(), 0);
        prop_assert_eq!(verify_inclusion(&leaf, index, size, &proof, &root), Ok(()));
        let wrong = |hash: &Hash| flipped(hash, flip);
        prop_assert!(verify_inclusion(&wrong(&leaf), index, size, &proof, &root).is_err());
        prop_assert!(verify_inclusion(&leaf, index, size, &proof, &wrong(&root)).is_err());
        for other in (0..size).filter(|other| *other != index) {
            prop_assert!(verify_inclusion(&leaf, other, size, &proof, &root).is_err());
        }
        for spoilt in spoilt_proofs(&proof, flip) {
            prop_assert!(verify_inclusion(&leaf, index, size, &spoilt, &root).is_err());
        }
    }

    #[test]
    fn consistency_verifies_and_no_mutation_does(to in 1..300_u64, at in any::<prop::sample::Index>(), flip in any::<(prop::sample::Index, u8)>()) {
        let log = Log::sized(to);
        let from = at.index(usize::try_from(to).unwrap() + 1) as u64;
        let (old, new) = (log.reference_root(from), log.reference_root(to));
        let proof = consistency_proof(from, to, |id| log.node(id)).unwrap();
        prop_assert_eq!(verify_consistency(from, &old, to, &new, &proof), Ok(()));
        prop_assert!(verify_consistency(from, &flipped(&old, flip), to, &new, &proof).is_err());
        if from > 0 {
            // To the empty tree every tree is consistent: there is nothing in it that could contradict.
            prop_assert!(verify_consistency(from, &old, to, &flipped(&new, flip), &proof).is_err());
        }
        for spoilt in spoilt_proofs(&proof, flip) {
            prop_assert!(verify_consistency(from, &old, to, &new, &spoilt).is_err());
        }
        for other in (1..to).filter(|other| *other != from) {
            prop_assert!(verify_consistency(other, &old, to, &new, &proof).is_err());
        }
    }

    #[test]
    fn bundles_come_back_as_they_were(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..=256)) {
        let bundle = encode_bundle(&entries).unwrap();
        let width = u16::try_from(entries.len()).unwrap();
        prop_assert_eq!(decode_bundle(&bundle, width).unwrap(), entries);
        prop_assert!(decode_bundle(&bundle, width + 1).is_err());
        if width > 0 {
            prop_assert!(decode_bundle(&bundle, width - 1).is_err());
            prop_assert!(decode_bundle(&bundle[..bundle.len() - 1], width).is_err());
        }
    }

    #[test]
    fn tile_paths_come_back_and_nothing_else_does(level in prop::option::of(0..=6_u8), index in 0..=(MAX_SIZE >> 8), width in 1..=256_u16, text in "tile/(entries|[0-9]{1,2})/(x?[0-9]{3,4}/){0,3}x?[0-9]{3}(\\.p/[0-9]{1,4})?") {
        let level = level.map_or("entries".to_owned(), |level| level.to_string());
        let groups = format!("{index:0>18}");
        let groups: Vec<&str> = (0..6).map(|group| &groups[group * 3..group * 3 + 3]).collect();
        let significant = groups.iter().position(|group| *group != "000").unwrap_or(5);
        let index_path = groups[significant..].join("/x");
        let index_path = if significant == 5 { index_path } else { format!("x{index_path}") };
        let (init, last) = index_path.rsplit_once("/x").map_or((String::new(), index_path.as_str()), |(init, last)| (format!("{init}/"), last));
        let partial = if width < 256 { format!(".p/{width}") } else { String::new() };
        let path = format!("tile/{level}/{init}{last}{partial}");
        let tile: Tile = path.parse().unwrap();
        prop_assert_eq!(tile.to_string(), path);
        prop_assert_eq!(tile.range().start, index * 256);
        prop_assert_eq!(tile.width(), width);
        if let Ok(tile) = text.parse::<Tile>() {
            prop_assert_eq!(tile.to_string(), text);
        }
    }
}

fn flipped(hash: &Hash, (at, mask): (prop::sample::Index, u8)) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[at.index(32)] ^= mask.max(1);
    Hash::from_bytes(bytes)
}

fn spoilt_proofs(proof: &[Hash], flip: (prop::sample::Index, u8)) -> Vec<Vec<Hash>> {
    let mut spoilt =
        vec![[proof, &[Hash::of_empty_tree()]].concat(), [&[Hash::of_empty_tree()], proof].concat()];
    for at in 0..proof.len() {
        let mut changed = proof.to_vec();
        changed[at] = flipped(&changed[at], flip);
        spoilt.push(changed);
        let mut shorter = proof.to_vec();
        shorter.remove(at);
        spoilt.push(shorter);
        let mut swapped = proof.to_vec();
        swapped.reverse();
        if swapped != proof {
            spoilt.push(swapped);
        }
    }
    spoilt
}

#[test]
fn a_log_is_described_by_the_tiles_that_the_spec_names() {
    // The example of tlog-tiles.
    let names: Vec<String> = hash_tiles_of(70_000).map(|tile| tile.to_string()).collect();
    assert_eq!(names.len(), 273 + 1 + 1 + 1 + 1);
    assert_eq!(&names[273..], ["tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]);
    let names: Vec<String> = hash_tiles_of(256).map(|tile| tile.to_string()).collect();
    assert_eq!(names, ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(hash_tiles_of(0).count() + bundles_of(0).count(), 0);
    let names: Vec<String> = bundles_of(300).map(|tile| tile.to_string()).collect();
    assert_eq!(names, ["tile/entries/000", "tile/entries/001.p/44"]);
    assert_eq!("tile/0/x001/x234/067".parse::<Tile>().unwrap().range().start, 1_234_067 * 256);
    for bad in [
        "tile/0/1",
        "tile/00/001",
        "tile/7/001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/x000/001",
        "tile/0/+01",
    ] {
        assert_eq!(bad.parse::<Tile>().unwrap_err().reason(), "LOG_TILE_INVALID", "{bad}");
    }
}

#[test]
fn tiles_hold_the_hashes_of_their_subtrees() {
    let log = Log::sized(1000);
    for tile in hash_tiles_of(1000) {
        let height = 8 * u32::from(tile.level().unwrap());
        for (node, index) in tile.nodes().zip(tile.range()) {
            let entries =
                usize::try_from(index << height).unwrap()..usize::try_from((index + 1) << height).unwrap();
            assert_eq!(log.node(node), Some(mth(&log.entries[entries])), "{tile}");
        }
        assert_eq!(tile.nodes().count(), usize::from(tile.width()));
    }
}

#[test]
fn the_builder_yields_every_tile_of_a_log_once_and_no_other() {
    let log = Log::sized(300 + 256 * 256);
    let mut builder = TileBuilder::default();
    let mut full: BTreeMap<Tile, Vec<u8>> = BTreeMap::new();
    for (entry, size) in log.entries.iter().zip(1_u64..) {
        for (tile, bytes) in builder.push(entry.clone()).unwrap() {
            assert_eq!(full.insert(tile, bytes), None, "{tile} twice");
        }
        if ![1, 255, 256, 257, 300, 512, 65_535, 65_536, 65_537, 65_836].contains(&size) {
            continue;
        }
        let mut files = full.clone();
        files.extend(builder.partial_tiles().unwrap());
        assert_eq!(files.keys().copied().collect::<Vec<_>>(), {
            let mut tiles: Vec<Tile> = hash_tiles_of(size).chain(bundles_of(size)).collect();
            tiles.sort();
            tiles
        });
        for (tile, bytes) in files {
            let expected: Vec<u8> = if tile.level().is_some() {
                tile.nodes().flat_map(|id| *log.node(id).unwrap().as_bytes()).collect()
            } else {
                let range =
                    usize::try_from(tile.range().start).unwrap()..usize::try_from(tile.range().end).unwrap();
                encode_bundle(&log.entries[range]).unwrap()
            };
            assert!(bytes == expected, "{tile} at {size}");
        }
        assert_eq!(builder.frontier().root(), root_at(size, |id| log.node(id)).unwrap());
    }
    assert_eq!(builder.push(vec![0; 65_536]), Err(TlogError::EntryTooLong(65_536)));
}

mod notes {
    //! Signed notes, with keys that ring made.

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
        let checkpoint =
            Checkpoint { origin: key.name().clone(), size: 7, root: Log::sized(7).frontier.root() };
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
}
