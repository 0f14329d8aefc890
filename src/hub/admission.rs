//! The decision about a `connect` (`docs/protocol.md`, "Handshake"): rate limit, device proof,
//! credentials, registration, in this order; the first that fails decides the error.
//!
//! What can be checked without shared state was checked by the connection's thread. Who may
//! register is `registration`'s to say; what was presented is compared by `credentials`.
//!
//! ```text
//!  ConnectRequested ──▶ decide ──refusal──────────────────────────────▶ Refuse
//!                         │ admission                                      ▲
//!                         ├── nothing to store ──▶ Admit, first tick       │ store failed
//!                         └── new device or token ──▶ waits for its commit ┴─ stored ──▶ Admit
//! ```

use crate::base::ids::{AgentName, ConnId, RequestId, SpawnId, UserName};
use crate::base::limits::{RESTART_EXPECTED, TICK_INTERVAL};
use crate::base::time::{Moment, millis};
use crate::hub::audit::{Actor, AuditEvent};
use crate::hub::clients::Client;
use crate::hub::commits::Waiter;
use crate::hub::credentials::{self, Presented};
use crate::hub::effect::Effect;
use crate::hub::input::ConnectRequested;
use crate::hub::policy::{SecretKind, SecretWithoutDevice, SharedSecret};
use crate::hub::rate_limit::Credential;
use crate::hub::records::DeviceRecord;
use crate::hub::registration::Registered;
use crate::hub::tokens::TokenHash;
use crate::hub::{DEFAULT_USER, Hub, refusals};
use crate::protocol::connect::{self, Connect};
use crate::protocol::device::{DeviceProof, PublicKey};
use crate::protocol::hello::{Grant, Hello, IssuedToken};
use crate::protocol::peer::PeerContext;
use crate::protocol::refusal::Refusal;
use crate::protocol::scope::{Role, ScopeSet};

/// A peer that is let in, once what it needs is on disk.
pub(super) struct Admission {
    pub(super) conn: ConnId,
    request: RequestId,
    protocol: u8,
    role_sent: &'static str,
    pub(super) client: connect::Client,
    pub(super) peer: PeerContext,
    pub(super) grant: Grant,
    pub(super) mode: &'static str,
    pub(super) token: Option<(IssuedToken, TokenHash)>,
    /// Whether nobody had that token before.
    pub(super) token_is_new: bool,
    /// The key that signed, when a signature let it in.
    pub(super) key: Option<PublicKey>,
    /// The spawn whose credential let it in.
    pub(super) spawn: Option<SpawnId>,
    /// The shared secret that let it in alone, with the scopes that it gave.
    pub(super) secret: Option<SharedSecret>,
    /// What was registered for it.
    pub(super) registered: Option<Registered>,
}

impl Hub {
    /// Applies `Input::ConnectRequested`.
    pub(super) fn connect_requested(
        &mut self,
        now: Moment,
        asked: ConnectRequested,
        effects: &mut Vec<Effect>,
    ) {
        match self.decide(now, &asked, effects) {
            Ok(admission) => self.begin_admission(now, admission, effects),
            Err(refusal) => {
                let client = asked.connect.client.id;
                Self::refuse(asked.conn, &asked.peer, client, *refusal, effects);
            }
        }
    }

    fn decide(
        &mut self,
        now: Moment,
        asked: &ConnectRequested,
        effects: &mut Vec<Effect>,
    ) -> Result<Admission, Box<Refusal>> {
        if self.stopping.is_some() {
            return Err(Box::new(refusals::stopping(RESTART_EXPECTED)));
        }
        if asked.peer.is_owner {
            return Self::admission_as_owner(asked);
        }
        if !self.announced_ready {
            return Err(Box::new(Refusal::starting()));
        }
        if let Some(admission) = self.admission_by_spawn(asked)? {
            return Ok(admission);
        }
        let address = asked.peer.address;
        if let Some(left) = self.limiter.locked_for(now.at, address)
            && !self.passes_lock_out(asked)
        {
            return Err(Box::new(Refusal::rate_limited(left)));
        }
        if !self.policy.auth.devices_enabled {
            return self.decide_without_device(now, asked);
        }
        match asked.proof {
            DeviceProof::Absent => self.decide_without_device(now, asked),
            DeviceProof::Valid(key) => self.decide_by_signature(now, asked, key, effects),
            DeviceProof::Failed(failure) => {
                self.limiter.failed(now.at, address, Credential::Signature);
                Err(Box::new(Refusal::device(failure)))
            }
        }
    }

