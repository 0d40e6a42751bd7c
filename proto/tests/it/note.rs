//! The log's head as a note: what is signed is read again, and nothing else.

use std::collections::BTreeSet;

use muster_proto::{
    crypto::sha256,
    link::LogHead,
    note::{self, BadNote, MAX_NOTE},
};

use crate::keys::machine;

/// A head of a log that has a few leaves.
pub fn head() -> LogHead {
    LogHead { origin: "muster/0011aabb".to_owned(), size: 12, root: sha256(&[b"twelve leaves"]) }
}

/// By whom notes are signed here.
fn keys() -> BTreeSet<muster_proto::crypto::MachinePublicKey> {
    BTreeSet::from([machine("online").public(), machine("online of before").public()])
}

#[test]
fn a_note_is_read_as_it_was_signed() {
    let text = note::sign(&head(), &machine("online"));
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(lines[..2], ["muster/0011aabb", "12"]);
    assert!(lines[3].is_empty() && lines[4].starts_with("\u{2014} muster/0011aabb "), "{text}");
    assert_eq!(note::verify(&text, &keys()), Ok(head()));

    // A witness may sign below, whoever that is.
    let witness = note::sign(&head(), &machine("witness"));
    let witness = witness.lines().last().unwrap().replace("muster/0011aabb", "w.example");
    assert_eq!(note::verify(&format!("{text}{witness}\n"), &keys()), Ok(head()));
}

#[test]
fn a_note_that_nobody_signed_who_counts_is_refused() {
    let origin = || head().origin;
    let other = note::sign(&head(), &machine("stranger"));
    assert_eq!(note::verify(&other, &keys()), Err(BadNote::Unsigned(origin())));
    let text = note::sign(&head(), &machine("online"));
    let longer = text.replacen("12", "13", 1);
    assert_eq!(note::verify(&longer, &keys()), Err(BadNote::Signature(origin())));
    // The signature is of another log.
    let renamed = text.replacen("muster/0011aabb", "muster/0011aabc", 1);
    assert!(matches!(note::verify(&renamed, &keys()), Err(BadNote::Unsigned(_))));
}

#[test]
fn what_is_not_a_note_of_a_head_is_refused() {
    let text = note::sign(&head(), &machine("online"));
    for (from, to) in [
        ("12\n", "012\n"),
        ("12\n", "+12\n"),
        ("12\n", "-12\n"),
        ("12\n", ""),
        ("\n\n", "\nmore\n\n"),
        ("\n\n", "\n"),
        ("muster/", "muster "),
        ("muster/", "muster+"),
        ("\u{2014} ", "- "),
        ("\u{2014} muster/0011aabb ", "\u{2014} "),
        ("\n\n", "\n\n\n"),
    ] {
        let bad = text.replacen(from, to, 1);
        assert_ne!(bad, text);
        assert_eq!(note::verify(&bad, &keys()), Err(BadNote::Form), "{bad}");
    }
    assert_eq!(note::verify(text.trim_end(), &keys()), Err(BadNote::Form));
    assert_eq!(note::verify("", &keys()), Err(BadNote::Form));

    let witness = text.lines().last().unwrap().replace("muster/0011aabb", "w");
    let mut long = text;
    while long.len() + 2 * (witness.len() + 1) < MAX_NOTE {
        long = format!("{long}{witness}\n");
    }
    let name = "w".repeat(MAX_NOTE - long.len() - witness.len());
    let line = witness.replacen("w ", &format!("{name} "), 1) + "\n";
    let (most, more) =
        (format!("{long}{line}"), format!("{long}\u{2014} w{}", &line["\u{2014} ".len()..]));
    assert_eq!((most.len(), more.len()), (MAX_NOTE, MAX_NOTE + 1));
    assert_eq!(note::verify(&most, &keys()), Ok(head()));
    assert_eq!(note::verify(&more, &keys()), Err(BadNote::Form));
}
