//! The checked-in code is what the checked-in `.proto` files generate.

use std::path::Path;
use std::{fs, io};

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[test]
fn generated_code_is_current() {
    let stale = codegen::drift(&codegen::repository()).unwrap();
    assert!(stale.is_empty(), "run `cargo run -p codegen`: {stale:?}");
}

#[test]
fn an_edited_proto_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    for folder in ["proto", "src/grpc/gen"] {
        copy(&codegen::repository().join(folder), &root.path().join(folder)).unwrap();
    }
    assert!(codegen::drift(root.path()).unwrap().is_empty());

    let edited = root.path().join("proto/breakglass/v1/request.proto");
    let before = fs::read_to_string(&edited).unwrap();
    let text = before.replace("uint32 releases = 6", "uint32 releases = 7");
    assert_ne!(before, text);
    fs::write(&edited, text).unwrap();
    assert_eq!(codegen::drift(root.path()).unwrap().len(), 2);
}
