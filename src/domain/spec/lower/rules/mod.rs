//! Combinations of keys that cannot be, and some that can but will surprise.
//!
//! `types` holds what each type of proc excludes, `items` what may be there only once,
//! `surprises` what is accepted with a warning, `update` how instances are replaced.

mod items;
mod surprises;
mod types;
mod update;

use super::super::error::SpecCode;
use super::super::model::ProcSpec;
use super::super::report::{Finding, Path, Report};
use super::super::yaml::{Entry, Node};
use super::procs::Declared;

/// The rules about one proc.
pub(super) fn check_proc(declared: &Declared<'_>, spec: &ProcSpec, report: &mut Report<'_>) {
    declared.with_path(|path| {
        let mut rules = Rules {
            declared,
            spec,
            path,
            report,
        };
        rules.keys_of_other_types();
        rules.runs_to_its_end();
        rules.stateful();
        rules.update();
        rules.portal_of_service();
        rules.web();
        rules.repeated_items();
        rules.surprises();
    });
}

/// The rules between procs.
pub(super) fn check_procs(declared: &[Declared<'_>], report: &mut Report<'_>) {
    items::router_ports(declared, report);
    items::mountpoints(declared, report);
}

/// One proc under examination.
struct Rules<'r, 'n, 'p, 't> {
    declared: &'r Declared<'n>,
    spec: &'r ProcSpec,
    path: &'r Path<'p>,
    report: &'r mut Report<'t>,
}

impl<'n> Rules<'_, 'n, '_, '_> {
    fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.declared.body.entry(key)
    }

    fn refuse(&mut self, code: SpecCode, entry: &Entry, message: impl Into<String>, help: &str) {
        let finding = Finding::new(code, entry.place, self.path.key(&entry.key), message);
        let help = (!help.is_empty()).then(|| help.to_owned());
        self.report
            .error(finding.width(entry.width).suggest_if(help));
    }

    fn warn(
        &mut self,
        code: SpecCode,
        key: &str,
        node: &Node,
        message: impl Into<String>,
        help: &str,
    ) {
        let finding = Finding::new(code, node.place, self.path.key(key), message);
        self.report.warn(finding.width(node.width).suggest(help));
    }
}
