//! Choosing among more people than are needed.
//!
//! Invariant: who is chosen fills every seat of one way through the formula, each another one, and nobody is left over. The
//! sets that fill the seats of one alternative are the bases of a matroid, so taking whoever comes next and still fits
//! gives the best of them.

use super::{PersonId, Quorum, Seat, matching};

impl Quorum {
    /// Those of the candidates, best first, who together satisfy the formula: their places in ascending order, or `None`
    /// if all of them are not enough. The best of them is as good as in any choice; among such choices it is one of the
    /// smallest, and then the best. A candidate who stands there twice counts once, at his better place.
    #[must_use]
    pub fn choose(&self, candidates: &[PersonId]) -> Option<Vec<usize>> {
        let bit = |candidate| self.persons.iter().position(|person| person == candidate);
        let bits: Vec<u64> =
            candidates.iter().map(|candidate| bit(candidate).map_or(0, |index| 1 << index)).collect();
        let present = bits.iter().fold(0, |all, bit| all | bit);
        let best = |seats: &[Seat]| {
            let members = seats.iter().fold(0, |all, seat| all | seat.members);
            bits.iter().position(|bit| bit & members != 0)
        };
        let possible = self.alternatives.iter().filter(|seats| matching::fills(seats, present));
        let seats = possible.min_by_key(|seats| (best(seats), seats.len()))?;
        let (mut chosen, mut seated) = (Vec::new(), 0);
        for (place, bit) in bits.iter().enumerate() {
            if bit & !seated != 0 && matching::seats_all(seats, seated | bit) {
                seated |= bit;
                chosen.push(place);
            }
        }
        Some(chosen)
    }
}
