//! Keys and tokens as people hand them over, and keys that serve twice.

use muster_proto::{
    envelope::Verified,
    key::{BadKey, KeyType, SshPublicKey},
    token::{BadToken, JoinToken},
    trust::{BadTrustRoot, Duty, Refused, TrustRoot},
};

use crate::{
    documents::token,
    keys::{Signer, machine},
    world::{Shape, name, signed_by, signer, staffed},
};

fn base64(bytes: &[u8]) -> String {
    use base64ct::Encoding;
    base64ct::Base64::encode_string(bytes)
}

fn blob(parts: &[&[u8]]) -> Vec<u8> {
    let part = |part: &&[u8]| [&u32::try_from(part.len()).unwrap().to_be_bytes(), *part].concat();
    parts.iter().flat_map(part).collect()
}

fn rsa(bits: usize) -> Vec<u8> {
    let mut modulus = vec![0xc3; bits / 8];
    modulus.insert(0, 0);
    blob(&[b"ssh-rsa", &[1, 0, 1], &modulus])
}

/// The generator of P-521 (SEC 2 section 2.6.1), as a point.
fn p521() -> Vec<u8> {
    let hex = "0400c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe7592\
               8fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66011839296a789a3bc0045c8a5fb42c7d1bd9\
               98f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be9\
               4769fd16650";
    let digits: Vec<u8> =
        hex.bytes().map(|b| u8::try_from((b as char).to_digit(16).unwrap()).unwrap()).collect();
    let point: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    blob(&[b"ecdsa-sha2-nistp521", b"nistp521", &point])
}

