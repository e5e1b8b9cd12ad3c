//! What an agent was told, over changes that come twice, late or not at all.

use super::*;
use crate::ports::agent::Want;
use crate::ports::agent::tests_support::desired;
use std::sync::Arc;

fn named(name: &str) -> Desired {
    let mut desired = desired(64);
    Arc::make_mut(&mut desired.assignment).container.name = name.to_owned();
    desired
}

fn names(changed: &[Changed]) -> Vec<(&str, bool)> {
    let mut names: Vec<_> = changed
        .iter()
        .map(|(name, _, now)| (name.as_str(), now.is_some()))
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn all_assignments_replace_what_was_there_but_for_what_is_kept() {
    let assigned = Assigned::default();
    assigned.load([named("a"), named("b"), named("c")]);
    let keep = vec!["b".to_owned()];
    let changed = assigned.apply(5, vec![named("a"), named("d")], Vec::new(), true, keep);
    assert_eq!(names(&changed), [("c", false), ("d", true)]);
    assert!(assigned.is_known("b") && !assigned.is_known("c"));
}

#[test]
fn a_change_that_comes_again_or_late_changes_nothing() {
    let assigned = Assigned::default();
    let all = |revision| assigned.apply(revision, vec![named("a")], Vec::new(), true, Vec::new());
    assert_eq!(names(&all(1)), [("a", true)]);
    assert!(all(1).is_empty());
    let stopped = {
        let mut desired = named("a");
        desired.want = Want::Stop;
        desired
    };
    let change = |revision, put: &Desired| {
        assigned.apply(revision, vec![put.clone()], Vec::new(), false, Vec::new())
    };
    assert_eq!(names(&change(3, &stopped)), [("a", true)]);
    // Older than what was taken up.
    assert!(change(2, &named("a")).is_empty());
    assert_eq!(assigned.get("a").map(|d| d.want), Some(Want::Stop));
}

#[test]
fn what_is_not_known_is_said_to_be_gone_all_the_same() {
    let assigned = Assigned::default();
    let changed = assigned.apply(2, Vec::new(), vec!["x".to_owned()], false, Vec::new());
    assert_eq!(names(&changed), [("x", false)]);
}

#[test]
fn what_is_assigned_again_as_it_is_is_reported_all_the_same() {
    // A control host that took over had not heard of it when it connected.
    let assigned = Assigned::default();
    assigned.load([named("a"), named("b")]);
    assigned.apply(1, vec![named("b")], Vec::new(), true, vec!["a".to_owned()]);
    assigned.take_news();
    let changed = assigned.apply(2, vec![named("a")], Vec::new(), false, Vec::new());
    assert!(changed.is_empty());
    let news = assigned.take_news();
    assert_eq!((news.dirty.len(), news.revision), (1, 2));
}

#[test]
fn news_are_taken_once() {
    let assigned = Assigned::default();
    assigned.touch(["a".to_owned(), "b".to_owned()]);
    assigned.is_gone("b".to_owned());
    let news = assigned.take_news();
    assert_eq!((news.dirty.len(), news.gone.len()), (1, 1));
    assert_eq!(assigned.take_news(), News::default());
}
