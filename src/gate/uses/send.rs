//! Sends what was used to whichever daemon takes it, one report after the other.
//!
//! Invariant: nothing is forgotten before a daemon said that the log has it; what it refuses is kept, and said aloud.

use std::{sync::Arc, time::Duration};

use super::Flight;
use crate::{
    client::{Channel, ClientError},
    domain::gate::UseReport,
    gate::{Gate, clock::Moment},
    grpc::v1,
    jose::{JoseError, Typ, json},
};

/// How often it is looked whether a minute is over.
const TICK: Duration = Duration::from_secs(1);
/// How long a daemon may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause after a failure; it doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(15);

/// Why a report was not taken.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("no daemon is connected")]
    Alone,
    #[error("no daemon takes a report of uses")]
    Client(#[from] ClientError),
    #[error("a report could not be written or signed")]
    Text(#[from] JoseError),
    #[error("the file of uses cannot be written")]
    File(#[from] std::io::Error),
}

/// Sends for ever.
pub(in crate::gate) async fn run(gate: Arc<Gate>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match send(&gate).await {
            // There may be more.
            Ok(true) => pause = FIRST_PAUSE,
            Ok(false) => {
                pause = FIRST_PAUSE;
                let _ready_or_time = tokio::time::timeout(TICK, gate.uses.ready.notified()).await;
            }
            Err(SendError::Alone) => tokio::time::sleep(FIRST_PAUSE).await,
            Err(error) => {
                say(&gate, &error);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }
}

fn say(gate: &Gate, error: &SendError) {
    gate.metrics.unreported();
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, waiting = gate.uses.waiting(), "uses are not reported yet; trying again");
}

/// Sends one report; whether there was one.
async fn send(gate: &Gate) -> Result<bool, SendError> {
    let charter = gate.view.known().charter;
    let Some(flight) = gate.uses.flight(charter.digest(), Moment::now())? else { return Ok(false) };
    let mut last = SendError::Alone;
    for channel in gate.links.all() {
        match report(gate, &flight, &channel).await {
            Ok(()) => {
                gate.uses.sent(flight.seq)?;
                gate.metrics.reported();
                return Ok(true);
            }
            Err(SendError::Client(error)) if error.reason == "USE_NUMBER" => {
                let newest = error.metadata.get("last").and_then(|last| last.parse().ok());
                if let Some(newest) = newest {
                    gate.uses.renumber(newest)?;
                    return Ok(true);
                }
                last = error.into();
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn report(gate: &Gate, flight: &Flight, channel: &Channel) -> Result<(), SendError> {
    let report = UseReport {
        iss: gate.view.known().charter.document().iss.clone(),
        charter: flight.charter,
        gate: gate.config.name.clone(),
        seq: flight.seq,
        uses: flight.uses.clone(),
    };
    let jws = gate.signer.sign(Typ::Use, json::canonical(&report)?, Moment::now().seconds())?;
    let mut client = channel.gate();
    let sent = client.report_uses(v1::ReportUsesRequest { jws: jws.to_json() });
    let answered = tokio::time::timeout(PATIENCE, sent).await;
    let answered = answered.unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("no answer in time")));
    answered.map(drop).map_err(|status| ClientError::from(status).into())
}
