//! What a client learns while the issuing device does not sign.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use breakglass::client::ClientError;
use breakglass::grpc::v1::{self, RequestState};
use breakglass::hsm::{DeviceDescription, HealthReport, HsmError, SigningDevice};
use breakglass::jose::{Digest, PublicKey, TokenAlg, Typ};
use tonic::Code;

use crate::support::within;
use crate::world::{World, with_device};

/// What is wrong with the device, if anything.
#[derive(Clone, Copy)]
enum Mood {
    Well,
    /// It is away, as a network HSM is for a while.
    Away,
    /// It does not have the key.
    KeyMissing,
    /// It takes the call, and never comes back.
    Hanging,
}

/// A device's mood, and how it is changed.
struct Temper {
    mood: Mutex<Mood>,
    changed: Condvar,
    /// Calls that hang now.
    hanging: AtomicUsize,
}

impl Temper {
    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.changed.notify_all();
    }

    /// The mood, once it is another than hanging.
    fn bear(&self) -> Mood {
        self.hanging.fetch_add(1, Ordering::SeqCst);
        let hangs = |mood: &mut Mood| matches!(mood, Mood::Hanging);
        let mood = *self.changed.wait_while(self.mood.lock().unwrap(), hangs).unwrap();
        self.hanging.fetch_sub(1, Ordering::SeqCst);
        mood
    }
}

/// A real token behind a moody front.
struct Moody {
    token: Arc<dyn SigningDevice>,
    temper: Arc<Temper>,
}

impl SigningDevice for Moody {
    fn sign(&self, kid: &Digest, alg: TokenAlg, message: &[u8]) -> Result<Vec<u8>, HsmError> {
        let device = || "moody".to_owned();
        match self.temper.bear() {
            Mood::Well | Mood::Hanging => self.token.sign(kid, alg, message),
            Mood::Away => {
                Err(HsmError::Fault { device: device(), action: "C_Sign", source: "nobody answers".into() })
            }
            Mood::KeyMissing => Err(HsmError::KeyNotFound { device: device(), kid: kid.to_string() }),
        }
    }

    fn public_key(&self, kid: &Digest) -> Result<PublicKey, HsmError> {
        self.token.public_key(kid)
    }

    fn public_keys(&self) -> Result<Vec<PublicKey>, HsmError> {
        self.token.public_keys()
    }

    fn health(&self, kid: &Digest, alg: TokenAlg) -> Result<HealthReport, HsmError> {
        self.token.health(kid, alg)
    }

    fn destroy(&self, kid: &Digest) -> Result<bool, HsmError> {
        self.token.destroy(kid)
    }

    fn describe(&self) -> &DeviceDescription {
        self.token.describe()
    }
}

/// A world whose device has this mood until it is changed.
fn moody<F: Future<Output = ()>>(test: &str, mood: Mood, body: impl FnOnce(World, Arc<Temper>) -> F) {
    let (mood, changed) = (Mutex::new(mood), Condvar::new());
    let temper = Arc::new(Temper { mood, changed, hanging: AtomicUsize::new(0) });
    let device = {
        let temper = Arc::clone(&temper);
        |token| Arc::new(Moody { token, temper }) as Arc<dyn SigningDevice>
    };
    with_device(test, device, |world| body(world, temper));
}

/// Files a request of dave's and has it approved; its id.
async fn authorize(world: &World) -> String {
    let (id, grant, _) = world.file("dave").await;
    let verdicts = world.verdicts(&grant, Typ::Approval, &["alice", "bob"]);
    assert_eq!(world.submit(&id, verdicts).await.unwrap().state(), RequestState::Authorized);
    id
}

