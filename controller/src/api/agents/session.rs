//! One session of a host: it says where it stands and what it did, and is sent its bundles. It ends
//! when the host ends it, when another of the host's takes its place, or when the certificate that
//! it was begun with has expired; a sound host has renewed it long before, and comes with the new
//! one.

use std::{pin::Pin, time::Duration};

use muster_proto::{
    envelope::Envelope,
    id::HostId,
    parts::{Assembly, parts},
    receipt::Standing,
    wire::{self, FromKeeper, from_keeper::Message},
};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tonic::{Status, Streaming};

use super::{
    super::{Clock, MAX_SAID, envelope, internal, rates::Word},
    AgentsApi,
};
use crate::{enrol::certificate::Shown, fleet::Connection, told::told};

/// The most labels of a host.
const MAX_LABELS: usize = 256;
/// How many receipts are stored and acknowledged together …
const BATCH: usize = 256;
/// … and after how many bytes no further is waited for.
const BATCH_BYTES: usize = 4 << 20;
/// How often an open session looks whether its certificate has expired; at the end of it anyway.
const LOOK: Duration = Duration::from_mins(1);
/// How long a host has to take the reason why its session is called off.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a session is.
pub(super) struct Session {
    pub(super) api: AgentsApi,
    pub(super) shown: Shown,
    /// What the fleet made of it.
    pub(super) connection: Connection,
}

/// Whoever takes what a host says in a session.
struct Listener<'a> {
    api: &'a AgentsApi,
    host: HostId,
    number: u64,
}

/// What a host says, and the end of it.
struct Words<'a> {
    messages: Messages,
    /// Why nobody listens any more, once that is so. It ends the wait for words and never the work
    /// on those that came, which leaves nothing half done.
    over: Pin<&'a mut (dyn Future<Output = Result<(), Status>> + Send)>,
}

/// What a host says, put together.
struct Messages {
    parts: Streaming<wire::Part>,
    /// What has come of the next message.
    assembly: Assembly,
}

/// What ends a session before all is said.
struct Endings {
    /// An operator's decision.
    cut: oneshot::Receiver<()>,
    /// Why nobody listens any more.
    failure: oneshot::Receiver<Status>,
}

/// What comes next.
enum Heard {
    Message(FromKeeper),
    Over,
}

impl Session {
    /// Listens to the host, and returns what it is sent.
    pub(super) fn begin(
        self,
        parts: Streaming<wire::Part>,
        from: mpsc::Receiver<Vec<u8>>,
    ) -> mpsc::Receiver<Result<wire::Part, Status>> {
        let (fail, failure) = oneshot::channel();
        let (out, replies) = mpsc::channel(1);
        let Self { api, shown, connection: Connection { number, cut } } = self;
        let passing = tokio::spawn(pass(from, out, Endings { cut, failure }));
        tokio::spawn(async move {
            let host = shown.host;
            let over = async {
                tokio::select! {
                    () = expired(&shown, &api.controller.clock) => {
                        Err(Status::unauthenticated("the client certificate has expired"))
                    }
                    // Another took its place, it was called off, or nobody takes anything.
                    _ = passing => Ok(()),
                }
            };
            tokio::pin!(over);
            let listener = Listener { api: &api, host, number };
            let messages = Messages { parts, assembly: Assembly::new(MAX_SAID) };
            if let Err(status) = listener.listen(Words { messages, over }).await {
                let (host, reason) = (host.short(), status.message());
                tracing::warn!(host, reason, "a session ended");
                // Nobody hears it if the connection is gone.
                let _ = fail.send(status);
            }
            api.controller.fleet.disconnect(host, number).await;
        });
        replies
    }
}

impl Listener<'_> {
    /// Takes what the host says until it is silent, in the order in which it says it.
    async fn listen(&self, mut words: Words<'_>) -> Result<(), Status> {
        let controller = &self.api.controller;
        let host = self.host;
        let mut next = words.next().await?;
        while let Heard::Message(message) = next {
            let mut waiting = None;
            match message.message {
                Some(Message::Standing(standing)) => {
                    let standing = read_standing(standing)?;
                    let word = Word::Standing;
                    let Some(()) = self.hear(word, &mut words).await? else { return Ok(()) };
                    let now = (controller.clock)();
                    let stood = controller.fleet.stand(host, self.number, standing, now).await;
                    stood.map_err(|error| internal(&error))?;
                }
                Some(Message::Spool(entry)) => {
                    let mut bytes = entry.encoded_len();
                    let mut receipts = vec![receipt(entry)?];
                    waiting = words.gather(&mut receipts, &mut bytes).await?;
                    let word = Word::Receipts { count: receipts.len(), bytes };
                    let Some(()) = self.hear(word, &mut words).await? else { return Ok(()) };
                    self.receive(&receipts).await?;
                }
                None => return Err(Status::invalid_argument("a message of nothing")),
            }
            next = match waiting {
                Some(message) => Heard::Message(message),
                None => words.next().await?,
            };
        }
        Ok(())
    }

    /// Hands receipts on. The host is not cut off for what is wrong with them: what is taken away
    /// must still reach it.
    async fn receive(&self, receipts: &[Envelope]) -> Result<(), Status> {
        let (controller, host) = (&self.api.controller, self.host);
        let now = (controller.clock)();
        // Where it failed here, later ones would be acknowledged, and these with them.
        let received = controller.fleet.receive(host, receipts, now).await;
        let received = received.map_err(|error| internal(&error))?;
        self.api.rates.note(host, Word::Drift { items: received.drift }, now);
        if let Some(error) = received.refused {
            let (host, error) = (host.short(), told(&error));
            tracing::warn!(host, error, "a receipt was not stored");
        }
        Ok(())
    }

    /// Lets a host wait that says too much; nothing, if the session ends meanwhile.
    async fn hear(&self, word: Word, words: &mut Words<'_>) -> Result<Option<()>, Status> {
        let host = self.host;
        let wait = self.api.rates.wait(host, word, (self.api.controller.clock)());
        if wait.is_zero() {
            return Ok(Some(()));
        }
        tracing::debug!(host = %host.short(), ?wait, "a host says too much and waits");
        tokio::select! {
            over = &mut words.over => over.map(|()| None),
            () = tokio::time::sleep(wait) => Ok(Some(())),
        }
    }
}

