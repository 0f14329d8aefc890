//! What fails or hangs on demand, between the binary and its C library: a disk, the hub's thread.
//!
//! Builds a file of `shims` with the system's C compiler into a directory of its own. Says so when
//! there is none; the test decides what that means.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::TempDir;

/// A library that was built to be loaded before all others, and the files that switch it.
struct Shim {
    dir: TempDir,
}

impl Shim {
    fn build(source: &str) -> Result<Self, String> {
        let shims = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/shims");
        let shim = Self { dir: TempDir::new() };
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-D_GNU_SOURCE"]).arg(shims.join(source));
        let output = compiler.arg("-o").arg(shim.path("shim.so")).output();
        let output = output.map_err(|error| format!("no C compiler: cc: {error}"))?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(shim)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn switch(&self, name: &str, on: bool) {
        if on {
            fs::write(self.path(name), "").unwrap();
        } else {
            fs::remove_file(self.path(name)).unwrap();
        }
    }
}

/// A disk that fails or hangs.
pub(crate) struct FsyncShim(Shim);

impl FsyncShim {
    /// Builds it; the error says why that is not possible here.
    pub(crate) fn build() -> Result<Self, String> {
        Shim::build("fsync.c").map(Self)
    }

    /// What the binary is to be started with.
    pub(crate) fn environment(&self) -> [(&'static str, PathBuf); 3] {
        [
            ("LD_PRELOAD", self.0.path("shim.so")),
            ("FSYNC_FAILS_WHILE", self.0.path("fails")),
            ("FSYNC_HANGS_WHILE", self.0.path("hangs")),
        ]
    }

    /// From now on every sync fails with EIO, or no longer.
    pub(crate) fn fail(&self, on: bool) {
        self.0.switch("fails", on);
    }

    /// From now on no sync returns, or they do again.
    pub(crate) fn hang(&self, on: bool) {
        self.0.switch("hangs", on);
    }
}

/// A hub whose thread hangs, as only a bug of ours could make it.
pub(crate) struct HubShim(Shim);

impl HubShim {
    /// Builds it; the error says why that is not possible here.
    pub(crate) fn build() -> Result<Self, String> {
        Shim::build("hub.c").map(Self)
    }

    /// What the binary is to be started with.
    pub(crate) fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.0.path("shim.so")), ("HUB_HANGS_WHILE", self.0.path("hangs"))]
    }

    /// From now on the hub does nothing, or goes on.
    pub(crate) fn hang(&self, on: bool) {
        self.0.switch("hangs", on);
    }
}
