//! The card as a state machine, without pcscd: what it demands, what it forgets, what it keeps.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do, by panicking")]
#![expect(clippy::indexing_slicing, reason = "an answer too short is a failed test")]

use getrandom::SysRng;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use proptest::prelude::*;
use rand_core::UnwrapErr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use virtual_yubikey::attestation::AttestationCa;
use virtual_yubikey::{Card, CardState, Finger, TouchMode, Version};

static FACTORY: LazyLock<CardState> = LazyLock::new(|| {
    let mut rng = UnwrapErr(SysRng);
    let ca = AttestationCa::create(&mut rng).unwrap();
    CardState::factory(4711, Version::V5_7_4, &ca, &mut rng).unwrap()
});

const PIV: [u8; 10] = [0, 0xa4, 4, 0, 5, 0xa0, 0, 0, 3, 8];
const OK: u16 = 0x9000;
const SECURITY: u16 = 0x6982;
const BLOCKED: u16 = 0x6983;

struct Client {
    card: Card,
    finger: Finger,
}

impl Client {
    fn new() -> Self {
        Self::of(FACTORY.clone())
    }

    fn of(state: CardState) -> Self {
        let finger = Finger::new(TouchMode::Grant);
        let mut client = Self { card: Card::new(state, finger.clone()), finger };
        assert_eq!(client.send(&PIV).1, OK);
        client
    }

    fn send(&mut self, apdu: &[u8]) -> (Vec<u8>, u16) {
        let mut answer = self.card.transmit(apdu);
        let status = answer.split_off(answer.len() - 2);
        (answer, u16::from_be_bytes([status[0], status[1]]))
    }

    /// A command of any length, chained, and its whole answer.
    fn command(&mut self, ins: u8, p1: u8, p2: u8, data: &[u8]) -> (Vec<u8>, u16) {
        let mut chunks = data.chunks(255).collect::<Vec<_>>();
        let last = chunks.pop().unwrap_or_default();
        for chunk in chunks {
            assert_eq!(self.send(&[&[0x10, ins, p1, p2, 255], chunk].concat()).1, OK);
        }
        let length = u8::try_from(last.len()).unwrap();
        let (mut answer, mut status) = self.send(&[&[0, ins, p1, p2, length], last].concat());
        while status >> 8 == 0x61 {
            let (more, next) = self.send(&[0, 0xc0, 0, 0, 0]);
            answer.extend(more);
            status = next;
        }
        (answer, status)
    }

    fn verify(&mut self, pin: &[u8]) -> u16 {
        let mut value = pin.to_vec();
        value.resize(8, 0xff);
        self.command(0x20, 0, 0x80, &value).1
    }

    /// Proves the management key the one-sided way, with the factory's AES-192 key.
    fn administer(&mut self) {
        use aes::cipher::{BlockCipherEncrypt, KeyInit};
        let (challenge, status) = self.command(0x87, 0x0a, 0x9b, &[0x7c, 2, 0x81, 0]);
        assert_eq!(status, OK);
        let key = [1, 2, 3, 4, 5, 6, 7, 8].repeat(3);
        let mut block = aes::Block::try_from(&challenge[4..20]).unwrap();
        aes::Aes192::new_from_slice(&key).unwrap().encrypt_block(&mut block);
        let response = [&[0x7c, 18, 0x82, 16], block.as_slice()].concat();
        assert_eq!(self.command(0x87, 0x0a, 0x9b, &response).1, OK);
    }

    /// A new P-256 key with these policies; its public point.
    fn generate(&mut self, slot: u8, pin: u8, touch: u8) -> Vec<u8> {
        self.administer();
        let template = [0xac, 9, 0x80, 1, 0x11, 0xaa, 1, pin, 0xab, 1, touch];
        let (answer, status) = self.command(0x47, 0, slot, &template);
        assert_eq!(status, OK);
        answer[5..].to_vec()
    }

    fn sign(&mut self, slot: u8) -> (Vec<u8>, u16) {
        self.command(0x87, 0x11, slot, &[&[0x7c, 36, 0x82, 0, 0x81, 32], [0x77; 32].as_slice()].concat())
    }
}

