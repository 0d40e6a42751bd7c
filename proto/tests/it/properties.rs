//! What holds for every directory, every text and every run of bytes.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    bundle::Bundle,
    chain::Chain,
    derive::{Circumstances, Statements, derive},
    desired::{DesiredState, Entitlement, Grant, Pins},
    directory::{Membership, PrunedTree},
    envelope::{Document, Envelope, Verified},
    id::{HostId, Id, Kind},
    key::SshPublicKey,
    link::{Link, LinkBody, Proposal, Revocation, Target},
    merkle::Tree,
    name::{AbsolutePath, FullName, Line, Login, ObjectName, Uid, UnixGroupName},
    revocations::Revocations,
    selector::{Labels, Selector},
    statement::{
        Content, Entry, LoginMethod, Restrictions, SourceNetwork, Statement, UnixGroupMode,
    },
    sudo::{RunAsUser, SudoCommand},
    time::{Now, Timestamp},
    token::JoinToken,
    trust::TrustRoot,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{
    documents::{samples, token},
    host::Host,
    keys::machine,
    world::{Shape, World, adoption, assignment, group, id, key, role, staffed, unix_group, user},
};

/// One statement of a small world, as numbers choose it.
type Choice = (u8, u8, u8, u8);

fn host() -> HostId {
    machine("db1").public().digest()
}

