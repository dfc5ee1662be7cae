//! The keys of one's own requests: the key that the token is bound to, and the one that it is delivered to.
//!
//! Invariant: a request is filed only after its keys are durable on disk, so no token is ever made that nobody can open.
//!
//! ```text
//! STATE_DIR/REQUEST_ID/request.json     the signed grant
//!                      cnf.key.pem      proves possession to verifiers
//!                      redeem.key.pem   opens the delivered token
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};

use super::{
    exit::Problem,
    files::{self, Access},
    statement::FileKey,
};
use crate::{
    domain::{grant::Grant, id::RequestId, statement::MAX_STATEMENT_BYTES},
    jose::GeneralJws,
};

const REQUEST: &str = "request.json";
const CNF: &str = "cnf.key.pem";
const REDEEM: &str = "redeem.key.pem";

/// The folder of all requests.
pub(crate) struct Keyring(PathBuf);

impl Keyring {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self(state_dir.to_owned())
    }

    pub(crate) fn folder(&self, id: &RequestId) -> PathBuf {
        self.0.join(id.to_string())
    }

    /// Where the key is that the token is bound to.
    pub(crate) fn cnf_path(&self, id: &RequestId) -> PathBuf {
        self.folder(id).join(CNF)
    }

    /// Keeps a request with its keys; durable when this returns.
    pub(crate) fn keep(
        &self,
        id: &RequestId,
        request: &GeneralJws,
        cnf: &FileKey,
        redeem: &FileKey,
    ) -> Result<()> {
        files::private_folder(&self.0)?;
        let folder = self.folder(id);
        files::private_folder(&folder)?;
        for (name, key) in [(CNF, cnf), (REDEEM, redeem)] {
            let pem = key.secret().to_pkcs8_pem(LineEnding::LF).context("the key could not be encoded")?;
            files::create(&folder.join(name), pem.as_bytes(), Access::Private)?;
        }
        files::create(&folder.join(REQUEST), &request.to_json(), Access::Private)
    }

    /// The key that opens the token of a request.
    pub(crate) fn redeem_key(&self, id: &RequestId) -> Result<FileKey> {
        let path = self.folder(id).join(REDEEM);
        if !path.exists() {
            let message = format!(
                "the redeem key of {id} is not in {}: a token can be opened only where it was asked for",
                self.0.display()
            );
            return Err(Problem::refused("REDEEM_KEY_MISSING", message).into());
        }
        FileKey::read(&path)
    }

    /// The grant of one's own request.
    pub(crate) fn grant(&self, id: &RequestId) -> Result<Grant> {
        let path = self.folder(id).join(REQUEST);
        let place = || format!("{} is damaged", path.display());
        let jws = GeneralJws::parse(&files::read(&path)?, MAX_STATEMENT_BYTES).with_context(place)?;
        if Grant::id_of(&jws.payload) != *id {
            anyhow::bail!("{}: it holds another request", place());
        }
        Grant::parse(&jws.payload).with_context(place)
    }

    /// Forgets a request that was never filed, or is long over.
    pub(crate) fn forget(&self, id: &RequestId) -> Result<()> {
        let folder = self.folder(id);
        fs::remove_dir_all(&folder).with_context(|| format!("{} could not be removed", folder.display()))
    }

    /// Removes the keys of requests whose token, if it was ever made, has expired: they can open nothing any more.
    pub(crate) fn sweep(&self, now: i64) {
        for id in self.ids() {
            // What cannot be read is left for a person to look at.
            if self.grant(&id).is_ok_and(|grant| grant.dead_after() < now) {
                let _ = self.forget(&id);
            }
        }
    }

    /// The ids of all requests made here.
    pub(crate) fn ids(&self) -> Vec<RequestId> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::{self, ALICE};

    #[test]
    fn keys_are_kept_until_they_can_open_nothing_any_more() {
        let folder = testkit::temp_dir();
        let keyring = Keyring::new(&folder.path().join("state"));
        let rules = fixture::rules();
        let (id, jws) = fixture::request(&fixture::grant(&rules), ALICE);
        let (cnf, redeem) = (fixture::key(40), fixture::key(41));
        keyring.keep(&id, &jws, &cnf, &redeem).unwrap();
        assert!(keyring.keep(&id, &jws, &redeem, &cnf).is_err(), "never overwritten");
        assert_eq!(keyring.redeem_key(&id).unwrap().public, redeem.public);
        let over = keyring.grant(&id).unwrap().dead_after();
        keyring.sweep(over);
        assert_eq!(keyring.ids(), [id]);
        keyring.sweep(over + 1);
        assert!(keyring.ids().is_empty() && keyring.redeem_key(&id).is_err());
    }
}
