//! What the tests of signing devices share.

use std::path::Path;
use std::sync::Arc;

use breakglass::hsm::{Pkcs11Module, Pkcs11Token, TokenOptions, TokenSelector, UserPin, initialise_token};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;

/// The operating system's randomness.
pub fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// Initialises a token as the program does it, and opens it.
pub fn fresh_token(module: &str, label: &str, options: TokenOptions) -> Arc<Pkcs11Token> {
    let module = Pkcs11Module::open(Path::new(module)).unwrap();
    let user_pin = UserPin::random(&mut rng());
    initialise_token(&module, label, &user_pin, &mut rng()).unwrap();
    Pkcs11Token::open(&module, TokenSelector::new(label, None).unwrap(), user_pin, options).unwrap()
}
