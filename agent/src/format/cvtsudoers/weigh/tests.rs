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
    weighed(&ana, person, &format!(r#"{{"User_Specs": [{}]}}"#, specs.join(",")))
}

fn weighed(login: &Login, person: Person<'_>, answer: &str) -> Vec<String> {
    let people = BTreeMap::from([(login, person)]);
    let found = weigh(answer, &people, "db1.example.com").unwrap();
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

#[test]
fn rules_count_where_the_last_name_that_is_the_hosts_is_not_negated() {
    let on = |hosts: &[&str]| {
        let json = |host: &&str| {
            let (negated, name) = (host.starts_with('!'), host.trim_start_matches('!'));
            format!(r#"{{"hostname": "{name}", "negated": {negated}}}"#)
        };
        let hosts: Vec<String> = hosts.iter().map(json).collect();
        let theirs = spec(ANA, "", "!ALL").replace(r#"{"hostname": "ALL"}"#, &hosts.join(","));
        !of_id(&[theirs]).is_empty()
    };
    for (hosts, counts) in [
        (&["db1"][..], true),
        (&["DB1"], true),
        (&["db*"], true),
        (&["db[1-3]"], true),
        (&["db1.example.com"], true),
        (&["*.example.com"], true),
        (&["web1", "db1"], true),
        (&["ALL", "!web1"], true),
        (&["!db1", "ALL"], true),
        (&["ALL", "!db1"], false),
        (&["db1.other.com"], false),
        (&["db"], false),
        (&["web1"], false),
        (&["!web1"], false),
    ] {
        assert_eq!(on(hosts), counts, "{hosts:?}");
    }
    let network = spec(ANA, "", "!ALL").replace(r#""hostname": "ALL""#, r#""networkaddr": "::1""#);
    assert_eq!(of_id(&[network]), [""; 0], "networks are not weighed");
}

#[test]
fn patterns_of_commands_take_away_all_of_ours_or_a_part_or_nothing() {
    let whole = "a later rule takes it away";
    for (ours, theirs, wanted) in [
        ("/usr/bin/id", "/usr/bin/i?", Some(whole)),
        ("/usr/bin/id", "/usr/bin/[hi]d", Some(whole)),
        ("/usr/bin/id", "/usr/*/id", Some(whole)),
        ("/usr/bin/id", "/usr/bin/id *", Some(whole)),
        ("/usr/bin/id", "/usr/*", None),
        ("/usr/bin/id", "/usr/bin/idl?", None),
        ("/usr/bin/id", "^/usr/bin/i.$", None),
        ("/usr/bin/id -u", "/usr/bin/i? -[ug]", Some(whole)),
        ("/usr/bin/id -u", "/usr/bin/id -g*", None),
        ("/usr/bin/id \"\"", "/usr/bin/id \"\"", Some(whole)),
        ("/usr/bin/id \"\"", "/usr/bin/id -*", None),
        ("/usr/bin/id", "/usr/bin/i* -u", Some("a later rule takes `/usr/bin/i* -u` away")),
        ("/usr/bin/id", "/usr/bin/id -u", Some("a later rule takes `/usr/bin/id -u` away")),
        ("ALL", "/usr/bin/*sh", Some("a later rule takes `/usr/bin/*sh` away")),
    ] {
        let json = |command: &str| spec(ANA, ASKS, &command.replace('"', "\\\""));
        let specs = [json(ours), json(&format!("!{theirs}"))];
        let told = said(ours, SudoPassword::Required, &specs);
        let wanted: Vec<String> =
            wanted.into_iter().map(|how| format!("{ours} as root: {how}")).collect();
        assert_eq!(told, wanted, "{ours} {theirs}");
    }
    let opens = spec(ANA, NO_PASSWORD, "/usr/bin/*");
    assert_eq!(of_id(&[opens]), ["/usr/bin/id as root: a later rule asks for no password"]);
}

/// What is said of ana's rule for id with these `Defaults`, as cvtsudoers 1.9.13 and 1.9.16 write
/// them, and with these specs after ours.
fn with_defaults(password: SudoPassword, defaults: &str, others: &[String]) -> Vec<String> {
    let (ana, rule) = (Login::parse("ana").unwrap(), rule("/usr/bin/id", password));
    let mut person = Person::new(Some(1_001));
    person.unix_groups.insert("ops", 1_100);
    person.rules.push(&rule);
    let asks = if password == SudoPassword::None { NO_PASSWORD } else { ASKS };
    let specs = [&[spec(ANA, asks, "/usr/bin/id")][..], others].concat().join(",");
    let answer = format!(r#"{{"Defaults": [{defaults}], "User_Specs": [{specs}]}}"#);
    let found = weighed(&ana, person, &answer);
    found.iter().map(|one| one.replace("/usr/bin/id as root: ", "")).collect()
}

#[test]
fn defaults_by_which_somebody_is_asked_otherwise_are_told_of_whom_they_are_for() {
    let of = |all: &[&str]| with_defaults(SudoPassword::Required, &all.join(","), &[]);
    let root = r#"{"Options": [{"env_reset": true}, {"rootpw": true}]}"#;
    assert_eq!(of(&[root]), ["`rootpw` asks for another password"]);
    assert_eq!(of(&[root, r#"{"Options": [{"rootpw": false}]}"#]), [""; 0]);
    let exempt = r#"{"Options": [{"exempt_group": "ops"}]}"#;
    assert_eq!(of(&[exempt]), ["`exempt_group=ops` asks for no password"]);
    assert_eq!(of(&[exempt, r#"{"Options": [{"exempt_group": false}]}"#]), [""; 0]);
    assert_eq!(of(&[r#"{"Options": [{"exempt_group": "dba"}]}"#]), [""; 0]);
    let service = r#"{"Options": [{"pam_service": "other"}]}"#;
    assert_eq!(of(&[service]), ["`pam_service=other` asks who it is"]);
    assert_eq!(of(&[&service.replace("other", "sudo")]), [""; 0]);
    for (binding, wanted) in [
        (r#"{"username": "ana"}"#, 1),
        (r#"{"usergroup": "ops"}"#, 1),
        (r#"{"userid": 1001}"#, 1),
        (r#"{"hostname": "db1"}"#, 1),
        (r#"{"command": "/usr/bin/i*"}"#, 1),
        (r#"{"usergroup": "ops"}, {"username": "ana", "negated": true}"#, 0),
        (r#"{"username": "bob"}"#, 0),
        (r#"{"hostname": "web1"}"#, 0),
        (r#"{"command": "/bin/sh"}"#, 0),
    ] {
        for setting in ["rootpw", "targetpw", "runaspw"] {
            let bound =
                format!(r#"{{"Binding": [{binding}], "Options": [{{"{setting}": true}}]}}"#);
            assert_eq!(of(&[&bound]).len(), wanted, "{bound}");
            let unasked = with_defaults(SudoPassword::None, &bound, &[]);
            assert_eq!(unasked, [""; 0], "who is asked for none is asked for no other");
        }
    }
}

#[test]
fn what_defaults_say_of_passwords_holds_for_rules_that_say_nothing_of_them() {
    let never = r#"{"Options": [{"authenticate": false}]}"#;
    let of = |defaults: &str, options: &[&str]| {
        let theirs: Vec<String> = options.iter().map(|own| spec(ANA, own, "ALL")).collect();
        with_defaults(SudoPassword::Required, defaults, &theirs)
    };
    assert_eq!(of(never, &[]), [""; 0], "ours says so itself");
    assert_eq!(of(never, &[""]), ["a later rule asks for no password"]);
    assert_eq!(of("", &[""]), [""; 0]);
    assert_eq!(of(never, &[ASKS]), [""; 0]);
}
