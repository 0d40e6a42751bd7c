//! The operators' socket, and callers of other users: the kernel says who calls, by the credentials
//! of the thread that connected. Needs root, to become somebody else.

use std::{
    fs::Permissions,
    io,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use hyper_util::rt::TokioIo;
use muster_controller::{config::Config, setup};
use muster_proto::{
    bundle::VerifiedBundle,
    wire::{self, operators_client::OperatorsClient},
};
use nix::unistd::{Group, User};
use rustix::process::{Gid, Uid};
use tonic::{Code, transport::Endpoint};
use tower::service_fn;

use crate::{
    host::Host,
    net::{Running, config, soon, wall},
    server::until,
    world::{NOW, World},
};

/// Somebody, with one group and no other.
#[derive(Clone, Copy)]
struct Somebody {
    uid: u32,
    gid: u32,
}

/// Connects as somebody else: a thread of its own becomes that user, without the rest of the
/// process, and ends.
fn connect(path: &Path, who: Somebody) -> io::Result<UnixStream> {
    let path = path.to_owned();
    let (uid, gid) = (Uid::from_raw(who.uid), Gid::from_raw(who.gid));
    let connecting = std::thread::spawn(move || {
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        UnixStream::connect(path)
    });
    connecting.join().unwrap()
}

/// Asks for the status over a connection that somebody made.
async fn ask(stream: UnixStream) -> Result<wire::StatusReply, Code> {
    stream.set_nonblocking(true).unwrap();
    let mut stream = Some(tokio::net::UnixStream::from_std(stream).unwrap());
    let connector = service_fn(move |_| {
        let stream = stream.take().ok_or_else(|| io::Error::other("it was one connection"));
        async move { stream.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    let channel = soon(endpoint.connect_with_connector(connector)).await.unwrap();
    let mut operator = OperatorsClient::new(channel);
    let reply = soon(operator.status(wire::StatusRequest {})).await;
    reply.map(tonic::Response::into_inner).map_err(|status| status.code())
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn the_socket_lets_in_whom_the_kernel_names_and_nobody_else() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
    let daemon = User::from_name("daemon").unwrap().unwrap();
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let group = Group::from_gid(daemon.gid).unwrap().unwrap();
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    setup::create(&dir.path().join("data"), &world.online, &world.trust, NOW).await.unwrap();
    let config = Config { operator_group: Some(group.name.clone()), ..config(dir.path()) };
    let server = Running::with(dir, config, wall()).await;
    let socket = server.socket();
    let found = socket.metadata().unwrap();
    assert_eq!((found.mode() & 0o7777, found.gid()), (0o660, group.gid.as_raw()));

    let gid = group.gid.as_raw();
    let outsider = Somebody { uid: nobody.uid.as_raw(), gid: nobody.gid.as_raw() };
    let by_process = Somebody { uid: nobody.uid.as_raw(), gid };
    let by_name = Somebody { uid: daemon.uid.as_raw(), gid: nobody.gid.as_raw() };
    let both = Somebody { uid: daemon.uid.as_raw(), gid };
    let denied = |who| connect(&socket, who).err().map(|error| error.kind());
    let shut = Some(io::ErrorKind::PermissionDenied);

    mode(server.dir.path(), 0o700);
    // The directory keeps everybody away who may not look into it …
    assert_eq!((denied(both), denied(outsider)), (shut, shut));
    mode(server.dir.path(), 0o755);
    // … the socket's mode everybody who is not of the group …
    assert_eq!(denied(outsider), shut);
    assert_eq!(ask(connect(&socket, both).unwrap()).await.unwrap().hosts, 0);
    assert_eq!(ask(connect(&socket, by_process).unwrap()).await.unwrap().hosts, 0);
    // … and if neither did, the server would: it asks the kernel, and believes no file.
    mode(&socket, 0o666);
    assert_eq!(ask(connect(&socket, outsider).unwrap()).await, Err(Code::PermissionDenied));
    assert!(ask(connect(&socket, by_name).unwrap()).await.is_ok(), "a member by name");
    assert!(ask(UnixStream::connect(&socket).unwrap()).await.is_ok(), "root");
    server.stop().await;
}

#[tokio::test]
async fn without_a_group_the_socket_is_for_root_alone() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
    let server = Running::start(&World::new()).await;
    let socket = server.socket();
    mode(server.dir.path(), 0o755);
    mode(&socket, 0o666);
    let nobody = User::from_name("nobody").unwrap().unwrap();
    for gid in [nobody.gid.as_raw(), 0] {
        let stream = connect(&socket, Somebody { uid: nobody.uid.as_raw(), gid }).unwrap();
        assert_eq!(ask(stream).await, Err(Code::PermissionDenied));
    }
    assert!(ask(UnixStream::connect(&socket).unwrap()).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn a_group_that_is_named_anew_is_let_in_and_the_one_before_is_not_while_sessions_go_on() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
    let [before, after] = ["daemon", "bin"].map(|name| User::from_name(name).unwrap().unwrap());
    let group = |user: &User| Group::from_gid(user.gid).unwrap().unwrap().name;
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    setup::create(&dir.path().join("data"), &world.online, &world.trust, NOW).await.unwrap();
    let first = Config { operator_group: Some(group(&before)), ..config(dir.path()) };
    let mut server = Running::with(dir, first.clone(), wall()).await;
    let socket = server.socket();
    mode(server.dir.path(), 0o755);
    mode(&socket, 0o666);
    let host = Host::new(&world, &[]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    let as_user = |user: &User| Somebody { uid: user.uid.as_raw(), gid: user.gid.as_raw() };
    let admitted = async |user: &User| {
        let stream = connect(&socket, as_user(user)).unwrap();
        ask(stream).await.is_ok()
    };
    assert!(admitted(&before).await && !admitted(&after).await);

    let second = Config { operator_group: Some(group(&after)), ..first.clone() };
    assert_eq!(server.settings.take(second.clone()).unwrap(), [""; 0]);
    assert!(!admitted(&before).await && admitted(&after).await);
    assert_eq!(socket.metadata().unwrap().gid(), after.gid.as_raw());

    let nobodys = Config { operator_group: Some("no-such-group".to_owned()), ..second.clone() };
    let refused = server.settings.take(nobodys).unwrap_err();
    assert!(refused.to_string().contains("`no-such-group`"), "{refused}");
    assert!(!admitted(&before).await && admitted(&after).await, "what held still holds");

    let alone = Config { operator_group: None, ..second };
    assert_eq!(server.settings.take(alone).unwrap(), [""; 0]);
    assert!(!admitted(&before).await && !admitted(&after).await);
    // The session of before is the one that is sent the next heartbeat.
    let sent = session.next().await;
    assert!(sent.is_some(), "the session ended");
    server.stop().await;
}

#[tokio::test]
async fn checkpoints_come_as_often_as_is_said_while_the_server_runs() {
    let world = World::new();
    let mut server = Running::start(&world).await;
    let mut host = Host::new(&world, &[]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    let is_checkpoint = |bundle: &VerifiedBundle| bundle.checkpoint.is_some();
    until(&mut session, &mut host, is_checkpoint).await;
    let often = Config { checkpoint_every: Duration::from_secs(1), ..config(server.dir.path()) };
    let waiting = server.settings.take(often).unwrap();
    assert_eq!(waiting, [""; 0]);
    // Without it the second of these would come after a minute, and the test give up before.
    for _ in 0..3 {
        until(&mut session, &mut host, is_checkpoint).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_change_while_the_server_runs_is_named_each_time() {
    let mut server = Running::start(&World::new()).await;
    let moved = Config {
        agent_listener: "127.0.0.1:1".parse().unwrap(),
        agent_address: "elsewhere:1".to_owned(),
        data_dir: "/elsewhere".into(),
        operator_socket: "/elsewhere.sock".into(),
        ..config(server.dir.path())
    };
    let keys = ["data_dir", "agent_listener", "agent_address", "operator_socket"];
    assert_eq!(server.settings.take(moved.clone()).unwrap(), keys);
    assert_eq!(server.settings.take(moved).unwrap(), keys, "it still waits");
    assert!(ask(UnixStream::connect(server.socket()).unwrap()).await.is_ok());
    server.stop().await;
}
