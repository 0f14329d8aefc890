//! `device.token.rotate` and `device.token.revoke`.
//!
//! To rotate is to give out no token again that was given out before; those live on for a grace,
//! so that nobody is cut off who has not heard. To revoke is to end them at once, with the
//! connections that stand on nothing else. Neither touches the device's key: its next signature
//! earns a new token.

use super::devices::{Answer, Caller, decided};
use crate::base::close_reason::CloseReason;
use crate::base::ids::ConnId;
use crate::base::limits::TOKEN_ROTATION_GRACE;
use crate::base::time::{Moment, millis};
use crate::hub::audit::{AuditKind, audit, text};
use crate::hub::effect::{DiagnosticValue, Effect};
use crate::hub::records::DeviceRecord;
use crate::hub::{Hub, refusals};
use crate::protocol::devices::{Bearer, DeviceReply, TokenOf};
use crate::protocol::error::{ErrorCode, ProtocolError};

impl Hub {
    pub(super) fn rotate_token(
        &mut self,
        now: Moment,
        caller: &Caller,
        of: &TokenOf,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, ProtocolError> {
        let device = self.device_with_tokens(caller, of)?;
        if !self.commits.is_healthy() {
            return Err(refusals::not_stored());
        }
        let ends_at_ms = now.unix_ms.saturating_add(millis(TOKEN_ROTATION_GRACE));
        let outdated = self.tokens.outdate(&device.id, device.role, ends_at_ms);
        for record in &outdated {
            self.commits.put_token(record);
        }
        if !outdated.is_empty() {
            let ends = ("endsAtMs", DiagnosticValue::Number(ends_at_ms));
            let what = [text("subject", &device.id), text("reason", "rotated"), ends];
            effects.push(audit(AuditKind::TokenRevoked, self.actor(caller.conn), what));
        }
        // Only a signature earns a token: neither another device nor the bearer of a token, which
        // may be stolen, is given a new one.
        let earns = caller.is(&device.id) && caller.has_signed && self.policy.auth.devices_enabled;
        let bearer = earns.then(|| {
            let ((issued, _), _) = self.issue_token(now, &device);
            let expires = ("expiresAtMs", DiagnosticValue::Number(issued.expires_at_ms));
            let what = [text("subject", &device.id), text("role", device.role), expires];
            effects.push(audit(AuditKind::TokenIssued, self.actor(caller.conn), what));
            Bearer { token: issued.token, expires_at_ms: issued.expires_at_ms }
        });
        Ok(Answer::Stored(DeviceReply::Rotated {
            device: device.id,
            role: device.role,
            scopes: device.scopes,
            at_ms: now.unix_ms,
            bearer,
        }))
    }

    pub(super) fn revoke_tokens(
        &mut self,
        now: Moment,
        caller: &Caller,
        of: &TokenOf,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, ProtocolError> {
        let device = self.device_with_tokens(caller, of)?;
        self.end_tokens(&device.id);
        let by_token: Vec<ConnId> = self
            .clients
            .of_device(&device.id)
            .into_iter()
            .filter(|conn| self.clients.get(*conn).is_some_and(|client| !client.has_signed))
            .collect();
        for conn in by_token {
            self.close(conn, CloseReason::CredentialWithdrawn, effects);
        }
        effects.push(decided("Device tokens revoked", &device.id, caller));
        let what = [text("subject", &device.id), text("reason", "revoked")];
        effects.push(audit(AuditKind::TokenRevoked, self.actor(caller.conn), what));
        let (device, role) = (device.id, device.role);
        Ok(Answer::Stored(DeviceReply::TokensRevoked { device, role, at_ms: now.unix_ms }))
    }

    /// The approved device whose tokens are meant, if they are the caller's to manage. It has
    /// tokens for its own role and for no other.
    fn device_with_tokens(
        &self,
        caller: &Caller,
        of: &TokenOf,
    ) -> Result<DeviceRecord, ProtocolError> {
        caller.check(&of.device)?;
        let unknown = |what| ProtocolError::new(ErrorCode::NotFound, what);
        let device =
            self.devices.approved(&of.device).ok_or_else(|| unknown("unknown deviceId"))?;
        if of.role.is_some_and(|role| role != device.role) {
            return Err(unknown("the device has another role, and so no such token"));
        }
        Ok(device.clone())
    }
}
