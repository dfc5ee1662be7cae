//! What a kill may hit.

use super::Target;
use crate::{
    domain::{grant::Grant, id::RequestId},
    jose::Digest,
};

/// What a kill may hit: a request, or the token that came of it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its id, which is the `jti`.
    pub id: RequestId,
    /// What is asked.
    pub grant: &'a Grant,
    /// The keys that approved it.
    pub approvers: &'a [Digest],
    /// The key that issues the token, where it is known.
    pub issuer: Option<&'a Digest>,
}

impl Subject<'_> {
    /// Whether a kill of this target stops it.
    #[must_use]
    pub fn is_hit(&self, target: &Target) -> bool {
        match target {
            Target::All => true,
            Target::Jti(id) | Target::Request(id) => *id == self.id,
            Target::Requester(id) => *id == self.grant.sub || *id == self.grant.client_id,
            Target::Profile(id) => *id == self.grant.profile,
            Target::Key(kid) => {
                *kid == self.grant.requester_key
                    || self.approvers.contains(kid)
                    || self.issuer.is_some_and(|issuer| issuer == kid)
            }
        }
    }

    /// Every target that would stop it, the widest first.
    pub(super) fn targets(&self) -> impl Iterator<Item = Target> {
        let keys = self.issuer.into_iter().chain([&self.grant.requester_key]).chain(self.approvers);
        [Target::All]
            .into_iter()
            .chain(keys.copied().map(Target::Key))
            .chain([Target::Profile(self.grant.profile.clone())])
            .chain([&self.grant.sub, &self.grant.client_id].into_iter().cloned().map(Target::Requester))
            .chain([Target::Request(self.id), Target::Jti(self.id)])
    }
}
