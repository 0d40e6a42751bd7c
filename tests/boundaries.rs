//! The fences between the parts of Muster, kept by reading the sources: who may name what.
//!
//! Each fence is a row of [`FENCES`]: names that may not stand within some places, but for the
//! places that exist to use them. A place is a file, or a module with all that is below it. A new
//! exception is a row that changes, which a reviewer sees. Comments and tests do not count.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

#[path = "boundaries/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

struct Fence {
    /// Paths, each with all that is inside it; a macro ends in `!`.
    names: &'static [&'static str],
    within: &'static [&'static str],
    except: &'static [&'static str],
    reason: &'static str,
}

const PRODUCT: &[&str] = &["proto/src", "agent/src", "controller/src"];

const PURE: &[&str] = &[
    "proto/src/derive",
    "agent/src/plan",
    "agent/src/drift",
    "agent/src/doctor",
    "agent/src/format",
    "agent/src/guard",
    "agent/src/inventory",
    "agent/src/pause",
    "controller/src/publish",
    "controller/src/preview",
    "controller/src/access",
    "controller/src/adopt",
    "controller/src/proposal",
    "controller/src/exception",
];

const FENCES: &[Fence] = &[
    Fence {
        names: &["sqlx"],
        within: PRODUCT,
        except: &["controller/src/store"],
        reason: "SQL is written in one place, which takes and gives domain types",
    },
    Fence {
        names: &["nix", "libc"],
        within: &["agent/src", "proto/src"],
        except: &["agent/src/host"],
        reason: "one place touches the machine",
    },
    Fence {
        names: &["std::process", "tokio::process"],
        within: PRODUCT,
        except: &["agent/src/host", "controller/src/cli/sign.rs"],
        reason: "no shell and no program but where the host is changed, or ssh-keygen signs",
    },
    Fence {
        names: &[
            "std::fs::write",
            "std::fs::rename",
            "std::fs::copy",
            "std::fs::hard_link",
            "std::fs::create_dir",
            "std::fs::create_dir_all",
            "std::fs::remove_file",
            "std::fs::remove_dir",
            "std::fs::remove_dir_all",
            "std::fs::set_permissions",
            "std::fs::File::create",
            "std::fs::File::create_new",
            "std::fs::File::options",
            "std::fs::OpenOptions",
            "std::fs::DirBuilder",
            "std::os::unix::fs::symlink",
            "std::os::unix::fs::chown",
            "std::os::unix::fs::lchown",
            "std::os::unix::fs::fchown",
            "tokio::fs",
        ],
        within: &["agent/src", "proto/src"],
        except: &["agent/src/host"],
        reason: "files are written durably and without following links, in one place",
    },
    Fence {
        names: &["unsafe"],
        within: PRODUCT,
        except: &["agent/src/host"],
        reason: "memory is the compiler's to check",
    },
    Fence {
        names: &["muster_proto::wire", "crate::wire", "super::wire"],
        within: PRODUCT,
        except: &[
            "proto/src/convert",
            "proto/src/parts.rs",
            "proto/src/wire.rs",
            "agent/src/courier.rs",
            "agent/src/courier/upward.rs",
            "agent/src/channel.rs",
            "agent/src/api",
            "controller/src/api",
            "controller/src/client",
        ],
        reason: "wire types are turned into what they mean at the edge and go no further",
    },
    Fence {
        names: &["muster_proto::receipt::FindingWord", "muster_proto::receipt::finding"],
        within: &["agent/src", "controller/src"],
        except: &[],
        reason: "whoever finds something has the words of `FindingKind`; others come over the wire",
    },
    Fence {
        names: &["ring"],
        within: PRODUCT,
        except: &[
            "proto/src/crypto.rs",
            "controller/src/signer.rs",
            "controller/src/enrol",
            "agent/src/courier.rs",
            "agent/src/receipt.rs",
        ],
        reason: "keys and signatures are handled in few places, each reviewed as such",
    },
    Fence {
        names: &["ring::rand"],
        within: &["proto/src"],
        except: &[],
        reason: "the contract is computed alike everywhere, so it takes no chances",
    },
    Fence {
        names: &["ssh_key", "ssh_encoding"],
        within: PRODUCT,
        except: &["proto/src/key.rs", "proto/src/crypto.rs"],
        reason: "a key is parsed once, into a type that holds no bad one",
    },
    Fence {
        names: &["clap", "anyhow"],
        within: PRODUCT,
        except: &["agent/src/cli", "controller/src/main.rs", "controller/src/cli"],
        reason: "what goes wrong inside is a typed error; only the edge words it for people",
    },
    Fence {
        names: &["print!", "println!", "std::io::stdout"],
        within: PRODUCT,
        except: &["controller/src/cli/output.rs", "agent/src/cli"],
        reason: "standard output is an interface, kept in one place",
    },
    Fence {
        names: &["eprint!", "eprintln!", "dbg!"],
        within: PRODUCT,
        except: &["controller/src/cli/output.rs", "agent/src/cli"],
        reason: "what is to be known is logged or returned",
    },
    Fence {
        names: &[
            "std::time::SystemTime::now",
            "std::time::Instant::now",
            "tokio::time::Instant::now",
            "time::OffsetDateTime::now_utc",
            "time::OffsetDateTime::now_local",
            "time::UtcDateTime::now",
        ],
        within: PRODUCT,
        except: &[
            "agent/src/host",
            "agent/src/keeper.rs",
            "agent/src/courier.rs",
            "controller/src/server.rs",
            "controller/src/main.rs",
            // The operator's tool is a process of its own.
            "controller/src/cli/session.rs",
        ],
        reason: "everyone else is given `now`, and can be tested at any time of day",
    },
    Fence {
        names: &["std::thread::sleep"],
        within: &["proto/src", "agent/src", "controller/src", "tests"],
        except: &["tests/src/wait.rs", "agent/src/host"],
        reason: "tests wait for what they wait for; the product waits on events",
    },
    Fence {
        names: &["crate::store", "super::store", "super::super::store", "muster_controller::store"],
        within: &["controller/src/cli"],
        except: &[
            "controller/src/cli/init.rs",
            "controller/src/cli/serve.rs",
            "controller/src/cli/backup.rs",
            "controller/src/cli/restore.rs",
            "controller/src/cli/doctor.rs",
        ],
        reason: "an operator's tool asks the server, which asks who is calling",
    },
    Fence {
        names: &["std::fs", "std::net", "std::env", "std::thread", "tokio", "tonic", "tracing"],
        within: PURE,
        except: &[],
        reason: "takes values and returns values: no files, no network, no log",
    },
    Fence {
        names: &["crate::host", "crate::apply", "crate::keeper", "crate::ledger"],
        within: &["agent/src/plan", "agent/src/drift", "agent/src/format", "agent/src/inventory"],
        except: &[],
        reason: "a plan is made before the machine is touched, from what was observed",
    },
    Fence {
        names: &["crate::store", "crate::server", "crate::fleet", "crate::api"],
        within: &["controller/src/publish", "controller/src/preview"],
        except: &[],
        reason: "what a host is sent, and what a change does, is worked out from values alone",
    },
    Fence {
        names: &[
            "tokio",
            "std::fs",
            "std::env",
            "std::process",
            "std::thread",
            "std::net::TcpListener",
            "std::net::TcpStream",
            "std::net::UdpSocket",
            "std::net::ToSocketAddrs",
        ],
        within: &["proto/src"],
        except: &[],
        reason: "the contract is values and rules; whoever uses it brings the world",
    },
    Fence {
        names: &["muster_controller", "muster"],
        within: &["agent/src", "proto/src"],
        except: &[],
        reason: "agent and controller know each other by the contract alone",
    },
    Fence {
        names: &["muster_agent"],
        within: &["controller/src", "proto/src"],
        except: &[],
        reason: "agent and controller know each other by the contract alone",
    },
];

