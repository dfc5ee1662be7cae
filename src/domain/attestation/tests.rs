//! Chains that are right, and chains that are wrong in exactly one respect.
//!
//! The keys of the certificates are made by the virtual YubiKey's authority; `tests/piv` verifies what its cards say.

use std::sync::LazyLock;

use der::asn1::{Int, ObjectIdentifier};
use der::{Decode as _, Encode as _};
use getrandom::SysRng;
use proptest::prelude::*;
use rand_core::UnwrapErr;
use virtual_yubikey::attestation::{AttestationCa, Template, VALIDITY, generate_rsa, spki};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::*;

const NOW: i64 = 1_800_000_000;
const ROOT: &str = "CN=Root";
const MIDDLE: &str = "CN=Middle";
const DEVICE: &str = "CN=Yubico PIV Attestation";
const STATEMENT: &str = "CN=YubiKey PIV Attestation 9c";

type Rsa = virtual_yubikey::attestation::RsaPrivateKey;

static KEYS: LazyLock<[Rsa; 3]> =
    LazyLock::new(|| std::array::from_fn(|_| generate_rsa(&mut UnwrapErr(SysRng)).unwrap()));

fn ca(path_len_constraint: Option<u8>) -> BasicConstraints {
    BasicConstraints { ca: true, path_len_constraint }
}

fn oid(last: u32) -> ObjectIdentifier {
    ObjectIdentifier::new(&format!("1.3.6.1.4.1.41482.3.{last}")).unwrap()
}

/// Evidence as a device gives it, DER.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ders {
    statement_der: Vec<u8>,
    intermediate_der: Vec<u8>,
}

fn verify(
    ders: &Ders,
    roots: &[Vec<u8>],
    intermediates: &[Vec<u8>],
    now: i64,
) -> Result<Attested, AttestationError> {
    let evidence = Evidence::of_der(&ders.statement_der, &ders.intermediate_der);
    super::verify(&evidence, roots, intermediates, now)
}

/// A chain root → f9 → statement, to be made wrong before it is issued.
struct Chain {
    root: Template,
    device: Template,
    statement: Template,
    key: SubjectPublicKeyInfoOwned,
}

impl Chain {
    fn right() -> Self {
        let template = |subject: &str, issuer: &str, basic_constraints| Template {
            subject: subject.to_owned(),
            issuer: issuer.to_owned(),
            validity: VALIDITY,
            basic_constraints,
            extensions: Vec::new(),
        };
        let mut statement = template(STATEMENT, DEVICE, None);
        statement.extensions = vec![
            (oid(3), vec![5, 7, 4]),
            (oid(7), Int::new(&[0, 0xff, 0, 0, 1]).unwrap().to_der().unwrap()),
            (oid(8), vec![3, 2]),
            (oid(9), vec![3]),
        ];
        let public = p256::SecretKey::from_slice(&[7; 32]).unwrap().public_key();
        Self {
            root: template(ROOT, ROOT, Some(ca(Some(1)))),
            device: template(DEVICE, ROOT, Some(ca(Some(0)))),
            statement,
            key: SubjectPublicKeyInfoOwned::from_key(&public).unwrap(),
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut chain = Self::right();
        change(&mut chain);
        chain
    }

    fn extension(&mut self, last: u32, content: Option<Vec<u8>>) {
        self.statement.extensions.retain(|(id, _)| *id != oid(last));
        self.statement.extensions.extend(content.map(|content| (oid(last), content)));
    }

    fn issue(&self) -> (Ders, Vec<u8>) {
        let [root, _, device] = &*KEYS;
        let evidence = Ders {
            statement_der: self.statement.issue(3, self.key.clone(), device).unwrap(),
            intermediate_der: self.device.issue(2, spki(device).unwrap(), root).unwrap(),
        };
        (evidence, self.root.issue(1, spki(root).unwrap(), root).unwrap())
    }

    fn verify(&self) -> Result<Attested, AttestationError> {
        let (evidence, root) = self.issue();
        verify(&evidence, &[root], &[], NOW)
    }

    fn reason(&self) -> &'static str {
        self.verify().unwrap_err().reason()
    }
}

#[test]
fn a_right_chain_says_what_the_device_said() {
    let attested = Chain::right().verify().unwrap();
    assert_eq!(attested.public_key.spki_der(), Chain::right().key.to_der().unwrap());
    assert_eq!((attested.slot, attested.serial, attested.firmware), (0x9c, 0xff00_0001, [5, 7, 4]));
    assert_eq!((attested.pin_policy, attested.touch_policy), (PinPolicy::Always, TouchPolicy::Always));
    assert_eq!(attested.form_factor, Some(3));
}

