//! Has sudo and PAM asked beside the keeper's own work, one inquiry at a time: what they say comes
//! as an event like any other, and whatever holds them up holds up nobody's end of access.

use std::{sync::mpsc::SyncSender, thread};

use crate::{door::Event, host::inquiry::Inquiry};

/// Bytes of stack for the thread that asks.
const STACK: usize = 256 << 10;

/// Where answers are brought to; nothing where nobody asks.
#[derive(Debug, Default)]
pub(super) struct Inquirer(Option<SyncSender<Event>>);

impl Inquirer {
    pub(super) fn answering_to(events: SyncSender<Event>) -> Self {
        Self(Some(events))
    }

    /// Begins to ask. Where there is no thread for it, that comes to no answer.
    pub(super) fn begin(&self, inquiry: Inquiry) {
        let Some(events) = self.0.clone() else { return };
        let (sender, unanswered) = (events.clone(), inquiry.unanswered());
        let ask = move || {
            // Whoever would take it may have ended.
            let _ = sender.send(Event::Answered(inquiry.ask()));
        };
        let started = thread::Builder::new().name("asking".to_owned()).stack_size(STACK).spawn(ask);
        if let Err(error) = started {
            tracing::warn!(%error, "sudo and PAM are not asked");
            // A full queue means that nobody is asked until the keeper is started again.
            let _ = events.try_send(Event::Answered(unanswered));
        }
    }
}
