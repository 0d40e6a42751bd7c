//! What most verbs begin with: the operator's store, brought up to date by verifying forward, and a
//! connection to the controller.
#![expect(
    clippy::disallowed_methods,
    reason = "the operator side asks the clock and where home is here"
)]

mod sync;

use std::path::PathBuf;

use anyhow::{Context, Result};
use muster_proto::{
    chain::Loss,
    envelope::{Document, Envelope},
    id::{HostId, Id},
    link::{LinkBody, LinkRef, Proposal, PublishedLink, Revocation, Target},
    name::Line,
    statement::Statement,
    time::{Now, Timestamp},
};

use self::sync::{accept, witness};
use super::{Globals, hint, output, sign::PersonKey, usage};
use crate::{
    client::{Client, ClientError},
    tool::{Tool, ToolError, signing::Begun},
};

/// The operator's store and the controller.
#[derive(Debug)]
pub struct Session {
    /// What was verified.
    pub tool: Tool,
    /// The controller.
    pub client: Client,
    /// A change of an earlier run that was signed then and has been sent now.
    pub sent: Option<Published>,
    /// Why a change of an earlier run that was signed then could not be sent now.
    unsent: Option<ClientError>,
}

/// A change that the controller has.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its place in the chain.
    pub link: LinkRef,
    /// What it alters.
    pub statements: Vec<Statement>,
    /// The hosts that it concerns, by the controller's word.
    pub hosts: Vec<HostId>,
}

impl Globals {
    /// Returns where the operator's store is.
    pub fn store(&self) -> Result<PathBuf> {
        place(self.store.as_ref(), "XDG_STATE_HOME", ".local/state/muster", "muster")
    }

    /// Returns where the operator's approver key is.
    pub fn key(&self) -> Result<PathBuf> {
        place(self.key.as_ref(), "XDG_CONFIG_HOME", ".config/muster/approver", "muster/approver")
    }

    /// Opens the store and the connection, and verifies forward.
    pub async fn session(&self) -> Result<Session> {
        let mut session = self.synced().await?;
        if let Err(error) = witness(&session.tool, &mut session.client).await {
            // Reading goes on, and so does taking away; only a change carries the log's head.
            output::warning(&error);
        }
        Ok(session)
    }

    /// The same, going on with the audit log of this name in the place of the one that was seen.
    pub async fn session_accepting(&self, origin: &str) -> Result<Session> {
        let mut session = self.synced().await?;
        accept(&session.tool, &mut session.client, origin).await?;
        witness(&session.tool, &mut session.client).await?;
        Ok(session)
    }

    async fn synced(&self) -> Result<Session> {
        let directory = self.store()?;
        let tool = Tool::open(&directory).map_err(|error| match error {
            ToolError::Missing(_) => hint(
                error,
                "`muster init` makes one; a new operator begins with what a colleague's tool shows",
            ),
            other => other.into(),
        })?;
        let client = self.connect().await?;
        let mut session = Session { tool, client, sent: None, unsent: None };
        session.sync().await?;
        Ok(session)
    }

    /// Connects to the controller.
    pub async fn connect(&self) -> Result<Client> {
        let socket = &self.socket;
        Client::connect(socket).await.map_err(|error| {
            hint(
                error,
                format!("is `muster serve` running, and may you open `{}`?", socket.display()),
            )
        })
    }
}

fn place(
    given: Option<&PathBuf>,
    variable: &str,
    under_home: &str,
    under_variable: &str,
) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.clone());
    }
    if let Some(base) = std::env::var_os(variable).filter(|base| !base.is_empty()) {
        return Ok(PathBuf::from(base).join(under_variable));
    }
    let home = std::env::var_os("HOME").context("HOME is not set; say where with an option")?;
    Ok(PathBuf::from(home).join(under_home))
}

/// Returns what the clock says.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| since.as_secs()))
}

/// Makes an id that was never used.
pub fn new_id() -> Result<Id> {
    Ok(Id::Object(crate::signer::random()?))
}

