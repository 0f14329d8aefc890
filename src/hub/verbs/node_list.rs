//! `node.list`: the connected agents, newest first, in the words of clients that know nodes.

use crate::base::limits::PRESENCE_LISTED_MAX;
use crate::base::time::Moment;
use crate::hub::Hub;
use crate::protocol::reply::Reply;
use crate::protocol::scope::Role;

impl Hub {
    pub(in crate::hub) fn node_list(&self, now: Moment) -> Reply {
        let lines = self.presence.newest(usize::MAX).map(|(entry, _)| entry);
        let agents = lines.filter(|entry| entry.role == Role::Agent).take(PRESENCE_LISTED_MAX);
        Reply::NodeList { agents: agents.cloned().collect(), now_ms: now.unix_ms }
    }
}
