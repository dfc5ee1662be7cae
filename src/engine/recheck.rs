//! What a daemon asks of its own log before it goes on with it: does everything that is still live rest on signatures?
//!
//! Whoever has the database can write entries, and hashes are no secret: see `domain::recheck`. What is closed is the
//! auditor's to check (`domain::replay`).

use super::EngineError;
use crate::domain::State;

/// Refuses a state in which something that is still to be signed was not decided by the people it names.
pub(super) fn live_requests(state: &State) -> Result<(), EngineError> {
    state.recheck().map_err(|unfounded| {
        EngineError::Start(format!("{unfounded}: keep the file, and run breakglass audit verify"))
    })
}
