use proptest::prelude::*;

use super::*;

const DIRECTORY: &str = "/etc/ssh/sshd_config.d";

fn parse(text: &str) -> Blocks {
    Blocks::parse(&[Text::Read(text.into())], DIRECTORY)
}

/// Whether what comes after a `Match` is for this login in these Unix groups.
fn is_for(criteria: &str, login: &str, unix_groups: &[&str]) -> bool {
    let Blocks::Known(blocks) = parse(&format!("Match {criteria}\n")) else {
        panic!("not understood: {criteria}")
    };
    blocks.iter().all(|block| block.applies(login, unix_groups))
}

/// As sshd of OpenSSH 9.2 and 10.0 answers of `daemon`, whose only Unix group is `daemon`.
#[test]
fn a_block_is_for_whom_sshd_takes_it_to_be() {
    for (criteria, applies) in [
        ("User daemon", true),
        ("User \"daemon,bob\"", true),
        ("User=daemon", true),
        ("user daemon # of ours", true),
        ("Group dae*,!foo", true),
        ("Group dae?on", true),
        ("User !bob", false),
        ("User *,!bob", true),
        ("User *,!daemon", false),
        ("User !daemon,*", false),
        ("User Daemon", false),
        ("User daemo", false),
        ("Group foo", false),
        ("User daemon Group foo", false),
        ("Group daemon User daemon Address 10.0.0.0/8", true),
        ("Address 10.0.0.0/8", true),
        ("LocalPort 22 User bob", false),
        ("all", true),
    ] {
        assert_eq!(is_for(criteria, "daemon", &["daemon"]), applies, "{criteria}");
    }
    assert!(is_for("Group a,b", "x", &["b", "c"]));
    assert!(!is_for("Group b,!c*", "x", &["b", "cc"]), "one that is negated is enough");
    assert!(!is_for("Group *", "x", &[]));
}

#[test]
fn what_is_the_same_for_every_account_is_no_block_and_the_same_twice_is_one() {
    let of = |text: &str| match parse(text) {
        Blocks::Known(blocks) => blocks.len(),
        Blocks::Unclear => panic!("{text}"),
    };
    assert_eq!(of("Port 22\n#Match User ann\nMatchless yes\nBanner \"a\n"), 0);
    assert_eq!(of("Match all\nMatch Address ::1 LocalPort 22\nMatch invalid-user\n"), 0);
    assert_eq!(of("Match User a\n  X y\nmatch\tuser=a\nMatch Group a"), 2);
    let included = "Include sshd_config.d/*.conf /etc/ssh/sshd_config.d/a.conf # all\n";
    assert_eq!(of(included), 0);
    assert!(parse("Match User a\nMatch User b Group c").name_unix_groups());
    assert!(!parse("Match User a\n").name_unix_groups());
}

#[test]
fn what_is_not_understood_is_said_to_be() {
    for text in [
        "Match exec /bin/true",
        "Match User ann Foo bar",
        "Match User",
        "Match User 'ann'",
        "Match User a\\nn",
        "Match User \"ann",
        "Match User \"ann\"b",
        "Match \"\" User ann",
        "\"Match\" User ann",
        "Match User a=b=c",
        "Include /etc/ssh/other.conf",
        "Include other/*.conf",
        "Include /etc/*/x.conf",
        "Match User ann\n  include sshd_config.d/../x",
    ] {
        assert_eq!(parse(text), Blocks::Unclear, "{text}");
    }
    let unread = [Text::Read(Vec::new()), Text::Unread("a symbolic link")];
    assert_eq!(Blocks::parse(&unread, DIRECTORY), Blocks::Unclear);
}

#[test]
fn no_more_blocks_and_no_longer_patterns_than_the_bounds_are_understood() {
    let line = |number| format!("Match User u{number}\n");
    let blocks = |count| parse(&(0..count).map(line).collect::<Vec<_>>().concat());
    assert!(matches!(blocks(MOST_BLOCKS), Blocks::Known(known) if known.len() == MOST_BLOCKS));
    assert_eq!(blocks(MOST_BLOCKS + 1), Blocks::Unclear);
    let long = |bytes| parse(&format!("Match User ann,{}", "a".repeat(bytes)));
    assert_ne!(long(MOST_BYTES), Blocks::Unclear);
    assert_eq!(long(MOST_BYTES + 1), Blocks::Unclear);
}

proptest! {
    #[test]
    fn no_text_is_too_odd_to_be_read(text in any::<Vec<u8>>(), line in "[Mm]atch[ =\"'#!*,a-zA-Z]{0,40}") {
        for text in [text, line.into_bytes()] {
            let _ = Blocks::parse(&[Text::Read(text)], DIRECTORY);
        }
    }
}
