//! Which of one's requests gives access to a resource, and where its gate is.

use anyhow::Result;

use super::Args;
use crate::{
    cli::{
        clock,
        daemon::{Daemon, state_name},
        exit::Problem,
        keyring::Keyring,
    },
    domain::{
        charter::Charter,
        detail::Word,
        grant::Grant,
        id::{Audience, RequestId},
    },
    grpc::v1::{self, RequestState},
    jose::Digest,
};

/// Where a gate is, and who it has to be.
pub(super) struct Gate {
    /// `host:port`.
    pub(super) address: String,
    /// SPKI digests of its keys.
    pub(super) pins: Vec<Digest>,
}

/// The request asked for, or the newest issued one that names the resource.
pub(super) fn request(args: &Args, keyring: &Keyring, daemon: &Daemon) -> Result<RequestId> {
    if let Some(given) = &args.request {
        return match given.whole() {
            Some(id) => Ok(id),
            None => given.choose(keyring.ids().into_iter()),
        };
    }
    let mut fitting: Vec<(Grant, RequestId)> = keyring
        .ids()
        .into_iter()
        .filter_map(|id| Some((keyring.grant(&id).ok()?, id)))
        .filter(|(grant, _)| names(grant, &args.resource) && grant.dead_after() >= clock::now())
        .collect();
    fitting.sort_by_key(|(grant, _)| std::cmp::Reverse(grant.requested_at));
    let mut waiting = None;
    for (_, id) in fitting {
        match daemon.get(&id) {
            Ok(request) if is_open(&request) => return Ok(id),
            Ok(request) => {
                waiting.get_or_insert_with(|| format!("request {id} is {}", state_name(&request)));
            }
            // The daemon has begun anew, or never got it.
            Err(error) if error.reason == "REQUEST_UNKNOWN" => {}
            Err(error) => return Err(error.into()),
        }
    }
    let resource = &args.resource;
    let message = waiting.map_or_else(
        || format!("no request made here names {resource}: ask for access with breakglass request --detail"),
        |state| format!("no request made here gives access to {resource} now: {state}"),
    );
    Err(Problem::refused("NO_ISSUED_REQUEST", message).into())
}

fn names(grant: &Grant, resource: &Word) -> bool {
    grant.authorization_details.iter().any(|detail| detail.locations.contains(resource))
}

/// There is a token, or will be within seconds.
fn is_open(request: &v1::Request) -> bool {
    matches!(request.state(), RequestState::Issued | RequestState::Authorized)
}

/// The gate of an audience: known by the keys that the charter gives its verifiers, wherever it is.
pub(super) fn gate(given: Option<&str>, charter: &Charter, aud: &Audience) -> Result<Gate> {
    let verifiers = charter.document().verifiers.iter().filter(|verifier| verifier.aud == *aud);
    let pins: Vec<Digest> =
        verifiers.flat_map(|verifier| &verifier.keys).map(|key| Digest::of(&key.spki_der())).collect();
    if pins.is_empty() {
        let message = format!(
            "the charter names no verifier with a key for {aud}: without one nobody can tell its gate from another"
        );
        return Err(Problem::refused("GATE_PIN_MISSING", message).into());
    }
    let address = given
        .ok_or_else(|| Problem::usage("GATE_NEEDED", "say where the gate takes tunnels: --gate HOST:PORT"))?;
    Ok(Gate { address: address.to_owned(), pins })
}
