//! The sudo model is the part that sudo and sudo-rs have in common: each rule is asked of both, on a
//! Debian 13 host that has them side by side, and one that sudo-rs alone is there for.

use muster_tests::{Fleet, Host, Output, Person};

use crate::{assert_let_in, releases::debian_13};

/// Every shape of rule that a role can have, but for those of [`NEWER`].
const RULES: &str = r#"
      - {commands: [/usr/bin/id]}
      - {run_as: backup, commands: ['/usr/bin/whoami ""']}
      - {run_as: backup, run_as_group: adm, commands: [/usr/bin/groups]}
      - {run_as: ALL, commands: [/usr/bin/true, /usr/bin/tty]}
      - {commands: [/usr/bin/echo a=b c:d, /usr/bin/printf --x@y+z]}
      - {directory: /srv, commands: [/usr/bin/pwd]}
      - {password: required, commands: [/usr/bin/hostname]}
"#;

/// What sudo-rs knows since 0.2.7.
const NEWER: &str = r"
      - {noexec: true, commands: [/usr/bin/env]}
      - {run_as: _apt, commands: [/usr/bin/basename]}
";

/// What is asked, and what is said to it; nothing for what is refused.
const ASKED: [(&str, Option<&str>); 17] = [
    ("/usr/bin/id --user", Some("0\n")),
    ("-u root /usr/bin/id --user --name", Some("root\n")),
    ("-u backup /usr/bin/id", None),
    ("/usr/bin/cat /etc/shadow", None),
    ("-u backup /usr/bin/whoami", Some("backup\n")),
    ("-u backup /usr/bin/whoami --version", None),
    ("/usr/bin/whoami", None),
    ("-u backup -g adm /usr/bin/groups", Some("adm backup\n")),
    ("-u backup -g cdrom /usr/bin/groups", None),
    ("-u daemon /usr/bin/true", Some("")),
    ("/usr/bin/true", Some("")),
    ("/usr/bin/echo a=b c:d", Some("a=b c:d\n")),
    ("/usr/bin/echo a=b", None),
    ("/usr/bin/echo a=b c:d e", None),
    ("/usr/bin/pwd", Some("/srv\n")),
    ("-D /tmp /usr/bin/pwd", None),
    ("/usr/bin/hostname", None),
];

/// Declares one user with two roles of hers on one host; one role has what not every sudo-rs knows.
fn declaration(person: &Person, host: &str) -> String {
    let Person { login, key } = person;
    format!(
        "users:\n  {login}: {{keys: [\"{key}\"]}}\n\
         roles:\n  {login}:\n    sudo: {RULES}  {login}-newer:\n    sudo: {NEWER}\
         assignments:\n  {login}: {{user: {login}, role: {login}, hosts: muster/hostname={host}}}\n  \
         {login}-newer: {{user: {login}, role: {login}-newer, hosts: muster/hostname={host}}}\n",
        key = key.public
    )
}

fn run(fleet: &Fleet, host: &str, person: &Person, program: &str, words: &str) -> Output {
    fleet.ssh(host, person).command(&format!("{program} -n {words}")).run().unwrap()
}

fn check(host: &Host, program: &str, role: &str) -> Output {
    host.run(&[program, "-c", "-f", &format!("/etc/sudoers.d/50-muster-{role}")]).unwrap()
}

/// Asserts that a program of sudo's kind allows and refuses what it should.
fn assert_judges(fleet: &Fleet, host: &str, person: &Person, program: &str) {
    for (words, said) in ASKED {
        let output = run(fleet, host, person, program, words);
        match said {
            Some(said) => assert_eq!(output.stdout, said, "{program} {words}: {output}"),
            None => {
                assert_eq!((output.status, output.stdout.as_str()), (1, ""), "{words}: {output}");
            }
        }
        // What it says of the same without doing it.
        let listed = run(fleet, host, person, program, &format!("-l {words}"));
        let allowed = said.is_some() || words == "/usr/bin/hostname";
        assert_eq!(listed.success(), allowed, "{program} -l {words}: {listed}");
    }
    // Whichever of the two ways: no further program is run.
    let further = run(fleet, host, person, program, "/usr/bin/env /usr/bin/id --user");
    assert!(!further.success() && further.stdout.is_empty(), "{program}: {further}");
    let named = run(fleet, host, person, program, "-u _apt /usr/bin/basename /a/b");
    let expected = if named.success() { "b\n" } else { "" };
    assert_eq!(named.stdout, expected, "{program}: {named}");
    assert!(named.success() || program == "sudo-rs", "{program}: {named}");
}

/// Asserts that what sudo lists of each rule is taken for what the rule is.
fn assert_lists_what_is_ours(host: &Host) {
    let differs = host.run(&["muster-agent", "drift"]).unwrap();
    assert!(!differs.stdout.contains("effect-differs"), "{differs}");
}

#[test]
fn sudo_and_sudo_rs_judge_every_shape_of_rule_alike() {
    let fleet = debian_13();
    let host = fleet.host("both13");
    let rustam = fleet.person("rustam").unwrap();
    fleet.apply_ok(&declaration(&rustam, "both13")).unwrap();
    assert_let_in(&fleet, "both13", &rustam);
    for program in ["visudo", "visudo-rs"] {
        let checked = check(host, program, "rustam");
        assert!(checked.success(), "{program}: {checked}");
    }
    for program in ["sudo", "sudo-rs"] {
        assert_judges(&fleet, "both13", &rustam, program);
    }
    assert_lists_what_is_ours(host);
}

#[test]
fn a_host_with_sudo_rs_alone_is_given_every_role_that_it_understands() {
    let fleet = debian_13();
    let host = fleet.host("alone13");
    for path in ["/usr/bin/sudo", "/usr/sbin/visudo"] {
        host.run_ok(&["mv", path, &format!("{path}.away")]).unwrap();
    }
    let roxane = fleet.person("roxane").unwrap();
    let applied = fleet.apply(&declaration(&roxane, "alone13")).unwrap();
    assert_let_in(&fleet, "alone13", &roxane);
    assert_judges(&fleet, "alone13", &roxane, "sudo-rs");
    assert_lists_what_is_ours(host);

    // sudo-rs before 0.2.7 knows no NOEXEC and no `_apt`; the role is then refused, and that is told.
    host.write("/tmp/noexec", b"roxane ALL=(root) NOEXEC: /usr/bin/env\n", 0o600).unwrap();
    let knows = host.run(&["visudo-rs", "-c", "-f", "/tmp/noexec"]).unwrap().success();
    assert_eq!(applied.status, if knows { 0 } else { 4 }, "{applied}");
    let written = host.run(&["test", "-e", "/etc/sudoers.d/50-muster-roxane-newer"]).unwrap();
    assert_eq!(written.success(), knows);
    if !knows {
        let why = "sudo-installed roxane-newer FAILED: visudo refuses the rules";
        assert!(applied.stderr.contains(why), "{applied}");
        assert!(applied.stderr.contains("syntax error: NOEXEC"), "{applied}");
    }
}
