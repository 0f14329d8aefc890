//! Who may hold what, as far as can be seen from outside of the hub.
//!
//! Kept from what was asked, by whom, and what was decided; never from the hub's own tables,
//! except that a restart begins with what is on disk. It is an upper bound: what a person gave
//! once counts until it is taken back.

use std::collections::{BTreeMap, BTreeSet};

use openclaw_gateway::base::ids::DeviceId;
use openclaw_gateway::hub::policy::{Policy, Registration};
use openclaw_gateway::hub::records::{Change, DeviceRecord, DeviceState};
use openclaw_gateway::protocol::connect::Connect;
use openclaw_gateway::protocol::device::DeviceProof;
use openclaw_gateway::protocol::hello::Hello;
use openclaw_gateway::protocol::peer::PeerContext;
use openclaw_gateway::protocol::scope::{Role, ScopeSet};
use serde_json::Value;

use super::policies::SECRETS;

/// A device as it was known when something was given to it: id, key, role.
type Known = (DeviceId, String, Role);

/// Somebody who asks to connect.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) connect: Connect,
    pub(super) peer: PeerContext,
    pub(super) proof: DeviceProof,
    /// What may be given without a person's approval, by the rule of registration.
    sponsored: Option<ScopeSet>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Authority {
    given: BTreeMap<Known, ScopeSet>,
    /// Told by an answer that they are out, for good.
    removed: BTreeSet<DeviceId>,
    /// By request: device and what it asks for.
    waiting: BTreeMap<String, (Known, ScopeSet)>,
    /// Device tokens, with whose they are.
    tokens: BTreeMap<String, DeviceId>,
    /// Those that are no longer good.
    ended: BTreeSet<String>,
    codes: BTreeSet<String>,
    /// On disk through a commit that was refused: the disk may say more than the hub promised.
    doubtful: BTreeSet<DeviceId>,
}

impl Authority {
    pub(super) fn code_offered(&mut self, code: &str) {
        self.codes.insert(code.to_owned());
    }

    pub(super) fn token_given(&mut self, token: &str, device: &DeviceId) {
        self.tokens.insert(token.to_owned(), device.clone());
    }

    /// What somebody who is about to connect may be given on the spot.
    pub(super) fn asked(
        &self,
        policy: &Policy,
        connect: &Connect,
        peer: &PeerContext,
        proof: DeviceProof,
        disk: &[DeviceRecord],
    ) -> Asked {
        let is_local_first =
            peer.local && connect.role == Role::Operator && !self.has_operator(disk);
        let code = connect.pairing_code.as_ref();
        let sponsored = match policy.auth.registration {
            Registration::Manual => None,
            Registration::Open => Some(ScopeSet::ALL),
            Registration::Auto if is_local_first => Some(ScopeSet::ALL),
            Registration::Auto if code.is_some_and(|code| self.codes.contains(code.expose())) => {
                Some(ScopeSet::ALL)
            }
            Registration::Auto => shared(policy, connect)
                .or_else(|| (peer.local && connect.role == Role::Agent).then_some(ScopeSet::NONE)),
        };
        let (connect, peer) = (connect.clone(), peer.clone());
        Asked { connect, peer, proof, sponsored }
    }

    /// A commit was refused, and the disk has kept it all the same.
    pub(super) fn kept_in_doubt(&mut self, changes: &[Change]) {
        self.doubtful.extend(changes.iter().filter_map(touched));
    }

    /// A commit is on disk.
    pub(super) fn stored(&mut self, changes: &[Change]) {
        changes.iter().filter_map(touched).for_each(|device| {
            self.doubtful.remove(&device);
        });
    }

    /// Whether there is an operator for certain: on disk, and nothing was decided about it since.
    fn has_operator(&self, disk: &[DeviceRecord]) -> bool {
        disk.iter().any(|record| {
            let known = |role| (record.id.clone(), record.public_key.to_base64url(), role);
            let is_one = record.state == DeviceState::Approved && record.role == Role::Operator;
            let may_be_agent =
                self.given.keys().any(|(id, _, role)| *id == record.id && *role == Role::Agent);
            let is_certain = !may_be_agent && !self.doubtful.contains(&record.id);
            is_one && is_certain && self.given.contains_key(&known(Role::Operator))
        })
    }

    /// A connect was not refused at once: what its rule gives is given from here on.
    pub(super) fn not_refused(&mut self, asked: &Asked) {
        let (Some(sponsored), DeviceProof::Valid(key), Some(device)) =
            (asked.sponsored, asked.proof, &asked.connect.device)
        else {
            return;
        };
        let known = (device.id.clone(), key.to_base64url(), asked.connect.role);
        self.give(known, sponsored);
    }

    fn give(&mut self, known: Known, scopes: ScopeSet) {
        self.removed.remove(&known.0);
        let given = self.given.entry(known).or_default();
        *given = given.union(scopes);
    }

    pub(super) fn pair_requested(&mut self, request: &Value) {
        let text = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
        let role = Role::parse(&text("role")).expect("a role");
        let names = request["scopes"].as_array().expect("scopes");
        let scopes = ScopeSet::parse_all(names.iter().filter_map(Value::as_str));
        let known = (DeviceId::new(text("deviceId")), text("publicKey"), role);
        self.waiting.insert(text("requestId"), (known, scopes));
    }

