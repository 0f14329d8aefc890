//! The parameters of `logs.subscribe` (`docs/protocol.md`, "logs.subscribe").
//!
//! Reads only; the streams are the fan-out thread's. Called by `request`.

use crate::protocol::fields::{Invalid, Object};
use crate::protocol::methods::logs_tail::read_filter;
use crate::protocol::request::LogFilter;

/// The known parameters.
pub(in crate::protocol) const PARAMS: [&str; 3] = ["level", "source", "session"];

/// Reads the parameters: what is to be received; `None` is everything again.
pub(in crate::protocol) fn read(params: &Object<'_, 3>) -> Result<Option<LogFilter>, Invalid> {
    let filter = read_filter(params)?;
    Ok(Some(filter).filter(|filter| *filter != LogFilter::default()))
}
