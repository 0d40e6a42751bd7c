//! Drift: what a host has come to be without any bundle. Pure. What differs is read off the plan
//! that would put it right ([`difference`]), so that what is told and what is repaired are one
//! thing; what nobody granted is read off the account files ([`ungranted`]); what the system makes
//! of files that are as they should be is asked for ([`effect`], and of single accounts [`probe`]);
//! [`memory`] knows what was told already, each as [`open`] has it, and which repair somebody
//! undoes each time; [`standing`] is what differs at one moment.

pub mod difference;
pub mod effect;
pub mod memory;
pub mod open;
pub mod probe;
pub mod standing;
pub mod ungranted;

use muster_proto::{
    crypto::sha256,
    drift::{Culprit, DriftKind, Severity},
    id::Digest,
};

use crate::format::{pam::is_remembered, sudoers::PREFIX};

/// A difference, whoever made it and whatever is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which one it is.
    pub what: What,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// How grave it is.
    pub severity: Severity,
}

/// Which difference: there is one of each on a host at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct What {
    /// Its word.
    pub kind: DriftKind,
    /// The login, Unix group, role or file concerned.
    pub subject: String,
    /// Which field of it, which Unix group or which file; empty where there is only one.
    pub place: String,
}

/// A place that is watched. Where something differs says in which of them somebody was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The account files, sudoers and nsswitch.conf.
    Etc,
    /// sudo's directory.
    Sudoers,
    /// sshd's configuration.
    Ssh,
    /// The drop-ins of that.
    SshDropIns,
    /// Muster's key files.
    Keys,
    /// Crontabs.
    Crontabs,
    /// At jobs.
    AtJobs,
    /// Who lingers.
    Linger,
    /// Where homes are.
    Homes,
    /// What decides about new passwords.
    Passwords,
    /// Root's home, for whether there are keys in it.
    RootHome,
    /// Root's own keys.
    RootKeys,
    /// Nothing that is watched: what sudo says of the account that is named, by who made that.
    SudoSays,
    /// The same of PAM.
    PamSays,
}

/// Somebody was at a file that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Where.
    pub place: Place,
    /// The file's name there.
    pub name: String,
    /// Who, as far as it is known.
    pub culprit: Option<Culprit>,
}

impl Difference {
    /// Returns it in one digest. Another content is another difference, but not another number of
    /// processes.
    fn identity(&self) -> Digest {
        let What { kind, subject, place } = &self.what;
        let content = match kind {
            DriftKind::JobsBack | DriftKind::Running => "",
            _ => self.found.as_str(),
        };
        sha256(&[
            kind.as_str().as_bytes(),
            b"\n",
            subject.as_bytes(),
            b"\n",
            place.as_bytes(),
            b"\n",
            content.as_bytes(),
        ])
    }
}

impl What {
    /// Names a difference.
    pub fn new(kind: DriftKind, subject: impl Into<String>, place: impl Into<String>) -> Self {
        Self { kind, subject: subject.into(), place: place.into() }
    }

    /// Says whether it is Muster's and only told all the same: nobody knows whose an account with
    /// another uid is by now.
    pub(crate) fn is_only_told(&self) -> bool {
        self.kind == DriftKind::AccountChanged && self.place == "uid"
    }

    /// Says whether whoever was there may have made it.
    pub(crate) fn is_touched(&self, touch: &Touch) -> bool {
        let Touch { place, name, .. } = touch;
        match self.kind {
            DriftKind::AccountChanged
            | DriftKind::AccountMissing
            | DriftKind::AccountNew
            | DriftKind::AccountUnlocked
            | DriftKind::UidZero => {
                *place == Place::Etc && matches!(name.as_str(), "passwd" | "shadow")
            }
            DriftKind::BreakGlass => match place {
                Place::Etc => {
                    matches!(name.as_str(), "passwd" | "shadow" | "group" | "gshadow" | "sudoers")
                }
                Place::Sudoers => true,
                _ => false,
            },
            DriftKind::MemberAdded
            | DriftKind::MemberMissing
            | DriftKind::MemberUngranted
            | DriftKind::UnixGroupChanged => {
                *place == Place::Etc && matches!(name.as_str(), "group" | "gshadow" | "passwd")
            }
            DriftKind::JobsBack => match place {
                Place::Crontabs | Place::Linger => *name == self.subject,
                Place::AtJobs => true,
                _ => false,
            },
            DriftKind::KeysChanged => *place == Place::Keys && *name == self.subject,
            DriftKind::Sshd => matches!(place, Place::Ssh | Place::SshDropIns),
            DriftKind::SudoChanged => {
                *place == Place::Sudoers && name.strip_prefix(PREFIX) == Some(&self.subject)
            }
            DriftKind::SudoForeign => match place {
                Place::Sudoers => self.subject.strip_prefix("sudoers.d/") == Some(name),
                Place::Etc => *name == self.subject,
                _ => false,
            },
            DriftKind::HomeMissing => *place == Place::Homes && *name == self.subject,
            DriftKind::KeysUngranted => {
                let is_it = *place == Place::RootKeys && *name == self.place;
                self.subject == "root" && (is_it || *place == Place::RootHome)
            }
            DriftKind::PasswordPolicy => *place == Place::Passwords && !is_remembered(name),
            DriftKind::EffectDiffers => match self.place.as_str() {
                effect::SSHD => matches!(place, Place::Ssh | Place::SshDropIns),
                effect::SUDO => {
                    let files = ["sudoers", "sudoers-rs", "sudo.conf", "nsswitch.conf"];
                    (*place == Place::SudoSays && *name == self.subject)
                        || *place == Place::Sudoers
                        || (*place == Place::Etc && files.contains(&name.as_str()))
                }
                probe::PAM => {
                    (*place == Place::PamSays && *name == self.subject)
                        || (*place == Place::Passwords && !is_remembered(name))
                        || (*place == Place::Etc && name == "nologin")
                }
                _ => *place == Place::Etc && name == "nsswitch.conf",
            },
            DriftKind::Running => false,
        }
    }

    /// Returns who was at what it concerns, if it was one alone: of several nobody knows which of
    /// them did it.
    pub fn culprit<'a>(&self, touches: impl IntoIterator<Item = &'a Touch>) -> Option<&'a Culprit> {
        let mut touched = touches.into_iter().filter(|touch| self.is_touched(touch));
        let first = touched.next()?.culprit.as_ref()?;
        touched.try_fold(first, |one, touch| {
            touch.culprit.as_ref().filter(|other| other.pid == one.pid)
        })
    }
}
