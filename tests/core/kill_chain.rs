//! The hash chain over kills and lifts: whatever a daemon leaves out, moves or changes, whoever watches it sees.

use std::sync::Arc;

use breakglass::{
    client::kills::{Follower, News},
    domain::{
        State,
        charter::Charter,
        kill::{Head, Kills, Lifted, Recorded, Step, Target},
        time::Timestamp,
    },
    grpc::v1::{self, watch_kills_response::Event},
    jose::{GeneralJws, Typ},
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{
    kill::kill,
    kit::{Log, NOW, bytes, charter, key},
};

fn wire_head(head: Head) -> v1::KillHead {
    v1::KillHead { step: head.step, digest: head.digest.as_bytes().to_vec() }
}

fn wire_time(at: Timestamp) -> prost_types::Timestamp {
    let (seconds, millis) = (at.seconds(), i32::try_from(at.millis().rem_euclid(1000)).unwrap());
    prost_types::Timestamp { seconds, nanos: millis * 1_000_000 }
}

fn wire_kill(recorded: &Recorded) -> v1::Kill {
    v1::Kill {
        jws: recorded.statement.to_json(),
        epoch: recorded.epoch,
        recorded_at: Some(wire_time(recorded.at)),
        head: Some(wire_head(recorded.head)),
    }
}

fn wire_lift(lifted: &Lifted) -> v1::Lift {
    v1::Lift {
        jws: lifted.statement.to_json(),
        recorded_at: Some(wire_time(lifted.at)),
        kills: lifted.kills.iter().map(|recorded| wire_kill(recorded)).collect(),
        head: Some(wire_head(lifted.head)),
        epoch: lifted.epoch,
    }
}

fn message(event: Event) -> v1::WatchKillsResponse {
    v1::WatchKillsResponse { event: Some(event) }
}

fn beat(kills: &Kills) -> v1::WatchKillsResponse {
    let (epoch, head) = (kills.epoch(), Some(wire_head(kills.head())));
    message(Event::Heartbeat(v1::KillHeartbeat { at: None, epoch, head }))
}

/// Every step of this log, and a heartbeat.
fn steps(kills: &Kills) -> Vec<v1::WatchKillsResponse> {
    let all = kills.since(Head::default()).unwrap();
    let tell = |step: &Step<'_>| match step {
        Step::Kill(recorded) => Event::Kill(wire_kill(recorded)),
        Step::Lift(lifted) => Event::Lift(wire_lift(lifted)),
    };
    all.iter().map(|step| message(tell(step))).chain([beat(kills)]).collect()
}

/// What an honest daemon shows a newcomer.
fn snapshot(kills: &Kills) -> Vec<v1::WatchKillsResponse> {
    let begin = [Event::Snapshot(v1::KillSnapshot {})];
    let lifts = kills.lifts().iter().map(|lifted| Event::Lift(wire_lift(lifted)));
    let standing = kills.standing().map(|recorded| Event::Kill(wire_kill(recorded)));
    begin.into_iter().chain(lifts).chain(standing).map(message).chain([beat(kills)]).collect()
}

/// Follows until something is wrong; whether it was complete at the end.
fn follow(
    follower: &mut Follower,
    messages: &[v1::WatchKillsResponse],
    rules: &Charter,
) -> Result<bool, &'static str> {
    let mut last = News::Nothing;
    for message in messages {
        last = follower.take(message.clone(), rules, NOW + 60).map_err(|refusal| refusal.reason())?;
    }
    Ok(last == News::Complete)
}

/// A log of kills, some of them lifted again.
fn log(plan: &[bool]) -> Log {
    let mut log = Log::new(&charter());
    let mut standing = Vec::new();
    for (n, lifts) in plan.iter().enumerate() {
        let (tag, at) = (format!("k{n}"), NOW + i64::try_from(n).unwrap());
        if let Some(old) = standing.pop().filter(|_| *lifts) {
            log.lift(&[old], &["alice/1", "bob/1"], at).unwrap();
            continue;
        }
        let (level, target) =
            [("profile", Some("db-read")), ("requester", Some("erin")), ("all", None)][n % 3];
        log.kill(level, target, ["carol/1", "bob/1"][n % 2], &tag, at).unwrap();
        standing.push(Box::leak(tag.into_boxed_str()));
    }
    log
}

