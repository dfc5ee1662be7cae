//! `breakglass redeem`: fetches the token of an issued request, opens it, checks it, and prints it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    Session, clock, daemon::Daemon, exit::Problem, id::IdArg, keyring::Keyring, setup::Setup, statement, text,
};
use crate::{
    domain::{
        id::RequestId,
        strict::{self, Accepted, Seen, View},
    },
    jose::{Typ, jwe},
};

/// Fetch the token of your request: the JWT, alone, on stdout
///
/// The daemon hands it out encrypted to the redeem key that only your machine has. It is verified strictly before it is
/// printed. Until it expires this may be repeated; every time is recorded in the log.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  TOKEN=$(breakglass redeem 3fz0Xq)")]
pub(crate) struct Args {
    /// The request, or the beginning of its id
    #[arg(value_name = "ID")]
    id: IdArg,
    /// How long to wait for a request whose approvals are complete, at most 30s
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = text::parse_duration)]
    wait: u32,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let keyring = Keyring::new(&setup.config.state_dir);
    let id = match args.id.whole() {
        Some(id) => id,
        None => args.id.choose(keyring.ids().into_iter())?,
    };
    let daemon = setup.connect()?;
    redeem(&setup, &daemon, id, Duration::from_secs(args.wait.into()), session)
}

/// Redeems a request that was made here, and prints the token.
pub(super) fn redeem(
    setup: &Setup,
    daemon: &Daemon,
    id: RequestId,
    wait: Duration,
    session: &mut Session,
) -> Result<()> {
    let keyring = Keyring::new(&setup.config.state_dir);
    let (token, accepted) = fetch(setup, daemon, id, wait)?;
    session.out.say(format!(
        "Valid until {}; bound to the key {}",
        text::until(accepted.claims.exp, clock::now()),
        keyring.cnf_path(&id).display()
    ))?;
    let result = json!({
        "request_id": id,
        "jwt": *token,
        "expires_at": accepted.claims.exp,
        "cnf_key": keyring.cnf_path(&id),
    });
    session.out.result(&result, || token.to_string())
}

/// The token of a request that was made here, strictly verified.
pub(super) fn fetch(
    setup: &Setup,
    daemon: &Daemon,
    id: RequestId,
    wait: Duration,
) -> Result<(Zeroizing<String>, Accepted)> {
    let keyring = Keyring::new(&setup.config.state_dir);
    let (secret, grant) = (keyring.redeem_key(&id)?, keyring.grant(&id)?);
    let key = setup.file_key()?;
    let payload = statement::about(&setup.charter, id)?;
    let signature = key.sign(Typ::Redeem, &payload, clock::now())?;
    let jws = statement::single(payload, signature);
    let sealed =
        daemon.redeem(jws.to_json(), wait).with_context(|| format!("request {id} was not redeemed"))?;
    let opened = jwe::decrypt(&sealed, secret.secret()).context("the daemon's answer cannot be opened")?;
    let token = str::from_utf8(&opened).context("the daemon's answer is no token")?;
    let view = View {
        charter: &setup.charter,
        audience: &grant.aud,
        now: clock::now(),
        // Whoever asked under a development charter knows that he did.
        allow_development: true,
        killed: None,
    };
    let accepted = strict::verify(token, &view, &mut Seen::default())
        .context("the token that the daemon handed out does not verify; it is not used")?;
    if accepted.claims.jti != id {
        let message = "the daemon handed out the token of another request; it is not used";
        return Err(Problem::unverified("ANOTHER_TOKEN", message).into());
    }
    Ok((Zeroizing::new(token.to_owned()), accepted))
}
