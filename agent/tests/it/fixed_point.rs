//! After a plan is applied, the next plan is empty; and lines of others are as they were.

use muster_agent::ownership::{Origin, Ownership};
use muster_proto::{
    name::Uid,
    statement::{LoginMethod, MemberList, PasswordPolicy, UnixGroupMode, UserKind},
};
use proptest::{collection::vec, prelude::*};

use crate::{
    fake::Fake,
    world::{Desired, PASSWD, converge, edit_passwd, key, look, unix_group},
};

const NAMES: &[&str] = &["ana", "ben", "cas", "dan", "eve", "admin"];

fn desired() -> impl Strategy<Value = Desired> {
    let user = (0..NAMES.len(), 0_u8..3, any::<[bool; 8]>(), 0_usize..3);
    vec(user, 0..6).prop_map(|users| {
        let mut desired = Desired::default();
        for (at, keys, [exact, web, docker, sudo, password, service, hands_off, adopt], role) in
            users
        {
            let name = NAMES[at];
            desired =
                desired.user(name, 2_000 + u32::try_from(at).unwrap()).change(name, |account| {
                    account.keys = (0..keys).map(key).collect();
                    if exact {
                        account.unix_group_mode = UnixGroupMode::Exactly;
                    } else if hands_off {
                        account.unix_group_mode = UnixGroupMode::HandsOff;
                    }
                    if password {
                        account.methods.insert(LoginMethod::Password);
                        account.password = Some(PasswordPolicy {
                            max_days: Some(90),
                            min_days: None,
                            warn_days: Some(7),
                            inactive_days: None,
                            min_length: 12,
                        });
                    }
                    if service {
                        account.grant.kind = UserKind::Service;
                    }
                    if adopt && name == "eve" {
                        account.adopts = Some(Uid::parse(1_500).unwrap());
                    }
                });
            if web {
                desired = desired.unix_group("web", 3_000, &[name]);
            }
            if docker {
                desired = desired.host_unix_group("docker", name);
            }
            if sudo {
                desired = desired.sudo(["a", "b", "c"][role], "ALL", &[name]);
            }
        }
        if let Some(web) = desired.0.unix_groups.get_mut(&unix_group("web")) {
            web.members = MemberList::Exactly;
        }
        desired
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn applying_is_a_fixed_point(states in vec(desired(), 1..5)) {
        let mut host = Fake::new();
        let mut owned = Ownership::default();
        for desired in states {
            converge(&mut host, &desired, &mut owned);
            let (_, plan) = look(&mut host, &desired, &owned);
            prop_assert!(plan.is_empty(), "{:#?}", plan.actions);
            prop_assert_eq!(&plan.ownership_after, &owned);
            let before = host.passwd();
            for (login, account) in &owned.accounts {
                let keeps = account.origin == Origin::Created;
                if keeps && !account.is_let_go(desired.0.accounts.get(login)) {
                    for (field, text) in [(3, "27"), (5, "/srv/else"), (6, "/bin/else")] {
                        edit_passwd(&mut host, login.as_str(), field, text);
                    }
                }
            }
            converge(&mut host, &desired, &mut owned);
            prop_assert_eq!(host.passwd(), before);
            let foreign = PASSWD.lines().filter(|line| !line.starts_with("eve:"));
            for line in foreign {
                prop_assert!(host.passwd().lines().any(|found| found == line), "{}", line);
            }
        }
    }
}
