//! Known vectors of RFC 6962's test data, and everything else against a reference that is the RFC's recursion, word by
//! word, and shares nothing with the code under test but SHA-256.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::*;

mod notes;
mod tiles;
mod tree;

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
