//! PKCS#11: keys that never leave the device.
