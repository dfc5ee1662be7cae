//! Libraries written by others open what we write, and we open what they write.

use std::path::{Path, PathBuf};
use std::process::Command;

use breakglass::jose::{
    CompactJwt, Digest, GeneralJws, P256PublicKey, ProtectedHeader, Signature, TokenAlg, Typ, b64,
    json as strict, jwe,
};
use ring::rand::SystemRandom;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::keys::Key;

const PAYLOAD: &str = r#"{"reason":"Straße gesperrt, 数据库","ttl":900}"#;
const CLAIMS: &str =
    r#"{"aud":"db","exp":4102444800,"iat":1700000000,"iss":"https://bg.example","sub":"alice"}"#;
const IAT: i64 = 1_700_000_000;

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a script and returns its last line; shows everything it said if it fails.
pub fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &[&Path]) -> String {
    let output = Command::new(program.as_ref()).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} {arguments:?}\n{out}\n{err}", program.as_ref().display());
    out.trim().lines().last().unwrap_or_default().to_owned()
}

struct Parties {
    requester: Key,
    custodian: Key,
    issuer: Key,
    recipient: Key,
}

impl Parties {
    fn new() -> Self {
        Self { requester: Key::new(1), custodian: Key::new(2), issuer: Key::new(3), recipient: Key::new(4) }
    }

    fn header(key: &Key, typ: Typ, station: Option<&str>) -> ProtectedHeader {
        ProtectedHeader { kid: key.public.thumbprint(), typ, iat: IAT, station: station.map(str::to_owned) }
    }

    fn statement(key: &Key, typ: Typ, station: Option<&str>) -> Signature {
        let protected = Self::header(key, typ, station).encode().unwrap();
        let signature = key.sign(&Signature::signing_input(&protected, PAYLOAD.as_bytes()));
        Signature::new(protected, signature).unwrap()
    }

    /// What a foreign library gets: our objects, the keys, and what it should find inside.
    fn ours(&self) -> Value {
        let jws = GeneralJws {
            payload: PAYLOAD.into(),
            signatures: vec![
                Self::statement(&self.requester, Typ::Request, None),
                Self::statement(&self.custodian, Typ::Approval, Some("ops-1")),
            ],
        };
        let input =
            CompactJwt::signing_input(TokenAlg::Es256, &self.issuer.public.thumbprint(), CLAIMS.as_bytes());
        let jwt = CompactJwt::assemble(&input, &self.issuer.sign(input.as_bytes()));
        let jwe = jwe::encrypt(jwt.as_bytes(), &self.recipient.public, &SystemRandom::new()).unwrap();
        let protected = |key, typ| b64::decode(&Self::header(key, typ, None).encode().unwrap()).unwrap();
        json!({
            "payload": PAYLOAD,
            "claims": CLAIMS,
            "keys": {
                "requester": self.requester.private_jwk(),
                "custodian": self.custodian.private_jwk(),
                "issuer": self.issuer.private_jwk(),
                "recipient": self.recipient.private_jwk(),
            },
            "thumbprints": {
                "requester": self.requester.public.thumbprint(),
                "issuer": self.issuer.public.thumbprint(),
            },
            // Which headers the library shall sign with.
            "headers": [
                String::from_utf8(protected(&self.requester, Typ::Request)).unwrap(),
                String::from_utf8(protected(&self.custodian, Typ::Denial)).unwrap(),
            ],
            "jws": String::from_utf8(jws.to_json()).unwrap(),
            "jwt": jwt,
            "jwe": jwe,
        })
    }

    fn accept(&self, theirs: &Theirs) {
        let jws = GeneralJws::parse(theirs.jws.as_bytes(), 65_536).unwrap();
        assert_eq!(jws.payload, PAYLOAD.as_bytes());
        let [request, denial] = jws.signatures.as_slice() else { panic!("two signatures: {jws:?}") };
        request.verify(&jws.payload, &self.requester.public, Typ::Request).unwrap();
        denial.verify(&jws.payload, &self.custodian.public, Typ::Denial).unwrap();
        assert_eq!(jws.to_json(), theirs.jws.as_bytes());

        for token in &theirs.jwts {
            let jwt = CompactJwt::parse(token, 8192).unwrap();
            jwt.verify(&self.issuer.public.into()).unwrap();
            let claims: Value = serde_json::from_slice(jwt.payload()).unwrap();
            assert_eq!(claims, serde_json::from_str::<Value>(CLAIMS).unwrap());
        }
        for token in &theirs.jwes {
            assert_eq!(jwe::decrypt(token, &self.recipient.secret).unwrap().as_slice(), b"from afar");
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Theirs {
    jws: String,
    jwts: Vec<String>,
    jwes: Vec<String>,
}

fn exchange(script: &str, runtime: &str, argument: Option<&Path>) {
    let parties = Parties::new();
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (directory.path().join("ours.json"), directory.path().join("theirs.json"));
    std::fs::write(&ours, parties.ours().to_string()).unwrap();
    let script = root().join("tests/jose").join(script);
    let arguments: Vec<&Path> = [script.as_path(), &ours, &theirs].into_iter().chain(argument).collect();
    run(runtime, &arguments);
    parties.accept(&serde_json::from_slice(&std::fs::read(&theirs).unwrap()).unwrap());
}

#[test]
fn jwcrypto_and_pyjwt() {
    let python = run(root().join("scripts/lib/python-venv"), &[]);
    exchange("foreign.py", &python, None);
}

#[test]
fn npm_jose() {
    let modules = PathBuf::from(run(root().join("scripts/lib/node-modules"), &[]));
    exchange("foreign.mjs", "node", Some(&modules));
}

/// RFC 7638 section 3.1 has only an RSA example; these are the keys of RFC 7517 Appendix A.1 and RFC 8037 Appendix A.2.
#[test]
fn thumbprints_of_the_rfcs() {
    let ec: P256PublicKey = strict::parse(
        br#"{"crv":"P-256","kty":"EC","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#,
        999,
    )
    .unwrap();
    assert_eq!(ec.thumbprint().to_string(), "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
    let okp: breakglass::jose::Ed25519PublicKey = strict::parse(
        br#"{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        999,
    )
    .unwrap();
    assert_eq!(okp.thumbprint().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_eq!(okp.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k".parse::<Digest>().unwrap());
}