#[test]
fn a_signature_verifies_with_the_key_that_was_generated() {
    let mut client = Client::new();
    let point = client.generate(0x9c, 1, 1);
    let (answer, status) = client.sign(0x9c);
    assert_eq!(status, OK);
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).unwrap();
    let signature = p256::ecdsa::Signature::from_der(&answer[4..]).unwrap();
    key.verify_prehash(&[0x77; 32], &signature).unwrap();
}

#[test]
fn pin_policies_demand_what_they_say() {
    let mut client = Client::new();
    client.generate(0x9a, 1, 1);
    client.generate(0x9d, 2, 1);
    client.generate(0x9c, 3, 1);
    assert_eq!(client.sign(0x9a).1, OK, "never");
    assert_eq!((client.sign(0x9d).1, client.sign(0x9c).1), (SECURITY, SECURITY));
    assert_eq!(client.verify(b"123456"), OK);
    assert_eq!((client.sign(0x9d).1, client.sign(0x9d).1), (OK, OK), "once");
    assert_eq!(client.sign(0x9c).1, SECURITY, "the signature before it used up the PIN");
    assert_eq!(client.verify(b"123456"), OK);
    assert_eq!(client.command(0xcb, 0x3f, 0xff, &[0x5c, 1, 0x7e]).1, OK, "reading does not");
    assert_eq!((client.sign(0x9c).1, client.sign(0x9c).1), (OK, SECURITY), "always");
}

#[test]
fn touch_policies_demand_what_they_say() {
    let mut client = Client::new();
    client.generate(0x9a, 1, 1);
    client.generate(0x9c, 1, 2);
    client.generate(0x9d, 1, 3);
    client.finger.set(TouchMode::Refuse);
    assert_eq!(client.sign(0x9a).1, OK, "never");
    assert_eq!((client.sign(0x9c).1, client.sign(0x9d).1), (SECURITY, SECURITY));
    client.finger.set(TouchMode::Delay { ms: 120 });
    let started = Instant::now();
    assert_eq!((client.sign(0x9c).1, client.sign(0x9c).1), (OK, OK), "always");
    assert!(started.elapsed() >= Duration::from_millis(240));
    client.finger.set(TouchMode::Refuse);
    assert_eq!(client.sign(0x9d).1, OK, "cached: touched a moment ago");
    assert_eq!((client.finger.counts().asked, client.finger.counts().given), (4, 2));
}

#[test]
fn losing_power_loses_the_session_and_nothing_else() {
    let mut client = Client::new();
    let point = client.generate(0x9c, 2, 1);
    assert_eq!(client.verify(b"000000"), 0x63c2);
    assert_eq!(client.verify(b"123456"), OK);
    client.card.reset();
    assert_eq!(client.sign(0x9c).1, 0x6d00, "no application is selected");
    client.send(&PIV);
    assert_eq!(client.sign(0x9c).1, SECURITY, "the PIN is forgotten");
    assert_eq!(client.command(0x47, 0, 0x9c, &[0xac, 3, 0x80, 1, 0x11]).1, SECURITY);
    // Through the file and back.
    let file = serde_json::to_vec(client.card.state()).unwrap();
    let mut client = Client::of(serde_json::from_slice(&file).unwrap());
    let (metadata, _) = client.command(0xf7, 0, 0x9c, &[]);
    assert!(metadata.ends_with(&point[2..]), "the key is the same");
}

#[test]
fn a_blocked_pin_is_unblocked_by_the_puk_and_both_blocked_allow_a_reset() {
    let mut client = Client::new();
    client.generate(0x9c, 1, 1);
    let wrong = [0x63c2, 0x63c1, BLOCKED, BLOCKED];
    assert_eq!([0; 4].map(|_: u8| client.verify(b"000000")), wrong);
    assert_eq!(client.verify(b"123456"), BLOCKED);
    let unblock = |client: &mut Client, puk: &[u8; 8]| {
        client.command(0x2c, 0, 0x80, &[puk.as_slice(), b"24681357"].concat()).1
    };
    assert_eq!(unblock(&mut client, b"12345678"), OK);
    assert_eq!(client.verify(b"24681357"), OK);
    assert_eq!(client.command(0xfb, 0, 0, &[]).1, 0x6985, "no reset while anything is left");
    for _ in 0..3 {
        client.verify(b"000000");
        unblock(&mut client, b"00000000");
    }
    assert_eq!(client.command(0xfb, 0, 0, &[]).1, OK);
    assert_eq!(client.verify(b"123456"), OK, "the factory's PIN");
    assert_eq!(client.sign(0x9c).1, 0x6a88, "the key is gone");
    client.generate(0x9c, 1, 1);
    assert_eq!(client.command(0xf9, 0x9c, 0, &[]).1, OK, "but the attestation key is not");
}

