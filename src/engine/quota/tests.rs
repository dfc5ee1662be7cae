//! The bounds hold whatever the calls.

use proptest::prelude::*;

use super::*;

fn rate(per_minute: u32, burst: u32) -> Rate {
    Rate { per_minute: NonZeroU32::new(per_minute).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
}

#[expect(clippy::unnecessary_wraps, reason = "a client is an optional key, and these have one")]
fn client(n: u8) -> Client {
    Some(Digest::of(&[n]))
}

#[test]
fn a_burst_then_one_per_interval() {
    let mut quotas = Quotas::new(rate(60, 3), 10);
    let start = Instant::now();
    for _ in 0..3 {
        quotas.take(client(1), start).unwrap();
    }
    let exhausted = quotas.take(client(1), start).unwrap_err();
    assert_eq!(exhausted.retry_after, Duration::from_secs(1));
    quotas.take(client(1), start + Duration::from_millis(999)).unwrap_err();
    quotas.take(client(1), start + Duration::from_secs(1)).unwrap();
    quotas.take(client(1), start + Duration::from_secs(1)).unwrap_err();
    // Others are not concerned.
    quotas.take(client(2), start).unwrap();
    quotas.take(None, start).unwrap();
}

#[test]
fn a_clock_that_goes_back_gives_nothing() {
    let mut quotas = Quotas::new(rate(60, 1), 10);
    let early = Instant::now();
    quotas.take(client(1), early + Duration::from_secs(30)).unwrap();
    quotas.take(client(1), early).unwrap_err();
}

#[test]
fn memory_is_bounded_and_full_buckets_make_room() {
    let mut quotas = Quotas::new(rate(60, 1), 2);
    let start = Instant::now();
    quotas.take(client(1), start).unwrap();
    quotas.take(client(2), start).unwrap();
    quotas.take(client(3), start).unwrap_err();
    quotas.take(client(3), start + Duration::from_secs(1)).unwrap();
    assert!(quotas.full_at.len() <= 2);
}

proptest! {
    /// Compared with the promise itself: count what was let through in every window.
    #[test]
    fn no_window_exceeds_the_promise(per_minute in 1u32..600, burst in 1u32..20, gaps in prop::collection::vec(0u64..3_000, 1..200)) {
        let mut quotas = Quotas::new(rate(per_minute, burst), 4);
        let start = Instant::now();
        let mut now = start;
        let mut passed: Vec<Instant> = Vec::new();
        for gap in gaps {
            now += Duration::from_millis(gap);
            match quotas.take(client(1), now) {
                Ok(()) => passed.push(now),
                Err(Exhausted { retry_after }) => {
                    prop_assert!(retry_after > Duration::ZERO);
                    // The hint is exact: one nanosecond earlier is too early.
                    let mut later = Quotas { full_at: quotas.full_at.clone(), ..Quotas::new(rate(per_minute, burst), 4) };
                    prop_assert!(later.take(client(1), now + retry_after.saturating_sub(Duration::from_nanos(1))).is_err());
                    prop_assert!(later.take(client(1), now + retry_after).is_ok());
                }
            }
        }
        for (i, first) in passed.iter().enumerate() {
            for (n, last) in passed[i..].iter().enumerate() {
                let window = last.duration_since(*first).as_secs_f64();
                let promise = f64::from(burst) + window * f64::from(per_minute) / 60.0;
                prop_assert!(f64::from(u32::try_from(n).unwrap() + 1) <= promise + 1e-6);
            }
        }
    }

    #[test]
    fn no_refusal_is_lost_and_memory_is_bounded(notes in prop::collection::vec((0u8..20, 0i64..600, any::<bool>()), 0..400)) {
        let mut refusals = Refusals::new(5);
        let mut drained = Vec::new();
        let total = notes.len() as u64;
        for (who, now, drain) in notes {
            refusals.note(if who == 0 { None } else { client(who) }, if who % 2 == 0 { "A" } else { "B" }, now);
            prop_assert!(refusals.entries.len() <= 6);
            if drain {
                drained.extend(refusals.drain(now));
            }
        }
        drained.extend(refusals.drain_all());
        prop_assert_eq!(drained.iter().flat_map(|r| r.reasons.values()).sum::<u64>(), total);
    }
}

#[test]
fn refusals_are_one_entry_per_client_and_minute() {
    let mut refusals = Refusals::new(100);
    for (who, reason, now) in [(1, "A", 0), (1, "A", 59), (1, "B", 30), (2, "A", 5), (1, "A", 60)] {
        refusals.note(client(who), reason, now);
    }
    assert_eq!(refusals.drain(59), []);
    let mut first = refusals.drain(60);
    first.sort_by_key(|refused| std::cmp::Reverse(refused.reasons.len()));
    assert_eq!(first[0].reasons, BTreeMap::from([("A", 2), ("B", 1)]));
    assert_eq!(first[1].reasons, BTreeMap::from([("A", 1)]));
    assert!(first.iter().all(|refused| refused.minute == 0) && first.len() == 2);
    assert_eq!(refusals.drain(119), []);
    assert_eq!(refusals.drain(120).len(), 1);
}
