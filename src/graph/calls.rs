//! What is asked of Graph about a call.
//!
//! An id goes into the path as it was given, percent-encoded, and is never interpreted.

use reqwest::Method;

use super::error::GraphError;
use super::{Answer, GraphClient, model, path_segment};
use crate::id::{GraphCallId, TenantId};
use crate::model::change::CallChange;

/// No call is longer than this.
const LONGEST_CALL: usize = 1024 * 1024;

#[cfg(test)]
mod tests;

impl GraphClient {
    /// Hangs up: our leg of a group call, or the whole of a call between two.
    ///
    /// A success says that Graph took it, not that the call has ended. Doing it twice does no harm.
    pub(crate) async fn hang_up(&self, tenant: &TenantId, call: &GraphCallId) -> Answer {
        let Some(id) = path_segment(&call.0) else {
            return Answer::unsent(GraphError::UnusableId);
        };
        // The body of a success may be anything and says nothing.
        let answer = self.send(tenant, Method::DELETE, &path_of(&id), 0).await;
        answer.and_then(|_body| Ok(()))
    }

    /// Reads the call: what it tells is what a notification could have told. It never keeps the call
    /// alive, and changes nothing.
    pub(crate) async fn read_call(
        &self,
        tenant: &TenantId,
        call: &GraphCallId,
    ) -> Answer<CallChange> {
        let Some(id) = path_segment(&call.0) else {
            return Answer::unsent(GraphError::UnusableId);
        };
        // One byte more than is taken, so that what is cut is not taken for the whole.
        let answer = self.send(tenant, Method::GET, &path_of(&id), LONGEST_CALL + 1).await;
        let status = answer.status.unwrap_or_default();
        answer.and_then(|body| {
            let whole = Some(body).filter(|body| body.len() <= LONGEST_CALL);
            let change = whole.and_then(|body| model::call::read(&body, call));
            change.ok_or(GraphError::Unreadable { status })
        })
    }
}

/// Where Graph has a call; `id` is one segment of the path.
fn path_of(id: &str) -> String {
    format!("/v1.0/communications/calls/{id}")
}
