//! The help of every command, pinned; the exit codes in it are the contract of scripts.

use crate::run::Place;

#[test]
fn the_whole_help() {
    insta::assert_snapshot!(Place::new().shown(&["--help"]));
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let place = Place::new();
    for command in [
        &["request"][..],
        &["list"],
        &["show"],
        &["watch"],
        &["approve"],
        &["deny"],
        &["withdraw"],
        &["redeem"],
        &["connect"],
        &["station"],
        &["check-in"],
        &["review"],
        &["verify"],
        &["kill", "jti"],
        &["kill", "request"],
        &["kill", "requester"],
        &["kill", "profile"],
        &["kill", "key"],
        &["kill", "all"],
        &["kill", "status"],
        &["kill", "send"],
        &["verifier", "add"],
        &["verifier", "list"],
        &["verifier", "show"],
        &["verifier", "probe"],
        &["lift", "create"],
        &["lift", "sign"],
        &["lift", "submit"],
        &["doctor"],
        &["completion"],
        &["audit", "verify"],
        &["audit", "export"],
        &["audit", "prove"],
        &["audit", "vkey"],
        &["charter", "new"],
        &["charter", "sign"],
        &["charter", "show"],
        &["request", "export"],
        &["approval", "submit"],
        &["genesis", "status"],
        &["genesis", "announce"],
        &["genesis", "cancel"],
        &["ceremony", "begin"],
        &["ceremony", "step"],
        &["ceremony", "sign"],
        &["ceremony", "submit"],
        &["ceremony", "print"],
        &["charter", "draft"],
        &["charter", "diff"],
        &["charter", "propose"],
        &["charter", "proposals"],
        &["charter", "retract"],
        &["charter", "submit"],
        &["charter", "pull"],
        &["charter", "verify"],
        &["custodian", "enrol"],
        &["key", "new"],
        &["key", "secret"],
    ] {
        let ran = place.run(&[command, &["--help"]].concat());
        assert_eq!(ran.code, 0, "{command:?}");
        let line = format!("breakglass {}", command.join(" "));
        let example = ran.stdout.rsplit("Example").next().unwrap();
        assert!(example.contains(&line), "{command:?} shows no example:\n{}", ran.stdout);
        assert!(ran.stdout.contains("--json"), "{command:?}");
        insta::assert_snapshot!(command.join("_"), ran.stdout);
    }
}

#[test]
fn a_wrong_command_line_is_told_apart_from_a_refusal() {
    let place = Place::new();
    for arguments in [
        &["reqest"][..],
        &["approve"],
        &["approve", "abc"],
        &["approve", "abcdef", "--serial", "x"],
        &["request", "--reason", "x", "--incident", "I", "--ttl", "soon"],
        &["request", "--reason", "", "--incident", "I"],
        &["request", "--reason", "x", "--incident", "I", "--detail", "{}"],
        &["station", "--id", "War Room"],
    ] {
        let ran = place.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(!ran.stderr.is_empty());
    }
}

#[test]
fn completions_know_the_commands() {
    let place = Place::new();
    let script = place.run(&["completion", "bash"]).stdout;
    assert!(script.contains("_breakglass()") && script.contains("--pin-file"));
    place.write("completion", script);
    let checked =
        std::process::Command::new("bash").arg("-n").arg(place.path().join("completion")).status().unwrap();
    assert!(checked.success());
}
