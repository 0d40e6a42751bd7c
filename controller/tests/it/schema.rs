//! The published schema of declarative files: it is the one in the packages, it takes what the
//! documents show, and it refuses and takes what the parsers do.

use std::path::Path;

use expect_test::expect_file;
use muster_controller::declare::{read::parse, schema};
use regex::Regex;
use serde_json::{Map, Value};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g ana@desk";

/// As much of JSON Schema as ours uses; a word that is not known here fails.
struct Checker(Value);

impl Checker {
    fn new() -> Self {
        Self(serde_json::from_str(&schema::text().unwrap()).unwrap())
    }

    fn takes(&self, value: &Value) -> bool {
        self.fits(&self.0, value)
    }

    fn fits(&self, schema: &Value, value: &Value) -> bool {
        match schema {
            Value::Bool(all) => *all,
            Value::Object(rules) => rules.iter().all(|(word, rule)| {
                self.rule(rules, word, rule, value).unwrap_or_else(|| panic!("`{word}`: {rule}"))
            }),
            other => panic!("{other} is no schema"),
        }
    }

    fn rule(
        &self,
        rules: &Map<String, Value>,
        word: &str,
        rule: &Value,
        value: &Value,
    ) -> Option<bool> {
        let number = |rule: &Value| rule.as_i64().unwrap();
        let length = |value: &Value| value.as_str().map(|text| size(text.chars().count()));
        let any =
            || rule.as_array().unwrap().iter().filter(|other| self.fits(other, value)).count();
        Some(match word {
            "$schema" | "$defs" | "title" | "description" | "default" | "format" => true,
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                self.fits(&self.0["$defs"][name], value)
            }
            "type" => {
                let is = |kind: &str| match kind {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "null" => value.is_null(),
                    other => panic!("type {other}"),
                };
                match rule {
                    Value::String(kind) => is(kind),
                    kinds => kinds.as_array().unwrap().iter().any(|k| is(k.as_str().unwrap())),
                }
            }
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => rule == value,
            "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)),
            "minLength" => length(value).is_none_or(|found| found >= number(rule)),
            "maxLength" => length(value).is_none_or(|found| found <= number(rule)),
            "minimum" => value.as_i64().is_none_or(|found| found >= number(rule)),
            "maximum" => value.as_i64().is_none_or(|found| found <= number(rule)),
            "minItems" => value.as_array().is_none_or(|all| size(all.len()) >= number(rule)),
            "items" => value.as_array().is_none_or(|all| all.iter().all(|v| self.fits(rule, v))),
            "anyOf" => any() > 0,
            "oneOf" => any() == 1,
            "not" => !self.fits(rule, value),
            "required" => value.as_object().is_none_or(|object| {
                rule.as_array()
                    .unwrap()
                    .iter()
                    .all(|name| object.contains_key(name.as_str().unwrap()))
            }),
            "propertyNames" => value.as_object().is_none_or(|object| {
                object.keys().all(|name| self.fits(rule, &Value::String(name.clone())))
            }),
            "properties" => value.as_object().is_none_or(|object| {
                let known = |(name, value): (&String, &Value)| {
                    rule.get(name).is_none_or(|rule| self.fits(rule, value))
                };
                object.iter().all(known)
            }),
            "patternProperties" => value.as_object().is_none_or(|object| {
                object.iter().all(|(name, value)| {
                    let mut own = rule.as_object().unwrap().iter();
                    own.all(|(pattern, rule)| !matches(pattern, name) || self.fits(rule, value))
                })
            }),
            "additionalProperties" => value.as_object().is_none_or(|object| {
                object.iter().all(|(name, value)| {
                    let declared = rules.get("properties").is_some_and(|p| p.get(name).is_some());
                    let patterns = rules.get("patternProperties").and_then(Value::as_object);
                    let patterned = patterns
                        .is_some_and(|all| all.keys().any(|pattern| matches(pattern, name)));
                    declared || patterned || self.fits(rule, value)
                })
            }),
            _ => return None,
        })
    }
}

fn size(length: usize) -> i64 {
    i64::try_from(length).unwrap()
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).unwrap().is_match(text)
}

fn value(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}\n{error}"))
}

/// Returns the parts of a text between lines that begin and end as these do.
fn blocks<'t>(text: &'t str, begin: &str, end: &str) -> Vec<&'t str> {
    let parts = text.split(begin).skip(1);
    parts.map(|part| part.split(end).next().unwrap()).collect()
}

