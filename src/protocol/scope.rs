//! Roles, and what a peer may do.

/// What a peer is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A person's client.
    Operator,
    /// A program that does the work and reports.
    Agent,
}

/// A set of operator scopes. `admin` satisfies all, `write` implies `read`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct ScopeSet(pub u8);

impl ScopeSet {
    /// No scope.
    pub const NONE: Self = Self(0);
    /// `operator.read`
    pub const READ: Self = Self(1);
    /// `operator.write`
    pub const WRITE: Self = Self(2);
    /// `operator.admin`
    pub const ADMIN: Self = Self(4);
    /// `operator.approvals`
    pub const APPROVALS: Self = Self(8);
    /// `operator.pairing`
    pub const PAIRING: Self = Self(16);
    /// Every scope.
    pub const ALL: Self = Self(31);
}
