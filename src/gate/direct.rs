//! Kills that were brought to the gate itself, or that no log has: kept on disk until a daemon shows them recorded or lifted.
//!
//! Invariants: such a kill is enforced before it is acknowledged, and on disk before that too, so that a restart does not end it;
//! it counts by its signature and the gate's charter, like any other. One that was signed more than a day ago is refused: an old
//! one may have been lifted, and would come back.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use super::{Gate, clock::Moment, files, keep::KeepError};
use crate::{
    domain::{charter::Rules, kill::Kills, refusal::Refusal, statement::MAX_STATEMENT_BYTES},
    jose::{Digest, GeneralJws, JoseError},
};

const NAME: &str = "kills.json";
/// Seconds before and after its signing in which a kill is taken directly.
const WITHIN: i64 = 86_400;
/// Bytes of the file at most.
const MAX_BYTES: u64 = 64 << 20;

/// Why a kill was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum DirectError {
    #[error("it is no signed kill")]
    Malformed(#[from] JoseError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("it was signed more than a day before or after now by this gate's clock: sign it again")]
    Old,
    #[error("it was lifted: a lifted kill is dead for ever")]
    Lifted,
    #[error("it is enforced, but could not be kept: after a restart of the gate it has to be sent again")]
    Unkept(#[source] KeepError),
}

impl DirectError {
    /// Stable, `UPPER_SNAKE`.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "KILL_MALFORMED",
            Self::Refused(refusal) => refusal.reason(),
            Self::Old => "KILL_OLD",
            Self::Lifted => "KILL_LIFTED",
            Self::Unkept(_) => "KILL_UNKEPT",
        }
    }
}

/// The file.
pub(super) struct Direct {
    path: PathBuf,
    /// Digests of the payloads that are in it.
    written: Mutex<Vec<Digest>>,
}

impl Direct {
    pub(super) fn new(folder: &std::path::Path) -> Self {
        Self { path: folder.join(NAME), written: Mutex::default() }
    }

    /// What was kept by an earlier run.
    fn read(&self) -> Result<Vec<GeneralJws>, KeepError> {
        let file = |source| KeepError::File { path: self.path.clone(), source };
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(file(error)),
            Ok(metadata) if metadata.len() > MAX_BYTES => {
                return Err(file(io::Error::new(io::ErrorKind::InvalidData, "it is too long")));
            }
            Ok(_) => {}
        }
        let bytes = fs::read(&self.path).map_err(file)?;
        serde_json::from_slice(&bytes).map_err(|source| KeepError::Shape { path: self.path.clone(), source })
    }

    /// Writes what no log has, if that has changed.
    pub(super) fn keep(&self, kills: &Kills) -> Result<(), KeepError> {
        let statements: Vec<&GeneralJws> = kills.standing().map(|recorded| &recorded.statement).collect();
        let mut digests: Vec<Digest> = statements.iter().map(|jws| Digest::of(&jws.payload)).collect();
        digests.sort_unstable();
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if *written == digests {
            return Ok(());
        }
        let text = serde_json::to_vec(&statements)
            .map_err(|source| KeepError::Shape { path: self.path.clone(), source })?;
        files::replace(&self.path, &text)
            .map_err(|source| KeepError::File { path: self.path.clone(), source })?;
        *written = digests;
        Ok(())
    }
}

impl Gate {
    /// Enforces again what an earlier run had to enforce.
    pub(super) fn recall(&self) -> Result<(), KeepError> {
        let charter = self.view.known().charter;
        for jws in self.direct.read()? {
            if let Err(refusal) = self.view.kill(jws, &charter, Moment::now()) {
                // Its signer has lost the right meanwhile.
                tracing::warn!(
                    error = &refusal as &dyn std::error::Error,
                    "a kill that was kept does not count any more"
                );
            }
        }
        let known = self.view.known();
        *self.direct.written.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
        self.direct.keep(&known.unrecorded)
    }

    /// Takes a kill from whoever brings it; the gate's signed acknowledgement.
    pub(super) fn take_kill(&self, bytes: &[u8]) -> Result<GeneralJws, DirectError> {
        let jws = GeneralJws::parse(bytes, MAX_STATEMENT_BYTES)?;
        let (now, known) = (Moment::now(), self.view.known());
        let digest = Digest::of(&jws.payload);
        self.check(&jws, &known.charter, now)?;
        self.view.kill(jws, &known.charter, now)?;
        let known = self.view.known();
        let kept = self.direct.keep(&known.unrecorded);
        self.metrics.direct();
        tracing::warn!(kill = %digest, "a kill was brought to this gate, and is enforced");
        kept.map_err(DirectError::Unkept)?;
        let view = known.newest().map_or_else(|| &known.unrecorded, |source| &source.kills);
        Ok(self.acknowledge([digest].into(), view)?)
    }

    fn check(&self, jws: &GeneralJws, rules: &Rules, now: Moment) -> Result<(), DirectError> {
        use crate::{domain::kill::SignedKill, jose::Typ};
        let signed = SignedKill::verify(jws.clone(), rules, Typ::Kill)?;
        let id = signed.about().id;
        if self.view.known().sources.iter().any(|source| source.kills.was_lifted(&id)) {
            return Err(DirectError::Lifted);
        }
        if signed.signed_at().abs_diff(now.seconds()) > WITHIN.unsigned_abs() {
            return Err(DirectError::Old);
        }
        Ok(())
    }
}
