//! Every method of the contract, and every kind of caller.

use std::collections::BTreeSet;

use muster_controller::api::caller::{Caller, METHODS, Who, admit, who_may};
use muster_proto::id::Digest;
use tonic::Code;

const CONTRACT: [&str; 2] = [
    include_str!("../../../proto/proto/muster/v1/agent.proto"),
    include_str!("../../../proto/proto/muster/v1/operator.proto"),
];

/// Reads the methods out of the contract itself, so that a new one without a row fails here.
fn methods() -> BTreeSet<String> {
    let mut methods = BTreeSet::new();
    for text in CONTRACT {
        let mut service = None;
        for line in text.lines() {
            let words: Vec<&str> = line.split(|c: char| " (".contains(c)).collect();
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            match words.as_slice() {
                ["service", name, ..] => service = Some((*name).to_owned()),
                ["rpc", name, ..] => {
                    let service = service.as_ref().expect("a method is in a service");
                    methods.insert(format!("/muster.v1.{service}/{name}"));
                }
                _ => {}
            }
        }
    }
    methods
}

#[test]
fn every_method_has_exactly_one_row() {
    let rows: BTreeSet<String> = METHODS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(rows.len(), METHODS.len());
    assert_eq!(rows, methods());
}

#[test]
fn every_caller_may_what_the_table_says_and_nothing_else() {
    let callers = [
        Caller::Stranger,
        Caller::Host(Digest::new([1; 32])),
        Caller::HostOfOld(Digest::new([1; 32])),
        Caller::Operator("ana".to_owned()),
        Caller::Outsider,
    ];
    for method in methods() {
        let who = who_may(&method).unwrap();
        for caller in &callers {
            let expected = match (who, caller) {
                (Who::Anybody, Caller::Stranger | Caller::Host(_) | Caller::HostOfOld(_))
                | (Who::Host, Caller::Host(_))
                | (Who::HostOfOld, Caller::Host(_) | Caller::HostOfOld(_))
                | (Who::Operator, Caller::Operator(_)) => None,
                (Who::Host | Who::HostOfOld, Caller::Stranger)
                | (Who::Host, Caller::HostOfOld(_)) => Some(Code::Unauthenticated),
                _ => Some(Code::PermissionDenied),
            };
            let found = admit(&method, caller).err().map(|status| status.code());
            assert_eq!(found, expected, "{method} by {caller:?}");
        }
    }
    for (method, who) in METHODS {
        let agents = method.starts_with("/muster.v1.Agents/");
        assert_eq!(agents, who != Who::Operator, "{method} is served at the other listener");
    }
}

#[test]
fn what_the_table_does_not_name_is_refused_to_everybody() {
    for method in ["/muster.v1.Agents/Reset", "/muster.v1.Agents/join", "/", ""] {
        let refused = admit(method, &Caller::Operator("root".to_owned())).unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented, "{method}");
    }
}
