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
};

use hyper_util::rt::TokioIo;
use muster_controller::{config::Config, setup};
use muster_proto::wire::{self, operators_client::OperatorsClient};
use nix::unistd::{Group, User};
use rustix::process::{Gid, Uid};
use tonic::{Code, transport::Endpoint};
use tower::service_fn;

use crate::{
    net::{Running, config, soon, wall},
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
