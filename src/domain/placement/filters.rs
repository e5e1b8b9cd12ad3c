//! `constraint:` and `affinity:` filters against a node and what runs on it.
//!
//! The words and meanings of classic Swarm, as LAIN passed them on. A value may hold `*` for any text.
//! Keys of constraints: `node` is the node's name, `group` its group (`default` where it has no such label),
//! any other a node label. Keys of affinities: `container` is a pod group (`hello.web.web`), an instance
//! (`hello.web.web.i2`) or an app; `image` an image; any other a container label.

use crate::domain::placement::model::{Needs, NodeFacts, NodeState};
use crate::domain::placement::reason::Reason;
use crate::domain::spec::filter::{Filter, FilterKind, FilterOperator};

/// The label that names a node's group, and the group of nodes without it.
const GROUP: &str = "group";
const DEFAULT_GROUP: &str = "default";

/// A proc's filters by what they need to be judged.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    /// Hard constraints.
    constraints: Vec<Filter>,
    /// Soft constraints.
    soft_constraints: Vec<Filter>,
    /// Hard affinities.
    affinities: Vec<Filter>,
    /// Soft affinities.
    soft_affinities: Vec<Filter>,
    /// The proc names its node group, so that LAIN's `constraint:group==default` is not implied.
    names_group: bool,
}

impl Filters {
    /// Sorts the filters of a proc.
    pub fn of(needs: &Needs) -> Self {
        let mut sorted = Self::default();
        for filter in &needs.filters {
            let soft = matches!(
                filter.operator,
                FilterOperator::SoftEqual | FilterOperator::SoftNotEqual
            );
            sorted.names_group |= filter.kind == FilterKind::Constraint && filter.key == GROUP;
            let list = match (filter.kind, soft) {
                (FilterKind::Constraint, false) => &mut sorted.constraints,
                (FilterKind::Constraint, true) => &mut sorted.soft_constraints,
                (FilterKind::Affinity, false) => &mut sorted.affinities,
                (FilterKind::Affinity, true) => &mut sorted.soft_affinities,
            };
            list.push(filter.clone());
        }
        sorted
    }

    /// Whether they depend on what runs on a node, so that each placement may change the next.
    pub fn look_at_neighbours(&self) -> bool {
        !self.affinities.is_empty() || !self.soft_affinities.is_empty()
    }

    /// Whether any hard affinity is among them.
    pub fn have_affinities(&self) -> bool {
        !self.affinities.is_empty()
    }

    /// Whether they rule out no node that is ready and of the default group, and prefer none.
    pub fn are_plain(&self) -> bool {
        !self.names_group && self.constraints.is_empty() && self.soft_constraints.is_empty()
    }

    /// Why a node can never take the proc, whatever runs there.
    pub fn obstacle(&self, node: &NodeFacts) -> Option<Reason> {
        if node.state != NodeState::Ready {
            return Some(Reason::NotReady(node.state));
        }
        if !self.names_group && group(node) != DEFAULT_GROUP {
            return Some(Reason::Constraint {
                filter: format!("constraint:{GROUP}=={DEFAULT_GROUP}"),
                found: Some(group(node).to_owned()),
            });
        }
        let broken = self.constraints.iter().find(|f| !holds(f, node))?;
        Some(Reason::Constraint {
            filter: broken.to_string(),
            found: label(node, &broken.key).map(str::to_owned),
        })
    }

    /// How many soft constraints do not hold on a node.
    pub fn soft_constraints_broken(&self, node: &NodeFacts) -> u32 {
        let broken = self.soft_constraints.iter().filter(|f| !holds(f, node));
        u32::try_from(broken.count()).unwrap_or(u32::MAX)
    }

    /// The affinities, and whether they are hard.
    pub fn affinities(&self) -> impl Iterator<Item = (&Filter, bool)> {
        let hard = self.affinities.iter().map(|filter| (filter, true));
        hard.chain(self.soft_affinities.iter().map(|filter| (filter, false)))
    }
}

/// Another instance on a node.
#[derive(Debug, Clone, Copy)]
pub struct Neighbour<'n> {
    /// What it is.
    pub needs: &'n Needs,
    /// Its number.
    pub no: u32,
}

/// Whether the node is one of those that procs without filters go to.
pub fn takes_everyone(node: &NodeFacts) -> bool {
    node.state == NodeState::Ready && group(node) == DEFAULT_GROUP
}

fn group(node: &NodeFacts) -> &str {
    node.labels.get(GROUP).map_or(DEFAULT_GROUP, String::as_str)
}

