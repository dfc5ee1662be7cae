//! Check-ins: whoever carries them, whose they are, who may see when keys were last used.

use breakglass::client::ClientError;
use breakglass::grpc::v1;
use breakglass::jose::{Typ, b64, json};
use serde_json::json;
use tonic::Code;

use crate::world::{World, jws, now, public, with_world};

fn check_in(world: &World, custodian: &str, nonce: u8) -> v1::CheckInRequest {
    let about = json!({"iss": "https://issuer.example", "charter": world.charter.digest(),
        "nonce": b64::encode(&[nonce; 16])});
    let payload = json::canonical(&about).unwrap();
    v1::CheckInRequest { jws: jws(payload, &[(&world.keys[custodian], Typ::CheckIn, now() + 1)]) }
}

#[test]
fn a_check_in_counts_for_the_key_that_signed_it() {
    with_world("readiness::a_check_in_counts_for_the_key_that_signed_it", |world| async move {
        let mut carol = world.connect("carol").await.charter();
        let message = check_in(&world, "alice", 1);
        let index = carol.check_in(message.clone()).await.unwrap().into_inner().index;
        let entry = &world.entries().await[usize::try_from(index).unwrap()];
        assert_eq!(entry["event"]["type"], "checked_in");
        let again = ClientError::from(carol.check_in(message).await.unwrap_err());
        assert_eq!((again.code, again.reason.as_str()), (Code::AlreadyExists, "CHECK_IN_KNOWN"));

        let devices = carol.list_devices(v1::ListDevicesRequest {}).await.unwrap().into_inner().devices;
        let people: Vec<(&str, u32)> =
            devices.iter().map(|device| (device.person.as_str(), device.serial)).collect();
        assert_eq!(people, [("alice", 1), ("bob", 2), ("carol", 3)]);
        let [alice, bob, _] = devices.as_slice() else { panic!("three") };
        assert_eq!(alice.kid, public(&world.keys["alice"]).thumbprint().to_string());
        assert!(alice.checked_in_at.is_some() && alice.seen_index == index);
        // bob has signed the first charter, and nothing since.
        assert!(bob.checked_in_at.is_none() && bob.seen_at.is_some() && bob.seen_index == 0);

        // dave is an auditor, eve none.
        world.connect("dave").await.charter().list_devices(v1::ListDevicesRequest {}).await.unwrap();
        let eve =
            world.connect("eve").await.charter().list_devices(v1::ListDevicesRequest {}).await.unwrap_err();
        let eve = ClientError::from(eve);
        assert_eq!((eve.code, eve.reason.as_str()), (Code::PermissionDenied, "NOT_A_CUSTODIAN"));
        // Her file key is no device of anybody's.
        let forged = v1::CheckInRequest { jws: check_in(&world, "eve.tls", 2).jws };
        let refused = ClientError::from(carol.check_in(forged).await.unwrap_err());
        assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "NOT_A_CUSTODIAN"));
    });
}
