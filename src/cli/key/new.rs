//! `breakglass key new`: a P-256 key in a file, with a self-signed certificate, for TLS and statements.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
use serde_json::json;

use crate::{
    cli::{Session, files, files::Access, random, text::Fields},
    domain::id::PrincipalId,
    grpc::cert,
    jose::Digest,
};

/// Make a file key: it speaks TLS to the daemon and signs your requests
///
/// Writes NAME.key.pem (readable by you alone), NAME.cert.pem and NAME.jwk.json into the folder, and prints the public
/// key. Give NAME.jwk.json to whoever drafts the charter; the key file never leaves this machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass key new --out ~/.config/breakglass --name alice")]
pub(crate) struct Args {
    /// Folder for the three files; made if needed
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Whose key it is: the id that the charter will use
    #[arg(long, value_name = "ID")]
    name: PrincipalId,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let key = random::key()?;
    let (folder, name) = (&args.out, args.name.as_str());
    let [key_file, certificate_file, public_file] =
        ["key.pem", "cert.pem", "jwk.json"].map(|kind| folder.join(format!("{name}.{kind}")));
    let pem = key.secret().to_pkcs8_pem(LineEnding::LF).context("the key could not be encoded")?;
    let certificate = cert::self_signed(key.secret(), name, &[])?;
    if !folder.exists() {
        files::private_folder(folder)?;
    }
    files::create(&key_file, pem.as_bytes(), Access::Private)?;
    files::create(&certificate_file, certificate.as_bytes(), Access::Public)?;
    files::write_json(&public_file, &key.public)?;
    let public = serde_json::to_string(&key.public)?;
    let result = json!({
        "key": key_file,
        "certificate": certificate_file,
        "public": public_file,
        "jwk": key.public,
        "kid": key.public.thumbprint(),
        "spki": Digest::of(&key.public.spki_der()),
    });
    session.out.result(&result, || {
        let mut fields = Fields::default();
        fields.add("key", format!("{} (keep it to yourself)", key_file.display()));
        fields.add("certificate", certificate_file.display().to_string());
        fields.add("public key", public_file.display().to_string());
        fields.add("", public);
        format!(
            "Made a key for {name}.\n{}\nNext: name {} in the charter draft.",
            fields.render(),
            public_file.display()
        )
    })
}
