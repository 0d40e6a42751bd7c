//! Who can do what where, asked before somebody leaves and after.

use muster_tests::Fleet;
use serde_json::Value;

use crate::{HOSTS, fleet, lifecycle::everywhere};

fn ask(fleet: &Fleet, words: &[&str]) -> Vec<Value> {
    fleet.ask(words).unwrap().as_array().unwrap().clone()
}

/// Returns the values of a field, in order.
fn all(rows: &[Value], field: &str) -> Vec<String> {
    rows.iter().map(|row| row[field].as_str().unwrap().to_owned()).collect()
}

#[test]
fn whoever_asks_who_can_do_what_hears_it_until_somebody_leaves() {
    let fleet = fleet();
    let zara = fleet.person("zara").unwrap();
    fleet.apply_ok(&everywhere(&zara)).unwrap();
    let change = fleet.newest_change().unwrap();
    let mut found = ask(&fleet, &["access", "of", "zara"]);
    found.sort_by_key(|row| row["host"].as_str().unwrap().to_owned());
    assert_eq!(all(&found, "host"), ["db1", "dev1", "web1"]);
    for row in &found {
        assert_eq!(row["login_by"], serde_json::json!(["key"]), "{row}");
        assert_eq!(row["becomes_root"], false, "one command is not root: {row}");
        assert!(row["keys"][0].as_str().unwrap().contains("SHA256:"), "{row}");
        let by = &row["given_by"][0];
        assert_eq!(by["assignment"], "zara", "{row}");
        assert_eq!(by["role"], "zara", "{row}");
        assert_eq!(by["approved"][0]["change"], change, "{row}");
        assert_eq!(by["approved"][0]["signed_by"], serde_json::json!(["alice"]), "{row}");
    }
    let on = |place: &str| {
        let rows = ask(&fleet, &["access", "who-can", place]);
        rows.into_iter().filter(|row| row["login"] == "zara").collect::<Vec<_>>()
    };
    assert_eq!(all(&on("web1"), "host"), ["web1"]);
    assert_eq!(all(&on("env=prod"), "host"), ["db1", "web1"]);
    assert_eq!(on("all").len(), HOSTS.len());
    assert!(on("env=watch").is_empty());
    let table = fleet.muster(&["access", "of", "zara"]).unwrap();
    assert!(table.stdout.starts_with("HOST") && table.stdout.contains("zara (zara)"), "{table}");
    assert!(table.stderr.contains("no proof"), "{table}");
    let yaml = fleet.muster_ok(&["access", "of", "zara", "--output", "yaml"]).unwrap();
    assert!(yaml.contains("becomes_root: false"), "{yaml}");

    fleet.muster_ok(&["offboard", "zara", "--yes"]).unwrap();
    assert!(ask(&fleet, &["access", "of", "zara"]).is_empty());
    assert!(on("all").is_empty());
    for (words, what) in [
        (["access", "of", "nobody-here"], "no user `nobody-here`"),
        (["access", "who-can", "nowhere"], "no host is called `nowhere`"),
        (["access", "who-can", "env in ("], "neither a host nor a selector"),
    ] {
        let failed = fleet.muster(&words).unwrap();
        assert_eq!(failed.status, 2, "{failed}");
        assert!(failed.stderr.contains(what), "{failed}");
    }
}
