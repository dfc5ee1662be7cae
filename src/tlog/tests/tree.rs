//! Roots and proofs.

use proptest::prelude::*;

use super::*;

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
