//! Making a new `hsm_token`.
//!
//! Invariants: the security officer's PIN is random, exists only inside [`initialise_token`] and is wiped: with it
//! alone anyone could set a new user PIN, so nobody has it, the operator included; an existing token is never touched.
//! The price is stated: a forgotten user PIN cannot be replaced, and the token can only be erased with its maker's tools.
//! Spec: PKCS #11 v3.0 section 5.5 (`C_InitToken`, `C_InitPIN`).

use std::sync::Arc;

use cryptoki::context::Pkcs11;
use cryptoki::error::Error;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use rand_core::CryptoRng;

use super::error::HsmError;
use super::module::Pkcs11Module;
use super::names::TokenSelector;
use super::pin::{SoPin, UserPin};

/// A token that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialisedToken {
    /// Its label.
    pub label: String,
    /// Its serial number, as the device says.
    pub serial: String,
}

/// Whether `module` has an `hsm_token` of this label already, ready for use or not.
///
/// # Errors
/// [`HsmError::BadName`], or a fault of the device.
pub fn token_exists(module: &Pkcs11Module, label: &str) -> Result<bool, HsmError> {
    let selector = TokenSelector::new(label, None)?;
    let found = find(&module.enter().pkcs11, &selector);
    let fault = |source: Error| HsmError::Fault {
        device: label.to_owned(),
        action: "C_GetSlotList",
        source: source.into(),
    };
    Ok(found.map_err(fault)?.is_some())
}

/// Initialises a free slot of `module` as `label`, with `user_pin` and a security officer's PIN that nobody keeps.
///
/// Write the PIN where it is wanted *before*: [`UserPin::write_new`].
///
/// # Errors
/// [`HsmError::TokenExists`], [`HsmError::NoFreeSlot`], [`HsmError::BadName`], or a fault of the device. After a fault
/// between `C_InitToken` and `C_InitPIN` a token without a user PIN is left, of no use to anyone
/// ([`HsmError::TokenHalfMade`]).
pub fn initialise_token(
    module: &Arc<Pkcs11Module>,
    label: &str,
    user_pin: &UserPin,
    rng: &mut impl CryptoRng,
) -> Result<InitialisedToken, HsmError> {
    let selector = TokenSelector::new(label, None)?;
    let fault = |action| {
        move |source: Error| HsmError::Fault { device: label.to_owned(), action, source: source.into() }
    };
    let mut loaded = module.enter_alone();
    if find(&loaded.pkcs11, &selector).map_err(fault("C_GetSlotList"))?.is_some() {
        return Err(HsmError::TokenExists { label: label.to_owned() });
    }
    let slot = free_slot(&loaded.pkcs11)
        .map_err(fault("C_GetSlotList"))?
        .ok_or_else(|| HsmError::NoFreeSlot { path: module.path().to_owned() })?;
    {
        let so_pin = SoPin::random(rng);
        loaded.pkcs11.init_token(slot, so_pin.auth_pin(), label).map_err(fault("C_InitToken"))?;
        set_user_pin(&loaded.pkcs11, &selector, slot, &so_pin, user_pin).map_err(fault("C_InitPIN"))?;
    }
    // Slot numbers change with a new token, and some modules list tokens only once.
    module.restart(&mut loaded).map_err(fault("C_Initialize"))?;
    let found = find(&loaded.pkcs11, &selector).map_err(fault("C_GetSlotList"))?;
    let (_, serial) = found.ok_or_else(|| HsmError::TokenNotFound {
        wanted: label.to_owned(),
        found: "other tokens only".into(),
        path: module.path().to_owned(),
    })?;
    tracing::info!(name: "hsm.token.initialise", label, serial);
    Ok(InitialisedToken { label: label.to_owned(), serial })
}

fn set_user_pin(
    pkcs11: &Pkcs11,
    selector: &TokenSelector,
    initialised: Slot,
    so_pin: &SoPin,
    user_pin: &UserPin,
) -> Result<(), Error> {
    let slot = find(pkcs11, selector)?.map_or(initialised, |(slot, _)| slot);
    let session: Session = pkcs11.open_rw_session(slot)?;
    session.login(UserType::So, Some(so_pin.auth_pin()))?;
    session.init_pin(&user_pin.auth_pin())?;
    session.logout()
}

fn find(pkcs11: &Pkcs11, selector: &TokenSelector) -> Result<Option<(Slot, String)>, Error> {
    for slot in pkcs11.get_slots_with_token()? {
        let Ok(info) = pkcs11.get_token_info(slot) else { continue };
        if info.token_initialized() && selector.fits(info.label(), info.serial_number()) {
            return Ok(Some((slot, info.serial_number().to_owned())));
        }
    }
    Ok(None)
}

fn free_slot(pkcs11: &Pkcs11) -> Result<Option<Slot>, Error> {
    let slots = pkcs11.get_slots_with_token()?;
    Ok(slots
        .into_iter()
        .find(|slot| pkcs11.get_token_info(*slot).is_ok_and(|info| !info.token_initialized())))
}
