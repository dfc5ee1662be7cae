//! Choosing an `hsm_token` among those of a module, and reading what it is.
//!
//! Invariants: by label and serial only, because slot numbers change; exactly one must fit; a token that is broken does
//! not hide the others.
//! Spec: PKCS #11 v3.0 section 5.5.

use std::sync::Mutex;

use cryptoki::slot::{Slot, TokenInfo};

use super::error::HsmError;
use super::fault::{Attempt, Remedy};
use super::module::{Loaded, NotRestarted, Pkcs11Module};
use super::names::TokenSelector;
use super::reinit::ReinitLimit;
use super::report::{Backend, Capabilities, DeviceDescription};
use super::template;
use crate::jose::TokenAlg;

/// The slot of the token that `selector` means. A missing token may be a fault: some modules list them once.
pub(crate) fn select(
    module: &Pkcs11Module,
    loaded: &Loaded,
    selector: &TokenSelector,
) -> Result<(Slot, TokenInfo), Attempt> {
    let mut fitting = Vec::new();
    let mut labels = Vec::new();
    for slot in loaded.pkcs11.get_slots_with_token()? {
        // One broken token must not hide the others.
        let Ok(info) = loaded.pkcs11.get_token_info(slot) else { continue };
        if !info.token_initialized() {
            continue;
        }
        labels.push(info.label().to_owned());
        if selector.fits(info.label(), info.serial_number()) {
            fitting.push((slot, info));
        }
    }
    match (fitting.pop(), fitting.len()) {
        (Some(only), 0) => Ok(only),
        (Some(_), others) => {
            Err(Attempt::Final(HsmError::TokenAmbiguous { wanted: selector.to_string(), count: others + 1 }))
        }
        (None, _) => Err(Attempt::Gone(HsmError::TokenNotFound {
            wanted: selector.to_string(),
            found: if labels.is_empty() { "none".into() } else { labels.join(", ") },
            path: module.path().to_owned(),
        })),
    }
}

/// Finds the token, initialising the module again if it is not there: some modules list tokens only once.
pub(crate) fn find_and_describe(
    module: &Pkcs11Module,
    selector: &TokenSelector,
    limit: &Mutex<ReinitLimit>,
) -> Result<(DeviceDescription, (u64, Slot)), HsmError> {
    let attempt = || {
        let loaded = module.enter();
        let found = select(module, &loaded, selector).and_then(|(slot, info)| {
            let description = describe(module, &loaded, slot, &info)?;
            Ok((description, (loaded.generation, slot)))
        });
        (loaded.generation, found)
    };
    let (seen, first) = attempt();
    match first {
        Ok(found) => return Ok(found),
        Err(error) if error.remedy() < Remedy::Module => {
            return Err(error.into_error(selector.label(), "C_GetSlotList"));
        }
        Err(_) => {}
    }
    // The token may have been made after the module was initialised.
    if let Err(NotRestarted::Refused(source)) = module.reinitialise(seen, limit) {
        return Err(HsmError::Module { path: module.path().to_owned(), source: source.into() });
    }
    attempt().1.map_err(|error| match error {
        // At the start this is no fault but an answer.
        Attempt::Gone(error) => error,
        error => error.into_error(selector.label(), "C_GetSlotList"),
    })
}

fn describe(
    module: &Pkcs11Module,
    loaded: &Loaded,
    slot: Slot,
    info: &TokenInfo,
) -> Result<DeviceDescription, Attempt> {
    let library = loaded.pkcs11.get_library_info()?;
    let mechanisms = loaded.pkcs11.get_mechanism_list(slot)?;
    Ok(DeviceDescription {
        backend: Backend::Pkcs11,
        name: plain(info.label()),
        location: module.path().display().to_string(),
        manufacturer: plain(info.manufacturer_id()),
        model: plain(info.model()),
        serial: plain(info.serial_number()),
        version: format!("firmware {}, library {}", info.firmware_version(), library.library_version()),
        capabilities: Capabilities::of(TokenAlg::ALL.into_iter().filter(|alg| {
            let mechanism = template::allowed(*alg);
            let largest =
                || loaded.pkcs11.get_mechanism_info(slot, mechanism).map(|info| info.max_key_size());
            mechanisms.contains(&mechanism)
                && template::least_bits(*alg)
                    .is_none_or(|bits| largest().is_ok_and(|largest| largest >= bits))
        })),
    })
}

/// Text of a device without what is not printable: fields should be padded with blanks, some are with NUL.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned()
}
