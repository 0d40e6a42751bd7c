use proptest::{collection::vec, prelude::*};

use super::{BadTable, Edit, Misfit, Table, Value, group, shadow, sudoers, table::MOST_BYTES};
use muster_proto::{
    name::{AbsolutePath, Login, ObjectName, UnixGroupName},
    statement::PasswordPolicy,
    sudo::{RunAs, RunAsUser, SudoCommand, SudoPassword, SudoRule},
    time::Timestamp,
};

fn table(text: &str) -> Table {
    Table::parse(text.as_bytes().to_vec()).unwrap()
}

fn add(name: &str, line: &str) -> Edit {
    Edit::Add { name: name.to_owned(), line: line.to_owned() }
}

fn set(name: &str, field: usize, value: Value) -> Edit {
    Edit::Set { name: name.to_owned(), field, value }
}

fn members(name: &str, add: &[&str], remove: &[&str]) -> Edit {
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Edit::Members { name: name.to_owned(), add: own(add), remove: own(remove) }
}

#[test]
fn edits_change_their_lines_and_nothing_else() {
    let text = "# head\nroot:x:0:0\n\nbad\nana:old:1\nana:second:2\n+@all::\nlast:x:9";
    let lock = set("ana", 1, Value::Locked);
    for (edits, expected) in [
        (vec![], text.to_owned()),
        (
            vec![lock.clone(), lock],
            "# head\nroot:x:0:0\n\nbad\nana:!old:1\nana:second:2\n+@all::\nlast:x:9\n".to_owned(),
        ),
        (
            vec![add("new", "new:x:5"), set("last", 4, Value::Text("z".to_owned()))],
            "# head\nroot:x:0:0\n\nbad\nana:old:1\nana:second:2\nnew:x:5\n+@all::\nlast:x:9::z\n"
                .to_owned(),
        ),
    ] {
        let made = String::from_utf8(table(text).splice(&edits).unwrap()).unwrap();
        assert_eq!(made, expected);
    }
}

#[test]
fn members_leave_every_line_of_a_name_and_enter_the_first() {
    let text = "web:x:5:a,b,,c\nweb:x:5:b\nshort:x:6\n";
    let made =
        table(text).splice(&[members("web", &["d", "a"], &["b"]), members("short", &["e"], &[])]);
    assert_eq!(made.unwrap(), b"web:x:5:a,c,d\nweb:x:5:\nshort:x:6:e\n");
}

#[test]
fn what_others_changed_meanwhile_is_noticed() {
    let table = table("ana:x:1\n");
    assert_eq!(table.splice(&[add("ana", "ana:x:2")]), Err(Misfit::Present("ana".to_owned())));
    let gone = table.splice(&[set("ben", 1, Value::Locked)]);
    assert_eq!(gone, Err(Misfit::Absent("ben".to_owned())));
    assert!(Table::parse(b"a:\0".to_vec()).is_err());
}

#[test]
fn unlocking_never_leaves_an_empty_password() {
    for (before, after) in [("!", "*"), ("!!", "*"), ("", "*"), ("!*", "*"), ("!$6$x", "$6$x")] {
        assert_eq!(shadow::unlocked(before.as_bytes()), after.as_bytes(), "{before}");
    }
}

#[test]
fn key_only_accounts_are_never_locked_out_by_ageing() {
    let before = table("ana:!$6$hash:0:7:90:7:14:1:\n");
    let edits = shadow::opening("ana", before.get("ana").unwrap(), None, Some(21_000), 20_000);
    assert_eq!(before.splice(&edits).unwrap(), b"ana:*:20000:::7::21000:\n");
    let policy = PasswordPolicy {
        max_days: Some(90),
        min_days: Some(1),
        warn_days: Some(14),
        inactive_days: Some(0),
        min_length: 12,
    };
    let edits = shadow::opening("ana", before.get("ana").unwrap(), Some(policy), None, 20_000);
    let after = before.splice(&edits).unwrap();
    assert_eq!(after, b"ana:$6$hash:20000:1:90:14:0::\n");
    let after = Table::parse(after).unwrap();
    let again = shadow::opening("ana", after.get("ana").unwrap(), Some(policy), None, 20_500);
    assert!(again.is_empty(), "{again:?}");
}

#[test]
fn the_system_shuts_an_account_on_the_first_day_that_lies_behind_its_end() {
    const DAY: u64 = 86_400;
    for (ends, day) in
        [(DAY * 20_000, 20_000), (DAY * 20_000 + 1, 20_001), (DAY * 20_001 - 1, 20_001)]
    {
        assert_eq!(shadow::expire_day(Timestamp(ends)), day);
    }
}

