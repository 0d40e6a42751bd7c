//! The read-only base image that hosts stand on. `tests/prepare` builds it; this only finds it.

use std::env;
use std::path::PathBuf;

use anyhow::bail;

/// One base image.
#[derive(Debug)]
pub(crate) struct Base {
    /// Its root folder.
    pub(crate) root: PathBuf,
    /// The file that whoever uses the image locks shared.
    pub(crate) lock: PathBuf,
}

impl Base {
    pub(crate) fn find(image: &str) -> anyhow::Result<Self> {
        let base = cache().join(format!("base-{image}"));
        if !base.join("stamp").exists() {
            bail!("there is no base image `{image}`: run `tests/prepare {image}` first");
        }
        Ok(Self { root: base.join("root"), lock: cache().join(format!("base-{image}.lock")) })
    }
}

/// Returns the folder of base images and of what hosts write over them.
pub(crate) fn cache() -> PathBuf {
    env::var_os("MUSTER_LAB_CACHE").map_or_else(|| "/var/tmp/muster-lab".into(), PathBuf::from)
}