fn content((kind, a, b, c): Choice) -> (Id, Content) {
    let pick = |n: u8, of: &[&'static str]| of[usize::from(n) % of.len()];
    let groups = ["g0", "g1", "g2"];
    let users = ["u0", "u1", "u2"];
    let roles = ["r0", "r1"];
    let keys = ["k0", "k1", "k2"];
    let selectors = ["all", "env=prod", "env=dev", "!edge", "tier in (db,web)"];
    let name = |of: &[&'static str]| pick(a, of);
    match kind % 6 {
        0 => {
            let name = name(&users);
            let number = u32::from(a) % 3;
            let mine: Vec<&str> = groups.into_iter().take(usize::from(b % 4)).collect();
            let own: BTreeSet<&str> = [b, c].map(|n| pick(n, &keys)).into();
            let own: Vec<&str> = own.into_iter().take(usize::from(c % 3)).collect();
            let Content::User(mut user) = user(name, 10_000 + number, &own, &mine) else {
                panic!()
            };
            user.starts = (b % 5 == 0).then_some(Timestamp(1 + u64::from(c)));
            user.ends = (c % 5 == 0).then_some(Timestamp(300 + u64::from(b)));
            user.restrictions =
                Restrictions { hardware_keys_only: b % 7 == 0, ..Restrictions::default() };
            (id(name), Content::User(user))
        }
        1 => (id(name(&groups)), group(name(&groups))),
        2 => (
            id(pick(a, &["x0", "x1"])),
            unix_group(pick(a, &["x0", "x1"]), 20_000 + u32::from(a % 2)),
        ),
        3 => {
            let Content::Role(mut role) =
                role(name(&roles), &[pick(b, &["ALL", "/usr/bin/id"])][..usize::from(c % 2)])
            else {
                panic!()
            };
            role.unix_group_mode =
                [UnixGroupMode::HandsOff, UnixGroupMode::Exactly][usize::from(b % 2)];
            role.unix_groups = [id("x0"), id("x1")][..usize::from(c % 3)].iter().copied().collect();
            if b % 3 == 0 {
                role.login_methods = [LoginMethod::HardwareKey, LoginMethod::Password].into();
            }
            (id(name(&roles)), Content::Role(role))
        }
        4 => {
            let name = pick(a, &["a0", "a1", "a2", "a3"]);
            let subject = pick(b, &["u0", "u1", "u2", "g0", "g1", "g2"]);
            let Content::Assignment(mut found) =
                assignment(name, subject, pick(c, &roles), pick(a.wrapping_add(b), &selectors))
            else {
                panic!()
            };
            found.until = (b % 4 == 0).then_some(Timestamp(1 + u64::from(c) * 4));
            (id(name), Content::Assignment(found))
        }
        _ => {
            let name = name(&users);
            let place = pick(b, &["d0", "d1", "d2", "d3"]);
            (id(place), adoption(name, name, host(), 1_000 + u32::from(c)))
        }
    }
}

fn world_of(choices: &[Choice]) -> Statements {
    let lineage = muster_proto::crypto::sha256(&[b"lineage"]);
    let statement = |choice: &Choice| {
        let (id, content) = content(*choice);
        let reinstates =
            if choice.3 % 3 == 0 { BTreeSet::from([revocation_id(0)]) } else { BTreeSet::new() };
        (id, Statement { lineage, id, revision: 1, previous: None, reinstates, content })
    };
    choices.iter().map(statement).collect()
}

fn revocation_id(n: u8) -> Id {
    id(&format!("revocation {n}"))
}

fn revocations(choices: &[(u8, u8, u8)]) -> Revocations {
    let mut found = Revocations::default();
    for (n, a, b) in choices {
        let ids = ["u0", "u1", "g0", "g1", "r0", "a0", "a1", "x0"];
        let target = match a % 4 {
            0 => Target::Statement { id: id(ids[usize::from(b % 8)]), revision: u64::from(b % 3) },
            1 => Target::Membership { user: id(["u0", "u1"][usize::from(b % 2)]), group: id("g0") },
            2 => Target::Key(key(["k0", "k1"][usize::from(b % 2)]).fingerprint()),
            _ if *b > 250 => Target::Host(host()),
            _ => Target::Key(key("nobody's").fingerprint()),
        };
        found.insert(&Revocation {
            lineage: muster_proto::crypto::sha256(&[]),
            id: revocation_id(n % 4),
            time: Timestamp(1),
            reason: Line::default(),
            target,
        });
    }
    found
}

fn given(statements: &Statements, revocations: &Revocations, now: u64) -> BTreeSet<Grant> {
    let mut labels = Labels::default();
    labels.insert("env", "prod").unwrap();
    labels.insert("tier", "db").unwrap();
    let now = Now::at(Timestamp(now));
    derive(statements, &Circumstances { host: host(), labels: &labels, revocations, now })
}

fn choices() -> impl Strategy<Value = Vec<Choice>> {
    vec(any::<Choice>(), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn leaving_statements_out_gives_nothing(
        all in choices(), mask in any::<u64>(),
        revoked in vec(any::<(u8, u8, u8)>(), 0..6), now in 0_u64..1_200,
    ) {
        let (all, revoked) = (world_of(&all), revocations(&revoked));
        let rest = all.iter().enumerate().filter(|(at, _)| mask >> (at % 64) & 1 == 1);
        let rest: Statements = rest.map(|(_, (id, s))| (*id, s.clone())).collect();
        prop_assert!(given(&rest, &revoked, now).is_subset(&given(&all, &revoked, now)));
    }

    #[test]
    fn more_revocations_give_nothing(
        all in choices(), some in vec(any::<(u8, u8, u8)>(), 0..6),
        more in vec(any::<(u8, u8, u8)>(), 0..6), now in 0_u64..1_200,
    ) {
        let all = world_of(&all);
        let both = revocations(&[some.clone(), more].concat());
        prop_assert!(given(&all, &both, now).is_subset(&given(&all, &revocations(&some), now)));
    }

    #[test]
    fn statements_read_back_as_they_were_written(all in choices()) {
        for statement in world_of(&all).values() {
            prop_assert_eq!(&Statement::decode(&statement.encode()).unwrap(), statement);
        }
    }

    #[test]
    fn pins_are_kept_and_no_two_accounts_share_a_uid(
        all in choices(), pins in vec((0_u8..4, 0_u32..4), 0..4),
        extra in vec((0_u8..3, 0_u32..4), 0..4),
    ) {
        let mut grants = given(&world_of(&all), &Revocations::default(), 1);
        // Grants of another time, as G may hold them.
        for (n, uid) in extra {
            let other = grants.iter().find_map(|grant| match &grant.entitlement {
                Entitlement::Account(account) => Some((grant.clone(), account.clone())),
                _ => None,
            });
            let Some((mut grant, mut account)) = other else { continue };
            account.uid = Uid::parse(10_000 + uid).unwrap();
            grant.login = Login::parse(&format!("u{n}")).unwrap();
            grant.entitlement = Entitlement::Account(account);
            grants.insert(grant);
        }
        let pins: Pins = pins.into_iter().map(|(n, uid)| {
            (Login::parse(&format!("u{n}")).unwrap(), Uid::parse(10_000 + uid).unwrap())
        }).collect();
        let mut owners: BTreeMap<Uid, Vec<Login>> = BTreeMap::new();
        for (login, uid) in &pins {
            owners.entry(*uid).or_default().push(login.clone());
        }
        prop_assume!(owners.values().all(|logins| logins.len() == 1));
        let state = DesiredState::assemble(&grants, &pins);
        for (login, account) in &state.accounts {
            let here = pins.get(login).copied().or(account.adopts).unwrap_or(account.grant.uid);
            let fits = account.grant.uid == here || grants.iter().any(|grant| {
                grant.login == *login && grant.entitlement == Entitlement::Adoption(here)
            });
            prop_assert!(fits, "a pin was not kept");
            let owned = owners.entry(here).or_default();
            if !owned.contains(login) {
                owned.push(login.clone());
            }
        }
        for (uid, logins) in owners {
            prop_assert!(logins.len() < 2, "{} is shared by {:?}", uid, logins);
        }
        for rules in state.sudo.values().flat_map(BTreeMap::values) {
            prop_assert!(rules.iter().all(|login| state.accounts.contains_key(login)));
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Bundle::decode(&bytes);
        let _ = TrustRoot::decode(&bytes);
        let _ = Link::decode(&bytes);
        let _ = LinkBody::decode(&bytes);
        let _ = Statement::decode(&bytes);
        let _ = Proposal::decode(&bytes);
        let _ = Revocation::decode(&bytes);
        let _ = Envelope::decode(&bytes);
        let _ = Entry::decode(&bytes);
        let _ = JoinToken::decode(&bytes);
        let _ = SshPublicKey::from_blob(&bytes);
        let _ = PrunedTree { shape: bytes.clone(), hashes: bytes }.recompute();
    }

    #[test]
    fn no_text_makes_a_parser_panic_and_what_parses_reads_back(text in "\\PC{0,40}|[a-z0-9 ,=!()/.\"-]{0,40}") {
        if let Ok(selector) = Selector::parse(&text) {
            prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector));
        }
        if let Ok(command) = SudoCommand::parse(&text) {
            prop_assert_eq!(SudoCommand::parse(&command.to_string()), Ok(command));
        }
        let same = |found: Option<&str>| found.is_none_or(|found| found == text);
        prop_assert!(same(Login::parse(&text).ok().as_ref().map(Login::as_str)));
        prop_assert!(same(UnixGroupName::parse(&text).ok().as_ref().map(UnixGroupName::as_str)));
        prop_assert!(same(ObjectName::parse(&text).ok().as_ref().map(ObjectName::as_str)));
        prop_assert!(same(AbsolutePath::parse(&text).ok().as_ref().map(AbsolutePath::as_str)));
        prop_assert!(same(FullName::parse(&text).ok().as_ref().map(FullName::as_str)));
        prop_assert!(same(Line::parse(&text).ok().as_ref().map(Line::as_str)));
        prop_assert!(same(SourceNetwork::parse(&text).ok().as_ref().map(SourceNetwork::as_str)));
        let _ = (RunAsUser::parse(&text), SshPublicKey::parse(&text), JoinToken::parse(&text));
        let _ = SshPublicKey::parse(&format!("ssh-ed25519 {text}"));
        let _ = JoinToken::parse(&format!("muster-join-{text}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn spliced_documents_make_no_reader_panic(
        from in any::<Index>(), into in any::<Index>(), at in any::<Index>(), length in 0_usize..80,
    ) {
        let samples = samples();
        let (from, into) = (from.get(&samples), into.get(&samples));
        let at = at.index(into.bytes.len());
        let part = &from.bytes[from.bytes.len().saturating_sub(length)..];
        let spliced = [&into.bytes[..at], part, &into.bytes[at..]].concat();
        for sample in &samples {
            let read = (sample.again)(&spliced);
            prop_assert!(read.is_none_or(|read| read == spliced));
        }
    }

    #[test]
    fn every_link_is_in_the_history_of_every_later_one_and_no_other_is(
        size in 1_usize..70, at in any::<Index>(), other in any::<Index>(),
    ) {
        let leaves: Vec<_> = (0..size).map(|n| Tree::History.leaf(&n.to_be_bytes())).collect();
        let root = Tree::History.root(&leaves);
        let (at, other) = (at.index(size), other.index(size));
        let path = Tree::History.inclusion(&leaves, at).unwrap();
        let shown = |index: usize, leaf: usize| {
            Tree::History.includes(root, size as u64, index as u64, leaves[leaf], &path)
        };
        prop_assert!(shown(at, at));
        prop_assert_eq!(shown(other, at), other == at);
        prop_assert_eq!(shown(at, other), other == at);
        let head = |tree: Tree, n: usize| (n as u64, tree.root(&leaves[..n]));
        let proof = Tree::Log.consistency(&leaves, at).unwrap();
        let (old, new) = (head(Tree::Log, at), head(Tree::Log, size));
        prop_assert!(Tree::Log.is_consistent(old, new, &proof));
        prop_assert!(at == 0 || !Tree::History.is_consistent(old, new, &proof));
    }

    #[test]
    fn two_chains_and_a_host_agree_on_every_history(batches in vec(choices(), 1..5)) {
        let mut world = World::new(Shape::One);
        for batch in batches {
            let mut batch: BTreeMap<Id, Content> = batch.into_iter().map(content).collect();
            if batch.len() % 5 == 4 {
                let kind = Kind::Assignment;
                batch.insert(id("a0"), Content::Removal(kind));
            }
            let statements: Vec<Statement> =
                batch.into_iter().map(|(id, content)| world.next(id, content)).collect();
            let proposals = vec![world.propose(statements)];
            if let Ok(candidate) = world.cut(&proposals) {
                world.extend(&candidate, proposals).unwrap();
            }
        }
        let genesis = Verified::genesis(&world.trust_roots[0], world.lineage()).unwrap();
        let mut second = Chain::new(genesis);
        for link in &world.links {
            second.extend(&link.envelope, &link.body, &link.proposals, world.time).unwrap();
        }
        prop_assert_eq!(second.directory().root(), world.chain.directory().root());
        prop_assert_eq!(second.statements(), world.chain.statements());
        let mut host = Host::new(&world, "db1");
        host.labels.insert("tier", "db").unwrap();
        if !world.links.is_empty() {
            host.take(&world.bundle(&host)).unwrap();
        }
        let all = derive(world.chain.statements(), &Circumstances {
            host: host.id,
            labels: &host.labels,
            revocations: &host.revocations,
            now: Now::at(host.now),
        });
        prop_assert_eq!(&host.held, &all);
    }
}

#[test]
fn a_tree_as_deep_as_can_be_is_read_and_a_deeper_one_is_not() {
    let mut deep = PrunedTree::default();
    for _ in 0..256 {
        deep.shape.extend_from_slice(&[1, 3]);
        deep.hashes.extend_from_slice(&[7; 32]);
    }
    let mut leaf = deep.clone();
    leaf.shape.push(2);
    leaf.hashes.extend_from_slice(&[0xff; 64]);
    let proved = leaf.recompute().unwrap();
    assert_ne!(proved.lacks(&id("x")), Membership::Absent, "every other place is cut");
    let mut deeper = deep.clone();
    deeper.shape.extend_from_slice(&[1, 0, 0]);
    assert!(deeper.recompute().is_err());
    let inner = PrunedTree { shape: vec![1; 100_000], hashes: Vec::new() };
    assert!(inner.recompute().is_err());
    let token = token(&staffed(Shape::One));
    assert_eq!(JoinToken::decode(&token.encode()), Ok(token));
}
