//! Trust roots and join tokens between wire and domain.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fault, digest_bytes, known, required, some_digest};
use crate::{
    crypto::MachinePublicKey,
    id::Digest,
    key::SshPublicKey,
    link::LinkRef,
    name::ObjectName,
    time::Timestamp,
    token::JoinToken,
    trust::{ApproverGroup, Duty, Limits, ProposerRule, TrustRoot},
    wire,
};

impl TryFrom<wire::TrustRoot> for TrustRoot {
    type Error = Fault;

    fn try_from(wire: wire::TrustRoot) -> Result<Self, Fault> {
        let mut people = BTreeMap::new();
        for person in wire.people {
            let keys: Result<BTreeMap<_, _>, Fault> = person.keys.iter().map(key).collect();
            people.insert(ObjectName::parse(&person.name)?, keys?);
        }
        let mut approver_groups = BTreeMap::new();
        for group in wire.approver_groups {
            let members: Result<BTreeSet<_>, _> =
                group.members.iter().map(|name| ObjectName::parse(name)).collect();
            let value = ApproverGroup { members: members?, threshold: group.threshold };
            approver_groups.insert(ObjectName::parse(&group.name)?, value);
        }
        let machine_keys: Result<BTreeSet<_>, _> =
            wire.machine_keys.iter().map(|key| MachinePublicKey::parse(&key.key)).collect();
        let limits = required(wire.limits, "limits")?;
        Ok(Self {
            lineage: some_digest(&wire.lineage)?,
            version: wire.version,
            previous: some_digest(&wire.previous)?,
            since: wire.since.map(LinkRef::try_from).transpose()?,
            people,
            approver_groups,
            root_threshold: wire.root_threshold,
            machine_keys: machine_keys?,
            proposers: match known::<wire::ProposerRule>(wire.proposers, "proposers")? {
                wire::ProposerRule::Count => ProposerRule::Count,
                wire::ProposerRule::DoNotCount => ProposerRule::DoNotCount,
            },
            stale_after: wire.stale_after,
            expires: Timestamp(wire.expires),
            limits: Limits {
                uids: (limits.uid_first, limits.uid_last),
                gids: (limits.gid_first, limits.gid_last),
                recertify_after: (limits.recertify_after != 0).then_some(limits.recertify_after),
            },
        })
    }
}

fn key(wire: &wire::PersonKey) -> Result<(SshPublicKey, Duty), Fault> {
    let duty = match known::<wire::Duty>(wire.duty, "duty")? {
        wire::Duty::Root => Duty::Root,
        wire::Duty::Approver => Duty::Approver,
        wire::Duty::Proposer => Duty::Proposer,
        wire::Duty::Unspecified => return Err(Fault::Missing("duty")),
    };
    Ok((SshPublicKey::from_blob(&wire.key)?, duty))
}

impl From<&TrustRoot> for wire::TrustRoot {
    fn from(root: &TrustRoot) -> Self {
        let duty = |duty: &Duty| match duty {
            Duty::Root => wire::Duty::Root,
            Duty::Approver => wire::Duty::Approver,
            Duty::Proposer => wire::Duty::Proposer,
        };
        let people = root.people.iter().map(|(name, keys)| wire::Person {
            name: name.to_string(),
            keys: keys
                .iter()
                .map(|(key, d)| wire::PersonKey { key: key.blob().to_vec(), duty: duty(d).into() })
                .collect(),
        });
        let groups = root.approver_groups.iter().map(|(name, group)| wire::ApproverGroup {
            name: name.to_string(),
            members: group.members.iter().map(ToString::to_string).collect(),
            threshold: group.threshold,
        });
        Self {
            lineage: digest_bytes(root.lineage),
            version: root.version,
            previous: digest_bytes(root.previous),
            since: root.since.as_ref().map(wire::LinkRef::from),
            people: people.collect(),
            approver_groups: groups.collect(),
            root_threshold: root.root_threshold,
            machine_keys: root
                .machine_keys
                .iter()
                .map(|key| wire::MachineKey { key: key.as_bytes().to_vec() })
                .collect(),
            proposers: match root.proposers {
                ProposerRule::Count => wire::ProposerRule::Count,
                ProposerRule::DoNotCount => wire::ProposerRule::DoNotCount,
            }
            .into(),
            stale_after: root.stale_after,
            expires: root.expires.0,
            limits: Some(wire::Limits {
                uid_first: root.limits.uids.0,
                uid_last: root.limits.uids.1,
                gid_first: root.limits.gids.0,
                gid_last: root.limits.gids.1,
                recertify_after: root.limits.recertify_after.unwrap_or_default(),
            }),
        }
    }
}

impl TryFrom<wire::JoinToken> for JoinToken {
    type Error = Fault;

    fn try_from(wire: wire::JoinToken) -> Result<Self, Fault> {
        Ok(Self {
            lineage: Digest::parse(&wire.lineage)?,
            address: wire.address,
            ca: Digest::parse(&wire.ca)?,
            trust_version: wire.trust_version,
            trust_digest: Digest::parse(&wire.trust_digest)?,
            floor: wire.floor.map(LinkRef::try_from).transpose()?,
            secret: wire.secret.try_into().map_err(|_| Fault::Value("secret"))?,
            expires: Timestamp(wire.expires),
        })
    }
}

impl From<&JoinToken> for wire::JoinToken {
    fn from(token: &JoinToken) -> Self {
        Self {
            lineage: token.lineage.as_bytes().to_vec(),
            address: token.address.clone(),
            ca: token.ca.as_bytes().to_vec(),
            trust_version: token.trust_version,
            trust_digest: token.trust_digest.as_bytes().to_vec(),
            floor: token.floor.as_ref().map(wire::LinkRef::from),
            secret: token.secret.to_vec(),
            expires: token.expires.0,
        }
    }
}
