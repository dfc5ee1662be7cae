//! What the tests of signing devices share: the device under test, and a thief's view of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use breakglass::hsm::{
    GeneratedKey, HsmError, KeyName, Pkcs11Module, Pkcs11Token, SigningDevice as _, TokenOptions,
    TokenSelector, UserPin, initialise_token,
};
use breakglass::jose::{IssuingPublicKey, TokenAlg};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use zeroize::Zeroizing;

/// The PIN of all tokens in these tests.
pub const PIN: &str = "correct horse 7";

/// How long a device may take to come back.
pub const HEALING: Duration = Duration::from_mins(1);

/// One make of device, running in this process.
pub trait Device {
    /// Path of its PKCS#11 module.
    fn module(&self) -> &'static str;

    /// The algorithm of its issuing keys.
    fn algorithm(&self) -> TokenAlg {
        TokenAlg::Es256
    }

    /// How many signatures each of eight threads makes in the concurrency test.
    fn signatures_per_thread(&self) -> u8;

    /// Whether it can hold several keys at once in one process.
    fn many_keys(&self) -> bool;

    /// Whether the module keeps attributes from being changed. If not, the report must show that they were.
    fn guards_attributes(&self) -> bool;

    /// Makes the device vanish under the running module.
    fn take_away(&mut self);

    /// Gives it back with all that it had stored.
    fn bring_back(&mut self);
}

/// The operating system's randomness.
pub fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// A PIN from text.
pub fn pin(text: &str) -> UserPin {
    UserPin::new(Zeroizing::new(text.to_owned()))
}

/// The module, initialised.
pub fn open_module(device: &dyn Device) -> Arc<Pkcs11Module> {
    Pkcs11Module::open(Path::new(device.module())).unwrap()
}

/// Opens an existing token.
pub fn try_open(device: &dyn Device, label: &str) -> Result<Arc<Pkcs11Token>, HsmError> {
    let selector = TokenSelector::new(label, None).unwrap();
    Pkcs11Token::open(&open_module(device), selector, pin(PIN), TokenOptions::default())
}

/// Opens an existing token, or fails the test.
pub fn open_token(device: &dyn Device, label: &str) -> Arc<Pkcs11Token> {
    try_open(device, label).unwrap()
}

/// Initialises a token as the program does it, and opens it.
pub fn fresh_token(device: &dyn Device, label: &str) -> Arc<Pkcs11Token> {
    initialise_token(&open_module(device), label, &pin(PIN), &mut rng()).unwrap();
    open_token(device, label)
}

/// Generates an issuing key of the algorithm under test.
pub fn fresh_key(device: &dyn Device, token: &Pkcs11Token, name: &str) -> GeneratedKey<IssuingPublicKey> {
    token.generate_issuing(device.algorithm(), &KeyName::new(name).unwrap(), &mut rng()).unwrap()
}

/// Signs, verifies with ring, and fails the test if either fails.
pub fn sign_and_verify(token: &Pkcs11Token, key: &IssuingPublicKey, message: &[u8]) {
    let signature = token.sign(&key.thumbprint(), key.alg(), message).unwrap();
    key.verify(message, &signature).unwrap();
}

/// The raw module, as any other code in this process could use it, without asking the program.
pub struct Thief {
    pub pkcs11: Pkcs11,
    pub slot: Slot,
}

impl Thief {
    /// Gets at the token called `label`.
    pub fn at(device: &dyn Device, label: &str) -> Self {
        let pkcs11 = Pkcs11::new(device.module()).unwrap();
        // It is initialised already, by the program.
        let _ = pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
        let slots = pkcs11.get_slots_with_token().unwrap();
        let slot =
            slots.into_iter().find(|slot| pkcs11.get_token_info(*slot).is_ok_and(|i| i.label() == label));
        Self { slot: slot.unwrap(), pkcs11 }
    }

    /// A session that may write, logged in with the PIN.
    pub fn session(&self) -> Session {
        let session = self.pkcs11.open_rw_session(self.slot).unwrap();
        // Whether this logs in or the program already has: both are fine.
        let _ = session.login(UserType::User, Some(&AuthPin::new(PIN.into())));
        session
    }

    /// `C_Finalize` and `C_Initialize` behind the program's back, so that the module reads everything anew.
    pub fn restart_module(self) {
        let args = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        self.pkcs11.clone().finalize().unwrap();
        self.pkcs11.initialize(args).unwrap();
    }

    /// The only private key.
    pub fn private_key(session: &Session) -> ObjectHandle {
        let found = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap();
        let [only] = found[..] else { panic!("one private key is expected, not {}", found.len()) };
        only
    }
}

/// Runs a suite's function as a test of this device: `on_device!(Maker; a, b, c)`.
macro_rules! on_device {
    ($device:ty; $($test:ident),+ $(,)?) => {
        $(
            #[test]
            fn $test() {
                <$device>::run(concat!(module_path!(), "::", stringify!($test)), |device| crate::suite::$test(device));
            }
        )+
    };
}
pub(crate) use on_device;

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Name of a test as the test binary knows it, from one that starts with the crate.
pub fn test_name(path: &str) -> &str {
    path.split_once("::").unwrap().1
}
