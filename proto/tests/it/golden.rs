//! The bytes of every document as they were first released: they never change, and a file that
//! exists is never written again.
#![expect(
    clippy::disallowed_methods,
    reason = "golden files are accepted by hand, when a variable says so"
)]

use std::{fmt::Write as _, fs, path::PathBuf};

use crate::documents::{others, samples};

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for row in bytes.chunks(32) {
        for byte in row {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push('\n');
    }
    text
}

fn compare(name: &str, bytes: &[u8]) -> Result<(), String> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden");
    let path = directory.join(format!("{name}.hex"));
    match fs::read_to_string(&path) {
        Ok(golden) if golden == hex(bytes) => Ok(()),
        Ok(_) => Err(format!("{name} is no longer encoded as in golden/{name}.hex")),
        Err(_) if std::env::var_os("MUSTER_ACCEPT_GOLDEN").is_some() => {
            fs::create_dir_all(directory).unwrap();
            fs::write(path, hex(bytes)).map_err(|error| error.to_string())
        }
        Err(_) => Err(format!(
            "golden/{name}.hex is missing; if {name} is new, accept its bytes with \
             `MUSTER_ACCEPT_GOLDEN=1 cargo test -p muster-proto --test it golden`"
        )),
    }
}

#[test]
fn every_document_has_the_bytes_that_it_was_released_with() {
    let mut faults = Vec::new();
    for sample in samples() {
        faults.extend(compare(&sample.name, &sample.bytes).err());
        assert_eq!((sample.again)(&sample.bytes), Some(sample.bytes), "{}", sample.name);
    }
    for (name, bytes) in others() {
        faults.extend(compare(&name, &bytes).err());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