#[test]
fn the_virtual_yubikeys_root_is_a_root_like_any_other() {
    let ca = AttestationCa::create(&mut UnwrapErr(SysRng)).unwrap();
    let (evidence, root) = Chain::right().issue();
    assert!(verify(&evidence, &[ca.root_der().to_vec(), root], &[], NOW).is_ok(), "roots in any order");
    let wrong = verify(&evidence, &[ca.root_der().to_vec()], &[], NOW).unwrap_err();
    assert_eq!(wrong.reason(), "ATTESTATION_UNTRUSTED");
    assert_eq!(verify(&evidence, &[], &[], NOW), Err(AttestationError::NoRoots));
}

#[test]
fn a_root_of_the_same_name_with_another_key_is_refused() {
    let (evidence, _) = Chain::right().issue();
    let imposter = Chain::right().root.issue(1, spki(&KEYS[1]).unwrap(), &KEYS[1]).unwrap();
    let refused = verify(&evidence, std::slice::from_ref(&imposter), &[], NOW);
    assert_eq!(refused, Err(AttestationError::Signature { link: Link::Device }));
    let (_, genuine) = Chain::right().issue();
    assert!(verify(&evidence, &[imposter, genuine], &[], NOW).is_ok(), "and does not hide the right one");
}

#[test]
fn no_byte_of_the_evidence_can_be_changed() {
    let (evidence, root) = Chain::right().issue();
    let roots = [root];
    for at in 0..evidence.statement_der.len() {
        let mut changed = evidence.clone();
        changed.statement_der[at] ^= 1;
        assert!(verify(&changed, &roots, &[], NOW).is_err(), "statement, byte {at}");
    }
    for at in 0..evidence.intermediate_der.len() {
        let mut changed = evidence.clone();
        changed.intermediate_der[at] ^= 1;
        assert!(verify(&changed, &roots, &[], NOW).is_err(), "f9, byte {at}");
    }
    for length in 0..evidence.statement_der.len() {
        let mut changed = evidence.clone();
        changed.statement_der.truncate(length);
        let refused = verify(&changed, &roots, &[], NOW).unwrap_err();
        assert_eq!(refused, AttestationError::Malformed { link: Link::Statement }, "cut at {length}");
    }
    let mut longer = evidence.clone();
    longer.statement_der.push(0);
    assert!(verify(&longer, &roots, &[], NOW).is_err(), "one byte more");
}

#[test]
fn each_certificate_must_be_valid_now() {
    let moments = u64::try_from(NOW).unwrap();
    let (past, future) = ((VALIDITY.0, moments - 1), (moments + 1, VALIDITY.1));
    for validity in [past, future] {
        let wrong = [
            (Link::Root, Chain::with(|chain| chain.root.validity = validity)),
            (Link::Device, Chain::with(|chain| chain.device.validity = validity)),
            (Link::Statement, Chain::with(|chain| chain.statement.validity = validity)),
        ];
        for (link, chain) in wrong {
            let (from, until) = validity;
            let expected = AttestationError::NotValidNow { link, from, until, now: NOW };
            assert_eq!(chain.verify(), Err(expected));
        }
    }
    assert!(Chain::with(|chain| chain.statement.validity = (moments, moments)).verify().is_ok(), "inclusive");
    let (evidence, root) = Chain::right().issue();
    assert!(verify(&evidence, &[root], &[], -1).is_err(), "a clock before 1970");
}

#[test]
fn only_authorities_issue() {
    let not = |link| Err(AttestationError::NotAuthority { link });
    let plain = Some(BasicConstraints { ca: false, path_len_constraint: None });
    for constraints in [plain, None] {
        // Some other extension, because a certificate with none would be of version 1.
        let other = vec![(oid(3), vec![5, 7, 4])];
        let mut device = Chain::right();
        device.device.basic_constraints = constraints.clone();
        device.device.extensions = other.clone();
        assert_eq!(device.verify(), not(Link::Device));
        let mut root = Chain::right();
        root.root.basic_constraints = constraints;
        root.root.extensions = other;
        assert_eq!(root.verify(), not(Link::Root));
    }
    let usage = |usages: KeyUsages| (oid_of("2.5.29.15"), KeyUsage(usages.into()).to_der().unwrap());
    let may = Chain::with(|chain| chain.root.extensions.push(usage(KeyUsages::KeyCertSign)));
    assert!(may.verify().is_ok());
    let may_not = Chain::with(|chain| chain.device.extensions.push(usage(KeyUsages::DigitalSignature)));
    assert_eq!(may_not.verify(), Err(AttestationError::KeyUsage { link: Link::Device }));
}

fn oid_of(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new(text).unwrap()
}