#[test]
fn a_watcher_comes_to_what_the_log_has_and_goes_on_from_there() {
    let mut log = log(&[false, false, true, false]);
    let rules = log.charter();
    let mut follower = Follower::default();
    assert_eq!(follow(&mut follower, &steps(log.state.kills()), &rules), Ok(true));
    assert_eq!(follower.kills().head(), log.state.kills().head());
    let mut late = Follower::default();
    assert!(late.request().after.is_none());
    assert_eq!(follow(&mut late, &snapshot(log.state.kills()), &rules), Ok(true));
    for view in [&follower, &late] {
        for target in ["db-read", "db-write"] {
            let target = Target::Profile(target.parse().unwrap());
            assert_eq!(view.kills().stops(&target, NOW + 9), log.state.kills().stops(&target, NOW + 9));
        }
    }
    // Both go on from the head that they name.
    assert_eq!(late.request(), follower.request());
    let before = late.kills().head();
    log.kill("all", None, "alice/1", "new", NOW + 20).unwrap();
    let news: Vec<_> = steps(log.state.kills()).split_off(4);
    assert_eq!(log.state.kills().since(before).unwrap().len(), 1);
    for view in [&mut follower, &mut late] {
        assert_eq!(follow(view, &news, &rules), Ok(true));
        assert!(view.kills().is_lockdown());
    }
    let kept = serde_json::to_vec(late.kills().as_ref()).unwrap();
    let kept: Kills = serde_json::from_slice(&kept).unwrap();
    assert_eq!(&kept, late.kills().as_ref());
    assert_eq!(Follower::resume(Arc::new(kept), NOW).request(), late.request());
}

#[test]
fn the_chain_is_in_the_snapshot_and_the_log_remembers_no_forgotten_step() {
    let mut log = log(&[false, false, true]);
    let old = log.state.kills().head();
    let restored = State::from_snapshot(&log.state.to_snapshot().unwrap()).unwrap();
    assert_eq!(restored.kills().head(), old);
    assert_eq!(old.step, 3);
    let later = NOW + 90 * 86_400;
    log.kill("requester", Some("dave"), "bob/1", "later", later).unwrap();
    assert_eq!(log.state.kills().since(old).unwrap().len(), 1);
    assert!(log.state.kills().since(Head::default()).is_none(), "the lift is forgotten");
    assert!(log.state.kills().since(Head { step: 3, ..Head::default() }).is_none(), "another chain");
    assert!(log.state.kills().since(Head { step: 9, ..old }).is_none());
    log.audited();
}

#[test]
fn a_snapshot_takes_nothing_back() {
    let log = log(&[false, false, false]);
    let (rules, honest) = (log.charter(), snapshot(log.state.kills()));
    let told = |messages: &[v1::WatchKillsResponse]| {
        let mut follower = Follower::default();
        follow(&mut follower, &honest, &rules).unwrap();
        follow(&mut follower, messages, &rules)
    };
    assert_eq!(told(&honest), Ok(true));
    let mut hides = honest.clone();
    hides.remove(2);
    assert_eq!(told(&hides), Err("KILL_HIDDEN"));
    let older = self::log(&[false, false]);
    assert_eq!(told(&snapshot(older.state.kills())), Err("KILL_CHAIN_BROKEN"));
    let other = self::log(&[false, true, false]);
    assert_eq!(told(&snapshot(other.state.kills())), Err("KILL_CHAIN_BROKEN"));
    // An honest one ends a kill by showing its lift.
    let mut lifted = log;
    lifted.lift(&["k1"], &["alice/1", "bob/1"], NOW + 5).unwrap();
    assert_eq!(told(&snapshot(lifted.state.kills())), Ok(true));
}

