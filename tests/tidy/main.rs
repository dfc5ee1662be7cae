//! The rules of the architecture, checked on the source itself.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do, by panicking"
)]

mod dependencies;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Modules by layer, lowest first. A module may import from lower layers only; those of one layer never import each
/// other, but for the pairs in `SAME_LAYER`.
const LAYERS: &[&[&str]] = &[
    &["jose", "tlog"],
    &["domain"],
    &["hsm", "piv", "store", "config", "telemetry", "fetch"],
    &["engine"],
    &["grpc", "http"],
    &["client"],
    &["gate"],
    &["cli", "daemon"],
];

/// No clock, no randomness, no input or output below this line.
const PURE: &[&str] = &["jose", "tlog", "domain"];
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::time::SystemTime",
    "std::time::Instant",
    "SystemTime::now",
    "Instant::now",
    "tokio::",
    "getrandom::",
    "sqlx::",
    "cryptoki::",
    "yubikey::",
    "tracing::",
];

const LONGEST_FILE: usize = 400;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Rust files below a folder, without generated ones.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("gen") && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all(folder: &str) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    sources(&root().join(folder), &mut paths);
    assert!(!paths.is_empty(), "{folder} has no sources");
    let name = |path: &Path| path.strip_prefix(root()).unwrap().display().to_string();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/")
}

/// The part of a file before its unit tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Modules of this crate that a text names, whether by `use crate::{a, b}` or by a path.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            let mut taken = false;
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        found.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
                        taken = false;
                    }
                    c if depth == 0 && !taken && (c.is_alphanumeric() || c == '_') => word.push(c),
                    _ if depth == 0 && !word.is_empty() => {
                        found.push(std::mem::take(&mut word));
                        taken = true;
                    }
                    _ => {}
                }
            }
            found.extend((!word.is_empty()).then_some(word));
        } else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
}

#[test]
fn imports_point_downward() {
    let mut wrong = Vec::new();
    for (name, text) in all("src").iter().filter(|(name, _)| !is_test(name)) {
        let module = name.trim_start_matches("src/").split(['/', '.']).next().unwrap();
        let Some(own) = layer(module) else { continue };
        for imported in imports(product(text)).iter().filter(|imported| *imported != module) {
            if layer(imported).is_some_and(|other| other >= own) {
                wrong.push(format!("{name} imports {imported}"));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that point sideways or upward:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for module in text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
        assert!(layer(module).is_some(), "{module} is in no layer");
    }
    assert_eq!(imports("use crate::{a, b::{c, d}, e};\nuse crate::f::g;\n// crate::h"), ["a", "b", "e", "f"]);
}

#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();
    for (name, text) in all("src").iter().filter(|(name, _)| !is_test(name)) {
        let module = name.trim_start_matches("src/").split(['/', '.']).next().unwrap();
        if PURE.contains(&module) {
            let code = product(text).lines().filter(|line| !line.trim_start().starts_with("//"));
            let impure = |line: &&str| IMPURE.iter().any(|word| line.contains(word));
            wrong.extend(code.filter(impure).map(|line| format!("{name}: {line}")));
        }
    }
    assert!(wrong.is_empty(), "the pure core does something impure:\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for_and_is_short() {
    let mut lengths = BTreeMap::new();
    for folder in ["src", "tests"] {
        for (name, text) in all(folder) {
            assert!(text.starts_with("//!"), "{name} does not say what it is responsible for");
            lengths.insert(name, text.lines().count());
        }
    }
    let long: Vec<_> = lengths
        .iter()
        .filter(|(name, lines)| name.starts_with("src") && !is_test(name) && **lines > LONGEST_FILE)
        .collect();
    assert!(long.is_empty(), "too long to be understood: {long:?}");
    let mut product: Vec<usize> =
        lengths.iter().filter(|(name, _)| name.starts_with("src")).map(|(_, lines)| *lines).collect();
    product.sort_unstable();
    let median = product[product.len() / 2];
    assert!(median <= 200, "the median file has {median} lines");
}

#[test]
fn relaxations_say_why() {
    for folder in ["src", "tests"] {
        for (name, text) in all(folder).iter().filter(|(name, _)| !name.starts_with("tests/tidy")) {
            let bare = text.lines().find(|line| line.contains("#[allow(") || line.contains("#![allow("));
            assert!(bare.is_none(), "{name}: {bare:?}: use #[expect(lint, reason = …)]");
            let ignored = text.lines().find(|line| line.trim_start().starts_with("#[ignore"));
            assert!(ignored.is_none(), "{name} ignores a test");
        }
    }
}

#[test]
fn documents_name_tests_that_exist() {
    let mut code = String::new();
    for folder in ["src", "tests"] {
        code.extend(all(folder).into_iter().map(|(_, text)| text));
    }
    let mut named = 0;
    for document in ["SECURITY.md", "README.md"] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        // Names of tests are long and in code quotes.
        for name in text.split('`').skip(1).step_by(2) {
            let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if plain && name.matches('_').count() >= 3 {
                named += 1;
                assert!(
                    code.contains(&format!("fn {name}(")),
                    "{document} names {name}, which does not exist"
                );
            }
        }
    }
    assert!(named >= 30, "only {named} tests are named");
}