fn label<'n>(node: &'n NodeFacts, key: &str) -> Option<&'n str> {
    match key {
        "node" => Some(node.name.as_str()),
        GROUP => Some(group(node)),
        key => node.labels.get(key).map(String::as_str),
    }
}

/// A constraint against a node. A node without the label is equal to nothing.
fn holds(filter: &Filter, node: &NodeFacts) -> bool {
    let equal = label(node, &filter.key).is_some_and(|found| matches(&filter.value, found));
    equal == wants_equal(filter)
}

/// Whether what matches is wanted, or shunned.
pub fn wants_equal(filter: &Filter) -> bool {
    matches!(
        filter.operator,
        FilterOperator::Equal | FilterOperator::SoftEqual
    )
}

/// Whether another instance is what an affinity speaks of.
pub fn meets(filter: &Filter, neighbour: &Neighbour<'_>) -> bool {
    let needs = neighbour.needs;
    let value = filter.value.as_str();
    match filter.key.as_str() {
        "container" => {
            let group = needs.group.to_string();
            matches(value, &group)
                || matches(value, needs.group.app.as_str())
                || matches(value, &format!("{group}.i{}", neighbour.no))
        }
        "image" => needs
            .image
            .as_deref()
            .is_some_and(|image| matches(value, image)),
        key => needs
            .labels
            .get(key)
            .is_some_and(|found| matches(value, found)),
    }
}

/// Whether `text` is `pattern`, in which `*` stands for any text.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        // The earliest place leaves the most for what follows.
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::placement::fixtures::{filter, needs, node};

    #[test]
    fn a_star_stands_for_any_text() {
        let table = [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "acb", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*a", "a", false),
            ("**", "x", true),
            ("*b*", "abc", true),
            ("*bb*", "abc", false),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn constraints_look_at_labels_name_and_group() {
        let mut ssd = node("n1", 1000, 1000);
        ssd.labels.insert("disk".into(), "ssd".into());
        let table = [
            ("constraint:disk==ssd", true),
            ("constraint:disk==s*", true),
            ("constraint:disk!=ssd", false),
            ("constraint:disk==hdd", false),
            ("constraint:absent==x", false),
            ("constraint:absent!=x", true),
            ("constraint:node==n1", true),
            ("constraint:node!=n1", false),
            ("constraint:group==default", true),
            ("constraint:group==special", false),
            ("constraint:disk==~hdd", true),
        ];
        for (text, expected) in table {
            let mut needs = needs("hello", 1, 1);
            needs.filters.push(filter(text));
            let filters = Filters::of(&needs);
            assert_eq!(filters.obstacle(&ssd).is_none(), expected, "{text}");
        }
    }

    #[test]
    fn a_node_of_another_group_takes_only_who_asks_for_it() {
        let mut special = node("n1", 1000, 1000);
        special.labels.insert("group".into(), "special".into());
        let plain = Filters::of(&needs("hello", 1, 1));
        let reason = plain.obstacle(&special).unwrap().to_string();
        assert_eq!(
            reason,
            "constraint:group==default does not hold: it is special"
        );
        assert!(!takes_everyone(&special));
        let mut asks = needs("hello", 1, 1);
        asks.filters.push(filter("constraint:group==special"));
        assert_eq!(Filters::of(&asks).obstacle(&special), None);
    }

    #[test]
    fn affinities_look_at_what_runs_there() {
        let mut redis = needs("redis", 1, 1);
        redis.image = Some("redis:7".into());
        redis.labels.insert("tier".into(), "data".into());
        let there = [Neighbour {
            needs: &redis,
            no: 2,
        }];
        let table = [
            ("affinity:container==redis.web.web", true),
            ("affinity:container==redis.web.web.i2", true),
            ("affinity:container==redis.web.web.i1", false),
            ("affinity:container==redis", true),
            ("affinity:container==*.web.web", true),
            ("affinity:container!=redis*", false),
            ("affinity:container!=shop*", true),
            ("affinity:image==redis:*", true),
            ("affinity:tier==data", true),
            ("affinity:tier!=data", false),
            ("affinity:tier==~other", true),
        ];
        for (text, expected) in table {
            let mut needs = needs("hello", 1, 1);
            needs.filters.push(filter(text));
            let filters = Filters::of(&needs);
            let (filter, hard) = filters.affinities().next().unwrap();
            let holds = there.iter().any(|n| meets(filter, n)) == wants_equal(filter);
            assert_eq!(holds || !hard, expected, "{text}");
        }
    }
}
