//! YubiKey PIV: the custodians' devices.