impl Words<'_> {
    async fn next(&mut self) -> Result<Heard, Status> {
        tokio::select! {
            biased;
            over = &mut self.over => over.map(|()| Heard::Over),
            message = self.messages.next() => {
                Ok(message?.map_or(Heard::Over, Heard::Message))
            }
        }
    }

    /// Takes the receipts that are there already; returns the message that is none, if one came.
    async fn gather(
        &mut self,
        receipts: &mut Vec<Envelope>,
        size: &mut usize,
    ) -> Result<Option<FromKeeper>, Status> {
        while receipts.len() < BATCH && *size < BATCH_BYTES {
            let ready = tokio::select! {
                biased;
                message = self.messages.next() => message?,
                () = std::future::ready(()) => return Ok(None),
            };
            let Some(message) = ready else { return Ok(None) };
            *size += message.encoded_len();
            match message.message {
                Some(Message::Spool(entry)) => receipts.push(receipt(entry)?),
                message => return Ok(Some(FromKeeper { message })),
            }
        }
        Ok(None)
    }
}

impl Messages {
    /// Waits for the next message; nothing, if no more come. Whoever stops waiting loses none of it.
    async fn next(&mut self) -> Result<Option<FromKeeper>, Status> {
        while let Some(part) = self.parts.message().await? {
            let whole = self.assembly.take(part);
            let whole = whole.map_err(|error| Status::out_of_range(error.to_string()))?;
            if let Some(bytes) = whole {
                let message = FromKeeper::decode(bytes.as_slice());
                let wrong = |error| Status::invalid_argument(format!("no message: {error}"));
                return message.map(Some).map_err(wrong);
            }
        }
        Ok(None)
    }
}

/// Returns when a session is to end at once.
async fn called_off(cut: oneshot::Receiver<()>) {
    if cut.await.is_err() {
        // It ends as others do, when all is said.
        std::future::pending::<()>().await;
    }
}

/// Returns when a certificate has expired.
async fn expired(shown: &Shown, clock: &Clock) {
    loop {
        let now = clock();
        if shown.has_expired(now) {
            return;
        }
        let left = Duration::from_secs(shown.until.since(now).saturating_add(1));
        tokio::time::sleep(left.min(LOOK)).await;
    }
}

/// Hands bundles on until there are no more, or until the session fails or is called off: what still
/// waits is not sent then. Whoever called it off waits for no host to take the reason.
async fn pass(
    mut from: mpsc::Receiver<Vec<u8>>,
    out: mpsc::Sender<Result<wire::Part, Status>>,
    endings: Endings,
) {
    let Endings { cut, failure } = endings;
    let bundles = async {
        while let Some(bundle) = from.recv().await {
            for part in parts(&bundle) {
                if out.send(Ok(part)).await.is_err() {
                    return;
                }
            }
        }
    };
    let failed = async {
        match failure.await {
            Ok(status) => status,
            // The host has nothing more to say, and may hear the rest.
            Err(_gone) => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = called_off(cut) => {
            let reason = Status::permission_denied("an operator has ended this session");
            // Nobody hears it who takes nothing.
            let _ = tokio::time::timeout(FAREWELL, out.send(Err(reason))).await;
        }
        status = failed => {
            // Nobody hears it if the connection is gone.
            let _ = out.send(Err(status)).await;
        }
        () = bundles => {}
    }
}

fn receipt(entry: wire::SpoolEntry) -> Result<Envelope, Status> {
    envelope(entry.receipt, "receipt")
}

/// Reads a host's own words, bounded.
fn read_standing(wire: wire::Standing) -> Result<Standing, Status> {
    let wrong = |what: String| Status::invalid_argument(format!("the standing: {what}"));
    if wire.labels.len() > MAX_LABELS {
        return Err(wrong(format!("{} labels; at most {MAX_LABELS}", wire.labels.len())));
    }
    Standing::try_from(wire).map_err(|error| wrong(error.to_string()))
}
