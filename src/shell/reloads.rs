//! The thread that reads the configuration again, because files may be slow.
//!
//! Knows nothing of the configuration: `app::reload` does the reading. Asked by SIGHUP and by the
//! owner over the control socket; one at a time, in order.

use std::io;
use std::thread::Builder;

use crossbeam_channel::Receiver;

use crate::shell::service::ReloadRequest;

/// Starts the thread, `reload`, which reloads for each request and says in the diagnostics what
/// came of it; it is told whether the owner asks. After each request that nobody waits for, it calls `done`.
pub fn start(
    requests: Receiver<ReloadRequest>,
    mut reload: impl FnMut(bool) -> Result<String, String> + Send + 'static,
    done: impl Fn() + Send + 'static,
) -> io::Result<()> {
    Builder::new().name("reload".to_owned()).spawn(move || {
        for request in &requests {
            let outcome = reload(request.is_some());
            match &outcome {
                Ok(said) => log::info!("{}", said.replace('\n', "; ")),
                Err(problem) => log::error!("{problem}"),
            }
            match request {
                // Who asked may have gone.
                Some(asker) => drop(asker.try_send(outcome)),
                None => done(),
            }
        }
    })?;
    Ok(())
}