#[test]
fn what_no_log_has_stays_until_a_lift_names_it() {
    let mut log = log(&[false]);
    let rules = log.charter();
    let direct = key("bob/1").jws(Typ::Kill, &bytes(&kill(&rules, "requester", Some("dave"), "direct")), NOW);
    let unrecorded = message(Event::Kill(v1::Kill { jws: direct.to_json(), ..v1::Kill::default() }));
    let mut follower = Follower::default();
    let first = snapshot(log.state.kills());
    follow(&mut follower, &first, &rules).unwrap();
    assert!(matches!(follower.take(unrecorded, &rules, NOW), Ok(News::Killed(_))));
    assert_eq!(follow(&mut follower, &first, &rules), Ok(true));
    let target = Target::Requester("dave".parse().unwrap());
    assert!(follower.kills().stops(&target, NOW + 9), "a snapshot without it does not end it");
    log.kill("requester", Some("dave"), "bob/1", "direct", NOW + 1).unwrap();
    assert_eq!(follow(&mut follower, &steps(log.state.kills())[1..], &rules), Ok(true));
    log.lift(&["direct"], &["alice/1", "carol/1"], NOW + 2).unwrap();
    assert_eq!(follow(&mut follower, &steps(log.state.kills())[2..], &rules), Ok(true));
    assert!(!follower.kills().stops(&target, NOW + 9));
}

/// What a hostile daemon does to one message of the stream.
#[derive(Debug, Clone)]
enum Lie {
    Omit(Index),
    Swap(Index, Index),
    Repeat(Index),
    /// Another custodian's kill in its place, or the same with another time, epoch or step.
    Replace(Index, u8),
}

fn lie() -> impl Strategy<Value = Lie> {
    prop_oneof![
        any::<Index>().prop_map(Lie::Omit),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Lie::Swap(a, b)),
        any::<Index>().prop_map(Lie::Repeat),
        (any::<Index>(), 0..4_u8).prop_map(|(at, how)| Lie::Replace(at, how)),
    ]
}

fn replaced(message: &v1::WatchKillsResponse, how: u8, rules: &Charter) -> v1::WatchKillsResponse {
    let mut message = message.clone();
    match message.event.as_mut().unwrap() {
        Event::Kill(kill) => match how {
            0 => {
                let payload = bytes(&super::kill::kill(rules, "requester", Some("dave"), "other"));
                kill.jws = key("carol/1").jws(Typ::Kill, &payload, NOW).to_json();
            }
            1 => kill.recorded_at.as_mut().unwrap().seconds += 1,
            2 => kill.epoch += 1,
            _ => {
                // The same words under another custodian's signature.
                let payload = GeneralJws::parse(&kill.jws, 32_000).unwrap().payload;
                kill.jws = key("dave/1").jws(Typ::Kill, &payload, NOW).to_json();
            }
        },
        Event::Lift(lift) => lift.recorded_at.as_mut().unwrap().seconds += 1,
        Event::Heartbeat(_) | Event::Snapshot(_) => {}
    }
    message
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// The honest heartbeat closes the stream: a gate that was told another story finds that out at once, or never says that
    /// its view is complete; and if the daemon makes up the heartbeat as well, the gate names another head than others do.
    #[test]
    fn omission_reordering_and_substitution_are_seen(
        plan in vec(any::<bool>(), 1..9),
        lie in lie(),
    ) {
        let log = log(&plan);
        let (rules, honest) = (log.charter(), steps(log.state.kills()));
        let count = honest.len() - 1;
        let mut told = honest.clone();
        match &lie {
            Lie::Omit(at) => drop(told.remove(at.index(count))),
            Lie::Swap(a, b) => told.swap(a.index(count), b.index(count)),
            Lie::Repeat(at) => told.insert(at.index(count), told[at.index(count)].clone()),
            Lie::Replace(at, how) => {
                let at = at.index(count);
                told[at] = replaced(&told[at], *how, &rules);
            }
        }
        let mut follower = Follower::default();
        let seen = follow(&mut follower, &told, &rules);
        if told == honest {
            prop_assert_eq!(seen, Ok(true));
        } else {
            prop_assert!(seen.is_err(), "{:?} is not seen", lie);
            prop_assert!(follower.request().after.is_none(), "and a snapshot is asked for");
            if !matches!(lie, Lie::Repeat(_)) {
                prop_assert_ne!(follower.kills().head(), log.state.kills().head());
            }
        }
    }
}
