//! Genesis: an empty log gets its first charter.

use super::{Clock, EngineError, queue};
use crate::{
    domain::{
        Command, Context, State, charter::Charter, decide, event::Actor, evidence::Evidence, id::InstanceId,
    },
    store::SqliteStore,
};

/// Puts the first charter in force; the log must be empty.
pub async fn initialise(
    store: &SqliteStore,
    clock: &dyn Clock,
    instance: InstanceId,
    charter: Charter,
    evidence: Vec<Evidence>,
) -> Result<(), EngineError> {
    if store.size() != 0 {
        return Err(EngineError::Start(
            "the log has entries already; a charter comes first and only once".into(),
        ));
    }
    let now = clock.wall();
    let command = Command::Adopt { charter: Box::new(charter), evidence };
    let actor = Actor::Daemon { instance: instance.clone() };
    let events = decide(&State::default(), &command, &Context { now, index: 0, instance })?;
    let entries = queue::entries(&actor, now, events)?;
    let bytes: Vec<Vec<u8>> = entries.into_iter().map(|(_, bytes)| bytes).collect();
    store.append(0, &bytes).await.map_err(EngineError::Log)
}
