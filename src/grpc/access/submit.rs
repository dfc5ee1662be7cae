//! `SubmitSignature`: approvals and denials, which travel as one object.

use tonic::{Request, Status};

use super::{Access, parse_id, v1};
use crate::domain::Refusal;
use crate::domain::id::RequestId;
use crate::domain::request::Request as Filed;
use crate::domain::statement::MAX_STATEMENT_BYTES;
use crate::engine::EngineError;
use crate::jose::GeneralJws;

impl Access {
    pub(super) async fn submit(
        &self,
        request: Request<v1::SubmitSignatureRequest>,
    ) -> Result<v1::SubmitSignatureResponse, Status> {
        let entered = self.front.enter(&request)?;
        let message = request.into_inner();
        let id = parse_id(&message.request_id)?;
        let refused = |error: &EngineError| self.front.refused(&entered.caller, error);
        let new = self.without_held(id, message.jws).map_err(|error| refused(&error))?;
        if let Some(new) = new {
            let judged = self.front.engine.judge(entered.caller.actor(), id, &new).await;
            judged.map_err(|error| refused(&error))?;
        }
        Ok(v1::SubmitSignatureResponse { request: self.after(&entered, id) })
    }

    /// The statement without the verdicts that the daemon holds already, so that sending a file twice is harmless;
    /// `None` if nothing is left. Held is what has the same protected header (key, time and kind): the signature's own
    /// bytes are malleable, and a verdict that is held has been verified.
    fn without_held(&self, id: RequestId, bytes: Vec<u8>) -> Result<Option<Vec<u8>>, EngineError> {
        let held = self.front.engine.read(|state| state.request(&id).map(Filed::statement));
        let Some(held) = held else { return Ok(Some(bytes)) };
        // Nearly always nothing is held, and then the statement need not be parsed twice.
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        if !held.signatures.iter().any(|old| text.contains(old.protected())) {
            return Ok(Some(bytes));
        }
        let mut jws = GeneralJws::parse(&bytes, MAX_STATEMENT_BYTES).map_err(Refusal::from)?;
        if jws.payload != held.payload {
            return Ok(Some(bytes));
        }
        jws.signatures.retain(|new| !held.signatures.iter().any(|old| old.protected() == new.protected()));
        Ok((!jws.signatures.is_empty()).then(|| jws.to_json()))
    }
}
