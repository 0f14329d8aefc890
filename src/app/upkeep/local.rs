//! Asking the gateway that runs on a state directory, over its control socket, in HTTP.
//!
//! No login and no hub: it answers while the process lives. Called by `backup`, `health`, `doctor`.

use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::time::Duration;

use crate::base::limits::LOCAL_ANSWER_BYTES_MAX;
use crate::shell::clock;
use crate::shell::control_socket::CONTROL_SOCKET;
use crate::shell::dial::Socket;

/// An answer whose body has begun.
pub(super) struct Answer {
    /// Such as `200`.
    pub(super) status: u16,
    /// What has come of the body.
    body: Vec<u8>,
    socket: Socket,
}

/// At which end a copy failed.
#[derive(Debug)]
pub(super) enum CopyError {
    /// The gateway's.
    Read(io::Error),
    /// Ours.
    Write(io::Error),
}

/// Asks; `None` when no gateway runs there.
pub(super) fn get(state_dir: &Path, path: &str, patience: Duration) -> io::Result<Option<Answer>> {
    let deadline = clock::instant() + patience;
    let mut socket = match Socket::connect_unix(&state_dir.join(CONTROL_SOCKET), deadline) {
        Ok(socket) => socket,
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    socket.write_all(request.as_bytes())?;
    let (head, body) = read_head(&mut socket)?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let status = status.and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no HTTP"))?;
    Ok(Some(Answer { status, body, socket }))
}

impl Answer {
    /// The whole body, which is a short text.
    pub(super) fn text(self) -> String {
        let mut text = String::from_utf8_lossy(&self.body).into_owned();
        // What has come of it is all there is.
        let _cut = self.socket.take(LOCAL_ANSWER_BYTES_MAX).read_to_string(&mut text);
        text.trim().to_owned()
    }

    /// Copies the body to its end; each read may take so long.
    pub(super) fn copy(
        mut self,
        out: &mut impl Write,
        patience: Duration,
    ) -> Result<(), CopyError> {
        out.write_all(&self.body).map_err(CopyError::Write)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            self.socket.set_deadline(clock::instant() + patience);
            let count = self.socket.read(&mut buffer).map_err(CopyError::Read)?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return Ok(());
            };
            out.write_all(bytes).map_err(CopyError::Write)?;
        }
    }
}

/// The head of an answer, and what has come of its body.
fn read_head(socket: &mut Socket) -> io::Result<(String, Vec<u8>)> {
    const END: &[u8] = b"\r\n\r\n";
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        if let Some(end) = bytes.windows(END.len()).position(|window| window == END) {
            let rest = bytes.split_off(end + END.len());
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        let count = socket.read(&mut buffer)?;
        if count == 0 || bytes.len() as u64 > LOCAL_ANSWER_BYTES_MAX {
            return Err(io::Error::new(ErrorKind::InvalidData, "it closed without an answer"));
        }
        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
}
