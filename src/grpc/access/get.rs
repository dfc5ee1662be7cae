//! `GetRequest`: one request as it stands.

use tonic::{Request, Status};

use super::{Access, parse_id, unknown, v1};

impl Access {
    pub(super) fn get(
        &self,
        request: &Request<v1::GetRequestRequest>,
    ) -> Result<v1::GetRequestResponse, Status> {
        let entered = self.front.enter(request)?;
        let text = &request.get_ref().request_id;
        let found = self.view(&entered, parse_id(text)?).ok_or_else(|| unknown(text))?;
        Ok(v1::GetRequestResponse { request: Some(found) })
    }
}
