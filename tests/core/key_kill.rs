//! The end of a killed issuing key: when it is to be destroyed, what a lift saves, and that nobody uses it after.

use breakglass::{
    domain::{Command, Refusal, decide::signing_keys, event::Event},
    jose::Digest,
};
use serde_json::json;

use crate::{
    kit::{Log, NOW, charter_of, document, key},
    replay::audit,
    succession::refused,
};

const SIGNERS: [&str; 2] = ["alice/1", "bob/1"];

impl Log {
    fn destroyed(&mut self, name: &str, at: i64) -> Result<Vec<Event>, Refusal> {
        self.run(&Command::KeyDestroyed { kid: key(name).kid(), found: true }, at * 1000)
    }

    fn kill_key(&mut self, name: &str, tag: &str, at: i64) {
        self.kill("key", Some(&key(name).kid().to_string()), "carol/1", tag, at).unwrap();
    }

    /// Keys that wait for their destruction, without those that the charter itself has ended.
    fn condemned(&self) -> Vec<Digest> {
        self.state.keys_to_destroy().filter(|kid| *kid != key("hsm/bad").kid()).collect()
    }

    fn signs(&self, at: i64) -> Vec<Digest> {
        signing_keys(&self.state, at).iter().map(|key| key.key.thumbprint()).collect()
    }
}

/// Two active keys for all profiles.
fn log() -> Log {
    let mut document = document();
    let keys = document["issuing_keys"].as_array_mut().unwrap();
    keys.push(json!({"key": key("hsm/2").jwk(), "profiles": keys[0]["profiles"], "state": "active"}));
    Log::new(&charter_of(&document))
}

#[test]
fn a_killed_issuing_key_is_destroyed_once_and_no_lift_brings_it_back() {
    let (mut log, kid) = (log(), key("hsm/1").kid());
    assert_eq!((log.condemned(), log.signs(NOW)), (vec![], vec![kid]));
    refused(log.destroyed("hsm/1", NOW), "KEY_NOT_TO_DESTROY");
    // Neither a custodian's key nor a lockdown is the end of an issuing key.
    log.kill_key("bob/1", "bob", NOW);
    log.kill("all", None, "alice/1", "all", NOW).unwrap();
    assert_eq!((log.condemned(), log.state.is_believed(&kid)), (vec![], false));
    log.lift(&["all", "bob"], &SIGNERS, NOW + 1).unwrap();
    assert!(log.state.is_believed(&kid));

    log.kill_key("hsm/1", "key", NOW + 2);
    assert_eq!((log.condemned(), log.signs(NOW + 2)), (vec![kid], vec![key("hsm/2").kid()]));
    log.destroyed("hsm/1", NOW + 3).unwrap();
    refused(log.destroyed("hsm/1", NOW + 3), "KEY_NOT_TO_DESTROY");
    log.lift(&["key"], &SIGNERS, NOW + 4).unwrap();
    assert_eq!(log.signs(NOW + 10), [key("hsm/2").kid()], "it is gone, whatever is lifted");
    assert_eq!((log.condemned(), log.state.is_believed(&kid)), (vec![], false));
    log.audited();
}

#[test]
fn a_lift_before_the_destruction_keeps_the_key() {
    let (mut log, kid) = (log(), key("hsm/1").kid());
    log.kill_key("hsm/1", "one", NOW);
    log.kill_key("hsm/1", "two", NOW);
    log.lift(&["one"], &SIGNERS, NOW + 1).unwrap();
    assert_eq!(log.condemned(), [kid], "another kill of it stands");
    log.lift(&["two"], &SIGNERS, NOW + 2).unwrap();
    assert_eq!((log.condemned(), log.signs(NOW + 3)), (vec![], vec![kid]));
    assert!(log.state.is_believed(&kid));

    // Unless it had happened already, and only its record came later: the log has to say what is.
    log.destroyed("hsm/1", NOW + 3).unwrap();
    assert_eq!(log.signs(NOW + 4), [key("hsm/2").kid()]);
    log.audited();
}

#[test]
fn a_destruction_that_nobody_has_ordered_is_found_by_the_auditor() {
    let mut log = log();
    log.kill_key("hsm/1", "key", NOW);
    log.destroyed("hsm/1", NOW + 1).unwrap();
    let honest = log.entries.clone();
    let text = String::from_utf8(honest.last().unwrap().clone()).unwrap();
    for name in ["hsm/2", "hsm/old", "bob/1"] {
        let mut forged = honest.clone();
        let other = text.replace(&key("hsm/1").kid().to_string(), &key(name).kid().to_string());
        *forged.last_mut().unwrap() = other.into_bytes();
        assert_eq!(audit(&forged, log.pinned).unwrap_err().0, honest.len() - 1, "{name}");
    }
    audit(&honest, log.pinned).unwrap();
}
