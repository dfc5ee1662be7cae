//! Giving every seat to another person: maximum bipartite matching by augmenting paths (Kuhn's algorithm).
//!
//! Invariant: as many seats are filled as these persons can fill; nobody holds two seats.

use super::Seat;

/// Whether the persons `present` can fill every seat.
pub(super) fn fills(seats: &[Seat], present: u64) -> bool {
    let mut holders = Holders { seats, present, seat_of: [None; 64] };
    (0..seats.len()).all(|seat| holders.place(seat, &mut 0))
}

/// Whether each of these persons can have a seat of his own at the same time.
pub(super) fn seats_all(seats: &[Seat], persons: u64) -> bool {
    let mut holders = Holders { seats, present: persons, seat_of: [None; 64] };
    let taken = (0..seats.len()).filter(|seat| holders.place(*seat, &mut 0)).count();
    taken == persons.count_ones() as usize
}

/// The seats that persons of `absent` would have to fill beside those `present`: as few as possible.
/// `None` if even all of them together are not enough.
pub(super) fn gaps(seats: &[Seat], present: u64, absent: u64) -> Option<Vec<Seat>> {
    let mut holders = Holders { seats, present, seat_of: [None; 64] };
    let empty: Vec<usize> = (0..seats.len()).filter(|seat| !holders.place(*seat, &mut 0)).collect();
    // Whoever has a seat keeps one when others join, so the number of gaps is that of the seats empty so far.
    holders.present |= absent;
    if !empty.into_iter().all(|seat| holders.place(seat, &mut 0)) {
        return None;
    }
    let held_by_absent = holders.seat_of.iter().enumerate().filter(|(person, _)| absent >> person & 1 == 1);
    Some(held_by_absent.filter_map(|(_, seat)| seats.get((*seat)?).copied()).collect())
}

struct Holders<'a> {
    seats: &'a [Seat],
    present: u64,
    /// By person: the seat that he holds.
    seat_of: [Option<usize>; 64],
}

impl Holders<'_> {
    /// Finds a person for a seat, moving others to other seats if need be. Each person in `tried` was asked already.
    fn place(&mut self, seat: usize, tried: &mut u64) -> bool {
        let Some(members) = self.seats.get(seat).map(|seat| seat.members & self.present) else {
            return false;
        };
        loop {
            let open = members & !*tried;
            if open == 0 {
                return false;
            }
            *tried |= open & open.wrapping_neg();
            let person = open.trailing_zeros() as usize;
            let held = self.seat_of.get(person).copied().flatten();
            if held.is_none_or(|held| self.place(held, tried)) {
                if let Some(slot) = self.seat_of.get_mut(person) {
                    *slot = Some(seat);
                }
                return true;
            }
        }
    }
}
