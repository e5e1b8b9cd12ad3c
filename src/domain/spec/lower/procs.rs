//! Finds the procs that a file declares, in its order, and sees that each name is there once.

use super::super::error::{Place, SpecCode};
use super::super::keys::{Family, TOP};
use super::super::report::{Finding, Path, Report};
use super::super::value;
use super::super::yaml::{Entry, Node};
use crate::domain::id::{ProcName, ProcType};
use std::collections::HashMap;

/// A proc that is declared somewhere in the file.
pub(super) struct Declared<'n> {
    pub name: ProcName,
    pub proc_type: ProcType,
    pub body: &'n Node,
    /// The keys that lead to its body.
    pub steps: [Option<&'n str>; 2],
    /// Where it is declared.
    pub place: Place,
    pub width: u32,
    /// The service that it is the portal of, in the short form.
    pub service: Option<ProcName>,
}

impl<'n> Declared<'n> {
    /// Calls `f` with the path of the body.
    pub fn with_path<T>(&self, f: impl FnOnce(&Path<'_>) -> T) -> T {
        let root = Path::root();
        let [first, second] = self.steps;
        let section = root.key(first.unwrap_or_default());
        match second {
            Some(key) => f(&section.key(key)),
            None => f(&section),
        }
    }
}

/// The type of a section's proc, where it can be told.
pub(in super::super) fn proc_type(family: &Family, body: &Node) -> Option<ProcType> {
    match (family.proc_type, body.get("type")) {
        (Some(proc_type), _) => Some(proc_type),
        (None, Some(node)) => node.text()?.parse().ok(),
        (None, None) => Some(ProcType::Worker),
    }
}

/// All procs, those of services included, without those whose name or type is refused.
pub(super) fn declared<'n>(root: &'n Node, report: &mut Report<'_>) -> Vec<Declared<'n>> {
    let mut all: Vec<Declared<'n>> = Vec::new();
    let mut names: HashMap<ProcName, usize> = HashMap::new();
    for entry in root.entries().unwrap_or_default() {
        let Some(family) = TOP
            .family(&entry.key)
            .filter(|_| TOP.key(&entry.key).is_none())
        else {
            continue;
        };
        for one in of_section(entry, family) {
            match names.get(&one.name) {
                Some(&first) => duplicate(&one, &all[first], report),
                None => {
                    names.insert(one.name.clone(), all.len());
                    all.push(one);
                }
            }
        }
    }
    all
}

fn duplicate(one: &Declared<'_>, first: &Declared<'_>, report: &mut Report<'_>) {
    let message = format!("proc `{}` is declared twice", one.name);
    let finding =
        one.with_path(|path| Finding::new(SpecCode::DuplicateProc, one.place, path, message));
    report.error(
        finding
            .width(one.width)
            .other(first.place)
            .expected("a name that is unique in the app, whatever the type"),
    );
}

fn of_section<'n>(entry: &'n Entry, family: &Family) -> Vec<Declared<'n>> {
    let name = entry
        .key
        .split_once('.')
        .map_or(entry.key.as_str(), |(_, name)| name);
    let (Ok(name), Some(_)) = (value::proc_name(name), entry.node.entries()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let (place, width) = (entry.place, entry.width);
    let first = Some(entry.key.as_str());
    if let Some(proc_type) = proc_type(family, &entry.node) {
        let name = name.clone();
        found.push(Declared {
            name,
            proc_type,
            body: &entry.node,
            steps: [first, None],
            place,
            width,
            service: None,
        });
    }
    let portal = entry
        .node
        .entry("portal")
        .filter(|portal| family.prefix == "service" && portal.node.entries().is_some());
    if let (Some(portal), Ok(portal_name)) = (portal, value::proc_name(&format!("portal-{name}"))) {
        found.push(Declared {
            name: portal_name,
            proc_type: ProcType::Portal,
            body: &portal.node,
            steps: [first, Some("portal")],
            place: portal.place,
            width: portal.width,
            service: Some(name),
        });
    }
    found
}
