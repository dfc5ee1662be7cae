//! Whether custodians can be reached: `CheckIn`, `ListDevices`.

use tonic::{Request, Status};

use super::Charters;
use crate::domain::check_in::Watched;
use crate::grpc::time::seconds;
use crate::grpc::v1;

impl Charters {
    pub(super) async fn seen(
        &self,
        request: Request<v1::CheckInRequest>,
    ) -> Result<v1::CheckInResponse, Status> {
        let entered = self.front.enter(&request)?;
        let jws = request.into_inner().jws;
        let decided = self.front.engine.check_in(entered.caller.actor(), &jws).await;
        let decided = decided.map_err(|error| self.front.refused(&entered.caller, &error))?;
        Ok(v1::CheckInResponse { index: decided.index })
    }

    pub(super) fn devices(
        &self,
        request: &Request<v1::ListDevicesRequest>,
    ) -> Result<v1::ListDevicesResponse, Status> {
        let entered = self.front.enter(request)?;
        if !entered.caller.sees_all() {
            let message = "only custodians and auditors see when keys were last used";
            return Err(self.front.denied(&entered.caller, "NOT_A_CUSTODIAN", message));
        }
        let now = entered.now.seconds();
        let watched = self.front.engine.read(|state| state.sightings().watched(&entered.charter, now));
        Ok(v1::ListDevicesResponse { devices: watched.iter().map(view).collect() })
    }
}

fn view(device: &Watched) -> v1::Device {
    let seen = device.seen;
    v1::Device {
        kid: device.kid.to_string(),
        serial: device.serial,
        person: device.person.to_string(),
        seen_at: seen.map(|seen| seconds(seen.at)),
        seen_index: seen.map_or(0, |seen| seen.index),
        checked_in_at: seen.and_then(|seen| seen.checked_in).map(seconds),
    }
}
