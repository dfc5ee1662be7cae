//! Software people: keys by name, a charter that uses most of what charters have, statements with every field open to
//! change, and a log in memory that decides, folds and keeps the bytes.
//!
//! Another test binary takes it in with `#[path = "../core/kit.rs"] mod kit;`.

use breakglass::{
    domain::{
        Command, Context, Refusal, State,
        charter::{Charter, Rules},
        claims::{Claims, LogPosition},
        decide,
        event::{Actor, Entry, Event},
        grant::Grant,
        id::{InstanceId, Nonce, RequestId},
        request::{Authorization, Life},
        statement::{SignedAboutRequest, SignedGrant, SignedVerdict},
        time::Timestamp,
    },
    jose::{
        CompactJwt, Digest, GeneralJws, P256PublicKey, ProtectedHeader, Signature, TokenAlg, Typ, b64, json,
    },
};
use p256::ecdsa::{SigningKey, signature::Signer as _};
use serde_json::{Value, json};

/// When everything happens: 2027-01-15, in Unix seconds.
pub const NOW: i64 = 1_800_000_000;
/// The audience of the profile `db-read`.
pub const AUD: &str = "https://db.example.test";
/// The origin of the log.
pub const ORIGIN: &str = "log.example.test/breakglass";

/// A P-256 key that follows from its name.
#[derive(Clone)]
pub struct Key {
    secret: SigningKey,
    pub public: P256PublicKey,
}

/// The key of this name: `alice/1` is her first device, `erin/file` a file key.
pub fn key(name: &str) -> Key {
    let secret = SigningKey::from_slice(Digest::of(name.as_bytes()).as_bytes()).unwrap();
    let public = P256PublicKey::from_sec1(secret.verifying_key().to_sec1_point(false).as_bytes()).unwrap();
    Key { secret, public }
}

impl Key {
    pub fn kid(&self) -> Digest {
        self.public.thumbprint()
    }

    pub fn jwk(&self) -> Value {
        serde_json::to_value(self.public).unwrap()
    }

    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature: p256::ecdsa::Signature = self.secret.sign(message);
        signature.to_bytes().into()
    }

    /// A statement over these bytes.
    pub fn state(&self, typ: Typ, payload: &[u8], iat: i64) -> Signature {
        self.state_at(typ, payload, iat, None)
    }

    /// The same, given at a station.
    pub fn state_at(&self, typ: Typ, payload: &[u8], iat: i64, station: Option<&str>) -> Signature {
        let station = station.map(str::to_owned);
        let protected = ProtectedHeader { kid: self.kid(), typ, iat, station }.encode().unwrap();
        let bytes = self.sign(&Signature::signing_input(&protected, payload));
        Signature::new(protected, bytes).unwrap()
    }

    /// A statement of one signature.
    pub fn jws(&self, typ: Typ, payload: &[u8], iat: i64) -> GeneralJws {
        GeneralJws { payload: payload.to_vec(), signatures: vec![self.state(typ, payload, iat)] }
    }

    /// A compact JWT over any payload.
    pub fn jwt(&self, payload: &[u8]) -> String {
        let input = CompactJwt::signing_input(TokenAlg::Es256, &self.kid(), payload);
        CompactJwt::assemble(&input, &self.sign(input.as_bytes()))
    }
}

/// JCS of any JSON, without judging it.
pub fn bytes(value: &Value) -> Vec<u8> {
    json::canonical(value).unwrap()
}

/// 128 bits from a name.
pub fn nonce(name: &str) -> String {
    b64::encode(&Digest::of(name.as_bytes()).as_bytes()[..16])
}

/// A device's record.
pub fn device(name: &str, serial: u32) -> Value {
    json!({"kind": "piv", "key": key(name).jwk(), "serial": serial, "firmware": "5.7.4"})
}

