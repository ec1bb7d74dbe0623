//! What is asked of Graph about a call.
//!
//! An id goes into the path as it was given, percent-encoded, and is never interpreted.

use reqwest::Method;

use super::error::GraphError;
use super::{Answer, GraphClient, Request, model, path_segment};
use crate::id::{GraphCallId, TenantId};
use crate::model::change::CallChange;

mod actions;

/// No call is longer than this.
const LONGEST_CALL: usize = 1024 * 1024;

#[cfg(test)]
mod tests;

impl GraphClient {
    /// Hangs up: our leg of a group call, or the whole of a call between two.
    ///
    /// A success says that Graph took it, not that the call has ended. Doing it twice does no harm.
    pub(crate) async fn hang_up(&self, tenant: &TenantId, call: &GraphCallId) -> Answer {
        // The body of a success may be anything and says nothing.
        let request = Request::new(Method::DELETE, &[&call.0], 0);
        self.ask(tenant, request).await.and_then(|_body| Ok(()))
    }

    /// Reads the call: what it tells is what a notification could have told. It never keeps the call
    /// alive, and changes nothing.
    pub(crate) async fn read_call(
        &self,
        tenant: &TenantId,
        call: &GraphCallId,
    ) -> Answer<CallChange> {
        // One byte more than is taken, so that what is cut is not taken for the whole.
        let request = Request::new(Method::GET, &[&call.0], LONGEST_CALL + 1);
        let answer = self.ask(tenant, request).await;
        let status = answer.status.unwrap_or_default();
        answer.and_then(|body| {
            let whole = Some(body).filter(|body| body.len() <= LONGEST_CALL);
            let change = whole.and_then(|body| model::call::read(&body, call));
            change.ok_or(GraphError::Unreadable { status })
        })
    }

    /// The answer to a request, which there is none for when an id cannot stand in its path.
    async fn ask(&self, tenant: &TenantId, request: Option<Request>) -> Answer<String> {
        match request {
            Some(request) => self.send(tenant, &request).await,
            None => Answer::unsent(GraphError::UnusableId),
        }
    }
}

impl Request {
    /// A request without a body to a part of a call; none when an id cannot stand in its path.
    fn new(method: Method, path: &[&str], longest: usize) -> Option<Self> {
        let mut encoded = String::new();
        for id in path {
            encoded.push('/');
            encoded.push_str(&path_segment(id)?);
        }
        Some(Self { method, path: encoded, body: None, longest, is_about_participant: false })
    }
}
