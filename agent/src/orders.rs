//! Root's own way to the keeper while it runs: a socket that nobody else can connect to, over which a
//! pause is begun and ended. Each who asks is answered once and then let go. Who asks is the kernel's
//! word. An order is a line, and so is its answer; what is only looked at needs no keeper, and goes
//! another way.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::mpsc::SyncSender,
    thread,
    time::Duration,
};

use muster_proto::drift::Culprit;

use crate::{
    door::Event,
    host::{chain, clocks, outlet, peer, state},
    pause::{BadPause, Reason, Span},
};

/// Where root is heard.
pub const SOCKET: &str = "/run/muster-agent/console.sock";

/// How long the keeper waits for one who does not say what he has begun to say, or does not listen.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an answer is waited for: the keeper may be in the middle of a long turn.
const LONGEST_ANSWER: Duration = Duration::from_mins(2);

/// The most bytes of an order or an answer.
const MOST_BYTES: u64 = 4_096;

/// What root wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing is to be given or put right for a while.
    Pause {
        /// How long.
        span: Span,
        /// Why.
        reason: Reason,
    },
    /// Everything is to be put right again.
    End,
}

/// An order with who gives it, and where the answer goes.
#[derive(Debug)]
pub struct Ordered {
    /// What is wanted.
    pub order: Order,
    /// Who wants it.
    pub by: Culprit,
    /// Whoever listens there may have gone.
    pub stream: UnixStream,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// Nobody listens.
    #[error(
        "cannot reach the keeper at `{SOCKET}`; it changes nothing unless it runs, and `systemctl \
         status muster-agent` says whether it does"
    )]
    Keeper(#[source] io::Error),
    /// It went, or took too long.
    #[error("no answer from the keeper; `muster-agent status` says whether it is paused")]
    Answer(#[source] io::Error),
    /// It was not done, and why.
    #[error("{0}")]
    Refused(String),
}

impl Order {
    fn render(&self) -> String {
        match self {
            Self::Pause { span, reason } => format!("{} {}", span.seconds(), reason.as_str()),
            Self::End => "0 ".to_owned(),
        }
    }

    /// Reads what [`Order::render`] has written; no seconds: what is paused is to end.
    fn parse(line: &str) -> Result<Self, BadPause> {
        let bad = || BadPause::Form(line.to_owned());
        let (seconds, reason) = line.split_once(' ').ok_or_else(bad)?;
        match seconds.parse().map_err(|_| bad())? {
            0 => Ok(Self::End),
            seconds => Ok(Self::Pause { span: Span::of(seconds)?, reason: Reason::parse(reason)? }),
        }
    }
}

impl Ordered {
    /// Says what came of it, in words: that it was done, or why not.
    pub fn answer(&self, done: Result<&str, &str>) {
        answer(&self.stream, done);
    }
}

fn answer(stream: &UnixStream, done: Result<&str, &str>) {
    let line = match done {
        Ok(words) => format!("{DONE}{words}"),
        Err(why) => why.to_owned(),
    };
    let mut patience = PATIENCE;
    // He may have gone by now.
    let _ = outlet::write_all(stream, line.as_bytes(), &mut patience);
    let _ = stream.shutdown(Shutdown::Both);
}

/// What an answer begins with if it was done.
const DONE: &str = "+";

/// Gives the keeper an order, and returns what came of it in words.
pub fn give(path: &Path, order: &Order) -> Result<String, ConsoleError> {
    let mut stream = UnixStream::connect(path).map_err(ConsoleError::Keeper)?;
    let mut said = || {
        stream.set_read_timeout(Some(LONGEST_ANSWER))?;
        stream.write_all(order.render().as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        read(&stream)
    };
    let answer = said().map_err(ConsoleError::Answer)?;
    match answer.strip_prefix(DONE) {
        Some(words) => Ok(words.to_owned()),
        None if answer.is_empty() => {
            Err(ConsoleError::Answer(io::Error::from(io::ErrorKind::UnexpectedEof)))
        }
        None => Err(ConsoleError::Refused(answer)),
    }
}

/// Opens the socket, and lets root in and nobody else.
pub fn open(path: &Path, events: SyncSender<Event>) -> io::Result<()> {
    state::remove(path).map_err(io::Error::other)?;
    let listener = UnixListener::bind(path)?;
    state::allow(path, 0o600)?;
    thread::Builder::new().name("console".to_owned()).stack_size(STACK).spawn(move || {
        for stream in listener.incoming() {
            match stream.and_then(hear) {
                Ok(Some(ordered)) => {
                    if events.send(Event::Ordered(Box::new(ordered))).is_err() {
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(%error, "an order on the console got lost");
                    clocks::pause();
                }
            }
        }
    })?;
    Ok(())
}

/// Bytes of stack for the thread that listens.
const STACK: usize = 256 << 10;

/// Returns what root wants; nothing if it is not root, or wants nothing that can be.
fn hear(stream: UnixStream) -> io::Result<Option<Ordered>> {
    if peer::uid(&stream)? != 0 {
        return Ok(None);
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    let (order, by) = (Order::parse(&read(&stream)?), peer::who(&stream)?);
    match order {
        Ok(order) => Ok(Some(Ordered { order, by, stream })),
        Err(bad) => {
            answer(&stream, Err(&bad.to_string()));
            Ok(None)
        }
    }
}

fn read(stream: &UnixStream) -> io::Result<String> {
    let mut text = String::new();
    stream.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;
    use crate::pause::LONGEST;

    fn console() -> (tempfile::TempDir, std::path::PathBuf, Receiver<Event>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.sock");
        let (sender, receiver) = sync_channel(1);
        open(&path, sender).unwrap();
        (directory, path, receiver)
    }

    fn order(seconds: u64) -> Order {
        let reason = Reason::parse("OPS-7: the disk").unwrap();
        Order::Pause { span: Span::of(seconds).unwrap(), reason }
    }

    #[test]
    fn an_order_arrives_as_it_was_given_with_who_gave_it_and_so_does_its_answer() {
        let (_directory, path, events) = console();
        for (order, answer) in
            [(order(LONGEST), Ok("paused")), (Order::End, Ok("")), (Order::End, Err("why"))]
        {
            let (place, sent) = (path.clone(), order.clone());
            let asking = thread::spawn(move || give(&place, &sent));
            let Ok(Event::Ordered(ordered)) = events.recv_timeout(PATIENCE) else {
                panic!("no order")
            };
            assert_eq!(ordered.order, order);
            assert_eq!(ordered.by.pid, std::process::id());
            ordered.answer(answer);
            let heard = asking.join().unwrap().map_err(|error| error.to_string());
            assert_eq!(heard, answer.map(str::to_owned).map_err(str::to_owned));
        }
        // One that the keeper drops is no answer.
        let asking = thread::spawn(move || give(&path, &Order::End));
        drop(events.recv_timeout(PATIENCE).unwrap());
        let heard = asking.join().unwrap();
        assert!(matches!(heard, Err(ConsoleError::Answer(_))), "{heard:?}");
    }

    #[test]
    fn what_is_longer_than_a_pause_can_be_is_refused_whoever_sends_it() {
        let (_directory, path, events) = console();
        let over = format!("{} OPS-7", LONGEST + 1);
        for sent in [over.as_str(), "1 ", "1", "", "-1 OPS-7", "x OPS-7"] {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(sent.as_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let answer = read(&stream).unwrap();
            assert!(!answer.is_empty() && !answer.starts_with(DONE), "{sent}: {answer}");
        }
        assert!(events.try_recv().is_err(), "the keeper heard of it");
    }

    #[test]
    fn nobody_but_root_is_heard_though_he_gets_as_far_as_the_socket() {
        use std::os::unix::fs::PermissionsExt;
        let (directory, path, events) = console();
        let open = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        open(directory.path(), 0o711);
        open(&path, 0o666);
        let place = path.clone();
        let stranger = thread::spawn(move || {
            let nobody = rustix::process::Uid::from_raw(65_534);
            // In Linux a thread can be somebody else than its process.
            rustix::thread::set_thread_uid(nobody).expect("this test needs root");
            give(&place, &Order::End).is_err()
        });
        assert!(stranger.join().unwrap());
        assert!(events.try_recv().is_err(), "the keeper heard of it");
    }
}
