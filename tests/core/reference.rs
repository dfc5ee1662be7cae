//! Random chains against an independent reference model of succession: plain sets and counts, every rule written a second
//! time. No chain is accepted that the model refuses, and none refused that it accepts.

use std::collections::{BTreeMap, BTreeSet};

use breakglass::{
    domain::charter::{Charter, verify_chain},
    jose::{Digest, GeneralJws, Typ},
};
use proptest::{collection::vec, prelude::*, sample::subsequence};
use serde_json::{Value, json};

use crate::kit::{AUD, NOW, ORIGIN, key, nonce, payload};

const PERSONS: usize = 6;
/// Two devices of each person; the third of each is enrolled by some versions only.
const DEVICES: usize = 3;
/// Recovery custodians come after the persons, with one device each; the first may have another.
const SEALED: std::ops::Range<usize> = PERSONS..PERSONS + 3;
const DAY: i64 = 86_400;

/// What the model knows of a version.
#[derive(Debug, Clone)]
struct Version {
    number: i64,
    issued_at: i64,
    /// Who has which device; a device is (person whose name it bears, number).
    devices: BTreeMap<(usize, usize), usize>,
    /// Whose term is over at this day after `issued_at`.
    ends: BTreeMap<usize, i64>,
    threshold: usize,
    governors: BTreeSet<usize>,
    /// Whether two of the recovery custodians can replace the governors.
    recovery: bool,
    by_recovery: bool,
}

/// How one version is made from the one before.
#[derive(Debug, Clone)]
struct Step {
    /// For each person, which of the devices.
    enrolled: Vec<[bool; DEVICES]>,
    /// Moves a third device to the next person, where both have it enrolled.
    moved: Option<usize>,
    threshold: usize,
    governors: BTreeSet<usize>,
    ends: Option<(usize, i64)>,
    recovery: bool,
    by_recovery: bool,
    /// Whether the first recovery custodian has a second device.
    spare: bool,
    /// Who signs, and how many hours after `issued_at`.
    signers: Vec<(usize, usize, i64)>,
    fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Station,
    WrongTyp,
    OtherBytes,
    Stranger,
    Twice,
    SkippedVersion,
    OtherPrevious,
    Backdated,
}

fn step() -> impl Strategy<Value = Step> {
    let all: Vec<usize> = (0..PERSONS).collect();
    let devices: Vec<(usize, usize)> = (0..PERSONS).flat_map(|p| (0..DEVICES).map(move |d| (p, d))).collect();
    let sealed = SEALED.map(|person| (person, 0)).chain([(SEALED.start, 1)]);
    let devices: Vec<(usize, usize)> = devices.into_iter().chain(sealed).collect();
    let signers = devices.len();
    let fault = prop_oneof![
        12 => Just(Fault::None),
        1 => Just(Fault::Station),
        1 => Just(Fault::WrongTyp),
        1 => Just(Fault::OtherBytes),
        1 => Just(Fault::Stranger),
        1 => Just(Fault::Twice),
        1 => Just(Fault::SkippedVersion),
        1 => Just(Fault::OtherPrevious),
        1 => Just(Fault::Backdated),
    ];
    (
        vec(any::<bool>(), PERSONS),
        prop_oneof![9 => Just(None), 1 => (0..PERSONS).prop_map(Some)],
        2_usize..=3,
        subsequence(all, 5..=PERSONS),
        prop_oneof![3 => Just(None), 1 => (0..PERSONS, 1_i64..3).prop_map(Some)],
        (
            subsequence(devices, 0..=signers),
            vec(prop_oneof![60 => 0_i64..100, 1 => 160_i64..180], signers),
            any::<bool>(),
            (prop::bool::weighted(0.9), prop::bool::weighted(0.4), prop::bool::weighted(0.1)),
        ),
        fault,
    )
        .prop_map(
            |(
                third,
                moved,
                threshold,
                governors,
                ends,
                (signers, hours, only_enrolled, (recovery, by_recovery, spare)),
                fault,
            )| Step {
                enrolled: third.iter().map(|third| [true, true, *third]).collect(),
                moved,
                threshold,
                governors: governors.into_iter().collect(),
                ends,
                recovery,
                by_recovery,
                spare,
                signers: signers
                    .into_iter()
                    .zip(hours)
                    // Half of the time nobody signs with a device that does not belong.
                    .filter(|((person, device), _)| {
                        let sealed = SEALED.contains(person);
                        let enrolled = if sealed {
                            recovery && (*device == 0 || spare)
                        } else {
                            *device < 2 || third[*person]
                        };
                        !only_enrolled || enrolled
                    })
                    .map(|((person, device), hours)| (person, device, hours))
                    .collect(),
                fault,
            },
        )
}

