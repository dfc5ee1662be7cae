//! The single checks: each looks at one thing, and says what it found and what to do about it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use serde::Serialize;

use crate::{
    cli::{daemon::Daemon, genesis, kill::known::Known, setup::Setup, text, view},
    domain::{
        charter::{Charter, KeyKind},
        time::SKEW,
    },
    grpc::v1,
    piv::{self, PivKey},
};

/// A charter's successor is due this many seconds before its end.
const RENEW_BEFORE: i64 = 14 * 86_400;
/// A clock difference that is worth a remark, in seconds.
const DRIFT: u64 = 5;
/// How long keys have to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Health {
    /// As it should be.
    Ok,
    /// Works, but somebody should know.
    Warn,
    /// Does not work.
    Fail,
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) health: Health,
    pub(super) found: String,
    pub(super) next: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, health: Health::Ok, found: found.into(), next: None }
    }

    pub(super) fn warn(name: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self { name, health: Health::Warn, found: found.into(), next: Some(next.into()) }
    }

    pub(super) fn fail(name: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self { name, health: Health::Fail, found: found.into(), next: Some(next.into()) }
    }
}

/// Whether this chain is about to be replaced, or has been.
pub(super) fn genesis(setup: &Setup) -> Option<Check> {
    let found = setup.connect().ok()?.genesis().ok()?;
    let next = "find out who announced it and why; a quorum cancels it with breakglass genesis cancel";
    (!genesis::is_quiet(&found)).then(|| Check::fail("CHAIN", genesis::describe(&found).trim(), next))
}

/// The charter: in force, and for how long.
pub(super) fn charter(charter: &Charter, now: i64) -> Vec<Check> {
    let document = charter.document();
    let ends = text::until(document.expires_at, now);
    let validity = if !charter.is_in_force(now) {
        Check::fail(
            "charter",
            format!("not in force: it ends {ends}"),
            "a new charter is needed before anything else: a custodian begins with breakglass charter draft",
        )
    } else if document.expires_at - now < RENEW_BEFORE {
        Check::warn(
            "charter",
            format!("version {} ends {ends}", document.version),
            "its successor is due: a custodian begins with breakglass charter draft",
        )
    } else {
        Check::ok(
            "charter",
            format!("version {}, verified against the pinned genesis; ends {ends}", document.version),
        )
    };
    let mut checks = vec![validity];
    if document.development {
        checks.push(Check::warn(
            "development",
            "the charter is marked for development",
            "strict verifiers refuse its tokens unless told otherwise; hold a real ceremony before production",
        ));
    }
    checks
}

/// The own file key: private, and somebody's.
pub(super) fn own_key(setup: &Setup, now: i64) -> Check {
    let key = match setup.file_key() {
        Ok(key) => key,
        Err(error) => {
            return Check::fail("own key", format!("{error:#}"), "make one with breakglass key new");
        }
    };
    match setup.charter.holder(&key.public.thumbprint()) {
        None => Check::fail("own key", "the charter does not know it", "have it added to the next charter"),
        Some(holder) if !holder.term.covers(now) => Check::fail(
            "own key",
            format!("{} is not in term", holder.principal),
            "the next charter can renew the term",
        ),
        Some(holder) => Check::ok("own key", format!("the charter knows it as {}", holder.principal)),
    }
}

/// The folder of requests' keys, which nobody else may read.
pub(super) fn state_dir(path: &Path) -> Option<Check> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let place = path.display();
    Some(if mode & 0o777 & !0o700 == 0 {
        Check::ok("requests' keys", place.to_string())
    } else {
        Check::fail(
            "requests' keys",
            format!("{place} can be read by others (mode {mode:o})"),
            format!("chmod 700 {place}"),
        )
    })
}

/// The daemon: reachable, itself, and of one mind with us.
pub(super) fn daemon(setup: &Setup, now: i64) -> Vec<Check> {
    let daemon = setup.connect();
    let killed = daemon.as_ref().ok().map(|daemon| kills(daemon, setup, now));
    let said = daemon.and_then(|daemon| Ok(daemon.describe()?));
    match said {
        Err(error) => vec![Check::fail(
            "daemon",
            text::safe(&format!("{error:#}")),
            "start breakglassd, or correct daemon in the configuration",
        )],
        Ok(said) => {
            let mut checks = vec![
                Check::ok(
                    "daemon",
                    format!(
                        "breakglassd {} as {}; {} log entries; it knows you as {}",
                        text::safe(&said.software_version),
                        text::safe(&said.instance),
                        said.log_size,
                        text::safe(&said.caller)
                    ),
                ),
                same_charter(setup, &said),
                clock(&said, now),
            ];
            checks.extend(killed);
            checks.extend(said.to_destroy.iter().map(to_destroy));
            if !said.latched.is_empty() {
                checks.push(Check::fail(
                    "latch",
                    text::safe(&said.latched),
                    "nothing is decided until a person has looked at the daemon",
                ));
            }
            checks
        }
    }
}

/// A key that is dead for everybody who reads the charter, and still in the HSM.
fn to_destroy(pending: &v1::PendingDestruction) -> Check {
    let why = if pending.reason.is_empty() {
        String::new()
    } else {
        format!(" (the last attempt: {})", text::safe(&pending.reason))
    };
    Check::warn(
        "destruction",
        format!(
            "issuing key {} was killed, or ended by the charter, and is still in the HSM{why}",
            text::safe(&pending.kid)
        ),
        "the daemon goes on trying; look at the HSM if this stays: lax verifiers may take what it signs",
    )
}

