//! `breakglass key secret`: the secret with which a verifier asks the daemon about tokens, in a file.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use crate::{
    cli::{Session, files, files::Access, random, text::Fields},
    jose::Digest,
};

/// Make a verifier's secret: with it the verifier asks the daemon whether a token still counts
///
/// Writes the secret into a file that you alone can read, and prints its digest, which is all that the charter needs. A
/// secret that is lost is replaced: make another, and name that in the next charter.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass key secret --out vault.secret
  breakglass charter draft --verifier-secret vault=DIGEST --out next.json")]
pub(crate) struct Args {
    /// File for the secret; must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let secret = random::secret()?;
    let digest = Digest::of(secret.as_bytes());
    files::create(&args.out, secret.as_bytes(), Access::Private)?;
    let result = json!({"secret": args.out, "digest": digest});
    session.out.result(&result, || {
        let mut fields = Fields::default();
        fields.add("secret", format!("{} (for the verifier alone)", args.out.display()));
        fields.add("digest", digest.to_string());
        format!("Made a secret.\n{}\nNext: name the digest in the charter draft.", fields.render())
    })
}
