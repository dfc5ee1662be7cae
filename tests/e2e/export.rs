//! The log in the hands of an auditor: `breakglass audit export` and `breakglass audit verify` on what the daemon wrote.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use breakglass::grpc::cert::self_signed;
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
use serde_json::{Value, json};

use crate::{client::secret, secrets::files, world::World};

/// Each file of the export is flipped at this many places.
const PLACES: usize = 24;

/// `breakglass` as erin, the auditor.
struct Auditor<'a> {
    world: &'a World,
    config: PathBuf,
}

impl<'a> Auditor<'a> {
    fn new(world: &'a World) -> Self {
        let key = secret("erin/file");
        let pem = key.to_pkcs8_pem(LineEnding::LF).unwrap();
        fs::write(world.path("erin.key"), pem.as_bytes()).unwrap();
        fs::set_permissions(world.path("erin.key"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(world.path("erin.pem"), self_signed(&key, "erin", &[]).unwrap()).unwrap();
        let config = world.path("client.toml");
        let (port, genesis) = (world.ports().grpc, world.charter.digest());
        let text = format!(
            "daemon = \"https://127.0.0.1:{port}\"\ngenesis = \"{genesis}\"\ncharter = \"charter.json\"\n\
             key = \"erin.key\"\ncertificate = \"erin.pem\"\n"
        );
        fs::write(&config, text).unwrap();
        Self { world, config }
    }

    fn run(&self, arguments: &[&str], path: &Path) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_breakglass"));
        command
            .arg("--config")
            .arg(&self.config)
            .args(arguments)
            .arg(path)
            .current_dir(self.world.dir.path());
        command.output().unwrap()
    }
}

#[test]
fn an_auditor_exports_and_verifies_the_log_and_is_told_of_flipped_bytes() {
    let world = World::new();
    let _daemon = world.start();
    let client = world.client("erin/file");
    world.wish(json!({})).grant_all(&client).unwrap();
    let denied = world.wish(json!({}));
    denied.file(&client).unwrap();
    denied.deny(&client, "carol/1").unwrap();
    world.wish(json!({})).grant_all(&client).unwrap();
    client.checkpoint().unwrap();
    let (auditor, copy) = (Auditor::new(&world), world.path("copy"));
    let export = auditor.run(&["audit", "export"], &copy);
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    let verified = auditor.run(&["--json", "audit", "verify"], &copy);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let verified: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(verified["valid"], true);
    assert!(verified["events"]["request_denied"] == 1 && verified["events"]["issuance_authorized"] == 2);

    let mut copied = Vec::new();
    files(&copy, &mut copied);
    assert!(copied.len() >= 2, "{copied:?}");
    let mut told = 0;
    for path in copied {
        let good = fs::read(&path).unwrap();
        for place in (0..good.len()).step_by((good.len() / PLACES).max(1)) {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(&path, bad).unwrap();
            let output = auditor.run(&["audit", "verify"], &copy);
            assert!(!output.status.success(), "byte {place} of {} is flipped", path.display());
            told += 1;
        }
        fs::write(&path, good).unwrap();
    }
    assert!(told > PLACES);
    assert!(auditor.run(&["audit", "verify"], &copy).status.success(), "and it was nothing else");
}