#[test]
fn only_keys_that_are_strong_and_plain_may_log_in() {
    let good = Signer::new("good");
    let text = base64(&good.blob());
    let (key, comment) = SshPublicKey::parse(&format!("ssh-ed25519 {text} ana at home")).unwrap();
    assert_eq!((key.clone(), comment.as_str()), (good.public(), "ana at home"));
    assert_eq!(SshPublicKey::parse(&key.to_string()).unwrap().0, key);
    let hard = Signer::hardware("good");
    let line = format!("sk-ssh-ed25519@openssh.com {}", base64(&hard.blob()));
    assert_eq!(SshPublicKey::parse(&line).unwrap().0, hard.public());
    assert!(SshPublicKey::from_blob(&rsa(2_048)).is_ok());
    assert_eq!(SshPublicKey::from_blob(&rsa(4_096)).unwrap().rsa_bits(), Some(4_096));
    assert_eq!((hard.public().key_type(), hard.public().rsa_bits()), (KeyType::SkEd25519, None));
    let p521 = SshPublicKey::from_blob(&p521()).unwrap();
    assert_eq!((p521.key_type(), p521.rsa_bits()), (KeyType::EcdsaP521, None));
    assert_eq!(SshPublicKey::from_blob(&rsa(1_024)), Err(BadKey::Weak(1_024)));
    assert!(matches!(SshPublicKey::from_blob(&rsa(16_384)), Err(BadKey::Weak(_) | BadKey::Form)));
    for (line, expected) in [
        (format!("ssh-dss {text}"), BadKey::Type("ssh-dss".to_owned())),
        (
            format!("ssh-ed25519-cert-v01@openssh.com {text}"),
            BadKey::Type("ssh-ed25519-cert-v01@openssh.com".to_owned()),
        ),
        (format!("ssh-rsa-cert-v01@openssh.com {text}"), {
            BadKey::Type("ssh-rsa-cert-v01@openssh.com".to_owned())
        }),
        (format!("command=\"sh\" ssh-ed25519 {text}"), BadKey::Options),
        (format!("no-pty,from=\"10.0.0.0/8\" ssh-ed25519 {text} x"), BadKey::Options),
        ("-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(), BadKey::Private),
        (format!("-----BEGIN RSA PRIVATE KEY----- {text}"), BadKey::Private),
        (format!("ssh-rsa {text}"), BadKey::Form),
        (format!("ssh-ed25519 {text}\nssh-ed25519 {text}"), BadKey::Form),
        (format!("ssh-ed25519 {text} a\rb"), BadKey::Form),
        (format!("ssh-ed25519\t{text}"), BadKey::Form),
        (format!(" ssh-ed25519 {text}"), BadKey::Options),
        (format!("ssh-ed25519  {text}"), BadKey::Form),
        (format!("ssh-ed25519 {text}\0"), BadKey::Form),
        ("ssh-ed25519".to_owned(), BadKey::Form),
        (String::new(), BadKey::Form),
    ] {
        assert_eq!(SshPublicKey::parse(&line), Err(expected), "{line:?}");
    }
    let mut longer = good.blob();
    longer.push(0);
    assert!(SshPublicKey::from_blob(&longer).is_err(), "a byte more");
    for length in 0..good.blob().len() {
        assert!(SshPublicKey::from_blob(&good.blob()[..length]).is_err(), "cut at {length}");
    }
    let mut padded = rsa(2_048);
    padded.splice(15..18, [0, 1, 0, 1]);
    padded[14] = 4;
    assert!(SshPublicKey::from_blob(&padded).is_err(), "a number not in normal form");
}

fn genesis(root: &TrustRoot) -> Result<Verified<TrustRoot>, Refused> {
    use muster_proto::envelope::Document;
    let envelope = signed_by(root, Duty::Root, &["ana", "dia", "eve"]);
    Verified::genesis(&envelope, root.digest())
}

#[test]
fn a_p_521_key_logs_in_and_does_not_approve() {
    let key = SshPublicKey::from_blob(&p521()).unwrap();
    assert_eq!(key.can_approve(), Err(BadKey::CannotApprove));
    let mut root = Shape::Two.trust_root();
    root.people.get_mut(&name("bob")).unwrap().insert(key, Duty::Approver);
    let found = genesis(&root).unwrap_err();
    assert_eq!(found, Refused::TrustRoot(BadTrustRoot::UnusableKey(name("bob"))));
}

#[test]
fn one_private_key_is_not_two_people_nor_two_duties() {
    let shared = |alter: &dyn Fn(&mut TrustRoot)| {
        let mut root = Shape::Two.trust_root();
        assert!(genesis(&root).is_ok());
        alter(&mut root);
        matches!(genesis(&root), Err(Refused::TrustRoot(BadTrustRoot::SharedKey(_))))
    };
    let give = |root: &mut TrustRoot, person: &str, key: SshPublicKey, duty| {
        root.people.get_mut(&name(person)).unwrap().insert(key, duty);
    };
    let cem = signer("cem", Duty::Approver);
    assert!(shared(&|root| give(root, "bob", cem.public(), Duty::Approver)), "two people");
    assert!(shared(&|root| give(root, "bob", cem.public(), Duty::Root)), "two duties");
    let twin = Signer::hardware("cem Approver");
    assert_eq!(twin.raw(), cem.raw());
    assert!(shared(&|root| give(root, "bob", twin.public(), Duty::Approver)), "a hardware twin");
    let blob = blob(&[b"sk-ssh-ed25519@openssh.com", twin.raw(), b"ssh:two"]);
    let other = SshPublicKey::from_blob(&blob).unwrap();
    let both = |root: &mut TrustRoot| {
        give(root, "ana", other.clone(), Duty::Approver);
    };
    assert!(shared(&both), "another application");
    assert!(shared(&|root| give(root, "ana", Signer::new("online").public(), Duty::Approver)));
    assert!(!shared(&|root| root.machine_keys = [machine("other").public()].into()));
}

fn ops(root: &mut TrustRoot) -> &mut muster_proto::trust::ApproverGroup {
    root.approver_groups.get_mut(&name("ops")).unwrap()
}

#[test]
fn a_trust_root_that_could_never_or_too_easily_approve_is_refused() {
    let refused = |shape: Shape, alter: &dyn Fn(&mut TrustRoot)| {
        let mut root = shape.trust_root();
        alter(&mut root);
        root.check().is_err()
    };
    assert!(!refused(Shape::Two, &|_| ()));
    assert!(refused(Shape::Two, &|root| ops(root).threshold = 1), "not above half");
    assert!(refused(Shape::Two, &|root| ops(root).threshold = 4), "above their number");
    assert!(refused(Shape::Two, &|root| ops(root).threshold = 0));
    assert!(refused(Shape::Two, &|root| ops(root).members.clear()), "an empty group");
    assert!(refused(Shape::Two, &|root| ops(root).members = [name("stranger")].into()));
    assert!(refused(Shape::Two, &|root| root.approver_groups.clear()), "no group");
    assert!(refused(Shape::Two, &|root| root.root_threshold = 1));
    assert!(refused(Shape::One, &|root| root.root_threshold = 2));
    assert!(refused(Shape::One, &|root| root.version = 0));
    assert!(refused(Shape::One, &|root| root.previous =
        root.lineage.or(Some(machine("x").public().digest()))));
    let do_not_count = |root: &mut TrustRoot| {
        root.proposers = muster_proto::trust::ProposerRule::DoNotCount;
    };
    assert!(refused(Shape::One, &do_not_count), "nobody else is there");
    assert!(!refused(Shape::Two, &do_not_count));
    assert!(refused(Shape::Two, &|root| {
        do_not_count(root);
        ops(root).threshold = 3;
    }));
    assert!(refused(Shape::One, &|root| root.limits.uids = (999, 5_000)));
    assert!(refused(Shape::One, &|root| root.limits.uids = (50_000, 120_000)));
    assert!(refused(Shape::One, &|root| root.limits.gids = root.limits.uids));
}

#[test]
fn a_join_token_cut_short_or_altered_anywhere_is_refused() {
    let good = token(&staffed(Shape::Two));
    let text = good.render();
    assert_eq!(JoinToken::parse(&text), Ok(good));
    for length in 0..text.len() {
        assert!(JoinToken::parse(&text[..length]).is_err(), "cut at {length}");
    }
    for at in 0..text.len() {
        for replacement in ['A', 'B', 'z', '_', '-', '0', '=', ' ', '\n', '\0', 'ä'] {
            let mut bent = String::with_capacity(text.len() + 1);
            bent.push_str(&text[..at]);
            bent.push(replacement);
            bent.push_str(&text[at + 1..]);
            if bent != text {
                assert!(JoinToken::parse(&bent).is_err(), "{replacement:?} at {at}");
            }
        }
    }
    for bent in [
        format!(" {text}"),
        format!("{text}\n"),
        format!("{text}="),
        format!("{text}A"),
        text.to_uppercase(),
        "x".repeat(5_000),
        format!("muster-join-{}", "A".repeat(8_000)),
    ] {
        let found = JoinToken::parse(&bent);
        assert!(matches!(found, Err(BadToken::Form | BadToken::Checksum)), "{found:?}");
    }
}
