//! What is signed is what is shown: two contents that differ never read alike, in whichever field
//! they differ.

use std::collections::BTreeSet;

use muster_controller::describe;
use muster_proto::{
    crypto::sha256,
    derive::Statements,
    desired::{AccountGrant, Entitlement, UnixGroupGrant},
    id::{Id, Kind},
    name::{AbsolutePath, FullName, Gid, Line, Login, ObjectName, Uid, UnixGroupName},
    options::{ForcedCommand, KeyOptions},
    selector::Selector,
    statement::{
        Adoption, Assignment, Content, Group, HomeMode, LoginMethod, MemberList, PasswordPolicy,
        Restrictions, Role, SourceNetwork, UnixGroup, UnixGroupMode, User, UserKey, UserKind,
    },
    sudo::{RunAs, RunAsUser, SudoCommand, SudoPassword, SudoRule},
    time::Timestamp,
};
use proptest::prelude::*;

use crate::world::{Key, World, id};

/// What every field is made of: each takes the next number, so that one number that differs makes
/// one field differ.
type Numbers = [u8; 20];

struct Choices(std::array::IntoIter<u8, 20>);

impl Choices {
    fn new(numbers: Numbers) -> Self {
        Self(numbers.into_iter())
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::from(self.0.next().unwrap()) % of.len()].clone()
    }

    fn text<T>(&mut self, of: &[&str], parse: impl Fn(&str) -> T) -> T {
        parse(self.one(of))
    }

    fn some<T>(&mut self, of: &[&str], parse: impl Fn(&str) -> T) -> Option<T> {
        let found = self.one(of);
        (!found.is_empty()).then(|| parse(found))
    }

    fn few<T: Ord>(&mut self, of: &[&str], parse: impl Fn(&str) -> T) -> BTreeSet<T> {
        let mask = self.0.next().unwrap();
        let picked = of.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1);
        picked.map(|(_, text)| parse(text)).collect()
    }

    fn time(&mut self) -> Option<Timestamp> {
        self.one(&[None, Some(Timestamp(1)), Some(Timestamp(2)), Some(Timestamp(86_400))])
    }

    fn password(&mut self) -> PasswordPolicy {
        let some = [None, Some(0), Some(1), Some(90)];
        PasswordPolicy {
            max_days: self.one(&some),
            min_days: self.one(&some),
            warn_days: self.one(&some),
            inactive_days: self.one(&some),
            min_length: self.one(&[0, 1, 14]),
        }
    }

    fn key(&mut self) -> UserKey {
        let key = Key::new(self.one(&["one", "two"])).public();
        let comments = ["", "desk", "desk, only from 10.0.0.1", "(without terminal or forwarding)"];
        let options = KeyOptions {
            from: self.networks(),
            command: self.some(&["", "/bin/a", "/bin/a b"], |c| ForcedCommand::parse(c).unwrap()),
            restrict: self.one(&[false, true]),
        };
        UserKey { key, comment: self.text(&comments, line), options }
    }

    fn networks(&mut self) -> BTreeSet<SourceNetwork> {
        let networks = ["10.0.0.0/8", "10.0.0.1", "::1"];
        self.few(&networks, |text| SourceNetwork::parse(text).unwrap())
    }

    fn home_mode(&mut self) -> Option<HomeMode> {
        self.some(&["", "0700", "0755"], |text| HomeMode::parse(text).unwrap())
    }

    fn restrictions(&mut self) -> Restrictions {
        Restrictions {
            hardware_keys_only: self.one(&[false, true]),
            verify_required: self.one(&[false, true]),
            from: self.networks(),
        }
    }

    fn rule(&mut self) -> SudoRule {
        let commands = [
            &["ALL"][..],
            &["/bin/a"],
            &["/bin/a \"\""],
            &["/bin/a b"],
            &["/bin/a", "/bin/b"],
            &["/bin/b", "/bin/a"],
        ];
        SudoRule {
            run_as: RunAs {
                user: self.text(&["root", "ALL", "app"], |text| RunAsUser::parse(text).unwrap()),
                group: self.some(&["", "adm", "docker"], unix_name),
            },
            commands: self.one(&commands).iter().map(|c| SudoCommand::parse(c).unwrap()).collect(),
            password: self.one(&[SudoPassword::None, SudoPassword::Required]),
            noexec: self.one(&[false, true]),
            directory: self.some(&["", "/srv", "/tmp"], path),
        }
    }

    fn user(&mut self) -> User {
        User {
            login: login(self.one(&["ana", "ben"])),
            uid: self.text(&["1000", "1001"], uid),
            name: self.text(&["", "Ana", "Ana Example"], |text| FullName::parse(text).unwrap()),
            kind: self.one(&[UserKind::Person, UserKind::Service]),
            groups: self.few(&["g", "h", "not there"], id),
            keys: vec![self.key()],
            restrictions: self.restrictions(),
            shell: self.some(&["", "/bin/sh", "/bin/zsh"], path),
            home: self.some(&["", "/bin/sh", "/srv/ana"], path),
            home_mode: self.home_mode(),
            starts: self.time(),
            ends: self.time(),
        }
    }

    fn role(&mut self) -> Role {
        let methods = [LoginMethod::Key, LoginMethod::HardwareKey, LoginMethod::Password];
        let mask = self.one(&[0_u8, 1, 2, 3, 4, 5, 6, 7]);
        Role {
            name: object(self.one(&["r", "s"])),
            unix_group_mode: self.mode(),
            unix_groups: self.few(&["u", "v"], id),
            host_unix_groups: self.few(&["u", "adm", "docker"], unix_name),
            login_methods: methods
                .into_iter()
                .enumerate()
                .filter(|(at, _)| mask >> at & 1 == 1)
                .map(|(_, method)| method)
                .collect(),
            password: self.one(&[false, true]).then(|| self.password()),
            sudo: if self.one(&[false, true, true]) { vec![self.rule()] } else { Vec::new() },
        }
    }

    fn mode(&mut self) -> UnixGroupMode {
        self.one(&[UnixGroupMode::HandsOff, UnixGroupMode::AtLeast, UnixGroupMode::Exactly])
    }

    fn members(&mut self) -> MemberList {
        self.one(&[MemberList::AtLeast, MemberList::Exactly])
    }

    fn content(&mut self) -> Content {
        match self.one(&[0, 0, 1, 2, 3, 3, 3, 4, 4, 5, 6, 7]) {
            0 => Content::User(self.user()),
            1 => Content::Group(Group { name: object(self.one(&["g", "h"])) }),
            2 => Content::UnixGroup(UnixGroup {
                name: unix_name(self.one(&["u", "v"])),
                gid: self.text(&["1000", "1001"], gid),
                members: self.members(),
            }),
            3 => Content::Role(self.role()),
            4 => Content::Assignment(Assignment {
                name: object(self.one(&["a", "b"])),
                subject: id(self.one(&["g", "ana", "not there"])),
                role: id(self.one(&["r", "not there either"])),
                hosts: self.text(&["all", "env=a", "env in (a,b)", "!env"], |text| {
                    Selector::parse(text).unwrap()
                }),
                from: self.time(),
                until: self.time(),
                reason: self.text(&["", "OPS-1", "ticket OPS-1"], line),
                ticket: self.text(&["", "OPS-1", "reason OPS-1"], line),
                recertify_by: self.time(),
            }),
            5 => Content::Adoption(Adoption {
                user: id(self.one(&["ana", "not there"])),
                host: sha256(&[self.one(&["db1", "db2"]).as_bytes()]),
                login: login(self.one(&["ana", "ben"])),
                uid: self.text(&["1000", "1001"], uid),
            }),
            6 => Content::Removal(self.one(&[Kind::User, Kind::Role])),
            _ => Content::Revoked {
                kind: self.one(&[Kind::User, Kind::Role]),
                revocation: id(self.one(&["one", "two"])),
            },
        }
    }

    fn entitlement(&mut self) -> Entitlement {
        match self.one(&[0, 1, 2, 2, 3, 4, 5, 6, 7, 7, 7, 8]) {
            0 => Entitlement::Account(AccountGrant {
                user: id("ana"),
                uid: self.text(&["1000", "1001"], uid),
                name: self.text(&["", "Ana", "Ana Example"], |t| FullName::parse(t).unwrap()),
                shell: self.some(&["", "/bin/sh", "/bin/zsh"], path),
                home: self.some(&["", "/bin/sh", "/srv/ana"], path),
                home_mode: self.home_mode(),
                kind: self.one(&[UserKind::Person, UserKind::Service]),
            }),
            1 => Entitlement::Adoption(self.text(&["1000", "1001"], uid)),
            2 => Entitlement::Key {
                restrictions: self.restrictions(),
                key: UserKey { comment: line("desk"), ..self.key() },
            },
            3 => Entitlement::Login(self.one(&[
                LoginMethod::Key,
                LoginMethod::HardwareKey,
                LoginMethod::Password,
            ])),
            4 => Entitlement::UnixGroupMode(id("r"), self.mode()),
            5 => Entitlement::UnixGroup(UnixGroupGrant {
                name: unix_name(self.one(&["u", "v"])),
                gid: self.text(&["1000", "1001"], gid),
                members: self.members(),
            }),
            6 => Entitlement::HostUnixGroup(unix_name(self.one(&["u", "adm"]))),
            7 => Entitlement::Sudo(object(self.one(&["r", "s"])), self.rule()),
            _ => Entitlement::Password(self.password()),
        }
    }
}

