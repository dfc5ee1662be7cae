//! A charter as a snapshot holds it: what was verified when the log was folded, so that it need not be again.
//!
//! Invariant: only a snapshot whose digest the log names is read this way, and the engine follows the chain in the log
//! before it serves upon it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Charter, CharterError, Lineage, Rules};
use crate::jose::GeneralJws;

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::domain) struct StoredCharter {
    statement: GeneralJws,
    effective_from: i64,
    lineage: Lineage,
    earlier: Vec<StoredCharter>,
}

impl From<&Charter> for StoredCharter {
    fn from(charter: &Charter) -> Self {
        Self {
            statement: charter.statement.clone(),
            effective_from: charter.effective_from,
            lineage: charter.lineage.clone(),
            earlier: charter.earlier.iter().map(|earlier| Self::from(earlier.as_ref())).collect(),
        }
    }
}

impl TryFrom<StoredCharter> for Charter {
    type Error = CharterError;

    fn try_from(stored: StoredCharter) -> Result<Self, CharterError> {
        let StoredCharter { statement, effective_from, lineage, earlier } = stored;
        let earlier = earlier.into_iter().map(|earlier| Self::try_from(earlier).map(Arc::new));
        Ok(Self {
            rules: Rules::parse(&statement.payload)?,
            earlier: earlier.collect::<Result<_, _>>()?,
            statement,
            lineage,
            effective_from,
        })
    }
}