/// A good charter, in which each person and tool is there for a reason.
///
/// - alice and carol are custodians with two devices, bob with one; gus is one until `NOW + 1000`;
/// - dave is custodian and requester, with two devices and a file key;
/// - erin is a requester with a file key and a certificate, hank one with a hardware key, ivan one until `NOW + 1000`;
/// - pager is a tool of carol's that files for itself and for erin.
pub fn document() -> Value {
    let person = |id: &str, roles: Value| json!({"id": id, "name": id.to_uppercase(), "roles": roles});
    let with = |mut person: Value, members: Value| {
        person.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        person
    };
    let custodian =
        |id: &str, devices: Value| with(person(id, json!(["custodian"])), json!({"devices": devices}));
    let read = json!([{"type": "database", "actions": ["read", "explain"], "locations": ["pg/prod/*"]}]);
    let write = json!([{"type": "database", "actions": ["write"], "locations": ["pg/prod/*"], "identifiers": ["t_*"]}]);
    let anyone = json!({"threshold": 2, "of": ["alice", "bob", "carol", "dave", "gus"]});
    let profile = |id: &str, members: Value| {
        let plain = json!({"id": id, "description": "Emergency access", "quorum": anyone, "aud": AUD,
            "authorization_details": read, "max_ttl": 900, "approval_window": 3600, "requester_key": "file"});
        with(plain, members)
    };
    json!({
        "version": 1, "nonce": nonce("charter"), "iss": "https://breakglass.example.test", "development": true,
        "issued_at": NOW - 3600, "expires_at": NOW + 80 * 86_400,
        "persons": [
            custodian("alice", json!([device("alice/1", 101), device("alice/2", 102)])),
            custodian("bob", json!([device("bob/1", 201)])),
            custodian("carol", json!([device("carol/1", 301), device("carol/2", 302)])),
            with(person("dave", json!(["custodian", "requester"])), json!({
                "devices": [device("dave/1", 401), device("dave/2", 402)], "keys": [key("dave/file").jwk()]})),
            with(person("erin", json!(["requester", "auditor"])), json!({
                "keys": [key("erin/file").jwk()], "certificates": [Digest::of(b"erin's certificate")]})),
            with(custodian("gus", json!([device("gus/1", 501)])), json!({"term": {"until": NOW + 1000}})),
            with(person("hank", json!(["requester"])), json!({"devices": [device("hank/1", 601)]})),
            with(person("ivan", json!(["requester"])), json!({
                "keys": [key("ivan/file").jwk()], "term": {"until": NOW + 1000}})),
        ],
        "clients": [{"id": "pager", "owners": ["carol"], "roles": ["requester"], "subjects": ["erin", "ivan"],
            "keys": [key("pager/file").jwk()]}],
        "groups": {"ops": ["carol", "dave"], "security": ["alice", "bob"]},
        "profiles": [
            profile("db-read", json!({})),
            profile("db-write", json!({"aud": "https://write.example.test", "authorization_details": write,
                "quorum": {"threshold": 2, "of": [{"threshold": 1, "of": "security"}, {"threshold": 1, "of": "ops"}]}})),
            profile("careful", json!({"requester_key": "piv", "cooldown": 1200, "stations": true,
                "denials": {"threshold": 2, "of": ["alice", "bob", "carol", "dave"]}})),
        ],
        "governance": {"threshold": 2, "of": ["alice", "bob", "carol", "dave"]},
        "issuing_keys": [
            {"key": key("hsm/1").jwk(), "profiles": ["db-read", "db-write", "careful"], "state": "active"},
            {"key": key("hsm/old").jwk(), "profiles": ["db-read"], "state": "deactivated"},
            {"key": key("hsm/bad").jwk(), "profiles": ["db-read"], "state": "compromised"},
        ],
        "log_keys": [{"origin": ORIGIN, "key": {"kty": "OKP", "crv": "Ed25519", "x": b64::encode(&[7; 32])}}],
        "daemons": [{"id": "d1", "spki": Digest::of(b"the daemon's TLS key")}],
        "attestation": {},
    })
}

/// The devices that sign the charter of [`document`].
pub const DEVICES: [&str; 8] =
    ["alice/1", "alice/2", "bob/1", "carol/1", "carol/2", "dave/1", "dave/2", "gus/1"];

/// The bytes of a charter document, sets in their order.
pub fn payload(document: &Value) -> Vec<u8> {
    match serde_json::from_value::<breakglass::domain::charter::Document>(document.clone()) {
        Ok(typed) => json::canonical(&typed).unwrap(),
        Err(_) => bytes(document),
    }
}

/// A charter under the signatures of these devices.
pub fn signed(payload: &[u8], devices: &[&str]) -> GeneralJws {
    signed_at(payload, devices, NOW - 3600)
}

