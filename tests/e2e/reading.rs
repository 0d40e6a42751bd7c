//! What is only looked at: every verb that lists or shows, in every form, and those that say what
//! they would do and do nothing.

use serde_json::Value;

use crate::{assert_failed, fleet, standing};

/// Returns the entry of a list that has this in a field.
fn entry<'a>(list: &'a Value, field: &str, wanted: &str) -> &'a Value {
    let has = |found: &&Value| found.get(field).and_then(Value::as_str) == Some(wanted);
    list.as_array().unwrap().iter().find(has).unwrap_or_else(|| panic!("no {wanted} in {list}"))
}

#[test]
fn what_is_in_force_is_listed_and_shown_in_every_form() {
    let fleet = fleet();
    let wilf = fleet.person("wilf").unwrap();
    let declaration = format!(
        "users:\n  wilf: {{groups: [wilfs], keys: [\"{}\"]}}\n\
         groups:\n  wilfs: {{}}\n\
         roles:\n  wilf: {{sudo: [{{commands: [/usr/bin/id], noexec: true}}]}}\n\
         assignments:\n  wilf: {{group: wilfs, role: wilf, hosts: \"tier=web\", ticket: OPS-7}}\n",
        wilf.key.public
    );
    let path = fleet.declare(&declaration).unwrap();
    let reason = ["apply", "--yes", "--file", path, "--reason", "wilf begins"];
    let published = fleet.muster(&reason).unwrap();
    assert!(published.success(), "{published}");
    let before = standing(&fleet);

    for (kind, name, detail) in [
        ("user", "wilf", "in group wilfs"),
        ("group", "wilfs", ""),
        ("role", "wilf", "sudo as root, NOPASSWD, NOEXEC: /usr/bin/id"),
        ("assignment", "wilf", "ticket OPS-7"),
    ] {
        let table = fleet.muster_ok(&[kind, "list"]).unwrap();
        assert!(table.starts_with("NAME "), "{table}");
        let row = table.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
        assert!(row.contains("  live"), "{row}");
        let listed = fleet.ask(&[kind, "list"]).unwrap();
        let shown = fleet.ask(&[kind, "show", name]).unwrap();
        assert_eq!(entry(&listed, "name", name), &shown);
        assert_eq!(shown.get("state").unwrap(), "live");
        assert!(shown.get("details").unwrap().to_string().contains(detail), "{shown}");
        let yaml = fleet.muster_ok(&[kind, "list", "--output", "yaml"]).unwrap();
        assert!(yaml.contains(&format!("name: {name}\n")), "{yaml}");
        let one = fleet.muster_ok(&[kind, "show", name, "--output", "yaml"]).unwrap();
        assert!(one.starts_with(&format!("name: {name}\n")), "{one}");
        assert_eq!(fleet.muster_ok(&[kind, "show", name]).unwrap(), one);
        let none = fleet.muster(&[kind, "show", "nothing-of-ours"]).unwrap();
        assert_failed(&none, 2, &["nothing-of-ours", &format!("hint: `muster {kind} list`")]);
    }

    let newest = fleet.newest_change().unwrap();
    let table = fleet.muster_ok(&["change", "list", "--most", "1"]).unwrap();
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.lines().nth(1).unwrap().starts_with(&format!("{newest} ")), "{table}");
    let listed = fleet.ask(&["change", "list"]).unwrap();
    let first = listed.as_array().unwrap().first().unwrap();
    assert_eq!(first.get("number").unwrap(), newest);
    assert_eq!(first.get("signed_by").unwrap(), &Value::from(vec!["alice"]));
    let shown = fleet.ask(&["change", "show", &newest.to_string()]).unwrap();
    assert_eq!(shown.get("digest"), first.get("digest"));
    assert_eq!(shown.get("reasons").unwrap(), &Value::from(vec!["wilf begins"]));
    for words in ["user wilf revision 1", "NOEXEC", "ticket OPS-7", "group wilfs → role wilf"] {
        assert!(shown.get("content").unwrap().to_string().contains(words), "{shown}");
    }
    let yaml = fleet.muster_ok(&["change", "show", &newest.to_string(), "-o", "yaml"]).unwrap();
    assert!(yaml.starts_with(&format!("number: {newest}\n")), "{yaml}");
    let yaml = fleet.muster_ok(&["change", "list", "-o", "yaml"]).unwrap();
    assert!(yaml.contains(&format!("number: {newest}\n")), "{yaml}");

    let table = fleet.muster_ok(&["host", "list"]).unwrap();
    assert!(table.starts_with("HOST "), "{table}");
    let listed = fleet.ask(&["host", "list"]).unwrap();
    let shown = fleet.ask(&["host", "show", "web1"]).unwrap();
    assert_eq!(entry(&listed, "host", "web1").get("id"), shown.get("id"));
    let yaml = fleet.muster_ok(&["host", "show", "web1"]).unwrap();
    assert!(yaml.starts_with("host: web1\n"), "{yaml}");
    let status = fleet.muster_ok(&["status"]).unwrap();
    assert!(status.lines().any(|line| line == format!("change       {newest}")), "{status}");
    assert!(fleet.ask(&["status"]).unwrap().get("refusing").unwrap().as_array().is_some());
    let yaml = fleet.muster_ok(&["status", "--output", "yaml"]).unwrap();
    assert!(yaml.contains(&format!("change: {newest}\n")), "{yaml}");
    assert_eq!(standing(&fleet), before);
}

