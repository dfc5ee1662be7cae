//! The file that collects signatures under a lift, with the kills that it ends, so that a signer without a network sees
//! them too.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    cli::{exit::Problem, files, text},
    domain::{
        charter::{Charter, KeyKind, Rules},
        kill::{Kill, Lift, SignedKill},
    },
    jose::{GeneralJws, Signature, Typ},
};

/// See the module.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LiftFile {
    /// What is signed.
    pub(super) lift: Lift,
    /// The signatures so far.
    pub(super) signatures: Vec<Signature>,
    /// The kills that it ends, each under its signature.
    pub(super) kills: Vec<GeneralJws>,
}

impl LiftFile {
    pub(super) fn read(path: &Path) -> Result<Self> {
        files::read_json(path, "a lift that breakglass lift create wrote")
    }

    /// The kills that it ends: all of them, and each signed by somebody whom the charter knows.
    pub(super) fn kills(&self, charter: &Charter) -> Result<Vec<(Kill, String)>> {
        let mut kills = Vec::new();
        for jws in &self.kills {
            let signed = SignedKill::verify(jws.clone(), charter, Typ::Kill)?;
            let by = charter.holder(&signed.kid()).map(|holder| holder.principal.to_string());
            kills.push((signed.about().clone(), by.unwrap_or_default()));
        }
        let known = |id| kills.iter().any(|(kill, _)| kill.id == id);
        if self.lift.kills.len() == kills.len() && self.lift.kills.iter().all(|id| known(*id)) {
            return Ok(kills);
        }
        let message =
            "the file does not hold the kills that the lift names: make it anew with breakglass lift create";
        Err(Problem::unverified("LIFT_FILE", message).into())
    }

    /// What it ends, in plain words.
    pub(super) fn describe(&self, charter: &Charter) -> Result<String> {
        let mut lines = vec![format!("This ends, as of kill epoch {}:", self.lift.epoch)];
        for (kill, by) in self.kills(charter)? {
            lines.push(format!(
                "  {}, killed by {by}: \"{}\"",
                kill.target,
                text::safe(kill.reason.as_str())
            ));
        }
        for kid in &self.lift.suspend {
            let holder =
                charter.holder(kid).map_or_else(|| "nobody".into(), |holder| holder.principal.to_string());
            lines.push(format!(
                "  and takes the right to kill from {holder}'s key {kid}, until the next charter"
            ));
        }
        lines.push("What was ended by them stays ended.".to_owned());
        Ok(lines.join("\n"))
    }

    /// Who has signed, each signature verified.
    pub(super) fn signed_by(&self, rules: &Rules) -> Result<Vec<String>> {
        let payload = self.lift.to_bytes()?;
        let mut names = Vec::new();
        for signature in &self.signatures {
            let holder = rules.holder(&signature.header().kid);
            let holder = holder.filter(|holder| matches!(holder.kind, KeyKind::Piv { .. }));
            let verified = holder.filter(|holder| signature.verify(&payload, &holder.key, Typ::Lift).is_ok());
            let Some(holder) = verified else {
                let message = "the file holds a signature that does not verify: make it anew with breakglass lift create";
                return Err(Problem::unverified("SIGNATURE_INVALID", message).into());
            };
            names.push(holder.principal.to_string());
        }
        Ok(names)
    }

    /// What the daemon gets.
    pub(super) fn statement(&self) -> Result<GeneralJws> {
        Ok(GeneralJws { payload: self.lift.to_bytes()?, signatures: self.signatures.clone() })
    }
}
