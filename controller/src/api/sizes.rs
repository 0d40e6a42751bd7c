//! How many bytes each method of the agents' service reads. A message takes many times its bytes in
//! memory once it is decoded, and that happens before anybody is asked for a secret or a signature;
//! so each method has a bound of its own, which the length at the head of a message is held to
//! before its body is waited for.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use muster_proto::{
    convert::MAX_RECEIPT, parts::MAX_ENCODED_PART, wire::agents_server::AgentsServer,
};
use tonic::{
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};

use super::{MAX_MESSAGE, agents::AgentsApi};

/// A request to join: a secret, a certificate request and an enrolment of some hundred bytes each.
pub const MAX_JOIN: usize = 64 << 10;
/// A request to renew: a certificate request.
pub const MAX_RENEW: usize = 16 << 10;
/// What is said in a session, all its parts together: a receipt, and its signature.
pub const MAX_SAID: usize = MAX_RECEIPT + (64 << 10);

/// The agents' service, with a bound for each method.
#[derive(Clone)]
pub(super) struct Bounded {
    join: AgentsServer<AgentsApi>,
    renew: AgentsServer<AgentsApi>,
    session: AgentsServer<AgentsApi>,
}

impl Bounded {
    pub(super) fn new(api: AgentsApi) -> Self {
        let api = Arc::new(api);
        let reading = |bound| {
            AgentsServer::from_arc(Arc::clone(&api))
                .max_decoding_message_size(bound)
                .max_encoding_message_size(MAX_MESSAGE)
        };
        Self {
            join: reading(MAX_JOIN),
            renew: reading(MAX_RENEW),
            session: reading(MAX_ENCODED_PART),
        }
    }
}

impl Service<http::Request<Body>> for Bounded {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = <AgentsServer<AgentsApi> as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path() {
            "/muster.v1.Agents/Session" => self.session.call(request),
            "/muster.v1.Agents/Join" => self.join.call(request),
            // Whatever else there will be begins with the smallest.
            _ => self.renew.call(request),
        }
    }
}

impl NamedService for Bounded {
    const NAME: &'static str = <AgentsServer<AgentsApi> as NamedService>::NAME;
}
