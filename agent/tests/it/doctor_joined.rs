//! What the doctor says of a host that has joined: its memory is a keeper's own, its certificate a
//! CA's, and faults are made in their files.
#![expect(clippy::disallowed_methods, reason = "a test breaks files")]

use std::{
    cell::Cell,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::PathBuf,
};

use muster_agent::{courier::join_identity, ledger::Ledger};
use muster_proto::time::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

use crate::{
    doctor::{allow, found_at, host},
    fleet::{
        keys::machine_pkcs8,
        world::{Shape, World},
    },
    life::{BORN, Life},
    world::Root,
};

const DAY: u64 = 86_400;
const COURIER: u32 = 990;

/// The files of a host that has joined, in a root of its own.
struct Joined {
    root: Root,
    now: Cell<Timestamp>,
}

impl Joined {
    /// Lays down what a keeper knows that has verified a change, and a certificate of three years.
    fn new() -> Self {
        let joined = Self { root: host(), now: Cell::new(Timestamp(BORN)) };
        let life = Life::of(&[("ana", [None, None])]);
        for name in ["ledger", "key.der"] {
            fs::copy(life.file(name), joined.keeper(name)).unwrap();
            allow(&joined.keeper(name), 0o600);
        }
        allow(&joined.root.path("state/keeper"), 0o700);
        allow(&joined.root.path("state/courier"), 0o700);
        chown(joined.root.path("state/courier"), Some(COURIER), Some(COURIER)).unwrap();
        joined.certify(2030, 1);
        joined
    }

    fn keeper(&self, name: &str) -> PathBuf {
        self.root.path("state/keeper").join(name)
    }

    fn courier(&self, name: &str) -> PathBuf {
        self.root.path("state/courier").join(name)
    }

    /// Gives the courier a certificate that ends at the beginning of this day of a January.
    fn certify(&self, year: i32, day: u8) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = rcgen::date_time_ymd(year, 1, day);
        let certificate = params.signed_by(&key, &ca).unwrap();
        let identity = join_identity(&key.serialize_der(), certificate.der());
        for (name, bytes) in
            [("identity", identity.as_slice()), ("ca.der", ca.der()), ("controller", b"ctl:7420")]
        {
            fs::write(self.courier(name), bytes).unwrap();
            allow(&self.courier(name), 0o600);
            chown(self.courier(name), Some(COURIER), Some(COURIER)).unwrap();
        }
    }

    fn found(&self) -> Vec<(String, String)> {
        let found = found_at(&self.root, self.now.get()).into_iter();
        found.map(|finding| (finding.subject, finding.fault)).collect()
    }

    /// Asserts that one thing is found.
    #[track_caller]
    fn one(&self, subject: &str, words: &str) {
        let all = self.found();
        let [(about, fault)] = all.as_slice() else { panic!("{subject}, {words}: {all:?}") };
        assert_eq!(about, subject);
        assert!(fault.contains(words), "{fault}");
    }

    /// Asserts that one thing is found from a second on, and nothing in the one before it.
    #[track_caller]
    fn from(&self, second: u64, subject: &str, words: &str) {
        self.now.set(Timestamp(second - 1));
        assert_eq!(self.found(), []);
        self.now.set(Timestamp(second));
        self.one(subject, words);
    }

    /// Asserts that one thing is found while a file is another's or has another mode.
    #[track_caller]
    fn with(&self, name: &str, (uid, mode): (u32, u32), subject: &str, words: &str) {
        let path = self.root.path(name);
        let before = fs::metadata(&path).unwrap();
        chown(&path, Some(uid), None).unwrap();
        allow(&path, mode);
        self.one(subject, words);
        chown(&path, Some(before.uid()), None).unwrap();
        allow(&path, before.permissions().mode() & 0o7777);
        assert_eq!(self.found(), []);
    }
}

