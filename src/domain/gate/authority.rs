//! Whose gate it is: the same function in daemon, auditor and client.

use super::GateRefusal;
use crate::{
    domain::{
        charter::{Rules, Verifier},
        refusal::Refusal,
    },
    jose::Digest,
};

impl Rules {
    /// The verifier whose key this is.
    pub fn verifier_of(&self, kid: &Digest) -> Result<&Verifier, Refusal> {
        let holder = self.holder(kid).ok_or(Refusal::KeyUnknown)?;
        let mut verifiers = self.document().verifiers.iter();
        let own = verifiers.find(|verifier| verifier.id == holder.principal);
        own.ok_or_else(|| GateRefusal::NotAVerifier.into())
    }
}
