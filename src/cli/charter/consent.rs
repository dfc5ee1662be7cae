//! A custodian's signature under a later version: what it changes is shown first, by this machine's own reading of it.
//!
//! Invariant: what is signed are the bytes that the difference was computed from, against the charter that this machine
//! has followed from its pinned genesis.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Loaded;
use crate::{
    cli::{
        Session, clock,
        device::{self, Custodian, DeviceArgs},
        exit::Problem,
        files,
        id::IdArg,
        qr,
        setup::Setup,
        statement, view,
    },
    domain::{
        charter::{Charter, Document, MAX_CHARTER_BYTES, Rules, Tally},
        id::RequestId,
        statement::MAX_STATEMENT_BYTES,
    },
    grpc::v1,
    jose::{Digest, GeneralJws, Signature, Typ, json as jcs},
};

/// Width of a signature's code on paper or screen, in millimetres.
const QR_MILLIMETRES: u32 = 70;

/// Shows what a document changes, who has signed it, and adds one signature.
pub(super) fn sign(
    charter: &Charter,
    rules: &Rules,
    begun: &GeneralJws,
    args: &DeviceArgs,
    session: &mut Session,
) -> Result<(Signature, Custodian)> {
    args.check(charter)?;
    let now = clock::now();
    let tally =
        charter.tally(rules, begun, now).context("the signatures so far are not all good; begin it anew")?;
    session.out.say(view::difference::describe(charter, rules))?;
    session.out.say(format!("Still needed: {}", missing(&tally)))?;
    let custodian = choose(charter, rules, args, now, session)?;
    let kid = custodian.public.thumbprint();
    if tally.kids().any(|signed| *signed == kid) {
        let message =
            format!("{} has signed this charter already: each key signs once", custodian.describe());
        return Err(Problem::refused("ALREADY_SIGNED", message).into());
    }
    session.out.say(format!(
        "Read these words aloud with the other custodians: {}",
        view::charter::phrase(&rules.digest())
    ))?;
    let question = format!("Let this follow the charter in force, as {}?", custodian.describe());
    let what = (Typ::Charter, begun.payload.as_slice());
    let signature = statement::consent(&custodian, &question, what, args, session)?;
    Ok((signature, custodian))
}

/// A document under the signatures of these devices, each after its owner was shown what changes.
pub(in crate::cli) fn signed(
    charter: &Charter,
    document: &Document,
    devices: &[DeviceArgs],
    session: &mut Session,
) -> Result<GeneralJws> {
    let mut begun = GeneralJws { payload: jcs::canonical(document)?, signatures: Vec::new() };
    let rules = draft(charter, &begun)?;
    for device in devices {
        let (signature, _) = sign(charter, &rules, &begun, device, session)?;
        begun.signatures.push(signature);
    }
    Ok(begun)
}

/// A device of the charter in force, or one that the next version is the first to name.
fn choose(
    charter: &Charter,
    rules: &Rules,
    args: &DeviceArgs,
    now: i64,
    session: &mut Session,
) -> Result<Custodian> {
    let out = &mut session.out;
    device::choose(out, charter, args.serial, now, device::KEEPERS).or_else(|error| {
        // What the first search says is about the charter that people know: it is the better answer if both fail.
        device::choose(out, rules, args.serial, now, device::KEEPERS).map_err(|_| error)
    })
}

/// A signature without its charter: short enough for a QR code, while the document itself travels as a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Detached {
    /// Digest of the document.
    charter: Digest,
    /// The signature over it.
    signature: Signature,
}

/// Hands in a signature that a scanner read.
pub(super) fn scanned(text: &[u8], session: &mut Session) -> Result<()> {
    let detached: Detached = jcs::parse(text, MAX_STATEMENT_BYTES)
        .context("this is no signature that breakglass charter sign --qr has drawn")?;
    let setup = Setup::load(session.config.as_deref())?;
    let daemon = setup.connect()?;
    let id: IdArg = detached.charter.to_string().parse().map_err(anyhow::Error::msg)?;
    let proposal = super::proposals::find(&daemon, &id)?;
    let mut signed =
        GeneralJws::parse(&proposal.jws, MAX_CHARTER_BYTES).context("the daemon sent no charter")?;
    let rules = draft(&setup.charter, &signed)?;
    signed.signatures.push(detached.signature);
    setup.charter.tally(&rules, &signed, clock::now()).context("the signature does not belong here")?;
    let after = daemon.sign_charter(signed.to_json())?;
    let result =
        json!({"id": rules.digest(), "version": rules.document().version, "in_force": after.is_none()});
    session.out.result(&result, || told(&rules, after.as_ref()))
}

