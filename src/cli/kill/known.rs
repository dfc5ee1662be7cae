//! What is killed, as the daemon tells it and as the signatures bear it out.
//!
//! Invariant: a kill or lift counts here only if somebody signed it who may, by the own charter. What the daemon keeps to
//! itself nobody can see from here.

use anyhow::{Context as _, Result};

use crate::{
    cli::daemon::Daemon,
    client::ClientError,
    domain::{
        charter::{Charter, Rules},
        id::RequestId,
        kill::{Head, Kills},
        statement::MAX_STATEMENT_BYTES,
        time::Timestamp,
    },
    grpc::{kill_head, v1},
    jose::GeneralJws,
};

/// See the module.
pub(crate) struct Known {
    /// What was verified.
    pub(crate) kills: Kills,
    /// Kills in force that the log has not taken.
    pub(crate) unrecorded: Vec<GeneralJws>,
    /// What the daemon showed that does not verify by the own charter: the reasons.
    pub(crate) unverified: Vec<String>,
    /// The epoch, as the daemon says.
    pub(crate) epoch: u64,
    /// When the daemon said so, by its own clock; Unix seconds.
    pub(crate) at: i64,
    /// How many kills of single tokens and requests there are, of which not all need be known here.
    pub(crate) single: u64,
    /// Where the chain of kills and lifts stands, as the daemon says.
    pub(crate) head: Option<Head>,
}

impl Known {
    /// Asks the daemon. Of single tokens and requests those named, or the newest.
    pub(crate) fn ask(daemon: &Daemon, charter: &Charter, ids: &[RequestId]) -> Result<Self> {
        let answer = daemon.kills(ids).context("the daemon does not say what is killed")?;
        Ok(Self::of(&answer, charter))
    }

    /// What an answer holds.
    pub(crate) fn of(answer: &v1::GetKillsResponse, rules: &Rules) -> Self {
        let mut known = Self {
            kills: Kills::default(),
            unrecorded: Vec::new(),
            unverified: Vec::new(),
            epoch: answer.epoch,
            at: answer.at.as_ref().map_or(0, |at| at.seconds),
            single: answer.single_kills,
            head: answer.head.as_ref().and_then(kill_head),
        };
        let ended = answer.lifts.iter().flat_map(|lift| &lift.kills);
        for kill in ended.chain(&answer.kills) {
            known.kill(kill, rules);
        }
        for lift in &answer.lifts {
            let at = instant(lift.recorded_at.as_ref(), known.at);
            let learned = parse(&lift.jws).and_then(|jws| Ok(known.kills.learn_lift(jws, rules, at)?));
            known.unverified.extend(learned.err().map(|error| format!("a lift: {error:#}")));
        }
        known
    }

    fn kill(&mut self, kill: &v1::Kill, rules: &Rules) {
        let at = instant(kill.recorded_at.as_ref(), self.at);
        let learned = parse(&kill.jws).and_then(|jws| {
            self.kills.learn(jws.clone(), rules, kill.epoch, at)?;
            Ok(jws)
        });
        match learned {
            Ok(jws) if kill.recorded_at.is_none() => self.unrecorded.push(jws),
            Ok(_) => {}
            Err(error) => self.unverified.push(format!("a kill: {error:#}")),
        }
    }
}

fn parse(bytes: &[u8]) -> Result<GeneralJws> {
    Ok(GeneralJws::parse(bytes, MAX_STATEMENT_BYTES)?)
}

fn instant(at: Option<&prost_types::Timestamp>, otherwise: i64) -> Timestamp {
    Timestamp::from_seconds(at.map_or(otherwise, |at| at.seconds))
}

impl Daemon {
    pub(crate) fn kill(&self, jws: Vec<u8>) -> Result<v1::KillResponse, ClientError> {
        self.call(self.channel().kill().kill(v1::KillRequest { jws }))
    }

    pub(crate) fn lift(&self, jws: Vec<u8>) -> Result<v1::LiftResponse, ClientError> {
        self.call(self.channel().kill().lift(v1::LiftRequest { jws }))
    }

    fn kills(&self, ids: &[RequestId]) -> Result<v1::GetKillsResponse, ClientError> {
        let request_ids = ids.iter().map(ToString::to_string).collect();
        self.call(self.channel().kill().get_kills(v1::GetKillsRequest { request_ids }))
    }
}
