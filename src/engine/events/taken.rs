//! Which events a verifier has taken, in a file of its own.
//!
//! Invariants: no more ids are kept than events are due, so that the file is bounded; a file that is lost or damaged means
//! that events are told again, never that one is not.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use crate::{
    domain::{id::PrincipalId, security_event::Due},
    jose::Digest,
};

/// The ids.
#[derive(Debug, Clone, Default)]
pub(super) struct Taken(BTreeSet<Digest>);

impl Taken {
    pub(super) fn read(folder: Option<&Path>, verifier: &PrincipalId) -> Self {
        let bytes = folder.and_then(|folder| fs::read(folder.join(file(verifier))).ok());
        Self(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    pub(super) fn has(&self, id: &Digest) -> bool {
        self.0.contains(id)
    }

    /// Forgets those that are due no more.
    pub(super) fn keep(&mut self, due: &[Due]) {
        if !self.0.is_empty() {
            let due: BTreeSet<Digest> = due.iter().map(|due| due.id).collect();
            self.0.retain(|id| due.contains(id));
        }
    }

    /// Notes more; what to write, if there are any.
    pub(super) fn note(&mut self, ids: &[Digest]) -> Option<Vec<u8>> {
        let before = self.0.len();
        self.0.extend(ids);
        (self.0.len() > before).then(|| serde_json::to_vec(&self.0).ok()).flatten()
    }
}

fn file(verifier: &PrincipalId) -> String {
    format!("{verifier}.taken.json")
}

/// Writes beside, and renames: the file is there whole or not at all. Blocks.
pub(super) fn write(folder: &Path, verifier: &PrincipalId, text: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let beside = folder.join(format!("{}.new", file(verifier)));
    let mut new = File::create(&beside)?;
    new.write_all(text)?;
    new.sync_all()?;
    fs::rename(&beside, folder.join(file(verifier)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_kept_in_a_file_that_may_be_lost() {
        let folder = testkit::temp_dir();
        let (vault, id) = ("vault".parse().unwrap(), Digest::of(b"an event"));
        let mut taken = Taken::read(Some(folder.path()), &vault);
        let text = taken.note(&[id]).unwrap();
        assert_eq!(taken.note(&[id]), None, "nothing new is not written");
        write(folder.path(), &vault, &text).unwrap();
        assert!(Taken::read(Some(folder.path()), &vault).has(&id));
        assert!(!Taken::read(Some(folder.path()), &"other".parse().unwrap()).has(&id));
        fs::write(folder.path().join(file(&vault)), b"[\"torn").unwrap();
        assert!(!Taken::read(Some(folder.path()), &vault).has(&id));
        taken.keep(&[]);
        assert!(!taken.has(&id), "what is due no more is forgotten");
    }
}