impl Version {
    fn first() -> Self {
        Self {
            number: 1,
            issued_at: NOW,
            devices: (0..PERSONS).flat_map(|person| [((person, 0), person), ((person, 1), person)]).collect(),
            ends: BTreeMap::new(),
            threshold: 2,
            governors: (0..PERSONS).collect(),
            recovery: true,
            by_recovery: false,
        }
        .with_sealed(false)
    }

    fn with_sealed(mut self, spare: bool) -> Self {
        let sealed = SEALED.map(|person| (person, 0)).chain(spare.then_some((SEALED.start, 1)));
        self.devices.extend(sealed.filter(|_| self.recovery).map(|device| (device, device.0)));
        self
    }

    fn after(&self, step: &Step) -> Self {
        let mut devices: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for (person, enrolled) in step.enrolled.iter().enumerate() {
            for (device, _) in enrolled.iter().enumerate().filter(|(_, enrolled)| **enrolled) {
                devices.insert((person, device), person);
            }
        }
        if let Some(person) = step.moved.filter(|person| devices.contains_key(&(*person, 2))) {
            devices.insert((person, 2), (person + 1) % PERSONS);
        }
        Self {
            number: self.number + i64::from(step.fault == Fault::SkippedVersion) + 1,
            issued_at: if step.fault == Fault::Backdated {
                self.issued_at - 1
            } else {
                self.issued_at + 10 * DAY
            },
            devices,
            ends: step.ends.into_iter().collect(),
            threshold: step.threshold,
            governors: step.governors.clone(),
            recovery: step.recovery,
            by_recovery: step.by_recovery,
        }
        .with_sealed(step.spare)
    }

    fn sealed(&self) -> BTreeSet<(usize, usize)> {
        self.devices.keys().filter(|(person, _)| SEALED.contains(person)).copied().collect()
    }

    /// Whether two recovery custodians have signed.
    fn recovers(&self, signed: &[((usize, usize), i64)]) -> bool {
        let sealed = self.sealed();
        let signed = signed.iter().filter(|(device, _)| sealed.contains(device));
        signed.map(|(device, _)| device.0).collect::<BTreeSet<_>>().len() >= 2
    }

    fn in_term(&self, person: usize, at: i64) -> bool {
        self.ends.get(&person).is_none_or(|days| at < self.issued_at + days * DAY)
    }

    /// Whether enough governors have signed: `signed` is (device, when).
    fn agrees(&self, signed: &[((usize, usize), i64)]) -> bool {
        let persons: BTreeSet<usize> = signed
            .iter()
            .filter_map(|(device, at)| {
                self.devices.get(device).copied().filter(|person| self.in_term(*person, *at))
            })
            .filter(|person| self.governors.contains(person))
            .collect();
        persons.len() >= self.threshold
    }

    fn document(&self, previous: Option<Digest>) -> Value {
        let name = |person: usize| format!("p{person}");
        let persons: Vec<Value> = (0..if self.recovery { SEALED.end } else { PERSONS })
            .map(|person| {
                let own = self.devices.iter().filter(|(_, owner)| **owner == person);
                let devices: Vec<Value> = own.map(|(device, _)| record(*device)).collect();
                let role = if SEALED.contains(&person) { "recovery" } else { "custodian" };
                let mut record =
                    json!({"id": name(person), "name": name(person), "roles": [role], "devices": devices});
                if let Some(days) = self.ends.get(&person) {
                    record["term"] = json!({"until": self.issued_at + days * DAY});
                }
                record
            })
            .chain([json!({"id": "r", "name": "r", "roles": ["requester"], "keys": [key("r").jwk()]})])
            .collect();
        let governors: Vec<String> = self.governors.iter().map(|person| name(*person)).collect();
        let mut document = json!({
            "version": self.number, "nonce": nonce(&self.number.to_string()),
            "iss": "https://breakglass.example.test", "development": true, "issued_at": self.issued_at,
            "expires_at": self.issued_at + 90 * DAY, "persons": persons,
            "profiles": [{"id": "p", "description": "p", "quorum": {"threshold": 2, "of": ["p0", "p1", "p2", "p3", "p4", "p5"]},
                "aud": AUD, "authorization_details": [{"type": "t", "actions": ["a"], "locations": ["l"]}],
                "max_ttl": 60, "approval_window": 60, "requester_key": "file"}],
            "governance": {"threshold": self.threshold, "of": governors},
            "issuing_keys": [{"key": key("hsm/1").jwk(), "profiles": ["p"], "state": "active"}],
            "log_keys": [{"origin": ORIGIN, "key": {"kty": "OKP", "crv": "Ed25519", "x": breakglass::jose::b64::encode(&[7; 32])}}],
            "daemons": [{"id": "d1", "spki": Digest::of(b"tls")}], "attestation": {},
        });
        if self.recovery {
            let sealed: Vec<String> = SEALED.map(name).collect();
            document["recovery"] = json!({"threshold": 2, "of": sealed});
        }
        if self.by_recovery {
            document["by_recovery"] = json!(true);
        }
        if let Some(previous) = previous {
            document["previous"] = json!(previous);
        }
        document
    }
}

