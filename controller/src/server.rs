//! The composition root: opens what there is, listens, serves until told to stop. The only place in
//! the server that asks the clock. Everything is opened and checked before anybody is let in.
#![expect(
    clippy::disallowed_methods,
    reason = "the composition root asks the clock for everybody else"
)]

mod listen;
mod manager;
pub mod settings;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use muster_proto::time::Timestamp;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{Interval, MissedTickBehavior},
};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};

use self::{
    manager::Manager,
    settings::{SetLog, Settings},
};
use crate::{
    api::{
        self, Clock, Controller,
        caller::{GateLayer, OperatorRule},
    },
    config::{self, Config},
    enrol::{
        Ca, EnrolError,
        tls::{self, OwnCertificate, TlsError},
    },
    fleet::{Fleet, FleetError},
    setup,
    signer::{Signer, SignerError},
    store::{Store, StoreError},
    told::told,
};

/// How long open calls have to end when the server stops.
const GRACE: Duration = Duration::from_secs(2);

/// A server that has its listeners and lets nobody in yet.
pub struct Server {
    config: Config,
    controller: Controller,
    own: Arc<OwnCertificate>,
    operators: OperatorRule,
    checkpoint_every: watch::Receiver<Duration>,
    agent_listener: TcpListener,
    operator_listener: UnixListener,
    stop: watch::Sender<bool>,
    _lock: Flock<std::fs::File>,
}

