//! Nothing is lost, whenever the process ends; nothing grows without bound.

use super::*;

const NOW: i64 = 1_800_000_000;

fn jti(n: u8) -> RequestId {
    RequestId(Digest::of(&[n]))
}

fn charter() -> Digest {
    Digest::of(b"charter")
}

/// The book as another process finds it; the one before was killed.
fn again(book: Book, path: &Path, now: i64) -> Book {
    drop(book);
    Book::open(path, now * 1000).unwrap()
}

fn note(book: &mut Book, n: u8, now: i64) -> Result<bool, NoteError> {
    book.note(jti(n), NOW + 900, now, || format!("read pg/prod/{n}"))
}

fn counts(flight: &Flight) -> Vec<(RequestId, u64)> {
    flight.uses.iter().map(|one| (one.jti, one.count)).collect()
}

#[test]
fn the_first_use_goes_at_once_and_the_others_by_the_minute() {
    let folder = tempfile::tempdir().unwrap();
    let mut book = Book::open(&folder.path().join("uses"), NOW * 1000).unwrap();
    assert!(book.flight(charter(), NOW).unwrap().is_none());
    assert!(note(&mut book, 1, NOW).unwrap());
    for second in 1..=30 {
        assert!(!note(&mut book, 1, NOW + second).unwrap());
    }
    let first = book.flight(charter(), NOW + 31).unwrap().unwrap();
    assert_eq!(counts(&first), [(jti(1), 1)]);
    assert_eq!(first.uses[0].what.as_deref(), Some("read pg/prod/1"));
    book.sent(first.seq).unwrap();
    assert!(book.flight(charter(), NOW + 60).unwrap().is_none(), "the minute is not over");
    let second = book.flight(charter(), NOW + 61).unwrap().unwrap();
    assert_eq!((counts(&second), second.seq), (vec![(jti(1), 30)], first.seq + 1));
    assert_eq!((second.uses[0].from, second.uses[0].until), (NOW + 1, NOW + 30));
    book.sent(second.seq).unwrap();
    assert_eq!(book.waiting(), 0);
}

#[test]
fn nothing_is_lost_when_the_process_is_killed_and_a_report_stays_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uses");
    let mut book = Book::open(&path, NOW * 1000).unwrap();
    for n in [1, 2, 1, 1, 2, 3] {
        note(&mut book, n, NOW).unwrap();
    }
    let flight = book.flight(charter(), NOW + 1).unwrap().unwrap();
    // Sent, and killed before the answer came: the same report again, though the charter is another now.
    let mut book = again(book, &path, NOW + 500);
    let resent = book.flight(Digest::of(b"another charter"), NOW + 500).unwrap().unwrap();
    assert_eq!(resent, flight);
    book.sent(resent.seq).unwrap();
    let mut book = again(book, &path, NOW + 501);
    let rest = book.flight(charter(), NOW + 501).unwrap().unwrap();
    let mut total: std::collections::BTreeMap<RequestId, u64> = std::collections::BTreeMap::new();
    for (jti, count) in counts(&flight).into_iter().chain(counts(&rest)) {
        *total.entry(jti).or_default() += count;
    }
    assert_eq!(total.into_iter().collect::<Vec<_>>(), {
        let mut expected = vec![(jti(1), 3), (jti(2), 2), (jti(3), 1)];
        expected.sort();
        expected
    });
    assert!(rest.seq > flight.seq);
}

#[test]
fn numbers_go_up_even_where_the_file_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uses");
    let mut book = Book::open(&path, NOW * 1000).unwrap();
    note(&mut book, 1, NOW).unwrap();
    let before = book.flight(charter(), NOW).unwrap().unwrap().seq;
    drop(book);
    std::fs::remove_file(&path).unwrap();
    let mut book = Book::open(&path, (NOW + 1) * 1000).unwrap();
    note(&mut book, 2, NOW + 1).unwrap();
    let flight = book.flight(charter(), NOW + 1).unwrap().unwrap();
    assert!(flight.seq > before);
    // Where the clock was set back, the log says up to where it has reports.
    book.renumber(flight.seq + 7).unwrap();
    let again = book.flight(charter(), NOW + 1).unwrap().unwrap();
    assert_eq!((again.seq, again.uses), (flight.seq + 8, flight.uses));
}

#[test]
fn a_full_file_refuses_new_tokens_and_counts_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uses");
    let mut book = Book::open(&path, NOW * 1000).unwrap();
    note(&mut book, 1, NOW).unwrap();
    note(&mut book, 1, NOW + 1).unwrap();
    for n in 2..MAX_SLOTS {
        // Without syncing sixteen thousand times.
        let id = RequestId(Digest::of(&n.to_be_bytes()));
        book.put(Slot::begin(State::Closed, id, NOW, String::new())).unwrap();
    }
    assert!(matches!(note(&mut book, 9, NOW + 2), Err(NoteError::Full)), "a new token is refused");
    for minute in 1..5 {
        assert!(!note(&mut book, 1, NOW + minute * 60).unwrap());
    }
    let length = std::fs::metadata(&path).unwrap().len();
    assert_eq!(length, (MAX_SLOTS as u64 + 1) * SIZE as u64);
    // A daemon takes some: there is room again, in the places that are there.
    let flight = book.flight(charter(), NOW + 300).unwrap().unwrap();
    assert_eq!(flight.uses.len(), MAX_USES);
    book.sent(flight.seq).unwrap();
    assert!(note(&mut book, 9, NOW + 301).unwrap());
    let book = again(book, &path, NOW + 302);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
    let all: u64 = book.slots.iter().filter(|slot| slot.jti == jti(1)).map(|slot| slot.count).sum();
    let told = flight.uses.iter().filter(|one| one.jti == jti(1)).map(|one| one.count).sum::<u64>();
    assert_eq!(all + told, 6);
}

#[test]
fn a_torn_place_is_found_and_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uses");
    let mut book = Book::open(&path, NOW * 1000).unwrap();
    for n in [1, 2] {
        note(&mut book, n, NOW).unwrap();
    }
    book.file.write_all_at(&[7; 10], place(0) + 40).unwrap();
    let mut book = again(book, &path, NOW + 1);
    assert_eq!(counts(&book.flight(charter(), NOW + 1).unwrap().unwrap()), [(jti(2), 1)]);
    assert!(Book::open(&path, NOW).is_err(), "and one process at a time");
}
