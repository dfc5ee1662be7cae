//! What is proposed: `ProposeCharter`, `SignCharter`, `RetractCharter`, `ListProposals`.

use tonic::{Request, Status};

use super::Charters;
use crate::domain::evidence::Evidence;
use crate::domain::proposal::Proposal;
use crate::engine::{EngineError, Standing};
use crate::grpc::front::Entered;
use crate::grpc::time::{instant, seconds};
use crate::grpc::v1;
use crate::jose::b64;

impl Charters {
    pub(super) async fn propose(
        &self,
        request: Request<v1::ProposeCharterRequest>,
    ) -> Result<v1::ProposeCharterResponse, Status> {
        let entered = self.front.enter(&request)?;
        let v1::ProposeCharterRequest { jws, evidence } = request.into_inner();
        let evidence = evidence.into_iter().map(|item| Evidence {
            statement: b64::encode(&item.statement),
            intermediate: b64::encode(&item.intermediate),
        });
        let engine = &self.front.engine;
        let standing = engine.propose(entered.caller.actor(), &jws, evidence.collect()).await;
        let (adopted, proposal) = self.answer(&entered, standing)?;
        Ok(v1::ProposeCharterResponse { adopted, proposal })
    }

    pub(super) async fn sign(
        &self,
        request: Request<v1::SignCharterRequest>,
    ) -> Result<v1::SignCharterResponse, Status> {
        let entered = self.front.enter_to_sign(&request)?;
        let jws = request.into_inner().jws;
        let standing = self.front.engine.sign_charter(entered.caller.actor(), &jws).await;
        let (adopted, proposal) = self.answer(&entered, standing)?;
        Ok(v1::SignCharterResponse { adopted, proposal })
    }

    pub(super) async fn retract(
        &self,
        request: Request<v1::RetractCharterRequest>,
    ) -> Result<v1::RetractCharterResponse, Status> {
        let entered = self.front.enter(&request)?;
        let jws = request.into_inner().jws;
        let retracted = self.front.engine.retract(entered.caller.actor(), &jws).await;
        retracted.map_err(|error| self.front.refused(&entered.caller, &error))?;
        Ok(v1::RetractCharterResponse {})
    }

    pub(super) fn proposals(
        &self,
        request: &Request<v1::ListProposalsRequest>,
    ) -> Result<v1::ListProposalsResponse, Status> {
        let entered = self.front.enter_to_sign(request)?;
        if !entered.caller.sees_proposals() {
            let message = "only custodians and auditors see what is proposed";
            return Err(self.front.denied(&entered.caller, "NOT_A_CUSTODIAN", message));
        }
        let mut proposals: Vec<Proposal> =
            self.front.engine.read(|state| state.proposals().cloned().collect());
        proposals.sort_by_key(Proposal::at);
        let seen = proposals.iter().filter(|open| entered.caller.sees_proposal(&open.rules().digest()));
        let proposals = seen.map(|proposal| view(proposal, &entered)).collect();
        Ok(v1::ListProposalsResponse { proposals })
    }

    fn answer(
        &self,
        entered: &Entered,
        standing: Result<Standing, EngineError>,
    ) -> Result<(bool, Option<v1::Proposal>), Status> {
        match standing.map_err(|error| self.front.refused(&entered.caller, &error))? {
            Standing::InForce => Ok((true, None)),
            Standing::Proposed(proposal) => Ok((false, Some(view(&proposal, entered)))),
        }
    }
}

fn view(proposal: &Proposal, entered: &Entered) -> v1::Proposal {
    let rules = proposal.rules();
    let tally = entered.charter.tally(rules, proposal.statement(), entered.now.seconds());
    v1::Proposal {
        digest: rules.digest().to_string(),
        jws: proposal.statement().to_json(),
        version: rules.document().version.into(),
        author: proposal.author().to_string(),
        proposed_at: Some(instant(proposal.at())),
        deadline: Some(seconds(proposal.deadline())),
        missing: tally.map_or_else(|error| error.to_string(), |tally| tally.missing()),
    }
}
