//! Identifiers. A newtype each, so that one kind cannot stand in for another.

use std::fmt;
use std::sync::Arc;

/// One connection, unique for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn-{}", self.0)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Arc<str>);

        impl $name {
            /// Takes the text as it is; the parser that calls this has checked it.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A device: 64 lowercase hex digits, or `[A-Za-z0-9._:-]{1,128}` (the seed's UUID form).
    DeviceId
);
text_id!(
    /// An agent's name, `[A-Za-z0-9._-]{1,64}`.
    AgentName
);
text_id!(
    /// The owner of a credential: a name from `[[gateway.auth.users]]`, or `default`.
    UserName
);
text_id!(
    /// An agent's conversation, such as `agent1:chat`. Outlives connections.
    SessionKey
);
text_id!(
    /// The `id` of a request frame, chosen by the peer.
    RequestId
);
text_id!(
    /// A spawn: the record of a request that started a child process, `sp-` and 16 hex digits.
    SpawnId
);
text_id!(
    /// A run: one message to an agent until its final answer; the asker's idempotency key.
    RunId
);
text_id!(
    /// A job of the schedule, `job-` and 16 hex digits.
    JobId
);
text_id!(
    /// A request for approval: chosen by who asks, else `ap-` and 32 hex digits.
    ApprovalId
);
text_id!(
    /// A command that an agent may always run: `al-` and 32 hex digits, from what is allowed.
    AllowedId
);
text_id!(
    /// A pending pairing request.
    PairingId
);

/// A journal position. Grows; never used twice, not even after a crash.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Cursor(pub u64);

/// A commit that the hub asked the store for. Grows by one from commit to commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);
