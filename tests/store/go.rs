//! The export judged by Go's transparency log code, which was not written here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use breakglass::store::ExportDirectory;

use crate::common::{LogKey, Place, entries};
use crate::export::files;

/// Builds `tests/foreign/tlogcheck` into a directory. Needs Debian's packages golang-go and golang-golang-x-mod-dev.
fn tlogcheck(directory: &Path) -> PathBuf {
    let program = directory.join("tlogcheck");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/tlogcheck"))
        .envs([("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode"), ("GOFLAGS", ""), ("GOPROXY", "off")])
        .output()
        .unwrap_or_else(|error| panic!("go (Debian: golang-go) cannot be started: {error}"));
    let stderr = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "tlogcheck needs golang-golang-x-mod-dev:\n{stderr}");
    program
}

fn check(program: &Path, directory: &Path) -> Output {
    Command::new(program).arg(directory).arg(LogKey::new().verifier.to_string()).output().unwrap()
}

#[tokio::test]
async fn go_accepts_an_export_and_refuses_a_tampered_one() {
    let (place, key) = (Place::new(), LogKey::new());
    let store = place.create().await;
    let directory = place.directory().join("export");
    let program = tlogcheck(place.directory());
    for size in [1, 256, 700, 1500] {
        store.append(store.size(), &entries(store.size()..size)).await.unwrap();
        store.export(&ExportDirectory::at(&directory), key.sign_newest(&store)).await.unwrap();
        let said = check(&program, &directory);
        assert_eq!(
            String::from_utf8_lossy(&said.stdout),
            format!("ok {size}\n"),
            "{}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
    let mut refused = 0;
    for file in files(&directory) {
        // Partial tiles of earlier, smaller logs are allowed to stay, and not part of this one.
        let partial = file.parent().unwrap().extension().is_some_and(|extension| extension == "p");
        let newest = ["220", "5"].map(std::ffi::OsStr::new).contains(&file.file_name().unwrap());
        if partial && !newest {
            continue;
        }
        let original = fs::read(&file).unwrap();
        let mut bytes = original.clone();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        fs::write(&file, bytes).unwrap();
        let said = check(&program, &directory);
        assert_eq!(said.status.code(), Some(1), "{} was changed, Go said {said:?}", file.display());
        fs::write(&file, original).unwrap();
        refused += 1;
    }
    assert_eq!(refused, 1 + 6 + 6 + 1, "checkpoint, bundles, leaf tiles, and the tile above");
    assert!(check(&program, &directory).status.success());
}
