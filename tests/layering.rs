//! The rules that hold the source together, checked by reading it: who may import whom, what every file
//! opens with, what no file contains, how long files may be. The rules are stated in
//! `docs/architecture.md`.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, in lines.
const LINES: usize = 500;

/// Files that are longer, and why. Each goes when its reason does.
const LONGER: &[(&str, &str)] = &[
    (
        "src/domain/view.rs",
        "the whole vocabulary of the API, read as one page",
    ),
    (
        "src/drivers/simulated/world.rs",
        "one state machine, whose transitions belong together",
    ),
];

/// Which parts of ours each part may import, besides itself.
const IMPORTS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("ports", &["domain"]),
    ("config", &["domain"]),
    ("logging", &["domain", "ports", "config"]),
    ("auth", &["domain", "ports", "config"]),
    ("backup", &["domain", "ports"]),
    ("drivers", &["domain", "ports", "config"]),
    ("link", &["domain", "ports"]),
    ("actors", &["domain", "ports", "link", "logging"]),
    ("web", &["domain", "ports", "auth"]),
    ("cli", &["domain", "config", "link"]),
];

/// Words that no source file contains outside its tests.
const FORBIDDEN: &[&str] = &["todo!(", "unimplemented!(", "#[allow(", "#![allow("];

struct Source {
    /// From the root of the repository.
    path: String,
    text: String,
}

