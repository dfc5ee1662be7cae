//! A QR scanner that was written elsewhere.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// What is in the code of an SVG file.
pub fn scan(file: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules =
        Command::new(root.join("scripts/lib/node-modules")).stderr(Stdio::inherit()).output().unwrap();
    assert!(modules.status.success(), "scripts/lib/node-modules failed");
    let modules = String::from_utf8(modules.stdout).unwrap();
    let mut node = Command::new("node");
    let node = node.env("NODE_DIRECTORY", modules.trim()).arg(root.join("tests/cli/live/scan.mjs")).arg(file);
    let read = node.output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    String::from_utf8(read.stdout).unwrap()
}