impl Session {
    /// Takes what the controller has taken.
    fn taken(&mut self, published: &PublishedLink, hosts: Vec<HostId>) -> Result<Published> {
        let link = self.tool.take_link(published, now())?;
        let statements = LinkBody::decode(&published.body)?.all().cloned().collect();
        Ok(Published { link: link.place(link.digest()), statements, hosts })
    }

    /// Refuses to sign a change as long as another cannot be sent: it would have the same number.
    pub fn check_sent(&mut self) -> Result<()> {
        let Some(error) = self.unsent.take() else { return Ok(()) };
        let error = anyhow::Error::from(error)
            .context("a change that you signed earlier cannot be sent, and no other before it");
        Err(hint(
            error,
            "the controller's log says why; once it takes the change, or another of that number or a \
             new trust root comes, you can go on; `muster revoke` works meanwhile",
        ))
    }

    /// Proposes statements, cuts them into the next link, signs both, and publishes the link.
    pub async fn publish(
        &mut self,
        statements: Vec<Statement>,
        reason: Line,
        confirmed: &[Loss],
        key: &PersonKey,
    ) -> Result<Published> {
        self.check_sent()?;
        let log = witness(&self.tool, &mut self.client).await?;
        let chain = self.tool.chain();
        let changed = statements.iter().map(|statement| statement.id).collect();
        let time = now();
        let proposer = key.owner(chain.trust())?;
        let proposal = Proposal {
            lineage: chain.lineage(),
            id: new_id()?,
            time,
            reason,
            statements,
            proposer,
        };
        let mut proposal = Envelope::new(&proposal);
        key.sign(&mut proposal)?;
        let proposals = vec![proposal];
        let candidate = chain.cut(&proposals, chain.folds(&changed, confirmed), time, log)?;
        self.finish(&Begun { candidate, proposals }, key).await
    }

    /// Signs and publishes what was begun: recorded first, then signed, then kept, then sent, so that
    /// whatever fails is taken up where it failed and with the same candidate.
    pub async fn finish(&mut self, begun: &Begun, key: &PersonKey) -> Result<Published> {
        self.tool.begin_signing(begun).map_err(|error| match error {
            ToolError::TooLarge { .. } => hint(error, "make several changes of it, file by file"),
            ToolError::AlreadySigned { .. } => {
                hint(error, "`muster apply` shows that one and takes it up")
            }
            other => other.into(),
        })?;
        let link = &begun.candidate.link;
        let mut envelope = Envelope::new(link);
        key.sign(&mut envelope).map_err(|error| {
            let cure =
                "nothing was published; run the command again, and the same change is signed";
            hint(error, cure)
        })?;
        let published = begun.published(envelope);
        self.tool.keep_signed(link, &published)?;
        let hosts = self.client.publish(&published).await?;
        self.taken(&published, hosts)
    }

    /// Makes a revocation that nobody has signed yet.
    pub fn revocation(&self, target: Target, reason: Line) -> Result<Revocation> {
        let lineage = self.tool.chain().lineage();
        Ok(Revocation { lineage, id: new_id()?, time: now(), reason, target })
    }

    /// Signs a revocation as an approver, hands it in, and returns the hosts that it concerns.
    pub async fn revoke(
        &mut self,
        revocation: &Revocation,
        key: &PersonKey,
    ) -> Result<Vec<HostId>> {
        let mut envelope = Envelope::new(revocation);
        key.sign(&mut envelope)?;
        let hosts = self.client.revoke(&envelope).await?;
        self.tool.take_revocation(&envelope)?;
        Ok(hosts)
    }

    /// Returns the number of the newest change; 0 before the first.
    pub fn newest(&self) -> u64 {
        self.tool.chain().newest().map_or(0, |link| link.number)
    }

    /// Returns what time it is, as far as a preview goes.
    pub fn now(&self) -> Now {
        Now::at(now())
    }
}
