//! The keeper's socket: who may come in, and what they say. One courier at a time; a newer one takes
//! the place of the one before.

use std::{
    io,
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::mpsc::SyncSender,
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    channel::{self, BadMessage, ToKeeper},
    config::{BadConfig, Config},
    host::{chain, clocks, inquiry::Answers, outlet, peer, state},
    orders::Ordered,
};

/// What the keeper is woken by.
#[derive(Debug)]
pub enum Event {
    /// The time has come that the timer was set to, or a clock was set.
    Time,
    /// A courier came; what is for it goes there.
    Came(Courier),
    /// It wants the spool from after this number.
    Watch(u64),
    /// It brings a bundle.
    Deliver(Vec<u8>),
    /// Somebody has changed something that is watched.
    Changed,
    /// What sudo and PAM said when they were asked about some accounts.
    Answered(Answers),
    /// The configuration was read anew.
    Configured(Box<Result<Config, BadConfig>>),
    /// Root on the console wants something.
    Ordered(Box<Ordered>),
}

/// The courier that is connected.
#[derive(Debug)]
pub struct Courier {
    stream: UnixStream,
    patience: Duration,
}

/// How long the keeper waits in one turn for a courier that does not read: no courier may keep it
/// from its work.
const PATIENCE: Duration = Duration::from_secs(5);

impl Courier {
    fn new(stream: UnixStream) -> Self {
        Self { stream, patience: PATIENCE }
    }

    /// Begins to count anew how long it is waited for.
    pub fn begin_turn(&mut self) {
        self.patience = PATIENCE;
    }

    /// Hands over a framed message.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        outlet::write_all(&self.stream, message, &mut self.patience)
    }
}

/// One that is let go must not find its side still open: it would wait for ever for what is left of
/// a message.
impl Drop for Courier {
    fn drop(&mut self) {
        // It may have gone first.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Opens the socket and lets the courier's account and root in, nobody else.
pub fn open(path: &Path, courier: (u32, u32), events: SyncSender<Event>) -> io::Result<()> {
    state::remove(path).map_err(io::Error::other)?;
    let listener = UnixListener::bind(path)?;
    state::give(path, 0, courier.1)?;
    state::allow(path, 0o660)?;
    let uid = courier.0;
    thread::Builder::new().name("door".to_owned()).stack_size(STACK).spawn(move || {
        let mut served = None;
        for stream in listener.incoming() {
            match stream.and_then(|stream| Ok((peer::uid(&stream)?, stream))) {
                Ok((found, stream)) if found == uid || found == 0 => {
                    served = serve(stream, served.take(), &events);
                }
                Ok((found, _)) => tracing::warn!(uid = found, "turned away at the keeper's socket"),
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(%error, "cannot take a connection at the keeper's socket");
                    clocks::pause();
                }
            }
        }
    })?;
    Ok(())
}

/// Bytes of stack for a thread that reads messages.
const STACK: usize = 256 << 10;

/// The connection that is served, and who reads from it.
struct Served {
    stream: UnixStream,
    reader: JoinHandle<()>,
}

/// Serves a courier when the one before is done with: there is one reader, and one message in memory.
fn serve(
    mut stream: UnixStream,
    before: Option<Served>,
    events: &SyncSender<Event>,
) -> Option<Served> {
    if let Some(Served { stream, reader }) = before {
        let _ = stream.shutdown(Shutdown::Both);
        // A reader that panicked is done as well.
        let _ = reader.join();
    }
    let (writer, held) = (stream.try_clone().ok()?, stream.try_clone().ok()?);
    let events = events.clone();
    events.send(Event::Came(Courier::new(writer))).ok()?;
    let read = move || {
        loop {
            let event = match channel::receive(&mut stream) {
                Ok(ToKeeper::Deliver(bytes)) => Event::Deliver(bytes),
                Ok(ToKeeper::WatchSpoolAfter(number)) => Event::Watch(number),
                Err(BadMessage::Io(_)) => return,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "the courier was turned away");
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
            };
            if events.send(event).is_err() {
                return;
            }
        }
    };
    match thread::Builder::new().name("courier".to_owned()).stack_size(STACK).spawn(read) {
        Ok(reader) => Some(Served { stream: held, reader }),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "cannot listen to the courier");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::fs::PermissionsExt,
        sync::mpsc::{Receiver, sync_channel},
    };

    use super::*;

    /// A door in a directory of its own, open to whoever runs the test.
    fn door() -> (tempfile::TempDir, std::path::PathBuf, Receiver<Event>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keeper.sock");
        let own = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let (sender, receiver) = sync_channel(1);
        open(&path, own, sender).unwrap();
        (directory, path, receiver)
    }

    fn came(events: &Receiver<Event>) -> Courier {
        match events.recv_timeout(PATIENCE) {
            Ok(Event::Came(courier)) => courier,
            other => panic!("{other:?} instead of a courier"),
        }
    }

    fn is_closed(stream: &mut UnixStream) -> bool {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read(&mut [0]).unwrap() == 0
    }

    #[test]
    fn a_courier_that_is_let_go_finds_its_connection_closed() {
        let (_directory, path, events) = door();
        let mut stream = UnixStream::connect(&path).unwrap();
        drop(came(&events));
        assert!(is_closed(&mut stream));
    }

    #[test]
    fn a_process_of_another_account_is_turned_away_unheard() {
        let (directory, path, events) = door();
        // It gets as far as the socket itself, which its Unix group lets it connect to.
        let open = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(directory.path(), open).unwrap();
        let place = path.clone();
        let stranger = thread::spawn(move || {
            let nobody = rustix::process::Uid::from_raw(65_534);
            // In Linux a thread can be somebody else than its process.
            rustix::thread::set_thread_uid(nobody).expect("this test needs root");
            let mut stream = UnixStream::connect(&place).unwrap();
            is_closed(&mut stream)
        });
        assert!(stranger.join().unwrap());
        assert!(events.try_recv().is_err(), "somebody heard it");
        let _courier = UnixStream::connect(&path).unwrap();
        drop(came(&events));
    }

    #[test]
    fn a_newer_courier_takes_the_place_of_the_one_before() {
        let (_directory, path, events) = door();
        let mut first = UnixStream::connect(&path).unwrap();
        let _held = came(&events);
        let _second = UnixStream::connect(&path).unwrap();
        let _also_held = came(&events);
        assert!(is_closed(&mut first), "though nobody let it go");
    }

    #[test]
    fn a_courier_that_says_what_nobody_understands_is_turned_away() {
        let (_directory, path, events) = door();
        let mut stream = UnixStream::connect(&path).unwrap();
        let _held = came(&events);
        stream.write_all(&[0xff; 64]).unwrap();
        assert!(is_closed(&mut stream));
    }
}