/// Waits until a setback of this reason is known, and asks as a client what the daemon says of it.
async fn setback(world: &World, id: &str, reason: &str) -> v1::Failure {
    let (engine, request) = (&world.running.engine, id.parse().unwrap());
    let known = async {
        while engine.setback(&request).is_none_or(|setback| setback.reason != reason) {
            // An attempt that fails is no event, so it is asked for again.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(known).await;
    let message = v1::GetRequestRequest { request_id: id.to_owned() };
    let answer = world.connect("dave").await.access().get_request(message).await.unwrap();
    let request = answer.into_inner().request.unwrap();
    assert_eq!(request.state(), RequestState::Authorized);
    request.failure.unwrap()
}

async fn redeem(world: &World, id: &str, wait_ms: u32) -> Result<v1::RedeemResponse, ClientError> {
    let jws = world.about("dave", id, Typ::Redeem);
    let answer = world.connect("dave").await.access().redeem(v1::RedeemRequest { jws, wait_ms }).await?;
    Ok(answer.into_inner())
}

#[test]
fn a_client_is_told_whether_a_failing_device_may_heal_by_itself() {
    let test = "moody::a_client_is_told_whether_a_failing_device_may_heal_by_itself";
    moody(test, Mood::Away, |world, device| async move {
        let id = authorize(&world).await;
        let away = setback(&world, &id, "HSM_FAULT").await;
        assert_eq!(away.reason, "HSM_FAULT");
        assert!(away.message.contains("the daemon goes on trying"), "{}", away.message);
        let waiting = redeem(&world, &id, 0).await.unwrap_err();
        assert_eq!((waiting.code, waiting.reason.as_str()), (Code::FailedPrecondition, "NOT_ISSUED_YET"));
        assert_eq!(waiting.metadata["cause"], "HSM_FAULT");

        device.set(Mood::KeyMissing);
        let missing = setback(&world, &id, "HSM_KEY_NOT_FOUND").await;
        assert!(missing.message.contains("an operator has to look"), "{}", missing.message);
        let waiting = redeem(&world, &id, 0).await.unwrap_err();
        assert_eq!(waiting.metadata["cause"], "HSM_KEY_NOT_FOUND");
        assert!(waiting.message.contains("an operator has to look"), "{}", waiting.message);

        device.set(Mood::Well);
        let released = redeem(&world, &id, 30_000).await.unwrap();
        assert_eq!(released.request.unwrap().failure, None, "what is over is not shown");
        let engine = &world.running.engine;
        within(async {
            while engine.setback(&id.parse().unwrap()).is_some() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    });
}

#[test]
fn a_device_that_hangs_holds_up_only_what_needs_it() {
    let test = "moody::a_device_that_hangs_holds_up_only_what_needs_it";
    moody(test, Mood::Hanging, |world, device| async move {
        let mut ids = Vec::new();
        for hanging in 1..=4 {
            ids.push(authorize(&world).await);
            // Each has been taken up before the next comes, so that they do not share a thread.
            within(async {
                while device.hanging.load(Ordering::SeqCst) < hanging {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        let silent = setback(&world, &ids[0], "HSM_SILENT").await;
        assert!(silent.message.contains("the daemon goes on trying"), "{}", silent.message);
        let waiting = redeem(&world, &ids[0], 0).await.unwrap_err();
        assert_eq!(waiting.metadata["cause"], "HSM_SILENT");
        assert_eq!(redeem(&world, &ids[0], 1500).await.unwrap_err().reason, "NOT_ISSUED_YET", "in time");

        // Attempts go on, but the threads that they may lose are counted.
        within(async {
            while device.hanging.load(Ordering::SeqCst) < 8 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let late = authorize(&world).await;
        assert_eq!(setback(&world, &late, "HSM_SILENT").await.reason, "HSM_SILENT");
        assert_eq!(device.hanging.load(Ordering::SeqCst), 8);

        let World { running, .. } = world;
        within(running.stop()).await;
        assert_eq!(device.hanging.load(Ordering::SeqCst), 8, "it stops without them");
        device.set(Mood::Well);
    });
}

#[test]
fn what_hung_is_signed_when_the_device_answers_again() {
    let test = "moody::what_hung_is_signed_when_the_device_answers_again";
    moody(test, Mood::Hanging, |world, device| async move {
        let id = authorize(&world).await;
        setback(&world, &id, "HSM_SILENT").await;
        device.set(Mood::Well);
        redeem(&world, &id, 30_000).await.unwrap();
    });
}