impl Source {
    /// `domain` for `src/domain/id.rs`; the file's own name for those directly in `src`.
    fn part(&self) -> &str {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inner.split(['/', '.']).next().unwrap_or(inner)
    }

    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        self.path.starts_with("tests/") || name == "tests.rs" || name.ends_with("_tests.rs")
    }

    /// Its lines up to the unit tests at its end, comments left out.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate().map(|(i, line)| (i + 1, line));
        let body = numbered.take_while(|(_, line)| line.trim() != "mod tests {");
        body.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn read(folder: &Path, root: &Path, into: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a folder of sources")
        .map(|e| e.expect("its entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read(&path, root, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let path = path
                .strip_prefix(root)
                .expect("below the root")
                .display()
                .to_string();
            into.push(Source { path, text });
        }
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for folder in folders {
        read(&root.join(folder), root, &mut all);
    }
    assert!(all.len() > 20, "the source is elsewhere: {folders:?}");
    all
}

fn none(faults: Vec<String>) {
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// The parts of ours that a line names: `crate::web::…` gives `web`, `crate::{a::b, c}` gives `a` and `c`.
fn named(line: &str) -> Vec<String> {
    let word = |text: &str| {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut parts = Vec::new();
    for (at, found) in line.match_indices("crate::") {
        // `$crate::` and `othercrate::` are not ours.
        if line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &line[at + found.len()..];
        match rest.strip_prefix('{') {
            Some(group) => parts.extend(top_level(group).iter().map(|item| word(item.trim()))),
            None => parts.push(word(rest)),
        }
    }
    parts
}

/// The items of a `{…}` group, split at the commas that are not in an inner group.
fn top_level(group: &str) -> Vec<&str> {
    let (mut depth, mut from, mut items) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&group[from..at]);
                return items;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&group[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    items.push(&group[from..]);
    items
}

#[test]
fn imports_keep_to_the_layers() {
    let mut faults = Vec::new();
    for source in sources(&["src"]) {
        let Some((part, allowed)) = IMPORTS.iter().find(|(part, _)| *part == source.part()) else {
            continue;
        };
        if source.is_test() {
            continue;
        }
        for (line, code) in source.code() {
            for named in named(code) {
                let layer = named == "roles" || IMPORTS.iter().any(|(p, _)| *p == named);
                if layer && named != *part && !allowed.contains(&named.as_str()) {
                    faults.push(format!(
                        "{}:{line}: {part} imports {named}: {}",
                        source.path,
                        code.trim()
                    ));
                }
            }
        }
    }
    none(faults);
}

/// The supervision library could be another project's.
#[test]
fn the_supervision_library_imports_nothing_of_ours() {
    let mut faults = Vec::new();
    for source in sources(&["src/actors/supervise"]) {
        for (line, code) in source.code() {
            let foreign = named(code).iter().any(|part| part != "actors");
            if foreign
                || (code.contains("crate::actors::") && !code.contains("crate::actors::supervise"))
            {
                faults.push(format!("{}:{line}: {}", source.path, code.trim()));
            }
        }
    }
    none(faults);
}

#[test]
fn every_part_has_its_rule() {
    let free = ["main", "lib", "roles"];
    let known = |part: &str| free.contains(&part) || IMPORTS.iter().any(|(p, _)| *p == part);
    let without = sources(&["src"])
        .iter()
        .map(|s| s.part().to_owned())
        .filter(|part| !known(part))
        .collect::<Vec<_>>();
    none(without);
}

#[test]
fn every_file_opens_with_what_it_is() {
    let mut faults = Vec::new();
    for source in sources(&["src", "tests"]) {
        if !source.text.starts_with("//!") {
            faults.push(format!(
                "{}:1: does not open with a //! comment",
                source.path
            ));
        }
    }
    none(faults);
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    let mut faults = Vec::new();
    for source in sources(&["src", "tests"]) {
        if source.path == file!() {
            continue;
        }
        for (line, code) in source.code() {
            if let Some(word) = FORBIDDEN.iter().find(|word| code.contains(**word)) {
                faults.push(format!(
                    "{}:{line}: contains {word}: {}",
                    source.path,
                    code.trim()
                ));
            }
        }
        for (line, code) in source.text.lines().enumerate() {
            if code.trim_start().starts_with("#[ignore") {
                faults.push(format!(
                    "{}:{}: a test is switched off",
                    source.path,
                    line + 1
                ));
            }
        }
    }
    none(faults);
}

/// A path below one user's or one machine's folder works nowhere else. Tests may name one that is never opened.
#[test]
fn no_file_names_somebodys_machine() {
    let mut faults = Vec::new();
    for source in sources(&["src", "tests"])
        .iter()
        .filter(|s| s.path != file!())
    {
        let folders: &[&str] = match source.is_test() {
            true => &["\"/Users/"],
            false => &["\"/Users/", "\"/home/"],
        };
        for (line, code) in source.code() {
            // `/home/me` is nobody's: examples use it.
            let code = code.replace("/home/me/", "");
            if let Some(path) = folders.iter().find(|path| code.contains(**path)) {
                faults.push(format!(
                    "{}:{line}: names {path}…: {}",
                    source.path,
                    code.trim()
                ));
            }
        }
    }
    none(faults);
}

#[test]
fn files_are_short() {
    let mut faults = Vec::new();
    for source in sources(&["src"]) {
        let lines = source.text.lines().count();
        let exempt = LONGER.iter().any(|(path, _)| *path == source.path);
        if lines > LINES && !exempt {
            faults.push(format!("{}: {lines} lines, {LINES} at most", source.path));
        }
    }
    none(faults);
}

#[test]
fn exemptions_are_still_needed() {
    let all = sources(&["src"]);
    let mut faults = Vec::new();
    for (path, reason) in LONGER {
        match all.iter().find(|source| source.path == *path) {
            None => faults.push(format!("{path} ({reason}): there is no such file")),
            Some(source) if source.text.lines().count() + 50 <= LINES => {
                faults.push(format!("{path} ({reason}): is short enough now"));
            }
            Some(_) => {}
        }
    }
    none(faults);
}

#[test]
fn the_reader_of_imports_reads() {
    for (line, parts) in [
        ("use crate::web::{a, b};", vec!["web"]),
        (
            "use crate::{domain::id::X, ports::{a, b}, web};",
            vec!["domain", "ports", "web"],
        ),
        ("    crate::roles::dev::run()", vec!["roles"]),
        ("use $crate::domain::x;", vec!["domain"]),
        ("use mycrate::domain::x;", vec![]),
        ("pub(crate) fn x() {}", vec![]),
    ] {
        assert_eq!(named(line), parts, "{line}");
    }
}
