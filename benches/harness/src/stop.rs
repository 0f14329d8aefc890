//! Ctrl-C and TERM: every wait of the generator asks here, so that a run ends by returning and
//! every server and directory is given back on the way.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Installs the handlers. A second signal ends the process at once.
pub(crate) fn install() -> Result<()> {
    let asked = Arc::clone(ASKED.get_or_init(Arc::default));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&asked))?;
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
    }
    Ok(())
}

/// Whether a signal has come.
pub(crate) fn is_asked() -> bool {
    ASKED.get().is_some_and(|asked| asked.load(Ordering::Relaxed))
}

/// An error once a signal has come.
pub(crate) fn check() -> Result<()> {
    if is_asked() {
        bail!("stopped by a signal");
    }
    Ok(())
}