/// root → middle → f9 → statement, where root allows so many authorities below it.
fn longer(root_allows: Option<u8>, middle_allows: Option<u8>) -> Result<Attested, AttestationError> {
    let [root_key, middle_key, device_key] = &*KEYS;
    let mut chain = Chain::right();
    chain.root.basic_constraints = Some(ca(root_allows));
    let middle = Template {
        subject: MIDDLE.to_owned(),
        basic_constraints: Some(ca(middle_allows)),
        ..chain.device.clone()
    };
    chain.device.issuer = MIDDLE.to_owned();
    let evidence = Ders {
        statement_der: chain.statement.issue(3, chain.key.clone(), device_key).unwrap(),
        intermediate_der: chain.device.issue(2, spki(device_key).unwrap(), middle_key).unwrap(),
    };
    let root = chain.root.issue(1, spki(root_key).unwrap(), root_key).unwrap();
    let middle = middle.issue(4, spki(middle_key).unwrap(), root_key).unwrap();
    let without = verify(&evidence, std::slice::from_ref(&root), &[], NOW).unwrap_err();
    assert_eq!(without.reason(), "ATTESTATION_UNTRUSTED", "the middle is not on the device");
    verify(&evidence, &[root], &[middle], NOW)
}

#[test]
fn intermediates_are_found_and_path_lengths_kept() {
    assert!(longer(Some(2), Some(1)).is_ok());
    assert!(longer(None, None).is_ok());
    let (allowed, found) = (1, 2);
    assert_eq!(
        longer(Some(1), Some(1)),
        Err(AttestationError::PathLength { link: Link::Root, allowed, found })
    );
    let (allowed, found) = (0, 1);
    assert_eq!(
        longer(Some(2), Some(0)),
        Err(AttestationError::PathLength { link: Link::Intermediate, allowed, found })
    );
}

#[test]
fn a_charter_may_trust_a_lower_authority_alone() {
    let [root_key, middle_key, device_key] = &*KEYS;
    let mut chain = Chain::right();
    let anchor = Template { subject: MIDDLE.to_owned(), ..chain.device.clone() };
    chain.device.issuer = MIDDLE.to_owned();
    let evidence = Ders {
        statement_der: chain.statement.issue(3, chain.key.clone(), device_key).unwrap(),
        intermediate_der: chain.device.issue(2, spki(device_key).unwrap(), middle_key).unwrap(),
    };
    let anchor = |path_len| {
        let anchor = Template { basic_constraints: Some(ca(Some(path_len))), ..anchor.clone() };
        anchor.issue(4, spki(middle_key).unwrap(), root_key).unwrap()
    };
    verify(&evidence, &[anchor(1)], &[], NOW).unwrap();
    let refused = verify(&evidence, &[anchor(0)], &[], NOW).unwrap_err();
    assert_eq!(refused.reason(), "ATTESTATION_PATH_LENGTH");
}

#[test]
fn intermediates_that_lead_in_circles_end() {
    let [root_key, middle_key, device_key] = &*KEYS;
    let mut chain = Chain::right();
    chain.device.issuer = MIDDLE.to_owned();
    let circle = Template { subject: MIDDLE.to_owned(), issuer: MIDDLE.to_owned(), ..chain.root.clone() };
    let circle = circle.issue(4, spki(middle_key).unwrap(), middle_key).unwrap();
    let evidence = Ders {
        statement_der: chain.statement.issue(3, chain.key.clone(), device_key).unwrap(),
        intermediate_der: chain.device.issue(2, spki(device_key).unwrap(), middle_key).unwrap(),
    };
    let root = chain.root.issue(1, spki(root_key).unwrap(), root_key).unwrap();
    let refused = verify(&evidence, &[root], &[circle], NOW).unwrap_err();
    assert_eq!(refused.reason(), "ATTESTATION_UNTRUSTED");
}

#[test]
fn a_statement_must_come_from_this_device() {
    let (evidence, root) = Chain::right().issue();
    let stranger = Chain::right().statement.issue(3, Chain::right().key, &KEYS[1]).unwrap();
    let forged = Ders { statement_der: stranger, ..evidence };
    let refused = verify(&forged, &[root], &[], NOW);
    assert_eq!(refused, Err(AttestationError::Signature { link: Link::Statement }));
    let named = Chain::with(|chain| chain.statement.issuer = "CN=Somebody else".to_owned());
    assert_eq!(named.reason(), "ATTESTATION_UNTRUSTED");
}

#[test]
fn a_statement_must_speak_of_slot_9c() {
    for subject in ["CN=YubiKey PIV Attestation 9a", "CN=YubiKey PIV Attestation 9C", "CN=9c", "O=x"] {
        let chain = Chain::with(|chain| chain.statement.subject = subject.to_owned());
        assert_eq!(chain.verify(), Err(AttestationError::Subject { subject: subject.to_owned() }));
    }
}

