//! Keys coming and going, for a station that serves one custodian after the other.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{CStr, CString};
use std::time::{Duration, Instant};

use pcsc::{PNP_NOTIFICATION, ReaderState, State};

use super::devices::{self, Identity};
use super::{Device, PivError, link};

/// A key came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PivEvent {
    /// Plugged in, and recognised.
    Plugged(Device),
    /// Pulled out.
    Unplugged(Device),
}

/// Watches the readers. The keys that are plugged in at first are reported as if they came.
pub struct Watch {
    service: link::Service,
    /// The service's view as last seen; the first entry stands for readers themselves coming and going, because a real
    /// key brings its own reader.
    states: Vec<ReaderState>,
    plugged: BTreeMap<CString, Seen>,
    events: VecDeque<PivEvent>,
}

/// Who is in a reader, and since which insertion.
struct Seen {
    /// The service counts insertions and removals.
    count: u32,
    /// `None` if it is no YubiKey.
    device: Option<Device>,
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// [`PivError::Service`] when there is no pcscd.
    pub fn new() -> Result<Self, PivError> {
        Ok(Self {
            service: link::service()?,
            states: vec![ReaderState::new(PNP_NOTIFICATION(), State::UNAWARE)],
            plugged: BTreeMap::new(),
            events: VecDeque::new(),
        })
    }

    /// The next event, or `None` when `timeout` passes without one. Blocks.
    ///
    /// # Errors
    /// [`PivError::Service`] when pcscd is gone.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<PivEvent>, PivError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            self.list_readers()?;
            let left = deadline.saturating_duration_since(Instant::now());
            let context = self.service.context().map_err(broken)?;
            match context.get_status_change(left, &mut self.states) {
                Ok(()) => self.look(),
                Err(pcsc::Error::Timeout) if left.is_zero() => return Ok(None),
                // A reader went between listing and waiting: list again.
                Err(pcsc::Error::Timeout | pcsc::Error::UnknownReader) => {}
                Err(error) => return Err(broken(error)),
            }
        }
    }

    /// Adds readers that came, drops those that went.
    fn list_readers(&mut self) -> Result<(), PivError> {
        let readers = match self.service.context().and_then(pcsc::Context::list_readers_owned) {
            Ok(readers) => readers,
            Err(pcsc::Error::NoReadersAvailable) => Vec::new(),
            Err(error) => return Err(broken(error)),
        };
        let (plugged, events) = (&mut self.plugged, &mut self.events);
        self.states.retain(|state| {
            let stays = state.name() == PNP_NOTIFICATION()
                || readers.iter().any(|reader| reader.as_c_str() == state.name());
            if !stays {
                leave(plugged, events, state.name());
            }
            stays
        });
        for reader in readers {
            if link::is_yubikey(&reader) && !self.states.iter().any(|state| state.name() == reader.as_c_str())
            {
                self.states.push(ReaderState::new(reader, State::UNAWARE));
            }
        }
        Ok(())
    }

    /// Turns what changed into events.
    fn look(&mut self) {
        for state in &mut self.states {
            if !state.event_state().contains(State::CHANGED) {
                continue;
            }
            let (count, present) = (state.event_count(), state.event_state().contains(State::PRESENT));
            state.sync_current_state();
            let reader = state.name();
            // The same insertion as before: another program only began or ceased to use the card. (To ask it again would
            // be such a use, and never end.)
            let same = present && self.plugged.get(reader).is_some_and(|seen| seen.count == count);
            if reader == PNP_NOTIFICATION() || same {
                continue;
            }
            leave(&mut self.plugged, &mut self.events, reader);
            if present {
                let device = match devices::identify(reader.to_owned()) {
                    Identity::Device(device) => Some(device),
                    Identity::Other | Identity::Held => None,
                };
                self.events.extend(device.clone().map(PivEvent::Plugged));
                self.plugged.insert(reader.to_owned(), Seen { count, device });
            }
        }
    }
}

fn leave(plugged: &mut BTreeMap<CString, Seen>, events: &mut VecDeque<PivEvent>, reader: &CStr) {
    let device = plugged.remove(reader).and_then(|seen| seen.device);
    events.extend(device.map(PivEvent::Unplugged));
}

fn broken(error: pcsc::Error) -> PivError {
    PivError::Service { detail: error.to_string() }
}