#[test]
fn the_schema_that_is_printed_is_the_published_one() {
    let printed = fleet().muster_ok(&["schema"]).unwrap();
    assert_eq!(printed, include_str!("../../packaging/schema/muster.schema.json"));
}

#[test]
fn what_would_be_done_is_said_and_not_done() {
    let fleet = fleet();
    let yul = fleet.person("yul").unwrap();
    let declaration = |command: &str| {
        format!(
            "users:\n  yul: {{keys: [\"{}\"]}}\n\
             roles:\n  yul: {{sudo: [{{commands: [{command}]}}]}}\n\
             assignments:\n  yul: {{user: yul, role: yul, hosts: \"tier=web\"}}\n",
            yul.key.public
        )
    };
    fleet.apply_ok(&declaration("/usr/bin/id")).unwrap();
    let before = standing(&fleet);
    let path = fleet.declare(&declaration("ALL")).unwrap();
    let planned = fleet.muster(&["plan", "--file", path]).unwrap();
    let dry = fleet.muster(&["apply", "--dry-run", "--file", path]).unwrap();
    for output in [&planned, &dry] {
        assert_eq!(output.status, 3, "{output}");
        for line in [
            "~ change role yul",
            "      - sudo as root, NOPASSWD: /usr/bin/id",
            "      + sudo as root, NOPASSWD: ALL",
            "on web1:",
            "  ! lets become ROOT: yul",
        ] {
            assert!(output.stdout.lines().any(|found| found == line), "no `{line}`: {output}");
        }
    }
    let json = fleet.muster(&["plan", "--file", path, "--output", "json"]).unwrap();
    assert_eq!(json.status, 3, "{json}");
    let plan: Value = serde_json::from_str(&json.stdout).unwrap();
    let host = entry(plan.get("hosts").unwrap(), "host", "web1");
    assert_eq!(host.get("gains_root").unwrap(), &Value::from(vec!["yul"]));
    let yaml = fleet.muster(&["plan", "--file", path, "--output", "yaml"]).unwrap();
    assert!(yaml.status == 3 && yaml.stdout.contains("name: yul\n"), "{yaml}");

    let gone = fleet.muster(&["offboard", "yul", "--dry-run"]).unwrap();
    assert_eq!(gone.status, 3, "{gone}");
    assert!(gone.stdout.contains("- remove user yul\n"), "{gone}");
    assert!(gone.stdout.contains("  - locks yul\n"), "{gone}");
    assert_eq!(standing(&fleet), before);
    // As declared, there is nothing to say.
    let path = fleet.declare(&declaration("/usr/bin/id")).unwrap();
    assert_eq!(fleet.muster(&["plan", "--file", path]).unwrap().status, 0);
}
