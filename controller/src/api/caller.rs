//! Who calls, and the one table of who may call what. A method that the table does not name is
//! refused, and so is a caller whom nobody knows. The gate stands before every service.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    ffi::CString,
    fmt,
    future::{Ready, ready},
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
};

use muster_proto::id::HostId;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http},
    transport::server::UdsConnectInfo,
};
use tower::Layer;

use super::Clock;
use crate::enrol::{certificate::Shown, tls::Bans};

/// Whom a method serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whoever reaches the agents' listener; the method itself asks for a secret.
    Anybody,
    /// A host, by its certificate.
    Host,
    /// A host, by its certificate, though it has expired: one that was away for longer than its
    /// certificate lasts must be able to come back. The method itself asks the store, which refuses
    /// a certificate whose key was replaced or that expired too long ago. A host that was evicted
    /// or banned is refused everywhere.
    HostOfOld,
    /// An operator, by the socket's peer credentials.
    Operator,
}

/// Every method, and whom it serves.
pub const METHODS: [(&str, Who); 19] = [
    ("/muster.v1.Agents/Join", Who::Anybody),
    ("/muster.v1.Agents/Renew", Who::HostOfOld),
    ("/muster.v1.Agents/Session", Who::Host),
    ("/muster.v1.Operators/Status", Who::Operator),
    ("/muster.v1.Operators/TrustRoots", Who::Operator),
    ("/muster.v1.Operators/Links", Who::Operator),
    ("/muster.v1.Operators/Revocations", Who::Operator),
    ("/muster.v1.Operators/Publish", Who::Operator),
    ("/muster.v1.Operators/Revoke", Who::Operator),
    ("/muster.v1.Operators/Hosts", Who::Operator),
    ("/muster.v1.Operators/Receipts", Who::Operator),
    ("/muster.v1.Operators/Drift", Who::Operator),
    ("/muster.v1.Operators/Inventory", Who::Operator),
    ("/muster.v1.Operators/Follow", Who::Operator),
    ("/muster.v1.Operators/Consistency", Who::Operator),
    ("/muster.v1.Operators/CreateToken", Who::Operator),
    ("/muster.v1.Operators/Decide", Who::Operator),
    ("/muster.v1.Operators/AcceptDrift", Who::Operator),
    ("/muster.v1.Operators/WithdrawException", Who::Operator),
];

/// Who calls, as far as the connection shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody at the agents' listener without a certificate.
    Stranger,
    /// A host, at the agents' listener.
    Host(HostId),
    /// A host with a certificate that has expired.
    HostOfOld(HostId),
    /// Somebody at the operators' socket who may use it, by name.
    Operator(String),
    /// Somebody at the operators' socket who may not.
    Outsider,
}

/// What a connection to the agents' listener showed. A connection may outlive its certificate, so
/// the date is judged at every call.
#[derive(Clone, Copy, Debug)]
pub enum AgentPeer {
    /// No certificate.
    Stranger,
    /// One of this controller's.
    Host(Shown),
}

/// Who may use the operators' socket.
#[derive(Clone, Debug, Default)]
pub struct OperatorRule {
    /// The Unix group that may, besides root and the server's own user: the same for every copy.
    group: Arc<RwLock<Option<Gid>>>,
}

/// Returns whom a method serves, or nothing for one that the table does not name.
pub fn who_may(method: &str) -> Option<Who> {
    METHODS.iter().find(|(name, _)| *name == method).map(|(_, who)| *who)
}

/// Decides on one call.
pub fn admit(method: &str, caller: &Caller) -> Result<(), Status> {
    match (who_may(method), caller) {
        (None, _) => Err(Status::unimplemented("there is no such method")),
        (Some(Who::Anybody), Caller::Stranger | Caller::Host(_) | Caller::HostOfOld(_))
        | (Some(Who::Host), Caller::Host(_))
        | (Some(Who::HostOfOld), Caller::Host(_) | Caller::HostOfOld(_))
        | (Some(Who::Operator), Caller::Operator(_)) => Ok(()),
        (Some(Who::Host | Who::HostOfOld), Caller::Stranger) => {
            Err(Status::unauthenticated("a client certificate of this controller is needed"))
        }
        (Some(Who::Host), Caller::HostOfOld(_)) => {
            Err(Status::unauthenticated("the client certificate has expired; renew it first"))
        }
        (Some(_), _) => Err(Status::permission_denied("this caller may not do that")),
    }
}

impl OperatorRule {
    /// Lets in the members of this Unix group, if any.
    pub fn of(group: Option<Gid>) -> Self {
        Self { group: Arc::new(RwLock::new(group)) }
    }

    /// From the next call on lets in the members of this one instead.
    pub fn set(&self, group: Option<Gid>) {
        *self.group.write().unwrap_or_else(PoisonError::into_inner) = group;
    }

    fn judge(&self, uid: u32, gid: u32) -> Caller {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let user = User::from_uid(uid).ok().flatten();
        let name = user.as_ref().map_or_else(|| format!("uid {uid}"), |user| user.name.clone());
        let own = uid.is_root() || uid == Uid::effective();
        let group = *self.group.read().unwrap_or_else(PoisonError::into_inner);
        let member = group.is_some_and(|group| {
            let groups = user.as_ref().map(groups_of).unwrap_or_default();
            group == gid || groups.contains(&group.as_raw())
        });
        if own || member { Caller::Operator(name) } else { Caller::Outsider }
    }
}

fn groups_of(user: &User) -> BTreeSet<u32> {
    let Ok(name) = CString::new(user.name.as_str()) else { return BTreeSet::new() };
    let groups = getgrouplist(&name, user.gid).unwrap_or_default();
    groups.into_iter().map(Gid::as_raw).collect()
}

