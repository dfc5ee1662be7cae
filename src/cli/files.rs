//! Files: private ones that are durable before they are relied on, and the JSON files that commands hand to each other.
//!
//! Invariant: a file is either there whole or not at all: written beside, synced, renamed; then its folder is synced.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use der::{Decode as _, Encode as _};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::exit::Problem;
use crate::{
    domain::{
        charter::{DaemonKey, Device, LogKey},
        evidence::Evidence,
        id::PersonId,
    },
    jose::{IssuingPublicKey, P256PublicKey},
};

/// Largest file that is read: an evidence file of many devices stays far below.
const MAX_JSON: u64 = 4 * 1024 * 1024;

/// What `breakglassd setup` tells about itself: what a charter needs to know of a daemon.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DaemonFile {
    pub(crate) issuing_key: IssuingPublicKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operational_key: Option<P256PublicKey>,
    pub(crate) log_key: LogKey,
    pub(crate) daemon: DaemonKey,
}

/// What `custodian enrol` writes for a charter draft.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceFile {
    pub(crate) person: PersonId,
    pub(crate) device: Device,
    pub(crate) evidence: Evidence,
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// The owner alone.
    Private,
    /// Everybody; the umask decides.
    Public,
}

/// Reads a JSON file of a known shape.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let bytes = read(path)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Problem::usage("FILE_SHAPE", format!("{} is not {what}: {error}", path.display())).into()
    })
}

/// Reads a file of reasonable size.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let fail = |why: String| {
        Problem::usage("FILE_UNREADABLE", format!("{} could not be read: {why}", path.display()))
    };
    let size = fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
    if size > MAX_JSON {
        return Err(fail(format!("it has {size} bytes, more than any such file needs")).into());
    }
    Ok(fs::read(path).map_err(|error| fail(error.to_string()))?)
}

/// Certificates of files, PEM (also several in one) or DER, as DER.
pub(crate) fn certificates(files: &[PathBuf]) -> Result<Vec<Vec<u8>>> {
    let mut ders = Vec::new();
    for path in files {
        let bytes = read(path)?;
        let place = || format!("{} is no certificate", path.display());
        if bytes.starts_with(b"-----BEGIN") {
            for certificate in x509_cert::Certificate::load_pem_chain(&bytes).with_context(place)? {
                ders.push(certificate.to_der().with_context(place)?);
            }
        } else {
            x509_cert::Certificate::from_der(&bytes).with_context(place)?;
            ders.push(bytes);
        }
    }
    Ok(ders)
}

/// Writes JSON for people and programs.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    replace(path, &text, Access::Public)
}

/// Writes a new file; one that is there already is not touched.
pub(crate) fn create(path: &Path, content: &[u8], access: Access) -> Result<()> {
    if path.exists() {
        return Err(Problem::refused(
            "FILE_EXISTS",
            format!(
                "{} exists already and was not touched: remove it, or choose another place",
                path.display()
            ),
        )
        .into());
    }
    replace(path, content, access)
}

/// Writes a file, in the place of an older one; durable when this returns.
pub(crate) fn replace(path: &Path, content: &[u8], access: Access) -> Result<()> {
    let place = || format!("{} could not be written", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{}.new", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    options.mode(if access == Access::Private { 0o600 } else { 0o666 });
    let written = options.open(&beside).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&beside, path)).with_context(place)?;
    sync_folder(folder).with_context(place)
}

/// Makes a folder, and those above it, for the owner alone.
pub(crate) fn private_folder(path: &Path) -> Result<()> {
    let place = || format!("the folder {} could not be made", path.display());
    DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(place)?;
    let above = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_folder(above).with_context(place)
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn private_files_are_private_and_never_overwritten() {
        let folder = testkit::temp_dir();
        let inner = folder.path().join("a/b");
        private_folder(&inner).unwrap();
        assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
        let file = inner.join("key.pem");
        create(&file, b"one", Access::Private).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(create(&file, b"two", Access::Private).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"one");
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1, "nothing is left beside it");
    }
}
