//! The keeper's socket: who may come in, and what they say. One courier at a time; a newer one takes
//! the place of the one before.

use std::{
    io,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::mpsc::SyncSender,
    thread,
    time::Duration,
};

use crate::{
    channel::{self, BadMessage, ToKeeper},
    host::{peer, state},
};

/// What happens at the door.
#[derive(Debug)]
pub enum Event {
    /// A courier came; what is for it goes there.
    Came(Courier),
    /// It wants the spool from after this number.
    Watch(u64),
    /// It brings a bundle.
    Deliver(Vec<u8>),
}

/// The courier that is connected.
#[derive(Debug)]
pub struct Courier {
    stream: UnixStream,
}

/// How long the keeper waits for a courier that does not read.
const PATIENCE: Duration = Duration::from_secs(5);

impl Courier {
    /// Hands over a framed message.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        channel::send(&mut self.stream, message)
    }
}

/// Opens the socket and lets the courier's account and root in, nobody else.
pub fn open(path: &Path, courier: (u32, u32), events: SyncSender<Event>) -> io::Result<()> {
    state::remove(path).map_err(io::Error::other)?;
    let listener = UnixListener::bind(path)?;
    peer::give(path, 0, courier.1)?;
    peer::allow(path, 0o660)?;
    let uid = courier.0;
    thread::Builder::new().name("door".to_owned()).stack_size(STACK).spawn(move || {
        for stream in listener.incoming().flatten() {
            match peer::uid(&stream) {
                Ok(found) if found == uid || found == 0 => serve(stream, &events),
                Ok(found) => tracing::warn!(uid = found, "turned away at the keeper's socket"),
                Err(error) => tracing::warn!(%error, "cannot tell who is at the keeper's socket"),
            }
        }
    })?;
    Ok(())
}

/// Bytes of stack for a thread that reads messages.
const STACK: usize = 256 << 10;

fn serve(mut stream: UnixStream, events: &SyncSender<Event>) {
    let Ok(writer) = stream.try_clone() else { return };
    if writer.set_write_timeout(Some(PATIENCE)).is_err() {
        return;
    }
    let events = events.clone();
    if events.send(Event::Came(Courier { stream: writer })).is_err() {
        return;
    }
    let read = move || {
        loop {
            let event = match channel::receive(&mut stream) {
                Ok(ToKeeper::Deliver(bytes)) => Event::Deliver(bytes),
                Ok(ToKeeper::WatchSpoolAfter(number)) => Event::Watch(number),
                Err(BadMessage::Io(_)) => return,
                Err(error) => {
                    tracing::warn!(%error, "the courier was turned away");
                    return;
                }
            };
            if events.send(event).is_err() {
                return;
            }
        }
    };
    if let Err(error) =
        thread::Builder::new().name("courier".to_owned()).stack_size(STACK).spawn(read)
    {
        tracing::warn!(%error, "cannot listen to the courier");
    }
}