/// Signs a document in a file.
pub(super) fn by_file(
    loaded: &Loaded,
    out: &Path,
    code: Option<&Path>,
    args: &DeviceArgs,
    session: &mut Session,
) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let begun = if out.exists() {
        GeneralJws::parse(&files::read(out)?, MAX_CHARTER_BYTES)
            .with_context(|| format!("{} is no signed charter", out.display()))?
    } else {
        let begun = loaded.statement.clone();
        begun.unwrap_or(GeneralJws { payload: loaded.payload.clone(), signatures: Vec::new() })
    };
    if begun.payload != loaded.payload {
        let message = format!("{} holds another charter: move it away, or give --out FILE", out.display());
        return Err(Problem::refused("ANOTHER_CHARTER", message).into());
    }
    let rules = draft(&setup.charter, &begun)?;
    let (signature, custodian) = sign(&setup.charter, &rules, &begun, args, session)?;
    if let Some(file) = code {
        let detached = Detached { charter: rules.digest(), signature: signature.clone() };
        let text = String::from_utf8(jcs::canonical(&detached)?).context("a signature is text")?;
        files::replace(file, qr::svg(&text, QR_MILLIMETRES)?.as_bytes(), files::Access::Public)?;
    }
    let mut signed = begun;
    signed.signatures.push(signature);
    files::replace(out, &signed.to_json(), files::Access::Public)?;
    let tally = setup.charter.tally(&rules, &signed, clock::now())?;
    let mut result = summary(&rules, &custodian, &tally.missing());
    result.insert("charter".into(), json!(out));
    result.insert("qr".into(), json!(code));
    session.out.result(&result, || {
        let next = match code {
            Some(file) => {
                format!("show {} to the scanner of: breakglass charter submit --signature -", file.display())
            }
            None => format!("breakglass charter submit {}", out.display()),
        };
        format!("Signed. Still needed: {}\nNext: {next}", missing(&tally))
    })
}

/// Signs a document that is proposed at the daemon.
pub(super) fn online(id: &IdArg, args: &DeviceArgs, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let daemon = setup.connect()?;
    let proposal = super::proposals::find(&daemon, id)?;
    let begun = GeneralJws::parse(&proposal.jws, MAX_CHARTER_BYTES).context("the daemon sent no charter")?;
    let rules = draft(&setup.charter, &begun)?;
    let (signature, custodian) = sign(&setup.charter, &rules, &begun, args, session)?;
    let mut signed = begun;
    signed.signatures.push(signature);
    let after = daemon
        .sign_charter(signed.to_json())
        .context("your signature was made, but the daemon did not take it")?;
    let missing = after.as_ref().map(|proposal| proposal.missing.clone()).unwrap_or_default();
    let mut result = summary(&rules, &custodian, &missing);
    result.insert("in_force".into(), json!(after.is_none()));
    session.out.result(&result, || told(&rules, after.as_ref()))
}

/// The document, as one that may follow the charter in force.
pub(super) fn draft(charter: &Charter, begun: &GeneralJws) -> Result<Rules> {
    charter.draft(&begun.payload, clock::now()).with_context(|| {
        format!(
            "it cannot follow version {}, which you hold; breakglass charter pull fetches newer ones",
            charter.document().version
        )
    })
}

fn summary(rules: &Rules, custodian: &Custodian, missing: &str) -> Map<String, Value> {
    let members = [
        ("id", json!(rules.digest())),
        ("version", json!(rules.document().version)),
        ("signed_by", json!(custodian.person)),
        ("serial", json!(custodian.key.serial().0)),
        ("missing", json!(missing)),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What became of a document that was handed in.
pub(super) fn told(rules: &Rules, after: Option<&v1::Proposal>) -> String {
    let version = rules.document().version;
    match after {
        None => format!("Version {version} is in force. Next, everybody: breakglass charter pull"),
        Some(proposal) => format!(
            "Version {version} is proposed. Still needed: {}\nNext, the others: breakglass charter sign {}",
            crate::cli::text::safe(&proposal.missing),
            short(&rules.digest())
        ),
    }
}

pub(super) fn missing(tally: &Tally) -> String {
    let missing = tally.missing();
    if missing.is_empty() { "nobody".into() } else { missing }
}

/// An id as it may be typed again.
pub(super) fn short(digest: &Digest) -> String {
    let text = RequestId(*digest).to_string();
    let beginning: String = text.chars().take(8).collect();
    if beginning.starts_with('-') { format!("id:{beginning}") } else { beginning }
}
