//! What people read: grants, charters, requests and tokens in plain words, and the same facts as JSON.
//!
//! Pure functions of verified values and of a time; each is pinned by a snapshot.

pub(crate) mod charter;
pub(crate) mod difference;
pub(crate) mod grant;
pub(crate) mod kill;
pub(crate) mod outside;
pub(crate) mod request;
pub(crate) mod token;

#[cfg(test)]
mod tests;
