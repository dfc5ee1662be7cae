//! The thief talks gRPC: with no key, with his own, and with the daemon's.

use std::path::Path;

use breakglass::{
    grpc::{tls::Identity, v1::RequestState},
    jose::{GeneralJws, Typ},
};
use serde_json::json;

use crate::{
    client::{Client, secret},
    kit,
    world::World,
};

fn daemons_own(world: &World) -> Identity {
    let file = |name: &str| world.path(name);
    let (certificate, key): (&Path, &Path) = (&file("tls.cert.pem"), &file("tls.key.pem"));
    Identity::from_files(certificate, key).unwrap()
}

#[test]
fn promise_1_neither_a_stranger_nor_the_daemons_own_key_gets_in() {
    let world = World::new();
    let _daemon = world.start();
    let erin = world.client("erin/file");
    let wish = world.wish(json!({}));
    wish.file(&erin).unwrap();
    let custodian = Identity::from_key(&secret("alice/1"), "alice", &[]).unwrap();
    let stranger = Identity::from_key(&secret("mallory"), "erin", &[]).unwrap();
    for identity in [None, Some(stranger), Some(custodian), Some(daemons_own(&world))] {
        let thief: Client = world.connect(identity).unwrap();
        let refused = [
            world.wish(json!({})).file(&thief).map(drop),
            wish.approve(&thief, "alice/1").map(drop),
            wish.redeem(&thief).map(drop),
            wish.withdraw(&thief).map(drop),
            thief.get(&wish.id().to_string()).map(drop),
            thief.list().map(drop),
            thief.entries().map(drop),
        ];
        for refused in refused {
            assert_eq!(refused.unwrap_err().reason, "CLIENT_UNKNOWN");
        }
    }
    let pending = erin.get(&wish.id().to_string()).unwrap();
    assert_eq!((pending.state(), pending.missing.unwrap().approved_by.len()), (RequestState::Pending, 0));
    let impostor = world.connect_pinned(vec![breakglass::jose::Digest::of(b"another")], None);
    assert_eq!(impostor.map(drop).unwrap_err().reason, "SERVER_NOT_PINNED");
}

#[test]
fn promise_2_over_the_wire_nobody_approves_for_himself_and_nobody_counts_twice() {
    let world = World::new();
    let daemon = world.start();
    let (erin, dave, pager) =
        (world.client("erin/file"), world.client("dave/file"), world.client("pager/file"));
    let mine = world.wish(json!({}));
    mine.file(&erin).unwrap();
    let of_dave = world.wish_by("dave/file", json!({"sub": "dave", "client_id": "dave"}));
    of_dave.file(&dave).unwrap();
    let of_pager = world.wish_by("pager/file", json!({"client_id": "pager"}));
    of_pager.file(&pager).unwrap();

    assert_eq!(of_dave.approve(&dave, "dave/1").unwrap_err().reason, "SELF_APPROVAL");
    assert_eq!(of_pager.approve(&pager, "carol/1").unwrap_err().reason, "SELF_APPROVAL");
    mine.approve(&erin, "alice/1").unwrap();
    assert_eq!(mine.approve(&erin, "alice/2").unwrap_err().reason, "ALREADY_SIGNED");
    // An approval of another request, put under this one.
    let signatures = of_dave.verdict("bob/1", Typ::Approval).signatures;
    let moved = GeneralJws { payload: mine.payload.clone(), signatures };
    let error = erin.submit(&mine.id().to_string(), &moved).unwrap_err();
    assert_eq!(error.reason, "SIGNATURE_INVALID");
    // The very approval that counts already: it changes nothing, however often it comes, and in whichever form.
    let held = GeneralJws::parse(&erin.get(&mine.id().to_string()).unwrap().jws, 32_000).unwrap();
    for client in [&erin, &dave, &pager] {
        let again = client.submit(&mine.id().to_string(), &held).unwrap();
        assert_eq!(again.missing.unwrap().approved_by, ["alice"]);
    }
    assert_eq!(mine.approve(&erin, "erin/file").unwrap_err().reason, "NOT_A_CUSTODIAN");
    assert_eq!(erin.get(&mine.id().to_string()).unwrap().state(), RequestState::Pending);
    assert_eq!(mine.redeem(&erin).unwrap_err().reason, "NOT_ISSUED_YET");
    assert!(daemon.stop().success());
    assert!(world.replay(&world.entries()).unwrap().is_complete());
}

#[test]
fn promise_5_a_token_is_handed_out_to_its_requester_alone() {
    let world = World::new();
    let _daemon = world.start();
    let (erin, dave) = (world.client("erin/file"), world.client("dave/file"));
    let wish = world.wish(json!({}));
    wish.grant_all(&erin).unwrap();
    for by in ["dave/file", "pager/file", "alice/1"] {
        let error = dave.redeem(&wish.statement(by, Typ::Redeem), 0).unwrap_err();
        assert_eq!(error.reason, "NOT_THE_REQUESTER", "{by}");
    }
    let error = dave.redeem(&wish.statement("mallory", Typ::Redeem), 0).unwrap_err();
    assert_eq!(error.reason, "KEY_UNKNOWN");
    // Another tool may carry erin's own statement, as often as the daemon lets it: what comes back is hers to open.
    let (jwe, _) = dave.redeem(&wish.statement("erin/file", Typ::Redeem), 0).unwrap();
    assert!(breakglass::jose::jwe::decrypt(&jwe, &secret("dave/file")).is_err());
    assert!(world.verify(&wish.open(&jwe)).is_ok());
    let old = kit::key("erin/file").jws(Typ::Redeem, &wish.statement("erin/file", Typ::Redeem).payload, 0);
    assert_eq!(dave.redeem(&old, 0).unwrap_err().reason, "CLOCK_SKEW", "an old statement opens nothing");
}
