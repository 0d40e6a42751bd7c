//! What an agent's certificate shows, and which of a host's certificates still count. A certificate
//! is no secret and its key may be copied, so one does not count for ever: the store keeps the keys
//! that certificates were issued for last, and a key that the host has replaced is worth nothing.
//!
//! There are two keys, since an answer can be lost: the one that the host shows itself by, and the
//! one that was offered after it. The first counts until the second is shown.

use muster_proto::{
    crypto::sha256,
    id::{Digest, HostId},
    time::Timestamp,
};
use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{SKEW, host_of};

/// For how long an expired certificate can still be renewed, in seconds: thirty days.
pub const COMEBACK: u64 = 30 * 86_400;

/// The key that a certificate was issued for, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issue {
    /// SHA-256 over the subject public key info.
    pub key: Digest,
    /// When.
    pub at: Timestamp,
}

/// What a certificate of this controller's shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The host that it names.
    pub host: HostId,
    /// Its key, and when it was issued.
    pub issue: Issue,
    /// The last second in which it is valid.
    pub until: Timestamp,
}

/// The keys of a host's certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The one that the host showed last.
    pub current: Option<Digest>,
    /// The one that was offered since, and was not shown yet.
    pub offered: Option<Digest>,
    /// When the last was issued.
    pub newest: Timestamp,
}

/// What a certificate is to a host's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Footing {
    /// The key is the current one.
    Current,
    /// The key is shown for the first time, and takes the current one's place.
    Fresh,
}

/// Why a certificate counts no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    /// The host has shown a newer one.
    #[error("this certificate was replaced by a newer one; join this host again")]
    Replaced,
    /// It expired too long ago.
    #[error("this certificate expired at {0}, more than 30 days ago; join this host again")]
    Expired(Timestamp),
}

impl Shown {
    /// Reads a certificate that the handshake has verified, or that was just issued.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let host = host_of(certificate)?;
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let second = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).ok();
        let validity = certificate.validity();
        let issue = Issue {
            key: sha256(&[certificate.public_key().raw]),
            at: Timestamp(second(validity.not_before)?).plus(SKEW),
        };
        Some(Self { host, issue, until: Timestamp(second(validity.not_after)?) })
    }

    /// Says whether the certificate's time is over.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.until < now
    }
}

impl Keys {
    /// Judges a certificate of the host's. One that was issued after the last that is known here was
    /// issued by a controller whose store was lost, and the host is believed for it: it is this CA's.
    pub fn judge(&self, shown: &Shown, now: Timestamp) -> Result<Footing, Void> {
        let key = Some(shown.issue.key);
        let known = key == self.current || key == self.offered;
        if !known && shown.issue.at <= self.newest {
            return Err(Void::Replaced);
        }
        if now.since(shown.until) > COMEBACK {
            return Err(Void::Expired(shown.until));
        }
        Ok(if key == self.current { Footing::Current } else { Footing::Fresh })
    }

    /// Takes a certificate that was judged fresh as the current one.
    #[must_use]
    pub fn showing(self, issue: Issue) -> Self {
        Self { current: Some(issue.key), offered: None, newest: self.newest.max(issue.at) }
    }

    /// Takes every certificate that was issued until now for replaced, and none in its place.
    #[must_use]
    pub fn voided(self, now: Timestamp) -> Self {
        Self { current: None, offered: None, newest: self.newest.max(now) }
    }

    /// Takes a certificate that is about to be sent.
    #[must_use]
    pub fn offering(self, issue: Issue) -> Self {
        Self { offered: Some(issue.key), newest: self.newest.max(issue.at), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(key: u8, at: u64) -> Issue {
        Issue { key: Digest::new([key; 32]), at: Timestamp(at) }
    }

    fn shown(issue: Issue) -> Shown {
        Shown { host: Digest::new([9; 32]), issue, until: issue.at.plus(100) }
    }

    #[test]
    fn a_key_counts_until_the_one_after_it_is_shown() {
        let (first, second, third) = (issue(1, 10), issue(2, 20), issue(3, 30));
        let now = Timestamp(40);
        let judge = |keys: &Keys, issue| keys.judge(&shown(issue), now);
        let joined = Keys::default().offering(first);
        assert_eq!(judge(&joined, first), Ok(Footing::Fresh));
        let keys = joined.showing(first);
        assert_eq!(judge(&keys, first), Ok(Footing::Current));
        // An answer that was lost, and the next one.
        let keys = keys.offering(second).offering(third);
        assert_eq!(judge(&keys, first), Ok(Footing::Current));
        assert_eq!(judge(&keys, second), Err(Void::Replaced));
        assert_eq!(judge(&keys, third), Ok(Footing::Fresh));
        let keys = keys.showing(third);
        for old in [first, second] {
            assert_eq!(judge(&keys, old), Err(Void::Replaced));
        }
        assert_eq!(judge(&keys, third), Ok(Footing::Current));
    }

    #[test]
    fn what_was_voided_opens_nothing_and_what_is_issued_after_it_does() {
        let (first, second) = (issue(1, 10), issue(2, 20));
        let keys = Keys::default().offering(first).showing(first).offering(second);
        let judge = |keys: &Keys, issue| keys.judge(&shown(issue), Timestamp(40));
        let voided = keys.voided(Timestamp(30));
        for old in [first, second, issue(3, 30)] {
            assert_eq!(judge(&voided, old), Err(Void::Replaced));
        }
        let anew = voided.offering(issue(4, 30));
        assert_eq!(judge(&anew, issue(4, 30)), Ok(Footing::Fresh));
        assert_eq!(judge(&anew, first), Err(Void::Replaced));
        assert_eq!(keys.voided(Timestamp(5)).newest, Timestamp(20), "a clock that was set back");
    }

    #[test]
    fn what_a_lost_store_knew_is_believed_and_what_is_older_is_not() {
        let keys = Keys::default().offering(issue(1, 20)).showing(issue(1, 20));
        let judge = |at| keys.judge(&shown(issue(2, at)), Timestamp(40));
        assert_eq!(judge(19), Err(Void::Replaced));
        assert_eq!(judge(20), Err(Void::Replaced));
        assert_eq!(judge(21), Ok(Footing::Fresh));
    }

    #[test]
    fn a_certificate_that_expired_is_judged_to_the_second() {
        let one = shown(issue(1, 0));
        assert!(!one.has_expired(Timestamp(100)));
        assert!(one.has_expired(Timestamp(101)));
        let keys = Keys::default().showing(one.issue);
        let last = one.until.plus(COMEBACK);
        assert_eq!(keys.judge(&one, last), Ok(Footing::Current));
        assert_eq!(keys.judge(&one, last.plus(1)), Err(Void::Expired(one.until)));
    }
}