#[test]
fn only_what_was_made_here_is_attested() {
    let mut client = Client::new();
    assert_eq!(client.command(0xf9, 0x9c, 0, &[]).1, 0x6a88, "nothing there");
    client.administer();
    let import = [&[0x06, 32], [5; 32].as_slice()].concat();
    assert_eq!(client.command(0xfe, 0x11, 0x9c, &import).1, OK);
    assert_eq!(client.command(0xf9, 0x9c, 0, &[]).1, 0x6a80, "imported");
    client.generate(0x9c, 3, 2);
    let (statement, status) = client.command(0xf9, 0x9c, 0, &[]);
    assert_eq!((status, statement[0]), (OK, 0x30));
    assert!(statement.len() > 256, "longer than one answer");
}

#[test]
fn objects_are_kept_deleted_and_guarded() {
    let mut client = Client::new();
    let object = |content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[0x5c, 3, 0x5f, 0xc1, 0x0a, 0x53, 0x82], length.as_slice(), content].concat()
    };
    let name = [0x5c, 3, 0x5f, 0xc1, 0x0a];
    assert_eq!(client.command(0xdb, 0x3f, 0xff, &object(&[1; 2000])).1, SECURITY);
    client.administer();
    assert_eq!(client.command(0xdb, 0x3f, 0xff, &object(&[1; 2000])).1, OK);
    let (read, status) = client.command(0xcb, 0x3f, 0xff, &name);
    assert_eq!((status, read.len(), read.last()), (OK, 2004, Some(&1)));
    assert_eq!(client.command(0xdb, 0x3f, 0xff, &[&name, [0x53, 0].as_slice()].concat()).1, OK);
    assert_eq!(client.command(0xcb, 0x3f, 0xff, &name).1, 0x6a82, "deleted");
    let printed = [0x5c, 3, 0x5f, 0xc1, 0x09];
    assert_eq!(client.command(0xcb, 0x3f, 0xff, &printed).1, SECURITY);
    client.verify(b"123456");
    assert_eq!(client.command(0xcb, 0x3f, 0xff, &printed).1, 0x6a82, "readable, and empty");
}

#[test]
fn extended_lengths_say_the_same_as_chains() {
    let mut client = Client::new();
    client.generate(0x9c, 3, 2);
    let (whole, status) = client.send(&[0, 0xf9, 0x9c, 0, 0, 0, 0]);
    assert!(status == OK && whole.len() > 256, "{} bytes at once", whole.len());
    // Each statement has its own number: compare another answer.
    let name = [0x5c, 3, 0x5f, 0xff, 0x01];
    let (chained, _) = client.command(0xcb, 0x3f, 0xff, &name);
    let (whole, status) = client.send(&[&[0, 0xcb, 0x3f, 0xff, 0, 0, 5], name.as_slice(), &[0, 0]].concat());
    assert_eq!((whole, status), (chained, OK));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_command_breaks_the_card_or_gives_away_a_signature(
        commands in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..30),
        instructions in prop::collection::vec(prop::sample::select(vec![
            0x20u8, 0x24, 0x2c, 0x47, 0x87, 0xa4, 0xc0, 0xcb, 0xdb, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfd, 0xfe, 0xff,
        ]), 30),
    ) {
        let mut client = Client::new();
        client.generate(0x9c, 3, 2);
        client.card.reset();
        client.send(&PIV);
        for (mut command, instruction) in commands.into_iter().zip(instructions) {
            if command.len() > 2 {
                command[0] &= 0x10;
                command[1] = instruction;
            }
            prop_assert!(client.card.transmit(&command).len() >= 2);
        }
        prop_assert_eq!(client.finger.counts().asked, 0, "nobody knew the PIN");
    }
}
