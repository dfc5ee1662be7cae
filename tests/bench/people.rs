//! Software people who sign as fast as they can, so that the load costs the machine little.
//!
//! The keys are those of the kit, by name; signing is ring's, which takes a fraction of the time of the kit's.

use std::sync::atomic::{AtomicU64, Ordering};

use breakglass::{
    domain::{grant::Grant, id::RequestId},
    jose::{Digest, GeneralJws, P256PublicKey, ProtectedHeader, Signature, Typ},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use crate::{
    client::secret,
    flows::CLIENTS,
    kit,
    world::{World, canonical},
};

/// Seconds that a token lives: short, so that a run of some seconds has expired ones too.
const TTL: i64 = 3;
/// Keys of each client: the daemon lets each call 50 times a second and 300 times at once, and that limit stays as it is.
const KEYS: usize = 20;

/// A P-256 key that signs with ring.
pub struct Signer {
    pub public: P256PublicKey,
    kid: Digest,
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    /// The kit's key of this name.
    pub fn named(name: &str) -> Self {
        let (public, random) = (kit::key(name).public, SystemRandom::new());
        let (algorithm, secret) = (&ECDSA_P256_SHA256_FIXED_SIGNING, secret(name).to_bytes());
        let pair =
            EcdsaKeyPair::from_private_key_and_public_key(algorithm, &secret, &public.to_sec1(), &random);
        Self { public, kid: public.thumbprint(), pair: pair.unwrap(), random }
    }

    /// A statement over these bytes.
    pub fn state(&self, typ: Typ, payload: &[u8], iat: i64) -> Signature {
        let protected = ProtectedHeader { kid: self.kid, typ, iat, station: None }.encode().unwrap();
        Signature::new(protected.clone(), self.sign(&Signature::signing_input(&protected, payload))).unwrap()
    }

    /// An ES256 signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(&self.random, message).unwrap().as_ref().try_into().unwrap()
    }

    /// A statement of one signature.
    pub fn jws(&self, typ: Typ, payload: &[u8], iat: i64) -> GeneralJws {
        GeneralJws { payload: payload.to_vec(), signatures: vec![self.state(typ, payload, iat)] }
    }
}

/// Everybody whom a flow takes.
pub struct People {
    pub erin: Signer,
    pub alice: Signer,
    pub bob: Signer,
    /// The grant without what differs, and the members of a statement about one.
    grant: Value,
    about: Value,
    random: SystemRandom,
}

/// A grant somebody wishes for.
pub struct Wish {
    pub payload: Vec<u8>,
    pub id: RequestId,
    pub at: i64,
    /// PKCS #8 of the key that opens the token.
    pub redeem_key: Vec<u8>,
}

impl People {
    pub fn of(world: &World) -> Self {
        let [erin, alice, bob] = ["erin/file", "alice/1", "bob/1"].map(Signer::named);
        let mut grant = kit::grant_named(&world.charter, "the grant of the benchmark");
        grant["requester_key"] = json!(erin.kid);
        grant["ttl"] = json!(TTL);
        let about = json!({"iss": grant["iss"], "charter": grant["charter"]});
        Self { erin, alice, bob, grant, about, random: SystemRandom::new() }
    }

    /// A grant with keys and nonce of its own, asked for at this second.
    pub fn wish(&self, at: i64) -> Wish {
        let (algorithm, name) = (&ECDSA_P256_SHA256_FIXED_SIGNING, unique("wish"));
        let redeem_key = EcdsaKeyPair::generate_pkcs8(algorithm, &self.random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, redeem_key.as_ref(), &self.random).unwrap();
        let public = P256PublicKey::from_sec1(pair.public_key().as_ref()).unwrap();
        let mut grant = self.grant.clone();
        grant["nonce"] = json!(kit::nonce(&name));
        grant["cnf"] = json!({"jkt": Digest::of(name.as_bytes())});
        grant["redeem_key"] = json!(public);
        grant["requested_at"] = json!(at);
        grant["expires_at"] = json!(at + 60);
        let payload = canonical(&grant);
        let id = Grant::id_of(&payload);
        Wish { payload, id, at, redeem_key: redeem_key.as_ref().to_vec() }
    }

    /// The requester's own signed wish to have the token now.
    pub fn redemption(&self, id: &RequestId, at: i64) -> GeneralJws {
        let mut about = self.about.clone();
        about["request_id"] = json!(id);
        about["nonce"] = json!(kit::nonce(&unique("redemption")));
        self.erin.jws(Typ::Redeem, &canonical(&about), at)
    }
}

fn unique(what: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{what} {}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Names of the TLS keys under which the clients connect; all of them are erin's.
pub struct Carriers(Vec<Vec<String>>);

impl Carriers {
    pub fn new() -> Self {
        let name = |client, key| format!("carrier {client}/{key}");
        Self((0..CLIENTS).map(|client| (0..KEYS).map(|key| name(client, key)).collect()).collect())
    }

    /// The keys of one client.
    pub fn of(&self, client: usize) -> &[String] {
        &self.0[client]
    }

    /// The charter with all of them in it, in force for long enough to hold a long log.
    pub fn enrol(&self, mut document: Value) -> Value {
        let issued_at = document["issued_at"].as_i64().unwrap();
        document["issued_at"] = json!(issued_at - 30 * 86_400);
        let persons = document["persons"].as_array_mut().unwrap();
        let erin = persons.iter_mut().find(|person| person["id"] == "erin").unwrap();
        let keys = erin["keys"].as_array_mut().unwrap();
        keys.extend(self.0.iter().flatten().map(|name| kit::key(name).jwk()));
        document
    }
}
