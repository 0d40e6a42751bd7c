use super::*;

fn settings(text: &str) -> Settings {
    let mut settings = Settings::default();
    settings.read(text.as_bytes()).unwrap();
    settings
}

fn check(before: &str, after: &str) -> Check {
    Check::Quality { before: settings(before), after: settings(after), unix: 0 }
}

#[test]
fn settings_are_read_as_libpwquality_reads_them() {
    let lines = [
        "minlen = 12",
        "minlen=12",
        "  MinLen 12  # twelve",
        "minlen = 9\nminlen = 12",
        "# minlen = 9\n\nretry = 3\nlocal_users_only\nminlen\t=\t12",
    ];
    for text in lines {
        assert_eq!(settings(text).minlen, Some(12), "{text}");
    }
}

#[test]
fn a_line_that_is_no_known_setting_or_too_long_is_told_with_its_number() {
    let long = |bytes: usize| format!("#{}", "x".repeat(bytes - 1));
    assert!(Settings::default().read(long(MOST_LINE_BYTES).as_bytes()).is_ok());
    let more = long(MOST_LINE_BYTES + 1);
    for text in ["nonsense = 9", "minlen = twelve", "minlen =", "dcredit", more.as_str()] {
        let text = format!("minlen = 9\n{text}\n");
        let read = Settings::default().read(text.as_bytes());
        assert_eq!(read, Err(BadSettings { line: 2 }), "{text}");
    }
}

#[test]
fn our_drop_in_says_what_is_missing_and_no_more() {
    for (before, after, length, ours, shortest) in [
        // What holds anyway needs no word of ours.
        ("", "", 8, None, 8),
        ("", "", 9, Some(9), 9),
        ("", "", 0, None, 8),
        ("minlen = 3", "", 7, Some(7), 7),
        ("minlen = 14", "", 14, None, 14),
        ("minlen = 14", "", 15, Some(15), 15),
        ("", "minlen = 14", 14, None, 14),
        // Nothing of ours is of use where something later says less.
        ("", "minlen = 14", 15, None, 14),
        ("minlen = 20", "minlen = 9", 12, None, 9),
        ("", "enforcing = 0", 12, None, 0),
        // Credits make a password shorter than is said.
        ("dcredit = 1\nucredit = -1", "", 12, Some(13), 12),
        ("minlen = 13\nlcredit = 1", "", 12, None, 12),
        ("dcredit = 1", "dcredit = 0", 12, Some(12), 12),
    ] {
        let check = check(before, after);
        assert_eq!(check.needs(length), ours, "{before:?} {after:?} {length}");
        assert_eq!(check.shortest(ours), Some(shortest), "{before:?} {after:?}");
    }
}

#[test]
fn no_longer_password_is_asked_for_than_pam_takes() {
    let check = check("", "");
    assert_eq!(check.needs(MOST_LENGTH), Some(MOST_LENGTH));
    assert_eq!(check.needs(MOST_LENGTH + 1), None);
    assert!(check.why_not(MOST_LENGTH + 1).contains("no more than 511"));
}

#[test]
fn arguments_hold_over_files_and_what_the_module_does_not_know_is_passed_over() {
    let mut after = settings("minlen = 14");
    after.argue(&["retry=3", "nonsense", "minlen=10", "minlen=x"].map(str::to_owned));
    let check = Check::Quality { before: Settings::default(), after, unix: 9 };
    assert_eq!(check.shortest(Some(12)), Some(10));
    assert!(check.why_not(12).starts_with("10 are enough"));
}

#[test]
fn pam_unix_sees_to_a_length_of_its_own() {
    let arguments = ["obscure", "minlen=12"].map(str::to_owned);
    assert_eq!((unix_length(&arguments), unix_length(&[])), (12, 6));
    assert_eq!(Check::Unix(12).shortest(None), Some(12));
    assert_eq!(Check::Unix(12).needs(13), None);
    assert!(Check::Unix(6).why_not(8).contains("install libpam-pwquality"));
}
