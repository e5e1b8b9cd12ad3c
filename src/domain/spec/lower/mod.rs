//! From a checked tree to the typed form, with the rules that span several keys.
//!
//! `app` reads what is no proc, `procs` finds the procs, `proc` and `health` read one; `rules`
//! refuses combinations that cannot be. Runs on trees with errors too, so that all problems are
//! told at once: what `check` refused reads as its default here.

mod app;
mod health;
mod proc;
mod procs;
mod read;
mod rules;

pub(super) use procs::proc_type;

use super::error::{Place, SpecCode};
use super::model::AppSpec;
use super::report::{Finding, Path, Report};
use super::yaml::Node;
use procs::Declared;

/// Reads a checked tree; `None` if the file is refused.
pub(super) fn lower(root: &Node, report: &mut Report<'_>) -> Option<AppSpec> {
    let declared = procs::declared(root, report);
    let mut specs = Vec::with_capacity(declared.len());
    for one in &declared {
        specs.push(proc::lower(one, report));
        rules::check_proc(one, specs.last()?, report);
    }
    rules::check_procs(&declared, report);
    check_app(root, &declared, report);
    let spec = app::lower(root, specs)?;
    (!report.failed()).then_some(spec)
}

/// The rules about the app as a whole.
fn check_app(root: &Node, declared: &[Declared<'_>], report: &mut Report<'_>) {
    if root.get("build").is_none() {
        build_needed(root, declared, report);
    }
    if declared.is_empty() && !report.failed() {
        let finding = Finding::new(
            SpecCode::Suspicious,
            start(root),
            Path::root(),
            "the app has no procs: there is nothing to run",
        );
        report.warn(
            finding
                .width(root.width)
                .suggest("add a section such as `web` or `worker.NAME`"),
        );
    }
    if let Some(name) = root.get("appname").filter(|n| {
        n.text()
            .is_some_and(|t| t.contains(|c: char| c.is_ascii_uppercase()))
    }) {
        let message = "image names and domain names know no upper case";
        let finding = Finding::new(SpecCode::Suspicious, name.place, "appname", message);
        report.warn(finding.width(name.width).suggest("use lower case only"));
    }
    if let (Some(volumes), Some(script)) = (
        root.get("build").and_then(|build| build.entry("volumes")),
        root.get("release")
            .and_then(|release| release.entry("script")),
    ) {
        let both = [&volumes.node, &script.node]
            .iter()
            .all(|n| n.items().is_some_and(|items| !items.is_empty()));
        if both {
            let message = "`build.volumes` and `release.script` exclude each other";
            let finding = Finding::new(SpecCode::Conflict, script.place, "release.script", message);
            report.error(finding.width(script.width).other(volumes.place));
        }
    }
    app::check_services(root, report);
}

fn build_needed(root: &Node, declared: &[Declared<'_>], report: &mut Report<'_>) {
    let without: Vec<&str> = declared
        .iter()
        .filter(|one| one.body.get("image").is_none())
        .map(|one| one.name.as_str())
        .take(5)
        .collect();
    if without.is_empty() && !declared.is_empty() {
        return;
    }
    let why = match without.as_slice() {
        [] => "key `build` is missing".to_owned(),
        names => format!(
            "key `build` is missing, and there is no `image` in {}",
            names.join(", ")
        ),
    };
    let finding = Finding::new(SpecCode::MissingKey, start(root), "build", why);
    report.error(
        finding
            .width(root.width)
            .expected("build, or an `image` for every proc"),
    );
}

/// The whole file's place is its first key's.
fn start(root: &Node) -> Place {
    root.place
}