    /// Somebody with these scopes approved a request.
    pub(super) fn approved(&mut self, request: &str, by: Option<&DeviceId>, has: ScopeSet) {
        let (known, scopes) = self.waiting.get(request).expect("it waits").clone();
        assert!(has.contains(scopes), "given without having it: {known:?} {scopes:?} of {has:?}");
        assert!(has.contains(ScopeSet::ADMIN) || by == Some(&known.0), "not its own: {known:?}");
        self.give(known, scopes);
    }

    /// A device is out, by the line of diagnostics that says so.
    pub(super) fn taken_back(&mut self, device: &DeviceId) {
        self.given.retain(|(known, _, _), _| known != device);
        self.tokens_ended(device);
    }

    /// And whoever asked for it was told that it is so for good.
    pub(super) fn removal_answered(&mut self, device: &DeviceId) {
        if !self.given.keys().any(|(known, _, _)| known == device) {
            self.removed.insert(device.clone());
        }
    }

    /// A device's tokens are no longer good.
    pub(super) fn tokens_ended(&mut self, device: &DeviceId) {
        let of = self.tokens.iter().filter(|(_, known)| *known == device);
        self.ended.extend(of.map(|(token, _)| token.clone()));
    }

    /// After a restart the disk says who is known. A removal that was answered is on it; what was
    /// not answered may not be.
    pub(super) fn restarted(&mut self, disk: &[DeviceRecord]) {
        self.ended.clear();
        self.doubtful.clear();
        for record in disk.iter().filter(|record| record.state == DeviceState::Approved) {
            assert!(!self.removed.contains(&record.id), "removed, and back: {record:?}");
            let known = (record.id.clone(), record.public_key.to_base64url(), record.role);
            if let Some(given) = self.given.get(&known) {
                assert!(given.contains(record.scopes), "more than was given: {record:?}");
            }
            self.give(known, record.scopes);
        }
    }

    /// Whether somebody may be let in as the hello says.
    pub(super) fn check(&self, policy: &Policy, asked: &Asked, hello: &Hello) {
        let grant = &hello.grant;
        let context = format!("{:?} as {grant:?} ({})", asked.connect, hello.auth_mode);
        assert_eq!(grant.is_owner, asked.peer.is_owner, "{context}");
        if let Some(scopes) = asked.connect.scopes.filter(|_| !grant.is_owner) {
            assert!(scopes.contains(grant.scopes), "more than was asked: {context}");
        }
        let may = match hello.auth_mode {
            "owner" if asked.peer.is_owner => ScopeSet::ALL,
            "none" if policy.auth.secrets.is_empty() && asked.peer.local => ScopeSet::ALL,
            "token" | "password" => shared(policy, &asked.connect).expect(&context),
            "device" => {
                let DeviceProof::Valid(key) = asked.proof else { panic!("no proof: {context}") };
                let claim = asked.connect.device.as_ref().expect(&context);
                assert_eq!(grant.device.as_ref(), Some(&claim.id), "{context}");
                let known = (claim.id.clone(), key.to_base64url(), grant.role);
                *self.given.get(&known).unwrap_or_else(|| panic!("never approved: {context}"))
            }
            "device-token" => {
                let connect = &asked.connect;
                let tokens =
                    [&connect.auth_token, &connect.auth_device_token, &connect.root_device_token];
                let good = tokens
                    .into_iter()
                    .flatten()
                    .map(|token| token.expose())
                    .filter(|token| !self.ended.contains(*token));
                let mut owners = good.map(|token| self.tokens.get(token));
                assert!(owners.any(|owner| owner == grant.device.as_ref()), "whose? {context}");
                let of = |(device, _, role): &Known| {
                    Some(device) == grant.device.as_ref() && *role == grant.role
                };
                let given: Vec<_> = self.given.iter().filter(|(known, _)| of(known)).collect();
                assert!(!given.is_empty(), "taken back: {context}");
                given.into_iter().fold(ScopeSet::NONE, |all, (_, scopes)| all.union(*scopes))
            }
            _ => panic!("let in by nothing: {context}"),
        };
        assert!(may.contains(grant.scopes), "more than {may:?}: {context}");
    }
}

/// Whose record a change is.
fn touched(change: &Change) -> Option<DeviceId> {
    match change {
        Change::PutDevice(record) => Some(record.id.clone()),
        Change::DeleteDevice(device) => Some(device.clone()),
        _ => None,
    }
}

/// What a shared secret that was presented gives.
pub(super) fn shared(policy: &Policy, connect: &Connect) -> Option<ScopeSet> {
    let presented = [&connect.auth_token, &connect.password];
    let secrets = SECRETS.iter().filter(|secret| {
        let hash = secret.shared().hash;
        policy.auth.secrets.iter().any(|configured| configured.hash.matches(&hash))
    });
    secrets
        .filter(|secret| presented.into_iter().flatten().any(|text| text.expose() == secret.text))
        .map(|secret| secret.scopes)
        .reduce(ScopeSet::union)
}
