//! How an admitted peer is introduced: its line of presence, and its lines of diagnostics.
//!
//! Decides nothing. Called by `admission` when a peer is let in.

use crate::base::time::Moment;
use crate::hub::admission::Admission;
use crate::hub::effect::{Diagnostic, DiagnosticValue};
use crate::hub::presence::PresenceKey;
use crate::protocol::event::PresenceEntry;

impl Admission {
    pub(super) fn presence(&self, now: Moment) -> (PresenceKey, PresenceEntry) {
        let client = &self.client;
        let key = match (&self.grant.device, &client.instance_id) {
            (Some(device), _) => PresenceKey::Device(device.clone()),
            (None, Some(id)) => PresenceKey::Instance(self.grant.user.clone(), id.clone()),
            (None, None) => PresenceKey::Conn(self.conn),
        };
        let entry = PresenceEntry {
            host: client.display_name.clone().unwrap_or_else(|| client.id.clone()),
            ip: self.peer.address.to_string(),
            version: client.version.clone(),
            platform: client.platform.clone(),
            mode: client.mode.clone(),
            device_id: self.grant.device.as_ref().map(ToString::to_string),
            role: self.grant.role,
            scopes: self.grant.scopes,
            instance_id: client.instance_id.clone(),
            agent: self.grant.agent.as_ref().map(ToString::to_string),
            rtt_micros: None,
            connected: true,
            ts: now.unix_ms,
        };
        (key, entry)
    }

    /// The lines that an operator of the gateway sees, with the words and fields of the seed.
    pub(super) fn diagnostics(&self) -> Vec<Diagnostic> {
        use DiagnosticValue::{Bool, Text};
        let device = self.grant.device.as_ref().map(ToString::to_string);
        let mut fields = vec![("client_id", Text(self.client.id.clone()))];
        fields.extend(device.clone().map(|device| ("device_id", Text(device))));
        fields.extend([
            ("role", Text(self.grant.role.as_str().to_owned())),
            ("conn", Text(self.conn.to_string())),
            ("peer", Text(self.peer.address.to_string())),
        ]);
        let level = log::Level::Info;
        let mut lines = vec![Diagnostic { level, msg: "WebSocket connection established", fields }];
        if let (Some(device), Some(_)) = (device, self.key) {
            let fields = vec![("device_id", Text(device)), ("valid", Bool(true))];
            lines.push(Diagnostic { level, msg: "Device signature verified", fields });
        }
        lines
    }
}
