//! The thief's tools: pkcs11-tool with the stolen PIN, sqlite3 with the stolen database, and a verifier that does not
//! know better.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use breakglass::{
    domain::claims::{Claims, LogPosition},
    jose::{CompactJwt, Digest, GeneralJws, IssuingPublicKey, Signature, TokenAlg},
};
use serde_json::{Value, json};
use testkit::SOFTHSM_MODULE;

use crate::{kit, tool::python, wish::Wish, world::World};

impl World {
    /// What pkcs11-tool does with the stolen PIN.
    pub fn pkcs11_tool(&self, arguments: &[&str]) -> Output {
        self.pkcs11_tool_on("issuing", arguments)
    }

    fn pkcs11_tool_on(&self, token: &str, arguments: &[&str]) -> Output {
        let pin = fs::read_to_string(self.path(&format!("{token}.pin"))).unwrap();
        let login = ["--module", SOFTHSM_MODULE, "--token-label", token, "--login", "--pin", pin.trim()];
        Command::new("pkcs11-tool").args(login).args(arguments).envs([self.hsm.env()]).output().unwrap()
    }

    /// Has the real issuing key sign any payload.
    pub fn mint(&self, payload: &[u8]) -> String {
        self.mint_on("issuing", &self.issuing_key().thumbprint(), payload)
    }

    /// Has the one key of a token sign an access token under this `kid`.
    pub fn mint_on(&self, token: &str, kid: &Digest, payload: &[u8]) -> String {
        let label = format!("{token}-1");
        let input = CompactJwt::signing_input(TokenAlg::Es256, kid, payload);
        let (digest, signature) = (self.path("digest"), self.path("signature"));
        fs::write(&digest, Digest::of(input.as_bytes()).as_bytes()).unwrap();
        let files = ["--input-file", digest.to_str().unwrap(), "--output-file", signature.to_str().unwrap()];
        let sign = ["--sign", "--mechanism", "ECDSA", "--signature-format", "rs", "--label", &label];
        let output = self.pkcs11_tool_on(token, &[&sign[..], &files].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        CompactJwt::assemble(&input, &fs::read(signature).unwrap())
    }

    pub fn issuing_key(&self) -> IssuingPublicKey {
        self.charter.document().issuing_keys[0].key.clone()
    }

    /// The claims that would follow if these signatures, after the requester's own, completed the quorum.
    pub fn claims(&self, wish: &Wish, approvals: Vec<Signature>, iat: i64) -> Value {
        let mut statement = wish.request();
        statement.signatures.extend(approvals);
        self.claims_with(wish, statement, iat)
    }

    pub fn claims_with(&self, wish: &Wish, statement: GeneralJws, iat: i64) -> Value {
        let grant = breakglass::domain::grant::Grant::parse(&wish.payload).unwrap();
        let permit = self.charter.permits(&grant).unwrap();
        let log = LogPosition { origin: kit::ORIGIN.parse().unwrap(), index: 7 };
        serde_json::to_value(Claims::new(&grant, &permit, statement, iat, log, None)).unwrap()
    }

    /// Runs SQL on the database, as whoever has the file can.
    pub fn sql(&self, script: &str) {
        let mut child = Command::new("sqlite3")
            .args(["-bail".as_ref(), self.database().as_os_str()])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What `PyJWT` says of these tokens with nothing but the issuing key: `accepted`, or the name of its error.
    pub fn lax(&self, tokens: &[&str]) -> Vec<String> {
        Self::lax_with(&mut Command::new(python()), "lax.py", &self.issuing_key(), tokens)
    }

    /// What a script that has nothing but an issuing key says of these tokens.
    pub fn lax_with(
        program: &mut Command,
        script: &str,
        key: &IssuingPublicKey,
        tokens: &[&str],
    ) -> Vec<String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e").join(script);
        let mut child = program.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = json!({"jwk": key.published(), "audience": kit::AUD, "tokens": tokens});
        child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    }
}
