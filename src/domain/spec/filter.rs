//! Placement filters: which nodes a proc may or would rather run on.
//!
//! Part of `model`, which re-exports them; read by placement.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// A placement filter, Swarm's words: `constraint:KEY==VALUE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Filter {
    /// Node label, or another container.
    pub kind: FilterKind,
    /// The key.
    pub key: String,
    /// How it is compared.
    pub operator: FilterOperator,
    /// The value.
    pub value: String,
}

/// What a filter looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FilterKind {
    /// A node's labels.
    Constraint,
    /// What else runs on the node.
    Affinity,
}

/// How a filter compares; the soft forms are preferences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FilterOperator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `==~`
    SoftEqual,
    /// `!=~`
    SoftNotEqual,
}

/// As it is written in `lain.yaml`: `constraint:disk==ssd`.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            FilterKind::Constraint => "constraint",
            FilterKind::Affinity => "affinity",
        };
        let (operator, soft) = match self.operator {
            FilterOperator::Equal => ("==", ""),
            FilterOperator::NotEqual => ("!=", ""),
            FilterOperator::SoftEqual => ("==", "~"),
            FilterOperator::SoftNotEqual => ("!=", "~"),
        };
        write!(f, "{kind}:{}{operator}{soft}{}", self.key, self.value)
    }
}