#[test]
fn files_that_others_can_use_or_their_owner_cannot_are_found() {
    let joined = Joined::new();
    assert_eq!(joined.found(), []);
    let root = "state directory";
    joined.with("state", (8, 0o711), root, "belongs to uid 8 and not to root");
    joined.with("state", (0, 0o733), root, "others than root may write");
    joined.with("state/keeper", (8, 0o700), root, "belongs to uid 8 and not to root");
    joined.with("state/keeper", (0, 0o710), root, "others than root may use");
    joined.with("state/keeper/key.der", (0, 0o604), root, "others than root may use");
    for name in ["identity", "ca.der", "controller"] {
        let path = format!("state/courier/{name}");
        joined.with(&path, (0, 0o600), "courier", "belongs to uid 0: the courier cannot use it");
        joined.with(&path, (COURIER, 0o640), "courier", "others than the courier may use");
        joined.with(&path, (COURIER, 0o200), "courier", "the courier itself may not use");
    }
    let directory = "state/courier";
    joined.with(directory, (COURIER, 0o750), "courier", "others than the courier may use");
    joined.with(directory, (COURIER, 0o500), "courier", "the courier itself may not use");
}

#[test]
fn a_courier_without_an_account_and_a_key_that_is_not_the_ledgers_are_found() {
    let joined = Joined::new();
    let passwd = joined.root.read("etc/passwd");
    let without = passwd.replace("muster-agent:", "somebody:");
    joined.root.write("etc/passwd", 0o644, &without);
    joined.one("courier", "no account `muster-agent`");
    joined.root.write("etc/passwd", 0o644, &passwd);
    assert_eq!(joined.found(), []);

    let key = joined.keeper("key.der");
    let mine = fs::read(&key).unwrap();
    fs::write(&key, machine_pkcs8("another")).unwrap();
    joined.one("keeper's key", "is not the key of this host's ledger");
    fs::write(&key, "no key").unwrap();
    joined.one("keeper's key", "is damaged");
    fs::remove_file(&key).unwrap();
    joined.one("keeper's key", "is missing: nothing can be signed here");
    fs::write(&key, mine).unwrap();
    allow(&key, 0o600);
    assert_eq!(joined.found(), []);
}

#[test]
fn a_certificate_that_was_not_renewed_is_found_from_its_bounds_on() {
    const HOUR: u64 = 3_600;
    let joined = Joined::new();
    joined.certify(2027, 20);
    let ends: u64 = 1_800_403_200;
    assert_eq!(Timestamp(ends).to_string(), "2027-01-20T00:00:00Z");
    joined.from(ends - 6 * HOUR + 1, "certificate", "should have been renewed hours ago");
    joined.now.set(Timestamp(ends - 1));
    joined.one("certificate", "should have been renewed hours ago");
    for (second, words) in [
        (ends, "and was not renewed"),
        (ends + 30 * DAY - 1, "and was not renewed"),
        (ends + 30 * DAY, "too long ago to be renewed"),
    ] {
        joined.now.set(Timestamp(second));
        joined.one("certificate", words);
    }
    // One of another authority.
    joined.now.set(Timestamp(BORN));
    let ca = fs::read(joined.courier("ca.der")).unwrap();
    joined.certify(2027, 20);
    fs::write(joined.courier("ca.der"), ca).unwrap();
    joined.one("certificate", "not one of the controller's CA");
}

#[test]
fn a_change_and_a_trust_root_that_run_out_are_found_from_their_bounds_on() {
    let joined = Joined::new();
    let bytes = fs::read(joined.keeper("ledger")).unwrap();
    let ledger = Ledger::decode(&bytes).unwrap();
    let (changed, expires) = (ledger.floor_link().unwrap().time, ledger.trust().expires);
    joined.from(changed.0 + 90 * DAY, "change", "lets nothing new be given");
    // Without a change there is none that is too old.
    let roots = World::new(Shape::One).trust_roots;
    let fresh = Ledger::begin(ledger.host, ledger.lineage, roots, None).unwrap();
    fs::write(joined.keeper("ledger"), fresh.encode()).unwrap();
    joined.from(expires.0 - 60 * DAY + 1, "trust root", "trust root 1 grants nothing new from");
    joined.now.set(Timestamp(expires.0 - 1));
    joined.one("trust root", "grants nothing new from");
    joined.now.set(expires);
    joined.one("trust root", "trust root 1 has expired");
}