/// The same, signed at this second.
pub fn signed_at(payload: &[u8], devices: &[&str], iat: i64) -> GeneralJws {
    let signatures = devices.iter().map(|device| key(device).state(Typ::Charter, payload, iat)).collect();
    GeneralJws { payload: payload.to_vec(), signatures }
}

/// The charter in force in most tests.
pub fn charter() -> Charter {
    charter_of(&document())
}

/// Puts a changed document in force, signed by the devices of [`document`].
pub fn charter_of(document: &Value) -> Charter {
    let payload = payload(document);
    Charter::genesis(signed(&payload, &DEVICES), Digest::of(&payload)).unwrap()
}

/// A grant that the charter permits: erin asks for a minute of reading, at `NOW`.
pub fn grant(rules: &Rules) -> Value {
    grant_named(rules, "a grant")
}

/// The same with keys and nonce of its own.
pub fn grant_named(rules: &Rules, name: &str) -> Value {
    json!({
        "iss": rules.document().iss, "charter": rules.digest(), "profile": "db-read", "nonce": nonce(name),
        "sub": "erin", "client_id": "erin", "requester_key": key("erin/file").kid(), "aud": AUD,
        "authorization_details": [{"type": "database", "actions": ["read"], "locations": ["pg/prod/orders"]}],
        "reason": "Orders are stuck", "incident": "INC-42", "ttl": 60,
        "cnf": {"jkt": key(&format!("{name}/cnf")).kid()}, "redeem_key": key(&format!("{name}/redeem")).jwk(),
        "requested_at": NOW, "expires_at": NOW + 600, "drill": false,
    })
}

/// Overwrites members of a JSON object; `null` removes one.
pub fn patch(mut value: Value, changes: Value) -> Value {
    let object = value.as_object_mut().unwrap();
    for (name, change) in changes.as_object().unwrap() {
        if change.is_null() {
            object.remove(name)
        } else {
            object.insert(name.clone(), change.clone())
        };
    }
    value
}

/// A log in memory, and the daemon that writes it.
pub struct Log {
    pub state: State,
    pub entries: Vec<Vec<u8>>,
    pub instance: InstanceId,
    pub pinned: Digest,
}

impl Log {
    /// With the charter adopted at `NOW - 600`.
    pub fn new(charter: &Charter) -> Self {
        let mut log = Self {
            state: State::default(),
            entries: Vec::new(),
            instance: "d1.first".parse().unwrap(),
            pinned: charter.digest(),
        };
        let command = Command::Adopt { charter: Box::new(charter.clone()), evidence: Vec::new() };
        log.run(&command, (NOW - 600) * 1000).unwrap();
        log
    }

    pub fn charter(&self) -> Charter {
        self.state.charter().unwrap().clone()
    }

    /// Decides at `at` (milliseconds), and folds what follows.
    pub fn run(&mut self, command: &Command, at: i64) -> Result<Vec<Event>, Refusal> {
        let now = Timestamp::from_millis(at);
        let context = Context { now, index: self.state.size(), instance: self.instance.clone() };
        let events = decide(&self.state, command, &context)?;
        for event in &events {
            self.append(now, self.actor(command), event);
        }
        Ok(events)
    }

    fn actor(&self, command: &Command) -> Actor {
        match command {
            Command::File(_)
            | Command::Judge(_)
            | Command::Withdraw(_)
            | Command::Redeem(_)
            | Command::Kill(_)
            | Command::Lift(_) => Actor::Peer { key: Some(Digest::of(b"a client")) },
            _ => Actor::Daemon { instance: self.instance.clone() },
        }
    }

    fn append(&mut self, at: Timestamp, actor: Actor, event: &Event) {
        let salt = Nonce::try_from(nonce(&self.entries.len().to_string())).unwrap();
        let entry = Entry { v: 1, at, actor, salt, event: event.clone() };
        self.state.evolve(&entry).unwrap();
        self.entries.push(entry.to_bytes().unwrap());
    }

    /// Files a grant under a key, at the grant's own time.
    pub fn file(&mut self, grant: &Value, by: &str) -> Result<RequestId, Refusal> {
        self.file_at(grant, by, grant["requested_at"].as_i64().unwrap() * 1000)
    }

    /// The same at any time, in milliseconds.
    pub fn file_at(&mut self, grant: &Value, by: &str, at: i64) -> Result<RequestId, Refusal> {
        let payload = bytes(grant);
        let jws = key(by).jws(Typ::Request, &payload, grant["requested_at"].as_i64().unwrap());
        let signed = SignedGrant::verify(jws, &self.charter())?;
        self.run(&Command::File(Box::new(signed)), at)?;
        Ok(Grant::id_of(&payload))
    }