/// `ExitCode` is how `main` ends, and starts nothing.
const HARMLESS: &[(&str, &[&str])] = &[(
    "std::process::ExitCode",
    &["agent/src/main.rs", "agent/src/cli", "controller/src/main.rs", "controller/src/cli.rs"],
)];

/// Crates that must not come in by any way, and what to use.
const REFUSED_CRATES: &[(&str, &str)] = &[
    ("aws-lc-rs", "ring, so that there is one implementation of each algorithm"),
    ("aws-lc-sys", "ring, so that no second C library is built"),
    ("openssl-sys", "rustls, since the agent is one static binary"),
    ("native-tls", "rustls, since the agent is one static binary"),
    ("chrono", "our own timestamps, and `time` in the controller"),
    ("serde_yaml", "serde-saphyr: it is no longer maintained"),
    ("serde_yml", "serde-saphyr: it is unsound"),
    ("rustls-pemfile", "rustls-pki-types: it is no longer maintained"),
    ("users", "nix: it is no longer maintained"),
    ("daemonize", "systemd, which is what starts us"),
    ("backoff", "the courier's own loop: it is no longer maintained"),
];

/// All that the contract may stand on.
const DEPENDENCIES_OF_PROTO: &[&str] =
    &["base64ct", "prost", "ring", "ssh-encoding", "ssh-key", "thiserror", "tonic", "tonic-prost"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A place is a file, a folder, or a module: `agent/src/plan` is also `agent/src/plan.rs`.
fn is_in(file: &str, places: &[&str]) -> bool {
    places.iter().any(|place| {
        file.strip_prefix(place)
            .is_some_and(|rest| rest.is_empty() || rest == ".rs" || rest.starts_with('/'))
    })
}

/// Returns what in `file` stands on the wrong side of a fence.
fn trespasses(file: &str, text: &str) -> Vec<String> {
    let names = source::names(text);
    let mut found = BTreeSet::new();
    for fence in FENCES.iter().filter(|f| is_in(file, f.within) && !is_in(file, f.except)) {
        for name in &names {
            let harmless = HARMLESS
                .iter()
                .any(|(path, places)| source::is_within(&name.path, path) && is_in(file, places));
            if !harmless && fence.names.iter().any(|path| source::is_within(&name.path, path)) {
                found.insert((name.line, format!("`{}`: {}", name.path, fence.reason)));
            }
        }
    }
    found.into_iter().map(|(line, what)| format!("{file}:{line}: {what}")).collect()
}

/// Returns the sources below `folder` by their paths from the root. Modules of tests are left out.
fn sources(folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = folder.join(entry.file_name());
        let name = path.file_name().unwrap().to_str().unwrap();
        if entry.file_type().unwrap().is_dir() && name != "target" {
            sources(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") && name != "tests.rs" {
            files.push(path.to_str().unwrap().to_owned());
        }
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// Returns the names in one table of a manifest.
fn dependencies(manifest: &str, table: &str) -> Vec<String> {
    let lines = manifest.lines().skip_while(|line| *line != format!("[{table}]")).skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn refused_crates(lock: &str) -> Vec<String> {
    let name = |line: &str| line.strip_prefix("name = \"")?.strip_suffix('"').map(str::to_owned);
    let names: BTreeSet<String> = lock.lines().filter_map(name).collect();
    let refused = REFUSED_CRATES.iter().filter(|(name, _)| names.contains(*name));
    refused.map(|(name, instead)| format!("`{name}` is refused; instead: {instead}")).collect()
}

#[test]
fn no_source_names_what_is_behind_a_fence() {
    let mut files = Vec::new();
    for folder in PRODUCT.iter().chain(&["tests"]) {
        sources(Path::new(folder), &mut files);
    }
    assert!(files.len() > 40, "these cannot be all: {files:?}");
    let found: Vec<String> = files.iter().flat_map(|file| trespasses(file, &read(file))).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn nothing_refused_is_in_the_lock_file() {
    assert_eq!(refused_crates(&read("Cargo.lock")), [""; 0]);
}

#[test]
fn the_contract_stands_on_little_and_the_two_sides_not_on_each_other() {
    let extra: Vec<String> = dependencies(&read("proto/Cargo.toml"), "dependencies")
        .into_iter()
        .filter(|name| !DEPENDENCIES_OF_PROTO.contains(&name.as_str()))
        .collect();
    assert_eq!(extra, [""; 0], "the contract has new dependencies");
    for (side, other) in [("agent", "muster-controller"), ("controller", "muster-agent")] {
        let manifest = read(&format!("{side}/Cargo.toml"));
        assert!(!manifest.contains(other), "{side} must not know {other}");
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for member in ["proto", "agent", "controller", "tests"] {
        let manifest = read(&format!("{member}/Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{member}");
    }
}

#[test]
fn a_planted_trespass_is_found() {
    for (file, text) in [
        ("controller/src/server.rs", "use sqlx::SqlitePool;"),
        ("controller/src/api/agent.rs", "fn f() { sqlx::query(\"\") }"),
        ("agent/src/plan/accounts.rs", "use std::fs;\nfn f() { fs::read(\"x\") }"),
        ("agent/src/keeper.rs", "use std::{fs, io}; fn f() { fs::rename(a, b) }"),
        ("agent/src/ledger.rs", "use std::fs::{File, OpenOptions};"),
        ("agent/src/apply.rs", "use nix::unistd; "),
        ("agent/src/apply.rs", "fn f() { std::process::Command::new(\"sh\") }"),
        ("agent/src/apply.rs", "use std::process::ExitCode;"),
        ("agent/src/observed.rs", "fn f() { unsafe { g() } }"),
        ("agent/src/plan.rs", "use muster_proto::{name::Login, wire};"),
        ("controller/src/publish.rs", "use crate::store::Store;"),
        ("controller/src/cli/apply.rs", "use crate::store::Store;"),
        ("controller/src/store.rs", "use anyhow::Context;"),
        ("controller/src/fleet.rs", "fn f() { println!() }"),
        ("controller/src/fleet.rs", "use std::time::SystemTime; fn f() { SystemTime::now() }"),
        ("proto/src/statement.rs", "use ssh_key::PublicKey;"),
        ("proto/src/crypto.rs", "use ring::{rand::SystemRandom, signature};"),
        ("proto/src/derive.rs", "use std::*;"),
        (
            "agent/src/ends.rs",
            "use muster_proto::receipt; fn f() { receipt::FindingWord::heard(w) }",
        ),
        ("agent/src/courier.rs", "use muster_controller::publish;"),
        ("tests/e2e/lifecycle.rs", "fn f() { std::thread::sleep(d) }"),
    ] {
        assert!(!trespasses(file, text).is_empty(), "{file}: {text}");
    }
}

#[test]
fn what_is_on_its_own_side_is_left_alone() {
    for (file, text) in [
        ("controller/src/store.rs", "use sqlx::SqlitePool;"),
        ("controller/src/store/links.rs", "use sqlx::Row;"),
        ("agent/src/host/files.rs", "use std::fs::OpenOptions; use nix::fcntl; unsafe {}"),
        ("agent/src/config.rs", "use std::fs; fn f() { fs::read_to_string(p) }"),
        ("agent/src/cli.rs", "use std::process::ExitCode; use clap::Parser;"),
        ("agent/src/plan.rs", "/// Never `std::fs`.\n#[cfg(test)] mod tests { use std::fs; }"),
        ("controller/src/cli/output.rs", "fn f() { println!() }"),
        ("controller/src/fleet.rs", "use tokio::time::Instant; fn f(at: Instant) {}"),
        ("proto/src/crypto.rs", "use ring::signature;"),
    ] {
        assert_eq!(trespasses(file, text), [""; 0], "{text}");
    }
}

#[test]
fn a_refused_crate_in_a_lock_file_is_found() {
    let lock = "[[package]]\nname = \"chrono-tz\"\n[[package]]\nname = \"openssl-sys\"\n";
    assert_eq!(refused_crates(lock).len(), 1);
    let manifest = "[dependencies]\nmuster-proto.workspace = true\ntokio = { x = 1 }\n\n[lints]\n";
    assert_eq!(dependencies(manifest, "dependencies"), ["muster-proto", "tokio"]);
}
