//! The transcript of a ceremony: kept step by step, signed by all who were there, recorded, and printed.

use std::fs;

use serde_json::{Value, json};

use super::world::{ALICE, BOB, CAROL, World};

/// One chapter of the day.
pub fn it_has_a_transcript(world: &World) {
    let ceremony = |arguments: &[&str]| world.json(&[&["ceremony"], arguments].concat());
    let begin = ["begin", "binder", "--ceremony", "rotate-key", "--present", "alice", "--present", "bob"];
    fs::create_dir(world.path("binder")).unwrap();
    ceremony(&["step", "binder", "--name", "x", "--by", "alice"]).refused(2, "NO_CEREMONY");
    ceremony(&begin[..6]).refused(2, "TOO_FEW_PRESENT");
    ceremony(&begin).ok();
    let other = [&begin[..], &["--rehearsal"]].concat();
    ceremony(&other).refused(1, "ANOTHER_CEREMONY");

    let step = |name: &str, by: &[&str], more: &[&str]| {
        let by: Vec<&str> = by.iter().flat_map(|person| ["--by", person]).collect();
        ceremony(&[&["step", "binder", "--name", name], &by[..], more].concat())
    };
    step("Nobody else saw it", &["alice"], &[]).refused(1, "NOT_ACKNOWLEDGED");
    step("A stranger saw it", &["alice", "carol"], &[]).refused(1, "NOT_ACKNOWLEDGED");
    let hostile = "words=<script>alert('x')</script>";
    step("The key was made", &["alice", "bob"], &["--fact", hostile]).ok();
    let again = step("The key was made", &["alice", "bob"], &[]).json();
    assert_eq!(again, json!({"steps": 1, "recorded": false}));
    step("The words were read aloud", &["bob", "alice"], &[]).ok();
    assert_eq!(ceremony(&begin).json()["steps"].as_array().unwrap().len(), 2, "it goes on where it was");

    ceremony(&["submit", "binder"]).refused(2, "NOT_SEALED");
    let sign = |serial: u32| {
        let (serial, pin) = (serial.to_string(), world.file("pin"));
        ceremony(&["sign", "binder", "--serial", &serial, "--pin-file", &pin, "--yes"])
    };
    assert_eq!(sign(ALICE).json()["missing"], json!(["bob"]));
    step("One thing more", &["alice", "bob"], &[]).refused(1, "SEALED");
    ceremony(&["submit", "binder"]).refused(1, "SIGNATURES_MISSING");
    let (charter, page) = (world.file("charter.json"), world.file("binder.html"));
    let print = || ceremony(&["print", "binder", "--charter", &charter, "--out", &page]);
    print().refused(1, "SIGNATURES_MISSING");
    sign(CAROL).refused(1, "NOT_PRESENT");
    assert_eq!(sign(BOB).json()["missing"], json!([]));
    assert_eq!(sign(BOB).json()["missing"], json!([]), "a second signature by one person adds nothing");

    let recorded = ceremony(&["submit", "binder"]).json();
    let index = recorded["index"].as_u64().unwrap();
    assert_eq!(ceremony(&["submit", "binder"]).json()["index"], Value::Null, "it is there already");
    let entry = world.json(&["audit", "prove", &index.to_string()]).json();
    assert_eq!(entry["entry_json"]["event"]["type"], "transcript_recorded");

    print().ok();
    let page = fs::read_to_string(&page).unwrap();
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "facts are escaped");
    assert!(page.contains("The words were read aloud") && page.contains("<svg"));
    assert!(!page.contains("src=") && !page.contains("url("), "nothing is loaded from elsewhere");
}
