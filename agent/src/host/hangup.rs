//! SIGHUP, by which a service is told to read its configuration anew. It is heard by a thread of
//! its own, which does nothing else; a signal that comes while one is being answered is answered
//! after it.

use std::{io, thread};

use tokio::signal::unix::{SignalKind, signal};

/// Bytes of stack for the thread that waits.
const STACK: usize = 256 << 10;

/// From now on calls `heard` for each SIGHUP, until it says that nobody listens any more.
pub fn listen(mut heard: impl FnMut() -> bool + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut hangups = {
        let _inside = runtime.enter();
        signal(SignalKind::hangup())?
    };
    thread::Builder::new().name("hangup".to_owned()).stack_size(STACK).spawn(move || {
        runtime.block_on(async { while hangups.recv().await.is_some() && heard() {} });
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use nix::sys::signal::{Signal, raise};

    use super::*;

    #[test]
    fn each_hangup_is_heard_and_ends_nothing() {
        let (sender, receiver) = mpsc::channel();
        listen(move || sender.send(()).is_ok()).unwrap();
        for _ in 0..2 {
            raise(Signal::SIGHUP).unwrap();
            receiver.recv_timeout(Duration::from_secs(10)).expect("it is heard");
        }
    }
}
