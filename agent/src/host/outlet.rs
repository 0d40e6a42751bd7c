//! Writing to somebody who may not read: no longer than one is willing to wait in all, however
//! little is taken at a time. A socket's own time-out counts anew for each piece that fits.

#![expect(clippy::disallowed_methods, reason = "it is measured how long somebody made us wait")]

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{MsgFlags, send},
};

/// Writes all of it, and takes the time that this needed from `patience`.
///
/// Fails with `TimedOut` when there is none left; then a part may have been written.
pub fn write_all(stream: &UnixStream, bytes: &[u8], patience: &mut Duration) -> io::Result<()> {
    let started = Instant::now();
    let given = *patience;
    let result = write(stream, bytes, || given.saturating_sub(started.elapsed()));
    *patience = given.saturating_sub(started.elapsed());
    result
}

fn write(stream: &UnixStream, mut bytes: &[u8], left: impl Fn() -> Duration) -> io::Result<()> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    while !bytes.is_empty() {
        match send(stream.as_raw_fd(), bytes, flags) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let left = left();
                if left.is_zero() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                // Rounded up, or the last part of a millisecond would be spent asking.
                let wait = left.saturating_add(Duration::from_micros(999));
                let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
                match poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)], wait) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io::Read, thread};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(300);

    #[test]
    fn all_arrives_at_one_who_reads_and_costs_little_patience() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let sent = vec![7; 4 << 20];
        let reader = thread::spawn(move || {
            let mut found = Vec::new();
            theirs.read_to_end(&mut found).unwrap();
            found
        });
        let mut patience = Duration::from_mins(1);
        write_all(&ours, &sent, &mut patience).unwrap();
        drop(ours);
        assert_eq!(reader.join().unwrap(), sent);
        assert!(patience > Duration::from_secs(30), "{patience:?}");
    }

    #[test]
    fn one_who_reads_a_little_now_and_then_is_waited_for_no_longer_in_all() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let started = Instant::now();
        let reader = thread::spawn(move || {
            // A byte at a time, until the other side is given up.
            let mut byte = [0];
            while theirs.read(&mut byte).is_ok_and(|count| count > 0) {
                thread::yield_now();
            }
        });
        let mut patience = PATIENCE;
        let error = write_all(&ours, &vec![7; 256 << 20], &mut patience).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(patience, Duration::ZERO);
        assert!(started.elapsed() >= PATIENCE);
        // Nor at all a second time.
        let error = write_all(&ours, &vec![7; 256 << 20], &mut patience).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        ours.shutdown(std::net::Shutdown::Both).unwrap();
        reader.join().unwrap();
    }
}
