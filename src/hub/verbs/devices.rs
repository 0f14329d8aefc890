//! Requests about devices: on whose authority they are made, and when they are answered.
//!
//! Owns the rule of authority (`docs/protocol.md`, "Devices"): an administrator manages every
//! device, everyone else their own, and nobody gives what they lack. What each request does is in
//! `device_pair` and `device_token`, and below them in `device_admin`.

use crate::base::ids::{ConnId, DeviceId, RequestId};
use crate::base::time::Moment;
use crate::hub::clients::Client;
use crate::hub::commits::Waiter;
use crate::hub::device_admin::Approver;
use crate::hub::effect::{Diagnostic, DiagnosticValue, Effect};
use crate::hub::{Hub, refusals};
use crate::protocol::devices::{DeviceReply, DeviceRequest};
use crate::protocol::error::ProtocolError;
use crate::protocol::reply::Reply;
use crate::protocol::scope::ScopeSet;

/// Who asks.
pub(super) struct Caller {
    pub(super) conn: ConnId,
    pub(super) approver: Approver,
    /// The device that asks, if one does.
    pub(super) device: Option<DeviceId>,
    /// Whether that device has signed on this connection.
    pub(super) has_signed: bool,
}

/// When a request is answered.
pub(super) enum Answer {
    /// At once: nothing of it is for the disk.
    Now(DeviceReply),
    /// When everything so far is on disk.
    Stored(DeviceReply),
}

impl Caller {
    fn of(conn: ConnId, client: &Client) -> Self {
        let grant = &client.grant;
        Self {
            conn,
            approver: Approver { user: grant.user.clone(), scopes: grant.scopes },
            device: grant.device.clone(),
            has_signed: client.has_signed,
        }
    }

    /// Whether this is the device that asks.
    pub(super) fn is(&self, device: &DeviceId) -> bool {
        self.device.as_ref() == Some(device)
    }

    /// Whether this device is the caller's to manage.
    pub(super) fn manages(&self, device: &DeviceId) -> bool {
        self.approver.scopes.contains(ScopeSet::ADMIN) || self.is(device)
    }

    /// The same, as an error that says nothing of whether there is such a device.
    pub(super) fn check(&self, device: &DeviceId) -> Result<(), ProtocolError> {
        if self.manages(device) {
            return Ok(());
        }
        Err(ProtocolError::missing_scope(&ScopeSet::ADMIN.to_string()))
    }
}

impl Hub {
    pub(in crate::hub) fn device_request(
        &mut self,
        now: Moment,
        conn: ConnId,
        id: RequestId,
        ask: DeviceRequest,
        effects: &mut Vec<Effect>,
    ) {
        let Some(client) = self.clients.get(conn) else { return };
        let caller = Caller::of(conn, client);
        let answer = match ask {
            DeviceRequest::List => Ok(Answer::Now(self.list_devices(now, &caller))),
            DeviceRequest::Approve(request) => self.pair_approve(now, &caller, request, effects),
            DeviceRequest::Reject(request) => self.pair_reject(now, &caller, request, effects),
            DeviceRequest::Remove(device) => self.pair_remove(now, &caller, device, effects),
            DeviceRequest::Forget(device) => self.pair_forget(&caller, device, effects),
            DeviceRequest::OfferCode => self.pair_code(now),
            DeviceRequest::RotateToken(of) => self.rotate_token(now, &caller, &of, effects),
            DeviceRequest::RevokeTokens(of) => self.revoke_tokens(now, &caller, &of, effects),
            DeviceRequest::ClearRateLimit(address) => {
                let cleared = self.limiter.clear(address);
                Ok(Answer::Now(DeviceReply::RateLimitCleared(cleared)))
            }
        };
        let result = match answer {
            Ok(Answer::Now(reply)) => Ok(reply),
            // All that it changed may have been on disk already.
            Ok(Answer::Stored(reply)) if self.commits.is_healthy() && self.commits.is_idle() => {
                Ok(reply)
            }
            Ok(Answer::Stored(reply)) if self.commits.is_healthy() => {
                let reply = Reply::Devices(Box::new(reply));
                return self.commits.wait(Waiter::Reply { conn, id, reply });
            }
            Ok(Answer::Stored(_)) => Err(refusals::stored_later()),
            Err(error) => Err(error),
        };
        let result = result.map(|reply| Reply::Devices(Box::new(reply))).map_err(Box::new);
        self.respond(conn, id, result, effects);
    }
}

/// The line of diagnostics that tells who decided what about a device.
pub(super) fn decided(msg: &'static str, device: &DeviceId, caller: &Caller) -> Effect {
    let by = caller.device.as_ref().map_or_else(|| caller.conn.to_string(), ToString::to_string);
    Effect::Diagnose(Diagnostic {
        level: log::Level::Info,
        msg,
        fields: vec![
            ("device_id", DiagnosticValue::Text(device.to_string())),
            ("by", DiagnosticValue::Text(by)),
            ("user", DiagnosticValue::Text(caller.approver.user.to_string())),
        ],
    })
}
