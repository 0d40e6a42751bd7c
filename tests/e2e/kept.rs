//! Files and programs of a host that a test changes for a while.

use muster_tests::Host;

/// A file of a host that gets back what it had, however a test ends.
pub(crate) struct Kept<'a> {
    host: &'a Host,
    path: &'static str,
    bytes: Vec<u8>,
}

impl<'a> Kept<'a> {
    pub(crate) fn of(host: &'a Host, path: &'static str) -> Self {
        Self { host, path, bytes: host.read(path).unwrap() }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    pub(crate) fn replace(&self, text: &str) {
        self.host.write(self.path, text.as_bytes(), 0o644).unwrap();
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        // The first failure is the one to tell.
        let _ = self.host.write(self.path, &self.bytes, 0o644);
    }
}

/// A script in the place of a program, which is beside it with `.own` behind its name and comes back
/// however a test ends.
pub(crate) struct Shim<'a> {
    host: &'a Host,
    path: &'static str,
}

impl<'a> Shim<'a> {
    pub(crate) fn before(host: &'a Host, path: &'static str, script: &str) -> Self {
        let shim = Self { host, path };
        host.run_ok(&["cp", "--archive", path, &format!("{path}.own")]).unwrap();
        let script = format!("#!/bin/sh\n{script}\n");
        // Written beside it first: it is there at any time.
        let new = format!("{path}.new");
        host.write(&new, script.as_bytes(), 0o755).unwrap();
        host.run_ok(&["mv", &new, path]).unwrap();
        shim
    }
}

impl Drop for Shim<'_> {
    fn drop(&mut self) {
        // The first failure is the one to tell.
        let _ = self.host.run(&["mv", &format!("{}.own", self.path), self.path]);
    }
}
