//! Keys that live in hardware, without hardware: a FIDO2 token in software (`script/token.c`) that
//! ssh-keygen and ssh load as their provider of such keys. Signatures have the real `sk-` format.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::KeyPair;
use crate::command::{command, ok};

const PROVIDER: &str = include_str!("script/token.c");

/// One key in a token, by two files: they differ in what they ask of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HardwareKey {
    /// Asks that somebody is there.
    pub touched: KeyPair,
    /// Asks that the token verifies who it is, by a PIN or a finger.
    pub verified: KeyPair,
    provider: PathBuf,
}

impl HardwareKey {
    pub(crate) fn generate(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let file = |ending: &str| folder.join(format!("{name}.{ending}"));
        let (source, provider, challenge) = (file("c"), file("so"), file("challenge"));
        fs::write(&source, PROVIDER).context("cannot write the token's source")?;
        let mut compile = command(&["gcc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]);
        // By the library's own name: its headers and the link for linkers need not be here.
        compile.arg("-o").arg(&provider).arg(&source).arg("-l:libcrypto.so.3");
        ok(compile)?;
        // The lab goes, and its keys with it.
        fs::write(&challenge, name).context("cannot write the token's challenge")?;
        let enrol = |name: &str, asking: &[&str]| {
            let mut words = vec!["-O".to_owned(), format!("challenge={}", challenge.display())];
            words.extend(asking.iter().map(ToString::to_string));
            words.extend(["-w".to_owned(), provider.display().to_string()]);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            KeyPair::generate_with(folder, name, "ed25519-sk", &words)
        };
        Ok(Self {
            touched: enrol(name, &[])?,
            verified: enrol(&format!("{name}-verified"), &["-O", "verify-required"])?,
            provider,
        })
    }

    /// Returns the option by which ssh finds the token.
    pub fn option(&self) -> String {
        format!("SecurityKeyProvider={}", self.provider.display())
    }
}
