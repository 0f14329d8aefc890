//! `system-presence`: who is here, newest first, each with the round trip of its last heartbeat.

use std::sync::Arc;

use crate::base::ids::{ConnId, RequestId};
use crate::base::limits::PRESENCE_LISTED_MAX;
use crate::hub::Hub;
use crate::hub::effect::Effect;
use crate::protocol::event::PresenceEntry;
use crate::protocol::reply::Reply;

impl Hub {
    pub(in crate::hub) fn system_presence(
        &self,
        conn: ConnId,
        id: RequestId,
        effects: &mut Vec<Effect>,
    ) {
        let rtt_micros = |conn| {
            let rtt = self.clients.get(conn)?.rtt?;
            u64::try_from(rtt.as_micros()).ok()
        };
        let entries: Arc<[PresenceEntry]> = self
            .presence
            .newest(PRESENCE_LISTED_MAX)
            .map(|(entry, newest_conn)| PresenceEntry {
                rtt_micros: newest_conn.and_then(rtt_micros),
                ..entry.clone()
            })
            .collect();
        self.respond(conn, id, Ok(Reply::Presence(entries)), effects);
    }
}
