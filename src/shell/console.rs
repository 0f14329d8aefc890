//! What is said directly to standard output or standard error, without waiting for a reader that
//! does not read.
//!
//! For the few texts that are no diagnostics: the first line, hints, the last error. Owns nothing.
//! Called by `app`, before and after there are diagnostics.

use std::io::{self, Write};
use std::thread::Builder;

use crossbeam_channel::bounded;

use crate::base::limits::CONSOLE_GRACE;

/// Writes a text and flushes, waiting at most `CONSOLE_GRACE`: a pipe may be full, and nobody may
/// ever read it. The writing goes on behind this, as long as the process lives. That nobody reads
/// any more is no error; that there is no thread to be had is.
pub fn write(mut out: impl Write + Send + 'static, text: String) -> io::Result<()> {
    let (written, done) = bounded::<()>(0);
    Builder::new().name("console".to_owned()).spawn(move || {
        let _closed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        drop(written);
    })?;
    // Nothing is ever sent: it is over when the thread is, or when the grace is.
    let _over = done.recv_timeout(CONSOLE_GRACE);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::shell::clock;

    #[test]
    fn text_is_written_when_the_call_returns() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        write(ours, "said".to_owned()).unwrap();
        assert_eq!(io::read_to_string(&mut theirs).unwrap(), "said");
    }

    #[test]
    fn reader_that_does_not_read_costs_the_grace_only() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let began = clock::instant();
        write(ours, "x".repeat(16 * 1024 * 1024)).unwrap();
        assert!(clock::instant() - began < CONSOLE_GRACE + Duration::from_secs(10));
    }
}
