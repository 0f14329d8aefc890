//! `logs.tail {cursor?, limit?, maxBytes?, level?, source?, session?}`: a page of the journal.
//!
//! Shows what is accepted, like the live events, not only what is on disk.

use crate::base::ids::{ConnId, RequestId};
use crate::hub::Hub;
use crate::hub::effect::Effect;
use crate::protocol::reply::Reply;
use crate::protocol::request::LogsTail;

impl Hub {
    pub(in crate::hub) fn logs_tail(
        &self,
        conn: ConnId,
        id: RequestId,
        ask: &LogsTail,
        effects: &mut Vec<Effect>,
    ) {
        self.respond(conn, id, Ok(Reply::LogsTail(self.journal.tail(ask))), effects);
    }
}
