//! Exceptions: drift that an operator accepts until a date. Pure. One is for one thing on one host,
//! as it was found: when something else or graver is found there it is drift again. It gives nobody
//! anything and no host hears of it; it only says what is not counted as drift meanwhile, who said
//! so and why.

use muster_proto::{
    drift::{Drift, DriftKind, Response, is_content},
    id::HostId,
    name::Line,
    time::Timestamp,
};

/// The longest that an exception lasts, in seconds: 400 days, so that one may be renewed once a year.
pub const LONGEST: u64 = 400 * 86_400;

/// An exception, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// It counts until then.
    pub until: Timestamp,
    /// Who made it, by the name that the socket's peer had.
    pub by: String,
    /// When.
    pub made: Timestamp,
    /// Why.
    pub reason: Line,
}

/// What an exception is for, whatever is found there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    /// On which host.
    pub host: HostId,
    /// The word for what differs.
    pub kind: String,
    /// The login, Unix group, role or file concerned.
    pub subject: String,
    /// Which field of it, which Unix group or which file.
    pub place: String,
}

/// Which exception is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The one of what is told at this place.
    At(u64),
    /// The one of this thing, which may be told nowhere any more.
    Of(Thing),
}

/// Whether drift that has gone, or is accepted, is wanted too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriftScope {
    /// What is still there and nobody has accepted.
    Unaccepted,
    /// What is still there.
    Open,
    /// What has gone as well.
    #[default]
    All,
}

/// Why drift cannot be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It was put right or has gone.
    #[error("it is not there any more: it was {}", .0.as_str())]
    Over(Response),
    /// The host tries to put it right.
    #[error("it is Muster's, and the host tries again and again to put it right")]
    Failed,
    /// Somebody undoes what the host does.
    #[error("it is Muster's, and somebody undoes each repair")]
    Contested,
    /// It is Muster's, and only told since the host observes.
    #[error("it is Muster's, and the host only tells it because it observes")]
    Ours,
    /// Its host cannot see when it becomes another.
    #[error("its host cannot read what is in it: a link, no file, or one that is too large")]
    Unread,
    /// A newer agent tells it.
    #[error("it is of a kind that this version does not know")]
    Unknown,
}

/// Why a time cannot be an exception's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEnd {
    /// It is over.
    #[error("an exception until {0} would have ended already")]
    Past(Timestamp),
    /// It is too far away.
    #[error("an exception lasts for 400 days at most, and {0} is later")]
    Late(Timestamp),
}

impl Thing {
    /// Returns what a host tells something of.
    pub fn of(host: HostId, drift: &Drift) -> Self {
        let Drift { kind, subject, place, .. } = drift.clone();
        Self { host, kind, subject, place }
    }

    /// What the log says of it, a line for each word: none of a host's words makes a line of its own.
    pub fn words(&self) -> String {
        let words = [&self.kind, &self.subject, &self.place];
        words.map(|word| format!("{}\n", word.escape_default())).concat()
    }
}

/// Says whether drift can be accepted: what Muster does not own and only tells, and what its host has
/// told so exactly that another finding is another text.
pub fn check(drift: &Drift) -> Result<(), Unfit> {
    match drift.response {
        Response::Repaired | Response::Gone => return Err(Unfit::Over(drift.response)),
        Response::Failed => return Err(Unfit::Failed),
        Response::Contested => return Err(Unfit::Contested),
        Response::Reported => {}
    }
    match DriftKind::parse(&drift.kind).ok_or(Unfit::Unknown)? {
        DriftKind::KeysUngranted | DriftKind::SudoForeign if !is_content(&drift.found) => {
            Err(Unfit::Unread)
        }
        DriftKind::AccountNew
        | DriftKind::BreakGlass
        | DriftKind::EffectDiffers
        | DriftKind::KeysUngranted
        | DriftKind::MemberUngranted
        | DriftKind::SudoForeign
        | DriftKind::UidZero => Ok(()),
        // Nobody knows whose such an account is by now, so no host puts it right.
        DriftKind::AccountChanged if drift.place == "uid" => Ok(()),
        DriftKind::AccountChanged
        | DriftKind::AccountMissing
        | DriftKind::AccountUnlocked
        | DriftKind::HomeMissing
        | DriftKind::JobsBack
        | DriftKind::KeysChanged
        | DriftKind::MemberAdded
        | DriftKind::MemberMissing
        | DriftKind::PasswordPolicy
        | DriftKind::Running
        | DriftKind::Sshd
        | DriftKind::SudoChanged
        | DriftKind::UnixGroupChanged => Err(Unfit::Ours),
    }
}

/// Says whether an exception that is made now may end then.
pub fn check_end(until: Timestamp, now: Timestamp) -> Result<(), BadEnd> {
    if until <= now {
        return Err(BadEnd::Past(until));
    }
    if until > now.plus(LONGEST) {
        return Err(BadEnd::Late(until));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use muster_proto::{
        drift::{Severity, content_of},
        id::Digest,
    };

    use super::*;

    fn drift(kind: &str, place: &str, response: Response) -> Drift {
        Drift {
            kind: kind.to_owned(),
            subject: "eve".to_owned(),
            place: place.to_owned(),
            expected: String::new(),
            found: content_of(Digest::new([7; 32])),
            since: Timestamp(0),
            severity: Severity::High,
            response,
            rounds: 0,
            culprit: None,
        }
    }

    #[test]
    fn what_no_host_would_put_right_can_be_accepted_and_nothing_else() {
        let fit: Vec<&str> = DriftKind::ALL
            .iter()
            .map(|kind| kind.as_str())
            .filter(|kind| check(&drift(kind, "", Response::Reported)).is_ok())
            .collect();
        let wanted = [
            "account-new",
            "break-glass",
            "effect-differs",
            "keys-ungranted",
            "member-ungranted",
            "sudo-foreign",
            "uid-zero",
        ];
        assert_eq!(fit, wanted);
        let changed = |place| check(&drift("account-changed", place, Response::Reported));
        assert_eq!((changed("uid"), changed("shell")), (Ok(()), Err(Unfit::Ours)));
        for kind in ["sudo-foreign", "keys-ungranted"] {
            let unread =
                Drift { found: "not read: 07".to_owned(), ..drift(kind, "", Response::Reported) };
            assert_eq!(check(&unread), Err(Unfit::Unread), "{kind}");
        }
        assert_eq!(check(&drift("new-kind", "", Response::Reported)), Err(Unfit::Unknown));
        for response in [Response::Repaired, Response::Gone] {
            let refused = check(&drift("sudo-foreign", "", response));
            assert_eq!(refused, Err(Unfit::Over(response)));
        }
        for (response, refused) in
            [(Response::Failed, Unfit::Failed), (Response::Contested, Unfit::Contested)]
        {
            assert_eq!(check(&drift("member-ungranted", "", response)), Err(refused));
        }
    }

    #[test]
    fn an_exception_ends_after_now_and_within_400_days() {
        let now = Timestamp(1_000);
        let longest = Timestamp(1_000 + 400 * 86_400);
        assert_eq!(check_end(now, now), Err(BadEnd::Past(now)));
        assert_eq!(check_end(Timestamp(1_001), now), Ok(()));
        assert_eq!(check_end(longest, now), Ok(()));
        let late = longest.plus(1);
        assert_eq!(check_end(late, now), Err(BadEnd::Late(late)));
    }
}