    /// Approves or denies with a device, signing and submitting at `at` seconds.
    pub fn judge(&mut self, id: &RequestId, device: &str, typ: Typ, at: i64) -> Result<Vec<Event>, Refusal> {
        let payload = self.state.request(id).ok_or(Refusal::RequestUnknown(*id))?.payload().to_vec();
        let signature = key(device).state(typ, &payload, at);
        self.submit(&payload, signature, at)
    }

    /// Submits a custodian's signature at `at` seconds.
    pub fn submit(&mut self, payload: &[u8], signature: Signature, at: i64) -> Result<Vec<Event>, Refusal> {
        let signed = SignedVerdict::verify(payload, signature, &self.charter())?;
        self.run(&Command::Judge(Box::new(signed)), at * 1000)
    }

    pub fn approve(&mut self, id: &RequestId, device: &str, at: i64) -> Result<Vec<Event>, Refusal> {
        self.judge(id, device, Typ::Approval, at)
    }

    /// The command of a withdrawal or redemption.
    pub fn about(&self, id: &RequestId, by: &str, typ: Typ, at: i64, tag: &str) -> Result<Command, Refusal> {
        let rules = self.charter();
        let payload = bytes(&json!({"iss": rules.document().iss, "charter": rules.digest(),
            "request_id": id, "nonce": nonce(tag)}));
        let signed = SignedAboutRequest::verify(key(by).jws(typ, &payload, at), &rules, typ)?;
        Ok(if typ == Typ::Redeem {
            Command::Redeem(Box::new(signed))
        } else {
            Command::Withdraw(Box::new(signed))
        })
    }

    pub fn withdraw(&mut self, id: &RequestId, by: &str, at: i64) -> Result<Vec<Event>, Refusal> {
        let command = self.about(id, by, Typ::Withdrawal, at, "withdrawal")?;
        self.run(&command, at * 1000)
    }

    pub fn redeem(&mut self, id: &RequestId, by: &str, at: i64, tag: &str) -> Result<Vec<Event>, Refusal> {
        let command = self.about(id, by, Typ::Redeem, at, tag)?;
        self.run(&command, at * 1000)
    }

    pub fn authorization(&self, id: &RequestId) -> Authorization {
        match self.state.request(id).unwrap().life() {
            Life::Authorized(authorization) | Life::Issued { authorization, .. } => authorization.clone(),
            Life::Pending { .. } => panic!("the request is pending"),
        }
    }

    /// The claims of an authorized request.
    pub fn claims(&self, id: &RequestId) -> Claims {
        let authorization = self.authorization(id);
        let request = self.state.request(id).unwrap();
        let charter = self.state.charter_named(&request.grant().charter).unwrap();
        let permit = charter.permits(request.grant()).unwrap();
        let log = LogPosition { origin: ORIGIN.parse().unwrap(), index: authorization.index };
        let approvals = request.with_signatures(&authorization.approvals);
        Claims::new(request.grant(), &permit, approvals, authorization.iat, log, authorization.status)
    }

    /// Signs the claims with the authorized issuing key and records that, at `at` seconds.
    pub fn issue(&mut self, id: &RequestId, at: i64) -> Result<String, Refusal> {
        let kid = self.authorization(id).kid;
        let issuing = ["hsm/1", "hsm/2"].map(key).into_iter().find(|key| key.kid() == kid).unwrap();
        let jwt = issuing.jwt(&self.claims(id).to_bytes().unwrap());
        let command =
            Command::Issued { request: *id, jwt: Digest::of(jwt.as_bytes()), jwe: "e30.e30".to_owned() };
        self.run(&command, at * 1000).map(|_| jwt)
    }
}

/// A whole good flow: filed at `NOW`, approved by alice and bob, and issued; the log, the id and the token.
pub fn flow() -> (Log, RequestId, String) {
    let mut log = Log::new(&charter());
    let id = log.file(&grant(&log.charter()), "erin/file").unwrap();
    log.approve(&id, "alice/1", NOW + 5).unwrap();
    log.approve(&id, "bob/1", NOW + 10).unwrap();
    let jwt = log.issue(&id, NOW + 11).unwrap();
    (log, id, jwt)
}
