//! What the ledger's file holds of a pause.

use std::collections::BTreeSet;

use muster_proto::time::Timestamp;
use prost::Message;

use crate::pause::{BadPause, LONGEST, Pause, Reason, lost::Lost};

/// A pause that is not over. Tags are never used again.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FilePause {
    #[prost(uint64, tag = "1")]
    until: u64,
    #[prost(uint64, tag = "2")]
    left: u64,
    #[prost(string, tag = "3")]
    login: String,
    #[prost(string, tag = "4")]
    unit: String,
    #[prost(string, tag = "5")]
    reason: String,
    #[prost(string, repeated, tag = "6")]
    logins: Vec<String>,
    #[prost(string, repeated, tag = "7")]
    roles: Vec<String>,
    #[prost(string, repeated, tag = "8")]
    unix_groups: Vec<String>,
}

impl From<&Pause> for FilePause {
    fn from(pause: &Pause) -> Self {
        let all = |names: &BTreeSet<String>| names.iter().cloned().collect();
        let Lost { logins, roles, unix_groups } = &pause.lost;
        Self {
            until: pause.until.0,
            left: pause.left,
            login: pause.login.clone(),
            unit: pause.unit.clone(),
            reason: pause.reason.as_str().to_owned(),
            logins: all(logins),
            roles: all(roles),
            unix_groups: all(unix_groups),
        }
    }
}

impl FilePause {
    /// Reads it back; whatever stands there, no pause is longer than one can be.
    pub(super) fn pause(self) -> Result<Pause, BadPause> {
        Ok(Pause {
            until: Timestamp(self.until),
            left: self.left.min(LONGEST),
            login: self.login,
            unit: self.unit,
            reason: Reason::parse(&self.reason)?,
            lost: Lost {
                logins: self.logins.into_iter().collect(),
                roles: self.roles.into_iter().collect(),
                unix_groups: self.unix_groups.into_iter().collect(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(left: u64) -> Pause {
        let names = |name: &str| BTreeSet::from([name.to_owned()]);
        Pause {
            until: Timestamp(1_764_115_200),
            left,
            login: "bob".to_owned(),
            unit: "session-3.scope".to_owned(),
            reason: Reason::parse("OPS-7").unwrap(),
            lost: Lost { logins: names("ana"), roles: names("dba"), unix_groups: names("dbas") },
        }
    }

    #[test]
    fn a_pause_is_remembered_as_it_is_and_no_longer_than_one_can_be() {
        for left in [0, 7, LONGEST] {
            assert_eq!(FilePause::from(&pause(left)).pause().unwrap(), pause(left));
        }
        assert_eq!(FilePause::from(&pause(LONGEST + 1)).pause().unwrap(), pause(LONGEST));
    }
}