fn rule(command: &str, password: SudoPassword) -> SudoRule {
    SudoRule {
        run_as: RunAs {
            user: RunAsUser::Named(UnixGroupName::parse("postgres").unwrap()),
            group: None,
        },
        commands: vec![
            SudoCommand::parse(command).unwrap(),
            SudoCommand::parse("/bin/id \"\"").unwrap(),
        ],
        password,
        noexec: password == SudoPassword::Required,
        directory: None,
    }
}

#[test]
fn laxer_rules_come_last_within_a_file_and_across_files() {
    let ana = Login::parse("ana").unwrap();
    let mut lax = rule("/bin/x --a=b:c", SudoPassword::None);
    lax.directory = Some(AbsolutePath::parse("/srv").unwrap());
    lax.run_as.group = Some(UnixGroupName::parse("web").unwrap());
    let strict = rule("ALL", SudoPassword::Required);
    let [a, b] = ["a", "b"].map(|role| ObjectName::parse(role).unwrap());
    let of = |rule| [(rule, [&ana].into())].into();
    let files = sudoers::render(&[(&a, of(&lax)), (&b, of(&strict))].into());
    let lax_line = r#"ana ALL=(postgres:web) CWD=/srv NOPASSWD: /bin/x --a\=b\:c, /bin/id """#;
    let strict_line = r#"ana ALL=(postgres) PASSWD: NOEXEC: ALL, /bin/id """#;
    let body = |name: &str| files[name].lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(body("50-muster-a"), [lax_line]);
    assert_eq!(body("50-muster-b"), [strict_line, lax_line]);
    let common = sudoers::common(files["50-muster-a"].as_bytes(), &files["50-muster-b"]).unwrap();
    assert_eq!(common.lines().skip(1).collect::<Vec<_>>(), [lax_line]);
}

fn lines() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        "[a-c]{1,2}:[!*x]{0,3}:[0-9]{0,3}:[a-c,]{0,6}(:[a-z]{0,2}){0,4}",
        "[#+-][a-c:]{0,8}",
        "\\PC{0,12}",
        Just(String::new()),
    ];
    (vec(line, 0..12), any::<bool>()).prop_map(|(lines, newline)| {
        let mut text = lines.join("\n");
        text.push_str(if newline { "\n" } else { "" });
        text.into_bytes()
    })
}

proptest! {
    #[test]
    fn parsing_and_rendering_any_bytes_gives_them_back(text in vec(any::<u8>(), 0..200)) {
        if let Ok(table) = Table::parse(text.clone()) {
            prop_assert_eq!(table.splice(&[]).unwrap(), text);
            for entry in table.entries() {
                let _ = (entry.number(2), group::members(entry).count());
            }
        }
    }

    #[test]
    fn lines_that_no_edit_names_stay_byte_for_byte(text in lines(), pick in 0_usize..3) {
        let name = ["a", "b", "ab"][pick];
        let table = Table::parse(text.clone()).unwrap();
        let edits = [
            set(name, 1, Value::Locked),
            members(name, &["zoe"], &["a"]),
            add("new", "new:x:1:"),
        ];
        let Ok(made) = table.splice(&edits) else { return Ok(()) };
        let own = |line: &&[u8]| {
            line.split(|b| *b == b':').next() != Some(name.as_bytes()) && *line != b"new:x:1:"
        };
        let others = |text: &[u8]| -> Vec<Vec<u8>> {
            let text = text.strip_suffix(b"\n").unwrap_or(text);
            text.split(|b| *b == b'\n').filter(own).map(<[u8]>::to_vec).collect()
        };
        prop_assert_eq!(others(&made), others(&text));
        prop_assert!(made.ends_with(b"\n"));
    }
}

#[test]
fn a_table_may_be_as_large_as_the_bound_and_not_a_byte_larger() {
    let text = |length: usize| vec![b'\n'; length];
    assert!(Table::parse(vec![b'a'; MOST_BYTES]).is_ok());
    assert_eq!(Table::parse(text(MOST_BYTES + 1)), Err(BadTable::Large));
}

#[test]
fn a_line_goes_only_as_it_was_seen_and_takes_no_other_with_it() {
    let table = Table::parse(b"# c\nana:1\neve:2\nana:1\nana:3".to_vec()).unwrap();
    let remove = |line: &str| Edit::Remove { name: "ana".to_owned(), line: line.into() };
    assert_eq!(table.splice(&[remove("ana:1")]).unwrap(), b"# c\neve:2\nana:1\nana:3\n");
    let both = [remove("ana:1"), remove("ana:1"), remove("ana:3")];
    assert_eq!(table.splice(&both).unwrap(), b"# c\neve:2\n");
    let absent = Err(Misfit::Absent("ana".to_owned()));
    assert_eq!(table.splice(&[remove("ana:2")]), absent);
    assert_eq!(table.splice(&[&both[..], &[remove("ana:1")]].concat()), absent);
}