fn named((person, device): (usize, usize)) -> String {
    format!("p{person}/{device}")
}

fn record(device: (usize, usize)) -> Value {
    let serial = 100 + device.0 * 10 + device.1;
    json!({"kind": "piv", "key": key(&named(device)).jwk(), "serial": serial, "firmware": "5.7.4"})
}

/// The rules of succession, as the model has them; `owners` is whose each device was in any version before.
fn model(before: &Version, after: &Version, step: &Step, owners: &BTreeMap<(usize, usize), usize>) -> bool {
    let signed: Vec<_> = step
        .signers
        .iter()
        .map(|(person, device, hours)| ((*person, *device), after.issued_at + hours * 3600))
        .collect();
    let belongs =
        |device: &(usize, usize)| before.devices.contains_key(device) || after.devices.contains_key(device);
    let harmless = match step.fault {
        Fault::None => true,
        // Only a first signature can be spoilt.
        Fault::Station | Fault::WrongTyp | Fault::OtherBytes | Fault::Twice => signed.is_empty(),
        _ => false,
    };
    let new_ones: Vec<_> =
        after.devices.keys().filter(|device| !before.devices.contains_key(*device)).collect();
    harmless
        && signed.iter().all(|(device, at)| belongs(device) && *at <= after.issued_at + 7 * DAY)
        && after.devices.iter().all(|(device, owner)| owners.get(device).is_none_or(|before| before == owner))
        && new_ones.iter().all(|new| signed.iter().any(|(device, _)| device == *new))
        && (if after.by_recovery { before.recovers(&signed) } else { before.agrees(&signed) })
        && (!after.by_recovery || (before.recovery && before.sealed() == after.sealed()))
        && after.agrees(&signed)
}

fn statement(document: &Value, after: &Version, step: &Step) -> GeneralJws {
    let payload = payload(document);
    let sign = |(at, (person, device, hours)): (usize, &(usize, usize, i64))| {
        let (key, iat) = (key(&named((*person, *device))), after.issued_at + hours * 3600);
        match (at, step.fault) {
            (0, Fault::Station) => key.state_at(Typ::Charter, &payload, iat, Some("desk")),
            (0, Fault::WrongTyp) => key.state(Typ::Approval, &payload, iat),
            (0, Fault::OtherBytes) => key.state(Typ::Charter, b"{}", iat),
            _ => key.state(Typ::Charter, &payload, iat),
        }
    };
    let mut signatures: Vec<_> = step.signers.iter().enumerate().map(sign).collect();
    match step.fault {
        Fault::Twice => signatures.extend(signatures.first().cloned()),
        Fault::Stranger => signatures.push(key("stranger").state(Typ::Charter, &payload, after.issued_at)),
        _ => {}
    }
    GeneralJws { payload, signatures }
}

fn genesis(first: &Version) -> Charter {
    let payload = payload(&first.document(None));
    let sign = |device: &(usize, usize)| key(&named(*device)).state(Typ::Charter, &payload, NOW);
    let signatures = first.devices.keys().map(sign).collect();
    let pinned = Digest::of(&payload);
    Charter::genesis(GeneralJws { payload, signatures }, pinned).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    /// Refused steps leave the chain where it was; accepted ones are followed again from genesis at the end.
    #[test]
    fn chains_are_those_of_the_reference_model(steps in vec(step(), 1..6)) {
        let mut version = Version::first();
        let mut charter = genesis(&version);
        let mut owners = version.devices.clone();
        let mut chain = vec![charter.statement().clone()];
        let pinned = charter.digest();
        for step in &steps {
            let after = version.after(step);
            let previous = if step.fault == Fault::OtherPrevious { pinned_elsewhere() } else { charter.digest() };
            let statement = statement(&after.document(Some(previous)), &after, step);
            let at = after.issued_at + 30 * DAY;
            let followed = charter.successor(statement.clone(), at);
            let expected = model(&version, &after, step, &owners);
            prop_assert_eq!(followed.is_ok(), expected, "{:?}: {:?} after {:?}", followed.err(), step, version);
            if let Ok(next) = charter.successor(statement.clone(), at) {
                owners.extend(after.devices.clone());
                (version, charter) = (after, next);
                chain.push(statement);
            }
        }
        let at = version.issued_at + 30 * DAY;
        prop_assert_eq!(verify_chain(pinned, chain, at).unwrap(), charter);
    }
}

fn pinned_elsewhere() -> Digest {
    Digest::of(b"a charter of another chain")
}