#[test]
fn every_extension_must_be_there_and_well_formed() {
    let refused = |last: u32, content: Option<&[u8]>| {
        let content = content.map(<[u8]>::to_vec);
        assert_eq!(Chain::with(|chain| chain.extension(last, content)).reason(), "ATTESTATION_EXTENSION");
    };
    for last in [3, 7, 8] {
        refused(last, None);
        refused(last, Some(&[]));
    }
    refused(3, Some(&[5, 7]));
    refused(3, Some(&[5, 7, 4, 0]));
    refused(7, Some(&[0x02, 0x05, 1, 0, 0, 0, 0]));
    refused(7, Some(&[0x02, 0x01, 0xff]));
    refused(7, Some(&[0x04, 0x01, 0x01]));
    refused(8, Some(&[3]));
    refused(8, Some(&[0, 2]));
    refused(8, Some(&[3, 4]));
    refused(9, Some(&[]));
    let silent = Chain::with(|chain| chain.extension(9, None));
    assert_eq!(silent.verify().unwrap().form_factor, None, "old firmware says no form factor");
}

#[test]
fn policies_are_read_as_they_are() {
    let weak = Chain::with(|chain| chain.extension(8, Some(vec![1, 3])));
    let attested = weak.verify().unwrap();
    assert_eq!((attested.pin_policy, attested.touch_policy), (PinPolicy::Never, TouchPolicy::Cached));
}

#[test]
fn an_extension_occurs_once() {
    let twice = Chain::with(|chain| chain.statement.extensions.push((oid(8), vec![1, 1])));
    assert_eq!(twice.reason(), "ATTESTATION_DUPLICATE_EXTENSION");
}

#[test]
fn the_attested_key_must_be_p256() {
    let rsa = Chain::with(|chain| chain.key = spki(&KEYS[1]).unwrap());
    assert_eq!(rsa.reason(), "ATTESTATION_PUBLIC_KEY");
}

#[test]
fn dates_before_2050_may_be_written_in_the_long_form() {
    let (evidence, root) = Chain::right().issue();
    let certificate = x509_cert::Certificate::from_der(&evidence.intermediate_der).unwrap();
    let signed = certificate.tbs_certificate().to_der().unwrap();
    // The same second as GeneralizedTime: two bytes longer, so the lengths around it grow too.
    let (short, long) = (b"\x17\x0d160314000000Z", b"\x18\x0f20160314000000Z");
    let at = signed.windows(short.len()).position(|window| window == short).unwrap();
    let mut content = signed[4..].to_vec();
    content.splice(at - 4..at - 4 + short.len(), long.iter().copied());
    content[at - 4 - 1] += 2;
    let signed = sequence(&content);
    let signature = virtual_yubikey::attestation::sign(&KEYS[0], &signed);
    let algorithm = certificate.signature_algorithm().to_der().unwrap();
    let bits = der::asn1::BitString::from_bytes(&signature).unwrap().to_der().unwrap();
    let intermediate_der = sequence(&[signed, algorithm, bits].concat());
    let rewritten = Ders { intermediate_der, ..evidence };
    verify(&rewritten, &[root], &[], NOW).unwrap();
}

#[test]
fn evidence_that_is_no_base64url_is_malformed() {
    let (ders, root) = Chain::right().issue();
    let good = Evidence::of_der(&ders.statement_der, &ders.intermediate_der);
    for (statement, intermediate, link) in [
        (format!("{}=", good.statement), good.intermediate.clone(), Link::Statement),
        (good.statement.clone(), good.intermediate.replacen('M', "+", 1), Link::Device),
    ] {
        let refused =
            super::verify(&Evidence { statement, intermediate }, std::slice::from_ref(&root), &[], NOW);
        assert_eq!(refused, Err(AttestationError::Malformed { link }));
    }
}

proptest! {
    #[test]
    fn arbitrary_certificates_are_refused_and_break_nothing(
        junk: Vec<u8>,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        static RIGHT: LazyLock<(Ders, Vec<u8>)> = LazyLock::new(|| Chain::right().issue());
        let (evidence, root) = &*RIGHT;
        let mut changed = evidence.clone();
        for (at, byte) in changes {
            let at = at.index(changed.statement_der.len());
            changed.statement_der[at] = byte;
        }
        let accepted = verify(&changed, std::slice::from_ref(root), &[], NOW).is_ok();
        prop_assert_eq!(accepted, changed == *evidence);
        let foreign = Ders { statement_der: junk.clone(), intermediate_der: junk.clone() };
        prop_assert!(verify(&foreign, std::slice::from_ref(root), &[], NOW).is_err());
        prop_assert!(verify(evidence, &[junk], &[], NOW).is_err());
    }
}

fn sequence(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [[0x30, 0x82].as_slice(), &length, content].concat()
}