/// Returns the id of a Unix group, or nothing if there is none of this name.
pub(crate) fn group_id(name: &str) -> Option<Gid> {
    Group::from_name(name).ok().flatten().map(|group| group.gid)
}

/// Puts the gate before every service of a server.
#[derive(Clone)]
pub struct GateLayer {
    /// Who may use the operators' socket.
    pub operators: OperatorRule,
    /// Hosts that are shut out.
    pub bans: Bans,
    /// By which certificates expire.
    pub clock: Clock,
}

impl fmt::Debug for GateLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateLayer").field("operators", &self.operators).finish_non_exhaustive()
    }
}

impl GateLayer {
    fn caller(&self, extensions: &http::Extensions) -> Caller {
        if let Some(peer) = extensions.get::<AgentPeer>() {
            return match *peer {
                AgentPeer::Stranger => Caller::Stranger,
                AgentPeer::Host(shown) if self.bans.contains(&shown.host) => Caller::Outsider,
                AgentPeer::Host(shown) if shown.has_expired((self.clock)()) => {
                    Caller::HostOfOld(shown.host)
                }
                AgentPeer::Host(shown) => Caller::Host(shown.host),
            };
        }
        let credentials = extensions.get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
        match credentials {
            Some(peer) => self.operators.judge(peer.uid(), peer.gid()),
            None => Caller::Outsider,
        }
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, layer: self.clone() }
    }
}

/// The gate before a service.
#[derive(Clone, Debug)]
pub struct Gate<S> {
    inner: S,
    layer: GateLayer,
}

impl<S> Service<http::Request<Body>> for Gate<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Admitted<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let caller = self.layer.caller(request.extensions());
        match admit(request.uri().path(), &caller) {
            Ok(()) => {
                request.extensions_mut().insert(caller);
                Admitted::Yes(Box::pin(self.inner.call(request)))
            }
            Err(status) => {
                tracing::warn!(method = request.uri().path(), ?caller, "a call was refused");
                Admitted::No(ready(Ok(status.into_http())))
            }
        }
    }
}

/// What becomes of a call at the gate.
#[derive(Debug)]
pub enum Admitted<F> {
    /// The service answers.
    Yes(Pin<Box<F>>),
    /// The gate does.
    No(Ready<Result<http::Response<Body>, Infallible>>),
}

impl<F> Future for Admitted<F>
where
    F: Future<Output = Result<http::Response<Body>, Infallible>>,
{
    type Output = Result<http::Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Yes(future) => future.as_mut().poll(context),
            Self::No(ready) => Pin::new(ready).poll(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use muster_proto::{id::Digest, time::Timestamp};

    use super::*;
    use crate::enrol::certificate::Issue;

    /// A number that no user and no group has.
    const NOBODY: u32 = 3_999_999_999;

    #[test]
    fn the_socket_serves_root_the_own_user_and_one_group() {
        let none = OperatorRule::default();
        let some = OperatorRule::of(Some(Gid::from_raw(NOBODY)));
        let own = Uid::effective().as_raw();
        for rule in [&none, &some] {
            assert!(matches!(rule.judge(0, 0), Caller::Operator(_)));
            assert!(matches!(rule.judge(own, NOBODY - 1), Caller::Operator(_)));
            assert_eq!(rule.judge(NOBODY, NOBODY - 1), Caller::Outsider);
        }
        assert_eq!(none.judge(NOBODY, NOBODY), Caller::Outsider);
        let member = Caller::Operator(format!("uid {NOBODY}"));
        assert_eq!(some.judge(NOBODY, NOBODY), member);
    }

    #[test]
    fn a_banned_host_is_an_outsider_at_every_call() {
        let (host, other) = (HostId::new([1; 32]), HostId::new([2; 32]));
        let (gate, _) = gate(BTreeSet::from([host]));
        let mut extensions = http::Extensions::new();
        assert_eq!(gate.caller(&extensions), Caller::Outsider, "no word on who calls");
        for until in [0, 1_000] {
            extensions.insert(peer(host, until));
            assert_eq!(gate.caller(&extensions), Caller::Outsider);
        }
        extensions.insert(peer(other, 1_000));
        assert_eq!(gate.caller(&extensions), Caller::Host(other));
    }

    #[test]
    fn a_certificate_is_judged_at_every_call_and_not_only_when_the_connection_is_made() {
        let host = HostId::new([1; 32]);
        let (gate, clock) = gate(BTreeSet::new());
        let mut extensions = http::Extensions::new();
        extensions.insert(peer(host, 1_000));
        clock.store(1_000, Ordering::SeqCst);
        assert_eq!(gate.caller(&extensions), Caller::Host(host));
        clock.store(1_001, Ordering::SeqCst);
        assert_eq!(gate.caller(&extensions), Caller::HostOfOld(host));
    }

    fn gate(bans: BTreeSet<HostId>) -> (GateLayer, Arc<AtomicU64>) {
        let clock = Arc::new(AtomicU64::new(500));
        let ticks = Arc::clone(&clock);
        let now = move || Timestamp(ticks.load(Ordering::SeqCst));
        let operators = OperatorRule::default();
        (GateLayer { operators, bans: Bans::new(bans), clock: Arc::new(now) }, clock)
    }

    fn peer(host: HostId, until: u64) -> AgentPeer {
        let issue = Issue { key: Digest::new([7; 32]), at: Timestamp(0) };
        AgentPeer::Host(Shown { host, issue, until: Timestamp(until) })
    }
}