    /// Whoever reaches the control socket owns the gateway's files, and so the gateway: whatever
    /// they present, they are let in, as nothing less.
    fn admission_as_owner(asked: &ConnectRequested) -> Result<Admission, Box<Refusal>> {
        if asked.connect.role != Role::Operator {
            let sentence = "role must be operator on the control socket";
            return Err(Box::new(Refusal::invalid_connect_params(sentence)));
        }
        let grant = Grant {
            role: Role::Operator,
            scopes: ScopeSet::ADMIN,
            agent: None,
            session: None,
            device: None,
            user: UserName::new(DEFAULT_USER),
            is_owner: true,
        };
        Ok(Admission::new(asked, grant, "owner"))
    }

    /// An approved device's signature cannot be guessed, so a lock-out that somebody else at its
    /// address has earned does not hold it up, as long as it presents nothing that can.
    fn passes_lock_out(&self, asked: &ConnectRequested) -> bool {
        let DeviceProof::Valid(key) = asked.proof else { return false };
        let device = asked.connect.device.as_ref();
        self.policy.auth.devices_enabled
            && device
                .and_then(|device| self.devices.approved(&device.id))
                .is_some_and(|record| record.public_key == key)
            && !credentials::presents_guessable(&asked.connect)
    }

    pub(super) fn evaluate(&mut self, now: Moment, asked: &ConnectRequested) -> Presented {
        let auth = &self.policy.auth;
        let presented = credentials::evaluate(
            now.at,
            now.unix_ms,
            &asked.connect,
            auth,
            &self.tokens,
            &self.pairings,
        );
        let beside_signature = auth.devices_enabled && matches!(asked.proof, DeviceProof::Valid(_));
        for credential in presented.failures(beside_signature) {
            self.limiter.failed(now.at, asked.peer.address, credential);
        }
        for credential in presented.successes(auth) {
            self.limiter.succeeded(asked.peer.address, credential);
        }
        presented
    }

    fn decide_without_device(
        &mut self,
        now: Moment,
        asked: &ConnectRequested,
    ) -> Result<Admission, Box<Refusal>> {
        let presented = self.evaluate(now, asked);
        let connect = &asked.connect;
        if let Some(hash) = presented.token {
            return self.admission_by_token(asked, hash);
        }
        if let Some((secret, kind)) = presented.shared {
            return self.admission_by_secret(asked, &secret, kind);
        }
        if presented.wrong_device_token {
            return Err(Box::new(Refusal::device_token_mismatch()));
        }
        if presented.wrong_token {
            return Err(Box::new(Refusal::token_mismatch()));
        }
        if presented.wrong_password {
            return Err(Box::new(Refusal::password_mismatch()));
        }
        let auth = &self.policy.auth;
        let secret_would_do = self.secret_needs_no_device(&asked.peer);
        if auth.secrets.is_empty()
            && !auth.require_signature
            && asked.peer.local
            && (!auth.devices_enabled || !self.browser_needs_device(&asked.peer))
        {
            let grant = Grant {
                role: connect.role,
                scopes: asked_or_default(connect),
                agent: self.free_agent_name(connect)?,
                session: None,
                device: None,
                user: UserName::new(DEFAULT_USER),
                is_owner: false,
            };
            return Ok(Admission::new(asked, grant, "none"));
        }
        if presented.pointless_token {
            return Err(Box::new(Refusal::token_not_configured()));
        }
        if !auth.devices_enabled || (secret_would_do && !auth.secrets.is_empty()) {
            let takes_tokens = auth.secrets.iter().any(|secret| secret.kind == SecretKind::Token);
            let missing = if takes_tokens || auth.secrets.is_empty() {
                Refusal::token_missing()
            } else {
                Refusal::password_missing()
            };
            return Err(Box::new(missing));
        }
        Err(Box::new(Refusal::device_identity_required()))
    }

    fn browser_needs_device(&self, peer: &PeerContext) -> bool {
        peer.origin.is_some() && self.policy.auth.browser_needs_device
    }

    /// Whether this peer may use a shared secret alone.
    fn secret_needs_no_device(&self, peer: &PeerContext) -> bool {
        if !self.policy.auth.devices_enabled {
            return true;
        }
        !self.browser_needs_device(peer)
            && match self.policy.auth.secret_without_device {
                SecretWithoutDevice::Loopback => peer.local,
                SecretWithoutDevice::Always => true,
                SecretWithoutDevice::Never => false,
            }
    }