/// Why the server does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another server works on the same data.
    #[error("another server is using `{0}`")]
    Locked(PathBuf),
    /// The data directory cannot be used.
    #[error("cannot use the data directory `{path}`")]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No store.
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    /// No online key.
    #[error("cannot open the online key")]
    Signer(#[from] SignerError),
    /// No CA.
    #[error("cannot open the CA")]
    Enrol(#[from] EnrolError),
    /// No TLS.
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
    /// No fleet.
    #[error("cannot load the fleet")]
    Fleet(#[from] FleetError),
    /// The group does not exist.
    #[error("there is no Unix group `{0}`, which `operator_group` names")]
    Group(String),
    /// No listener.
    #[error("cannot listen on `{place}`")]
    Listen {
        /// Where.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Signals cannot be heard.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// A listener failed.
    #[error("serving failed")]
    Serving(#[from] tonic::transport::Error),
}

/// Serves until SIGTERM or SIGINT. At SIGHUP the configuration is read anew from its file.
pub async fn serve(config: Config, file: PathBuf, log: SetLog) -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(ServeError::Signals)?;
    let (server, settings) = Server::bind(config).await?;
    let mut settings = settings.logging_by(log);
    let stop = server.stopper();
    let fleet = Arc::clone(&server.controller.fleet);
    let manager = Manager::from_environment();
    manager.ready();
    tokio::spawn(async move {
        let works = || {
            let fleet = Arc::clone(&fleet);
            async move { fleet.answer().await }
        };
        let told_to_stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let settings = async {
            while hangup.recv().await.is_some() {
                manager.reloading();
                settings.read(&file);
                manager.ready();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = told_to_stop => {}
            () = manager.pulse(works) => {}
            () = settings => {}
        }
        manager.stopping();
        stop.send_replace(true);
    });
    Box::pin(server.run()).await
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("config", &self.config).finish_non_exhaustive()
    }
}

fn system_clock() -> Timestamp {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(elapsed.map_or(0, |elapsed| elapsed.as_secs()))
}

impl Server {
    /// Opens everything and takes the listeners, by the system's clock. Returns what can change while
    /// it runs, too.
    pub async fn bind(config: Config) -> Result<(Self, Settings), ServeError> {
        Self::bind_at(config, Arc::new(system_clock)).await
    }

    /// Opens everything and takes the listeners, by this clock.
    pub async fn bind_at(config: Config, clock: Clock) -> Result<(Self, Settings), ServeError> {
        let now = clock();
        // Before anything is opened: opening brings the tables up to date.
        let lock = lock(&config.data_dir)?;
        let store = Store::open(&config.data_dir).await?;
        let signer = Signer::open(&config.data_dir.join(setup::ONLINE_KEY))?;
        let ca = Arc::new(Ca::open(&config.data_dir)?);
        let fleet = Arc::new(Fleet::load(store, signer).await?);
        let host = config::host_of(&config.agent_address).unwrap_or("localhost");
        let own = OwnCertificate::issue(&ca, host, now)?;
        let group = settings::group(config.operator_group.as_deref()).map_err(ServeError::Group)?;
        let operators = OperatorRule::of(group);
        let agent_listener = TcpListener::bind(config.agent_listener).await.map_err(|source| {
            ServeError::Listen { place: config.agent_listener.to_string(), source }
        })?;
        let operator_listener =
            listen::bind_socket(&config.operator_socket, group).await.map_err(|source| {
                ServeError::Listen { place: config.operator_socket.display().to_string(), source }
            })?;
        let agent_address = config.agent_address.clone();
        let bans = fleet.bans();
        let controller = Controller { fleet, ca, bans, clock, agent_address };
        let stop = watch::channel(false).0;
        let settings = Settings::new(config.clone(), operators.clone());
        let server = Self {
            config,
            controller,
            own,
            operators,
            checkpoint_every: settings.checkpoints(),
            agent_listener,
            operator_listener,
            stop,
            _lock: lock,
        };
        Ok((server, settings))
    }

    /// Returns where agents connect, which is not the configuration's word if its port is 0.
    pub fn agent_listener(&self) -> io::Result<std::net::SocketAddr> {
        self.agent_listener.local_addr()
    }

    /// Returns what stops the server when `true` is sent.
    pub fn stopper(&self) -> watch::Sender<bool> {
        self.stop.clone()
    }

    /// Serves until it is stopped.
    pub async fn run(self) -> Result<(), ServeError> {
        let Self {
            config,
            controller,
            own,
            operators,
            checkpoint_every,
            agent_listener,
            operator_listener,
            stop,
            ..
        } = self;
        let tls = tls::server_config(&controller.ca, Arc::clone(&own), controller.bans.clone())?;
        let gate = GateLayer {
            operators,
            bans: controller.bans.clone(),
            clock: Arc::clone(&controller.clock),
        };
        let clock = Arc::clone(&controller.clock);
        let connections = listen::accept(agent_listener, tls, clock, stop.subscribe());
        let agents = api::agents(controller.clone(), gate.clone()).serve_with_incoming_shutdown(
            ReceiverStream::new(connections),
            stopped(stop.subscribe()),
        );
        let operators = api::operators(controller.clone(), gate).serve_with_incoming_shutdown(
            UnixListenerStream::new(operator_listener),
            stopped(stop.subscribe()),
        );
        let address = &config.agent_address;
        let chores = chores(&controller, &own, address, checkpoint_every, stop.subscribe());
        let serving = async { tokio::try_join!(agents, operators) };
        let cut = async {
            stopped(stop.subscribe()).await;
            // Sessions never end by themselves.
            controller.fleet.dismiss().await;
            tokio::time::sleep(GRACE).await;
        };
        let ended = tokio::select! {
            ended = async { tokio::join!(serving, chores).0 } => ended.map(|_| ()),
            () = cut => Ok(()),
        };
        controller.fleet.store().close().await;
        // The socket is ours; a stale one would only be in the way.
        if let Err(error) = std::fs::remove_file(&config.operator_socket) {
            tracing::debug!(%error, "the operators' socket was gone already");
        }
        Ok(ended?)
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // A sender that is gone stops the server too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// What is done now and then: heartbeats, and the controller's own certificate. Whether it is due is
/// asked of the wall clock at every heartbeat, since a timer stands still while a machine sleeps.
async fn chores(
    controller: &Controller,
    own: &OwnCertificate,
    address: &str,
    mut every: watch::Receiver<Duration>,
    stop: watch::Receiver<bool>,
) {
    let mut heartbeat = ticks(*every.borrow_and_update());
    let stopped = stopped(stop);
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return,
            Ok(()) = every.changed() => heartbeat = ticks(*every.borrow_and_update()),
            _ = heartbeat.tick() => {
                let now = (controller.clock)();
                let host = config::host_of(address).unwrap_or("localhost");
                if let Err(error) = own.renew_if_due(&controller.ca, host, now) {
                    let error = told(&error);
                    tracing::error!(error, "the controller's certificate could not be renewed");
                }
                if let Err(error) = controller.fleet.heartbeat(now).await {
                    tracing::error!(error = told(&error), "the heartbeat failed");
                }
                if let Err(error) = controller.fleet.lapse(now).await {
                    let error = told(&error);
                    tracing::error!(error, "enrolments that were never used could not be forgotten");
                }
            }
        }
    }
}

/// Ticks at once and then as often as this.
fn ticks(every: Duration) -> Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn lock(data_dir: &Path) -> Result<Flock<std::fs::File>, ServeError> {
    let directory = |source| ServeError::DataDir { path: data_dir.to_owned(), source };
    let file = std::fs::File::open(data_dir).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => StoreError::Absent(data_dir.to_owned()).into(),
        _ => directory(source),
    })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => ServeError::Locked(data_dir.to_owned()),
        errno => directory(errno.into()),
    })
}
