//! The versions so far: `GetCharter`, `ListCharters`.

use tonic::{Request, Status};

use super::Charters;
use crate::engine::EngineError;
use crate::grpc::front::Entered;
use crate::grpc::status::{Kind, ServiceError};
use crate::grpc::v1;

/// Versions of one answer, in bytes, before the last: clients take 4 MiB.
const MAX_BYTES: usize = 1024 * 1024;

impl Charters {
    pub(super) async fn get(
        &self,
        request: Request<v1::GetCharterRequest>,
    ) -> Result<v1::GetCharterResponse, Status> {
        let entered = self.front.enter_to_sign(&request)?;
        let newest = u64::from(entered.charter.document().version);
        let wanted = request.get_ref().version;
        if wanted == 0 || wanted == newest {
            let jws = entered.charter.statement().to_json();
            return Ok(v1::GetCharterResponse { version: newest, jws });
        }
        self.version(&entered, wanted).await?.ok_or_else(|| unknown(newest))
    }

    pub(super) async fn list(
        &self,
        request: Request<v1::ListChartersRequest>,
    ) -> Result<v1::ListChartersResponse, Status> {
        let entered = self.front.enter_to_sign(&request)?;
        let newest = u64::from(entered.charter.document().version);
        let first = request.get_ref().first_version.max(1);
        if first > newest {
            return Err(unknown(newest));
        }
        let mut answer = v1::ListChartersResponse::default();
        let mut bytes = 0;
        for version in first..=newest {
            if bytes > MAX_BYTES {
                answer.next_version = version;
                break;
            }
            let charter = self.version(&entered, version).await?.ok_or_else(|| unknown(newest))?;
            bytes += charter.jws.len();
            answer.charters.push(charter);
        }
        Ok(answer)
    }

    async fn version(
        &self,
        entered: &Entered,
        version: u64,
    ) -> Result<Option<v1::GetCharterResponse>, Status> {
        let found = self.front.engine.charter_version(version).await;
        let found = found.map_err(|error: EngineError| self.front.refused(&entered.caller, &error))?;
        Ok(found.map(|statement| v1::GetCharterResponse { version, jws: statement.to_json() }))
    }
}

fn unknown(newest: u64) -> Status {
    let message = format!("there is no such version: {newest} is the newest");
    ServiceError::new(Kind::NotFound, "CHARTER_VERSION_UNKNOWN", message).with("version", newest).into()
}