    /// A device token alone: its own role, and of its scopes those that were asked for.
    fn admission_by_token(
        &self,
        asked: &ConnectRequested,
        hash: TokenHash,
    ) -> Result<Admission, Box<Refusal>> {
        let connect = &asked.connect;
        let mismatch = || Box::new(Refusal::device_token_mismatch());
        let token = self.tokens.get(&hash).ok_or_else(mismatch)?;
        let device = self.devices.approved(&token.device).ok_or_else(mismatch)?;
        let role_fits = token.role == device.role
            && (!connect.role_named || connect.role == token.role)
            && (token.role == Role::Operator || device.agent.is_some());
        if !role_fits {
            return Err(mismatch());
        }
        let may = token.scopes.intersection(device.scopes);
        let grant = Grant {
            role: token.role,
            scopes: connect.scopes.map_or(may, |scopes| grantable(scopes, may)),
            agent: borne_name(device),
            session: None,
            device: Some(device.id.clone()),
            user: device.user.clone(),
            is_owner: false,
        };
        let mut admission = Admission::new(asked, grant, "device-token");
        // The token it has, with the life it has: only a signature earns more.
        let slots = [&connect.auth_device_token, &connect.auth_token, &connect.root_device_token];
        let text = slots.into_iter().flatten().find(|slot| slot.hash().0 == hash).cloned();
        admission.token = text.map(|text| {
            let (issued_at_ms, expires_at_ms) = (token.issued_at_ms, token.expires_at_ms);
            (IssuedToken { token: text, issued_at_ms, expires_at_ms }, hash)
        });
        Ok(admission)
    }

    fn admission_by_secret(
        &self,
        asked: &ConnectRequested,
        secret: &SharedSecret,
        kind: SecretKind,
    ) -> Result<Admission, Box<Refusal>> {
        if !self.secret_needs_no_device(&asked.peer) {
            return Err(Box::new(Refusal::device_identity_required()));
        }
        let connect = &asked.connect;
        if connect.role == Role::Agent && !secret.scopes.contains(ScopeSet::WRITE) {
            return Err(Box::new(Refusal::agent_needs_write()));
        }
        let grant = Grant {
            role: connect.role,
            scopes: grantable(asked_or_default(connect), secret.scopes),
            agent: self.free_agent_name(connect)?,
            session: None,
            device: None,
            user: secret.user.clone(),
            is_owner: false,
        };
        let mode = match kind {
            SecretKind::Token => "token",
            SecretKind::Password => "password",
        };
        let scopes = grant.scopes;
        let mut admission = Admission::new(asked, grant, mode);
        admission.secret = Some(SharedSecret { scopes, ..secret.clone() });
        Ok(admission)
    }

    /// The name of an agent without a device, which must not be that of an agent with one.
    fn free_agent_name(&self, connect: &Connect) -> Result<Option<AgentName>, Box<Refusal>> {
        if connect.role != Role::Agent {
            return Ok(None);
        }
        let Some(name) = &connect.agent_name else {
            return Err(Box::new(Refusal::invalid_connect_params("agent.name is missing")));
        };
        if self.policy.auth.devices_enabled && self.devices.owner_of(name).is_some() {
            return Err(Box::new(Refusal::device_identity_required()));
        }
        Ok(Some(name.clone()))
    }

    /// What an approved device is granted, with its token.
    pub(super) fn admission_by_device(
        &mut self,
        now: Moment,
        asked: &ConnectRequested,
        device: &DeviceRecord,
    ) -> Admission {
        let scopes = asked.connect.scopes.unwrap_or(device.scopes);
        let grant = Grant {
            role: device.role,
            scopes: grantable(scopes, device.scopes),
            agent: borne_name(device),
            session: None,
            device: Some(device.id.clone()),
            user: device.user.clone(),
            is_owner: false,
        };
        let mut admission = Admission::new(asked, grant, "device");
        admission.key = Some(device.public_key);
        let (token, is_new) = self.issue_token(now, device);
        admission.token = Some(token);
        admission.token_is_new = is_new;
        admission
    }

    fn begin_admission(&mut self, now: Moment, admission: Admission, effects: &mut Vec<Effect>) {
        if self.is_unstored(&admission) && self.commits.is_healthy() {
            self.connecting.insert(admission.conn);
            self.commits.wait(Waiter::Admission(Box::new(admission)));
        } else {
            self.admit(now, admission, effects);
        }
    }

    /// Whether something that this admission stands on is still on its way to the disk.
    pub(super) fn is_unstored(&self, admission: &Admission) -> bool {
        let token = admission.token.as_ref().map(|(_, hash)| hash);
        let device = admission.grant.device.as_ref();
        device.is_some_and(|device| self.commits.is_unstored(device, token))
    }