/// What is killed, wider than one request.
fn kills(daemon: &Daemon, setup: &Setup, now: i64) -> Check {
    match Known::ask(daemon, &setup.charter, &[]) {
        Err(error) => Check::fail(
            "kills",
            text::safe(&format!("{error:#}")),
            "a daemon of this version says what is killed",
        ),
        Ok(known) => match view::kill::banner(&known, &setup.charter, now) {
            nothing if nothing.is_empty() => Check::ok("kills", format!("none; kill epoch {}", known.epoch)),
            banner if known.unverified.is_empty() && known.unrecorded.is_empty() => {
                Check::warn("kills", banner, "a quorum ends it: breakglass lift create")
            }
            banner => {
                Check::fail("kills", banner, "look at the daemon's disk, and run breakglass charter pull")
            }
        },
    }
}

fn same_charter(setup: &Setup, said: &v1::GetDaemonResponse) -> Check {
    if said.charter_digest == setup.charter.digest().to_string() {
        return Check::ok("same charter", "the daemon has the charter that you have");
    }
    if said.charter_version > setup.charter.document().version.into() {
        return Check::fail(
            "same charter",
            format!(
                "the daemon has version {}, and you have {}",
                said.charter_version,
                setup.charter.document().version
            ),
            "breakglass charter pull fetches it, and verifies that it follows from yours",
        );
    }
    Check::fail(
        "same charter",
        format!(
            "the daemon has version {} of the charter, which is another than yours",
            said.charter_version
        ),
        "compare the twelve words with the custodians before you believe either",
    )
}

fn clock(said: &v1::GetDaemonResponse, now: i64) -> Check {
    let Some(theirs) = said.now else {
        return Check::warn("clock", "the daemon did not say what time it has", "update the daemon");
    };
    let difference = theirs.seconds.abs_diff(now);
    let found = format!("{difference} s between this machine and the daemon");
    match difference {
        0..=DRIFT => Check::ok("clock", found),
        _ if difference <= SKEW.unsigned_abs() => Check::warn("clock", found, "set the clocks by NTP"),
        _ => Check::fail("clock", found, "statements more than 60 s off are refused: set the clocks by NTP"),
    }
}

/// The hardware keys that are plugged in, and whose they are.
pub(super) fn devices(charter: Option<&Charter>, now: i64) -> Vec<Check> {
    let scan = match piv::scan(PATIENCE) {
        Ok(scan) => scan,
        Err(error) => {
            return vec![Check::warn("hardware keys", error.to_string(), "only custodians need this")];
        }
    };
    let mut checks: Vec<Check> = scan
        .devices
        .into_iter()
        .map(|device| {
            let serial = device.serial;
            let shown = format!("YubiKey {serial}, firmware {}", device.firmware);
            let holder = charter.and_then(|charter| {
                charter.holders().find(|holder| holder.kind == KeyKind::Piv { serial: serial.0 })
            });
            match (holder, PivKey::at(device).public_key()) {
                (None, _) => Check::warn(
                    "hardware key",
                    format!("{shown}: nobody's in the charter"),
                    "it cannot approve",
                ),
                (Some(_), Err(error)) => {
                    Check::fail("hardware key", format!("{shown}: {error}"), "enrol it anew")
                }
                (Some(holder), Ok(key)) if key != holder.key => Check::fail(
                    "hardware key",
                    format!("{shown}: holds another key than the charter lists for {}", holder.principal),
                    "it was enrolled anew or reset; the next charter has to list the new key",
                ),
                (Some(holder), Ok(_)) if holder.custodian(now).is_none() => Check::warn(
                    "hardware key",
                    format!("{shown}: of {}, who is no custodian now", holder.principal),
                    "it cannot approve",
                ),
                (Some(holder), Ok(_)) => {
                    Check::ok("hardware key", format!("{shown}: of {}", holder.principal))
                }
            }
        })
        .collect();
    if checks.is_empty() {
        checks.push(Check::ok("hardware keys", "none is plugged in"));
    }
    if !scan.busy.is_empty() {
        checks.push(Check::warn(
            "hardware keys",
            format!("{} did not answer", scan.busy.len()),
            "another program uses it, or it waits for a touch",
        ));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_a_little() {
        let said = |seconds| v1::GetDaemonResponse {
            now: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            ..Default::default()
        };
        assert_eq!(clock(&said(1_000), 1_003).health, Health::Ok);
        assert_eq!(clock(&said(1_000), 960).health, Health::Warn);
        assert_eq!(clock(&said(1_000), 1_061).health, Health::Fail);
        assert_eq!(clock(&v1::GetDaemonResponse::default(), 0).health, Health::Warn);
    }

    #[test]
    fn a_folder_of_keys_is_private() {
        let folder = testkit::temp_dir();
        let mode = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        mode(0o755);
        assert_eq!(state_dir(folder.path()).unwrap().health, Health::Fail);
        mode(0o700);
        assert_eq!(state_dir(folder.path()).unwrap().health, Health::Ok);
        assert_eq!(state_dir(Path::new("/nonexistent")), None);
    }
}
