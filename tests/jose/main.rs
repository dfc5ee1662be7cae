//! The boundary of bytes: what others make of our JOSE objects, and what we make of theirs.
//!
//! `foreign`: jwcrypto, `PyJWT` and npm `jose` read ours, and we read theirs. `vectors`: one file per bad case, each with
//! the reason that it has to get. `ecdsa`: the edges of the signature algorithm, in two implementations.

#[cfg(test)]
mod ecdsa;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod vectors;