fn line(text: &str) -> Line {
    Line::parse(text).unwrap()
}

fn login(text: &str) -> Login {
    Login::parse(text).unwrap()
}

fn object(text: &str) -> ObjectName {
    ObjectName::parse(text).unwrap()
}

fn unix_name(text: &str) -> UnixGroupName {
    UnixGroupName::parse(text).unwrap()
}

fn path(text: &str) -> AbsolutePath {
    AbsolutePath::parse(text).unwrap()
}

fn uid(text: &str) -> Uid {
    Uid::parse(text.parse().unwrap()).unwrap()
}

fn gid(text: &str) -> Gid {
    Gid::parse(text.parse().unwrap()).unwrap()
}

/// A directory with a user and a group that have the same name.
fn statements() -> Statements {
    let world = World::new();
    let ana = world.user("ana", 1_000, &[]);
    let all = [ana, world.group("g"), world.group("h"), world.role("r", &[])];
    all.into_iter().map(|statement| (statement.id, statement)).collect()
}

/// What a plan or a listing has of a content: kind, name and words.
fn shown(content: &Content, statements: &Statements) -> (Kind, Option<String>, Vec<String>) {
    let name = content.name().map(ToOwned::to_owned);
    (content.kind(), name, describe::content(content, statements))
}

fn one_differs() -> impl Strategy<Value = (Numbers, Numbers)> {
    (any::<Numbers>(), 0..20_usize, any::<u8>()).prop_map(|(first, at, number)| {
        let mut second = first;
        second[at] = number;
        (first, second)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_096, failure_persistence: None, ..Default::default() })]

    #[test]
    fn contents_that_differ_never_read_alike((first, second) in one_differs()) {
        let statements = statements();
        let (a, b) = (Choices::new(first).content(), Choices::new(second).content());
        let alike = shown(&a, &statements) == shown(&b, &statements);
        prop_assert_eq!(a == b, alike, "{:?}\n{:?}\n{:?}", a, b, shown(&a, &statements));
    }

    #[test]
    fn entitlements_that_differ_never_read_alike((first, second) in one_differs()) {
        let (a, b) = (Choices::new(first).entitlement(), Choices::new(second).entitlement());
        let alike = describe::entitlement(&a) == describe::entitlement(&b);
        prop_assert_eq!(a == b, alike, "{:?}\n{:?}", a, b);
    }
}

#[test]
fn a_user_and_a_group_of_one_name_read_unlike() {
    let world = World::new();
    let statements: Statements = [world.user("ana", 1_000, &[]), {
        let mut group = world.group("ana");
        group.id = id("the group ana");
        group
    }]
    .into_iter()
    .map(|statement| (statement.id, statement))
    .collect();
    let to = |subject: Id| {
        let Content::Assignment(mut found) = world.assignment("a", "x", "r", "all", None).content
        else {
            panic!()
        };
        found.subject = subject;
        describe::content(&Content::Assignment(found), &statements)
    };
    assert_ne!(to(id("ana")), to(id("the group ana")));
}