#[test]
fn the_published_file_is_what_the_program_prints() {
    expect_file!["../../../packaging/schema/muster.schema.json"]
        .assert_eq(&schema::text().unwrap());
}

#[test]
fn the_examples_of_the_readme_and_the_demo_are_taken() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap();
    let checker = Checker::new();
    let readme = read("README.md").replace("ssh-ed25519 AAAA… alice", KEY);
    let examples = blocks(&readme, "```yaml\n", "```");
    assert!(!examples.is_empty());
    let demo = read("packaging/demo");
    let told: Vec<String> = blocks(&demo, "cat <<END\n", "\nEND\n")
        .into_iter()
        .filter(|text| text.starts_with("users:"))
        .map(|text| Regex::new(r"\$\([^)]*\)").unwrap().replace_all(text, KEY).into_owned())
        .collect();
    assert!(!told.is_empty());
    for example in examples.into_iter().chain(told.iter().map(String::as_str)) {
        parse(example, Path::new("x.yaml")).unwrap_or_else(|error| panic!("{example}\n{error}"));
        assert!(checker.takes(&value(example)), "{example}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn the_schema_takes_and_refuses_what_the_parsers_do() {
    let checker = Checker::new();
    let all = |form: &str, texts: &[&str]| -> Vec<String> {
        texts.iter().map(|text| form.replace('$', &Value::from(*text).to_string())).collect()
    };
    let long = |length: usize| "a".repeat(length);
    let (most, more) = (long(31), long(32));
    let (name, longer) = (long(63), long(64));
    let (line, too_long) = ("ü".repeat(200), "ü".repeat(201));
    let (full, fuller) = (long(100), long(101));
    let path = format!("/{}", long(199));
    let beyond = format!("{path}a");
    let names =
        ["a", "_a", "a-b", "0a", "-a", "", "A", "ä", "a.b", "a b", "root", "systemd-x", "a\nb"];
    let paths = [
        "/a",
        "/a/b",
        "/.a",
        "/..a",
        "/...",
        "/a.b+c-d_e",
        "a",
        "/",
        "",
        "/a/",
        "//a",
        "/a/../b",
        "/.",
        "/..",
        "/a b",
        "/a:b",
        "/ä",
        "/a\n",
    ];
    let mut cases = Vec::new();
    for form in ["{users: {$: {}}}", "{absent: {users: [$]}}"] {
        cases.extend(all(form, &names));
        cases.extend(all(form, &[&most, &more]));
    }
    for form in ["{roles: {$: {}}}", "{absent: {groups: [$]}}", "{groups: {$: {}}}"] {
        cases.extend(all(form, &names));
        cases.extend(all(form, &[&name, &longer]));
    }
    cases.extend(all("{roles: {r: {unix_groups: {at_least: [$]}}}}", &names));
    for form in ["{users: {una: {shell: $}}}", "{roles: {r: {sudo: [{commands: [$]}]}}}"] {
        cases.extend(all(form, &paths));
    }
    cases.extend(all("{users: {una: {home: $}}}", &[&path, &beyond]));
    cases.extend(all(
        "{roles: {r: {sudo: [{commands: [$]}]}}}",
        &[
            "ALL",
            "all",
            "/a \"\"",
            "/a b c",
            "/a b:c@d",
            "/a  b",
            "/a *",
            "/a b,",
            "/a \"\" \"\"",
            "!/a",
        ],
    ));
    cases.extend(all(
        "{roles: {r: {sudo: [{run_as: $, commands: [ALL]}]}}}",
        &["ALL", "root", "postgres", "#0", "", "All"],
    ));
    cases.extend(all(
        "{users: {una: {name: $}}}",
        &["Una O'Neil (DBA) -./9;[]~ +*", "a:b", "a,b", "a\\b", "é", "a\nb", "", &full, &fuller],
    ));
    cases.extend(all(
        "{assignments: {a: {user: u, role: r, hosts: all, reason: $}}}",
        &["für „ok“", "", "a\u{202e}b", "a\u{1b}b", "a\u{85}b", "a\u{feff}", &line, &too_long],
    ));
    cases.extend(all(
        "{assignments: {a: {user: u, role: r, hosts: $}}}",
        &[
            "all",
            "env=prod",
            "env==prod",
            "env!=prod",
            "tier in (db,cache),!edge",
            "a notin ( b , c )",
            "muster/os=debian",
            "a",
            "",
            " ",
            "env=",
            "env==a,,b",
            "env in prod",
            "env in ()",
            "a b",
            "!a=b",
            "in (a)",
            "-a",
            "a=b/c",
            "a=b,",
            "a in (b",
            " a = b , c ",
            "! a",
            "a in(b)",
        ],
    ));
    cases.extend(all(
        "{users: {una: {ends: $}}}",
        &[
            "2027-06-30",
            "2027-06-30T18:00:00Z",
            "2027-06-30T18:00:00+02:00",
            "2027-06-30T18:00:00.5Z",
            "tomorrow",
            "2027-13-01",
            "30.06.2027",
            "2027-06-30T18:00Z",
            "",
        ],
    ));
    cases.extend(all(
        "{users: {una: {keys: [$]}}}",
        &[KEY, "hello", "", "ssh-dss AAAA u", "command=\"sh\" ssh-ed25519 AAAA", "ssh-ed25519"],
    ));
    let bound = [
        "restrict",
        "command=\"/a b\",restrict,from=\"::1,10.0.0.0/8\"",
        "command=\"internal-sftp\"",
        "command=\"/a;b\"",
        "from=\"*\"",
        "environment=\"A=b\"",
        "no-pty",
        "restrict,",
    ];
    let bound = bound.map(|options| format!("{options} {KEY}"));
    cases.extend(all("{users: {una: {keys: [$]}}}", &bound.each_ref().map(String::as_str)));
    cases.extend(all("{users: {una: {home_mode: $}}}", &["0700", "0755", "0777", "700", ""]));
    cases.extend(all(
        "{users: {una: {from: [$]}}}",
        &["10.0.0.0/8", "::1", "everywhere", "10.0.0.0/"],
    ));
    cases.extend(all(
        "{adoptions: {a: {user: una, host: $, uid: 1001}}}",
        &[
            "web1",
            "db-1.example.org",
            "a_b",
            "-a",
            ".a",
            "",
            "a b",
            "ä",
            "a\n",
            &long(253),
            &long(254),
        ],
    ));
    cases.extend(all("{adoptions: {$: {user: una, host: a, uid: 1001}}}", &names));
    cases.extend(all("{absent: {adoptions: [$]}}", &names));
    for number in [0, 999, 1_000, 59_999, 60_000, 99_999, 100_000, 499_999, 500_000] {
        cases.push(format!("{{users: {{una: {{uid: {number}}}}}}}"));
        let own = format!("{{user: una, host: a, uid: {number}}}");
        cases.push(format!("{{adoptions: {{a: {own}}}}}"));
        cases.push(format!("{{unix_groups: {{data: {{gid: {number}}}}}}}"));
    }
    for text in [
        "{users: {una: {shel: /bin/sh}}}",
        "{userz: {}}",
        "{users: []}",
        "{users: {una: {service: maybe}}}",
        "{assignments: {a: {user: u, role: r}}}",
        "{adoptions: {a: {user: una, host: a}}}",
        "{adoptions: {a: {user: una, uid: 1001}}}",
        "{adoptions: {a: {host: a, uid: 1001}}}",
        "{roles: {r: {ssh: {methods: [key, hardware-key, password]}}}}",
        "{roles: {r: {ssh: {methods: [keys]}}}}",
        "{roles: {r: {password: {max_days: 90, min_length: 14}}}}",
        "{roles: {r: {password: {max_days: -1}}}}",
        "{roles: {r: {sudo: [{password: required}]}}}",
        "{}",
    ] {
        cases.push(text.to_owned());
    }
    let unlike: Vec<String> = cases
        .into_iter()
        .filter(|case| parse(case, Path::new("x.yaml")).is_ok() != checker.takes(&value(case)))
        .collect();
    assert!(unlike.is_empty(), "the parsers and the schema disagree on\n{}", unlike.join("\n"));
}

#[test]
fn what_only_a_whole_entry_shows_is_in_the_schema_too() {
    let checker = Checker::new();
    for (case, fits) in [
        ("{assignments: {a: {user: u, role: r, hosts: all}}}", true),
        ("{assignments: {a: {group: g, role: r, hosts: all}}}", true),
        ("{assignments: {a: {role: r, hosts: all}}}", false),
        ("{assignments: {a: {user: u, group: g, role: r, hosts: all}}}", false),
        ("{roles: {r: {unix_groups: {exactly: [a]}}}}", true),
        ("{roles: {r: {unix_groups: {exactly: [a], at_least: [b]}}}}", false),
        ("{roles: {r: {sudo: [{commands: []}]}}}", false),
    ] {
        assert_eq!(checker.takes(&value(case)), fits, "{case}");
    }
}
