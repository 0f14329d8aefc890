//! Roles, and what a peer may do.
//!
//! Owns the names of scopes and which scope satisfies which. Which method or event needs which
//! scope is in `methods` and `event`; who is granted what is the hub's decision.

use std::fmt;

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

impl Role {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Agent => "agent",
        }
    }

    /// Reads a role; `node` is an alias of `agent`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "operator" => Some(Self::Operator),
            "agent" | "node" => Some(Self::Agent),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of operator scopes. `admin` satisfies all, `write` implies `read`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct ScopeSet(pub u8);

const NAMES: [(ScopeSet, &str); 5] = [
    (ScopeSet::READ, "operator.read"),
    (ScopeSet::WRITE, "operator.write"),
    (ScopeSet::ADMIN, "operator.admin"),
    (ScopeSet::APPROVALS, "operator.approvals"),
    (ScopeSet::PAIRING, "operator.pairing"),
];

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

    /// Reads one scope's name; `None` for one that we do not have.
    pub fn parse(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(scope, _)| *scope)
    }

    /// Reads a list of names. Those that we do not have are left out: they grant nothing.
    pub fn parse_all<'t>(names: impl IntoIterator<Item = &'t str>) -> Self {
        names.into_iter().filter_map(Self::parse).fold(Self::NONE, Self::union)
    }

    /// The names of the scopes in this set, without those that they imply.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().filter(move |(scope, _)| self.0 & scope.0 != 0).map(|(_, name)| name)
    }

    /// Everything that this set satisfies.
    #[must_use]
    pub fn implied(self) -> Self {
        if self.0 & Self::ADMIN.0 != 0 {
            Self::ALL
        } else if self.0 & Self::WRITE.0 != 0 {
            self.union(Self::READ)
        } else {
            self
        }
    }

    /// Whether this set satisfies every scope of `needed`.
    pub fn contains(self, needed: Self) -> bool {
        needed.0 & !self.implied().0 == 0
    }

    /// Whether there is no scope at all.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Both together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both satisfy, in the terms of whichever is narrower:
    /// `admin` and `read` is `read`, `admin` and `admin` is `admin`.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self((self.0 & other.implied().0) | (other.0 & self.implied().0))
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.names().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_set() -> impl Iterator<Item = ScopeSet> {
        (0..=ScopeSet::ALL.0).map(ScopeSet)
    }

    #[test]
    fn admin_satisfies_all_and_write_satisfies_read_and_nothing_else_is_implied() {
        assert!(ScopeSet::ADMIN.contains(ScopeSet::ALL));
        assert!(ScopeSet::WRITE.contains(ScopeSet::READ));
        for (one, _) in NAMES {
            for (other, _) in NAMES {
                let implied = one == other
                    || one == ScopeSet::ADMIN
                    || (one == ScopeSet::WRITE && other == ScopeSet::READ);
                assert_eq!(one.contains(other), implied, "{one} and {other}");
            }
        }
    }

    #[test]
    fn an_intersection_satisfies_exactly_what_both_satisfy() {
        for a in every_set() {
            for b in every_set() {
                let both = a.intersection(b);
                for (scope, _) in NAMES {
                    assert_eq!(both.contains(scope), a.contains(scope) && b.contains(scope));
                }
            }
            assert_eq!(a.intersection(a), a);
        }
        assert_eq!(ScopeSet::ADMIN.intersection(ScopeSet::READ), ScopeSet::READ);
    }

    #[test]
    fn names_read_back_and_unknown_ones_grant_nothing() {
        for set in every_set() {
            assert_eq!(ScopeSet::parse_all(set.names()), set);
        }
        assert_eq!(ScopeSet::parse_all(["operator.talk", "OPERATOR.READ", ""]), ScopeSet::NONE);
        assert_eq!(ScopeSet::ALL.to_string().split(',').count(), NAMES.len());
    }
}
