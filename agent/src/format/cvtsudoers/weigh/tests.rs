use super::*;

fn rule(command: &str, password: SudoPassword) -> SudoRule {
    SudoRule {
        run_as: muster_proto::sudo::RunAs {
            user: muster_proto::sudo::RunAsUser::parse("root").unwrap(),
            group: None,
        },
        commands: vec![SudoCommand::parse(command).unwrap()],
        password,
        noexec: false,
        directory: None,
    }
}

/// One rule as cvtsudoers tells it: who, options, and a command, `!` before it if negated.
fn spec(who: &str, options: &str, command: &str) -> String {
    let negated = command.starts_with('!');
    let command = command.trim_start_matches('!');
    format!(
        r#"{{"User_List": [{who}], "Host_List": [{{"hostname": "ALL"}}], "Cmnd_Specs": [
        {{"runasusers": [{{"username": "root"}}], "Options": [{options}],
        "Commands": [{{"command": "{command}", "negated": {negated}}}]}}]}}"#
    )
}

/// What is said of ana, who may run this by ours, after these specs.
fn said(command: &str, password: SudoPassword, specs: &[String]) -> Vec<String> {
    let (ana, rule) = (Login::parse("ana").unwrap(), rule(command, password));
    let mut person = Person::new(Some(1_001));
    person.unix_groups.insert("ops", 1_100);
    person.rules.push(&rule);
    let answer = format!(r#"{{"User_Specs": [{}]}}"#, specs.join(","));
    let found = weigh(&answer, &BTreeMap::from([(&ana, person)])).unwrap();
    found.into_values().flatten().map(|one| one.to_string()).collect()
}

const ANA: &str = r#"{"username": "ana"}"#;
const ASKS: &str = r#"{"authenticate": true}"#;
const NO_PASSWORD: &str = r#"{"authenticate": false}"#;

fn of_id(others: &[String]) -> Vec<String> {
    let ours = spec(ANA, ASKS, "/usr/bin/id");
    said("/usr/bin/id", SudoPassword::Required, &[&[ours][..], others].concat())
}

#[test]
fn what_a_later_rule_takes_away_or_widens_is_seen_whomever_it_names() {
    assert_eq!(of_id(&[]), [""; 0]);
    let whos = [
        ANA,
        r#"{"username": "ALL"}"#,
        r#"{"userid": 1001}"#,
        r#"{"usergroup": "ops"}"#,
        r#"{"usergid": 1100}"#,
    ];
    for who in whos {
        for command in ["!/usr/bin/id", "!ALL", "!/usr/bin/"] {
            let told = of_id(&[spec(who, "", command)]);
            assert_eq!(told, ["/usr/bin/id as root: a later rule takes it away"], "{who}");
        }
        let told = of_id(&[spec(who, NO_PASSWORD, "ALL")]);
        assert_eq!(told, ["/usr/bin/id as root: a later rule asks for no password"], "{who}");
    }
}

#[test]
fn what_is_about_somebody_or_something_else_or_comes_earlier_is_nothing() {
    for who in [
        r#"{"username": "bob"}"#,
        r#"{"username": "ALL"}, {"username": "ana", "negated": true}"#,
        r#"{"usergroup": "dba"}"#,
        r#"{"netgroup": "ops"}"#,
    ] {
        assert_eq!(of_id(&[spec(who, "", "!ALL")]), [""; 0], "{who}");
    }
    assert_eq!(of_id(&[spec(ANA, "", "!/usr/bin/idle")]), [""; 0]);
    let elsewhere = spec(ANA, "", "!ALL").replace(r#""hostname": "ALL""#, r#""hostname": "x""#);
    assert_eq!(of_id(&[elsewhere]), [""; 0]);
    let as_other = spec(ANA, "", "!ALL").replace(r#""username": "root""#, r#""username": "x""#);
    assert_eq!(of_id(&[as_other]), [""; 0]);
    let (before, ours) = (spec(ANA, "", "!ALL"), spec(ANA, ASKS, "/usr/bin/id"));
    assert_eq!(said("/usr/bin/id", SudoPassword::Required, &[before, ours]), [""; 0]);
}

#[test]
fn a_part_that_is_taken_away_a_password_and_a_rule_that_is_not_read_are_seen() {
    let all = |others: &[String]| {
        let ours = spec(ANA, NO_PASSWORD, "ALL");
        said("ALL", SudoPassword::None, &[&[ours][..], others].concat())
    };
    assert_eq!(all(&[]), [""; 0]);
    let part = all(&[spec(ANA, "", "!/bin/sh")]);
    assert_eq!(part, ["ALL as root: a later rule takes `/bin/sh` away"]);
    let asks = all(&[spec(r#"{"usergroup": "ops"}"#, "", "ALL")]);
    assert_eq!(asks, ["ALL as root: a later rule asks for a password"]);
    let missing = said("/usr/bin/id", SudoPassword::Required, &[]);
    assert_eq!(missing, ["/usr/bin/id as root: no rule that sudo reads gives it"]);
}