    /// Lets a peer in: everything that it needs is as durable as it will be.
    pub(super) fn admit(&mut self, now: Moment, admission: Admission, effects: &mut Vec<Effect>) {
        let conn = admission.conn;
        if let Some(device) = &admission.grant.device {
            self.devices.seen(device, now.unix_ms);
        }
        let (key, entry) = admission.presence(now);
        self.clients.insert(
            conn,
            Client {
                grant: admission.grant.clone(),
                address: admission.peer.address,
                client_id: admission.client.id.clone(),
                spawn: admission.spawn.clone(),
                has_signed: admission.key.is_some(),
                secret: admission.secret.clone(),
                rtt: None,
                closing: false,
                waits: 0,
            },
        );
        self.heartbeats.admitted(now.at, conn);
        self.ticks.started(now);
        self.presence.arrived(now.at, conn, key, entry);
        effects.extend(admission.diagnostics().into_iter().map(Effect::Diagnose));
        effects.push(admission.audit_success());
        effects.extend(admission.audit_token());
        let (mut presence, presence_version) = self.presence.shown(now.at);
        if !admission.grant.scopes.contains(ScopeSet::READ) {
            // Who else is here is for those who may hear `presence` events.
            presence = [].into();
        }
        effects.push(Effect::Admit(Box::new(Hello {
            id: admission.request,
            protocol: admission.protocol,
            conn,
            role_sent: admission.role_sent,
            grant: admission.grant,
            token: admission.token.map(|(token, _)| token),
            features: self.features(),
            presence,
            presence_version,
            health_version: self.health_version,
            uptime_ms: millis(now.at.duration_since(self.started.at)),
            auth_mode: admission.mode,
            message_bytes_max: self.policy.limits.message_bytes_max,
            backlog_bytes_max: self.policy.limits.backlog_bytes_max,
            tick_interval_ms: millis(TICK_INTERVAL),
        })));
        // A new client has the state without waiting.
        let tick = self.ticks.snapshot(now, &self.sessions);
        effects.push(Effect::Send { conn, event: tick });
        if let Some(spawn) = admission.spawn {
            self.run_agent_arrived(conn, &spawn, effects);
        }
    }

    /// The parts of the product page that are on, in its order.
    fn features(&self) -> Vec<&'static str> {
        let spawn = self.policy.spawn.enabled.then_some("spawn");
        let cron = self.cron.is_enabled().then_some("cron");
        spawn.into_iter().chain(cron).chain(["logs"]).collect()
    }

    /// Refuses a `connect`.
    pub(super) fn refuse(
        conn: ConnId,
        peer: &PeerContext,
        client_id: String,
        refusal: Refusal,
        effects: &mut Vec<Effect>,
    ) {
        let reason = refusal.error.detail_code();
        let event = AuditEvent::refused(Actor::stranger(conn, peer), Some(client_id), reason);
        effects.push(Effect::Audit(Box::new(event)));
        let Refusal { error, close } = refusal;
        effects.push(Effect::Refuse { conn, error: Box::new(error), reason: close });
    }
}

impl Admission {
    pub(super) fn new(asked: &ConnectRequested, grant: Grant, mode: &'static str) -> Self {
        Self {
            conn: asked.conn,
            request: asked.connect.id.clone(),
            protocol: asked.connect.protocol,
            role_sent: match grant.role {
                role if role == asked.connect.role => asked.connect.role_sent,
                // A connect by token alone takes the token's.
                role => role.as_str(),
            },
            client: asked.connect.client.clone(),
            peer: asked.peer.clone(),
            grant,
            mode,
            token: None,
            token_is_new: false,
            key: None,
            spawn: None,
            secret: None,
            registered: None,
        }
    }

    /// What is needed to refuse it after all.
    pub(super) fn into_refused(self) -> (ConnId, PeerContext, String) {
        (self.conn, self.peer, self.client.id)
    }
}

/// What was asked, in the words in which it was asked where all of it may be given, else the part
/// of it that may.
pub(super) fn grantable(asked: ScopeSet, ceiling: ScopeSet) -> ScopeSet {
    if ceiling.contains(asked) { asked } else { asked.intersection(ceiling) }
}

/// The scopes that a `connect` asks for; who names none asks for as little as is of use.
pub(super) fn asked_or_default(connect: &Connect) -> ScopeSet {
    connect.scopes.unwrap_or(match connect.role {
        Role::Operator => ScopeSet::READ,
        Role::Agent => ScopeSet::NONE,
    })
}

/// An agent's name. A device that has become an operator keeps it for itself, and is no agent.
fn borne_name(device: &DeviceRecord) -> Option<AgentName> {
    device.agent.clone().filter(|_| device.role == Role::Agent)
}
