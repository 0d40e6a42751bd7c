//! One encoding a document: no other bytes are read as the same.

use muster_proto::{
    envelope::Document,
    statement::{Content, Statement},
    time::Timestamp,
};

use crate::{
    documents::{Sample, samples},
    world::{Shape, World, assignment, id, user},
};

/// Fields that no version has, and defaults that nobody writes.
fn additions() -> Vec<Vec<u8>> {
    let mut found = vec![b"\xc0\x3e\x01".to_vec(), b"\0".to_vec(), b"\x0b\x0c".to_vec()];
    for field in 1..=17_u16 {
        for (kind, value) in [(0, 0), (0, 1), (2, 0)] {
            let tag = field << 3 | kind;
            let low = u8::try_from(tag & 0x7f).unwrap();
            let tag = match u8::try_from(tag >> 7).unwrap() {
                0 => vec![low],
                high => vec![low | 0x80, high],
            };
            found.push([tag, vec![value]].concat());
        }
    }
    found
}

#[test]
fn no_other_bytes_are_the_same_document() {
    for Sample { name, bytes, again } in samples() {
        assert_eq!(again(&bytes).as_ref(), Some(&bytes), "{name}");
        for addition in additions() {
            let longer = [bytes.clone(), addition.clone()].concat();
            let read = again(&longer);
            assert!(read.is_none_or(|read| read == longer), "{name} and {addition:?}");
            let longer = [addition, bytes.clone()].concat();
            assert!(again(&longer).is_none_or(|read| read == longer), "{name}");
        }
        let unknown = [&bytes[..], b"\xc0\x3e\x01"].concat();
        assert!(again(&unknown).is_none(), "{name}: an unknown field");
        assert!(again(&[&bytes[..], b"\0"].concat()).is_none(), "{name}: a byte more");
        assert!(again(&bytes.repeat(2)).is_none(), "{name}: twice");
        for length in 0..bytes.len() {
            let cut = &bytes[..length];
            assert!(again(cut).is_none_or(|read| read == cut), "{name} cut at {length}");
        }
    }
}

#[test]
fn nothing_that_parses_reads_back_as_something_else() {
    for Sample { name, bytes, again } in samples() {
        let mut bent = bytes.clone();
        for at in 0..bytes.len() {
            let bits = if bytes.len() > 400 { vec![at % 8] } else { (0..8).collect() };
            for bit in bits {
                bent[at] ^= 1 << bit;
                assert!(
                    again(&bent).is_none_or(|read| read == bent),
                    "{name}: byte {at} bit {bit}"
                );
                bent[at] ^= 1 << bit;
            }
        }
    }
}

#[test]
fn a_date_at_the_beginning_of_time_is_a_date() {
    let world = World::new(Shape::One);
    let read = |content: Content| {
        let statement = world.next(id("it"), content);
        let again = Statement::decode(&statement.encode()).unwrap();
        assert_eq!(again, statement);
        again.content
    };
    let first = Some(Timestamp(0));
    let Content::User(mut user) = user("alice", 10_001, &["key"], &[]) else { panic!() };
    (user.starts, user.ends) = (first, first);
    let Content::User(read_user) = read(Content::User(user)) else { panic!() };
    assert_eq!((read_user.starts, read_user.ends), (first, first));
    let Content::Assignment(mut given) = assignment("dbas", "alice", "dba", "all") else {
        panic!()
    };
    (given.from, given.until, given.recertify_by) = (first, first, first);
    let Content::Assignment(given) = read(Content::Assignment(given)) else { panic!() };
    assert_eq!((given.from, given.until, given.recertify_by), (first, first, first));
}
