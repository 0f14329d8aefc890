//! A disk that fails or hangs on demand, between the binary and its kernel.
//!
//! Builds `shims/fsync.c` with the system's C compiler into a directory of its own. Says so when
//! there is none; the test decides what that means.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::TempDir;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/shims/fsync.c");

/// The built shim and the files that switch it.
pub(crate) struct FsyncShim {
    dir: TempDir,
}

impl FsyncShim {
    /// Builds it; the error says why that is not possible here.
    pub(crate) fn build() -> Result<Self, String> {
        let shim = Self { dir: TempDir::new() };
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", SOURCE, "-o"]);
        let output = compiler.arg(shim.library()).output();
        let output = output.map_err(|error| format!("no C compiler: cc: {error}"))?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(shim)
    }

    /// What the binary is to be started with.
    pub(crate) fn environment(&self) -> [(&'static str, PathBuf); 3] {
        [
            ("LD_PRELOAD", self.library()),
            ("FSYNC_FAILS_WHILE", self.path("fails")),
            ("FSYNC_HANGS_WHILE", self.path("hangs")),
        ]
    }

    /// From now on every sync fails with EIO, or no longer.
    pub(crate) fn fail(&self, on: bool) {
        switch(&self.path("fails"), on);
    }

    /// From now on no sync returns, or they do again.
    pub(crate) fn hang(&self, on: bool) {
        switch(&self.path("hangs"), on);
    }

    fn library(&self) -> PathBuf {
        self.path("fsync.so")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn switch(flag: &Path, on: bool) {
    if on {
        fs::write(flag, "").unwrap();
    } else {
        fs::remove_file(flag).unwrap();
    }
}
