//! Holds the reference in `docs/lain-yaml.md` against the table of keys.
//!
//! `LAIN_UPDATE_DOCS=1 cargo test --lib reference` writes it anew.

use super::{Family, Key, Kind, Origin, Required, Section, TOP};
use std::fmt::Write;

const BEGIN: &str =
    "<!-- keys: made from the table in src/domain/spec/keys, checked by a test -->\n";
const END: &str = "<!-- end of keys -->\n";

/// The value of a key, in words; sections by name.
fn brief(kind: &Kind) -> String {
    match kind {
        Kind::Keys(section) => format!("mapping: [{0}](#{0})", section.name),
        Kind::List(item) => format!("list of: {}", brief(item)),
        Kind::Map(key, value) => format!("mapping from {} to: {}", key.expected, brief(value)),
        Kind::Single(key, value) => format!(
            "mapping with one key, {}, to: {}",
            key.expected,
            brief(value)
        ),
        Kind::OneOf(kinds) => kinds.iter().map(brief).collect::<Vec<_>>().join(" *or* "),
        kind => kind.describe(),
    }
}

fn row(key: &Key) -> String {
    let ours = if key.origin == Origin::Ours {
        " ✚"
    } else {
        ""
    };
    let default = match (key.required, key.default) {
        (Required::Yes, _) => "**required**".to_owned(),
        (Required::For(proc_type), _) => format!("**required** for {proc_type}"),
        (Required::No, default) => default.to_owned(),
    };
    let types: Vec<&str> = key.only.iter().map(|t| t.as_str()).collect();
    let only = if types.is_empty() {
        String::new()
    } else {
        format!(" Only: {}.", types.join(", "))
    };
    let cells = [
        format!("`{}`{ours}", key.name),
        format!("{}{only}", key.doc),
        brief(key.kind),
        default,
    ];
    format!(
        "| {} |\n",
        cells.map(|cell| cell.replace('|', "\\|")).join(" | ")
    )
}

fn table(section: &'static Section, out: &mut String) {
    let keys: Vec<&Key> = section.all_keys().collect();
    let _ = writeln!(
        out,
        "| key | meaning | value | default |\n|---|---|---|---|"
    );
    keys.into_iter().for_each(|key| out.push_str(&row(key)));
    if let Some((_, rest)) = section.rest {
        let _ = writeln!(
            out,
            "| any other | A template variable. | {} | |",
            brief(rest)
        );
    }
}

fn family(family: &Family) -> String {
    let bare = if family.bare {
        format!("`{0}`, `{0}.NAME`", family.prefix)
    } else {
        format!("`{}.NAME`", family.prefix)
    };
    let ours = if family.origin == Origin::Ours {
        " ✚"
    } else {
        ""
    };
    format!(
        "| {bare}{ours} | {} | [{}](#{}) |\n",
        family.doc, family.section.name, family.section.name
    )
}

/// The sections below a kind, each once, in the order of their first use.
fn below(kind: &'static Kind, found: &mut Vec<&'static Section>) {
    match kind {
        Kind::Keys(section) => add(section, found),
        Kind::List(kind) | Kind::Map(_, kind) | Kind::Single(_, kind) => below(kind, found),
        Kind::OneOf(kinds) => kinds.iter().for_each(|kind| below(kind, found)),
        _ => {}
    }
}

fn add(section: &'static Section, found: &mut Vec<&'static Section>) {
    if found.iter().any(|known| known.name == section.name) {
        return;
    }
    found.push(section);
    section.all_keys().for_each(|key| below(key.kind, found));
}

fn reference() -> String {
    let mut out = String::from("### Top level\n\n");
    table(&TOP, &mut out);
    out.push_str("\n### Procs\n\n| section | meaning | keys |\n|---|---|---|\n");
    TOP.families.iter().for_each(|f| out.push_str(&family(f)));
    let mut found = Vec::new();
    TOP.all_keys().for_each(|key| below(key.kind, &mut found));
    TOP.families.iter().for_each(|f| add(f.section, &mut found));
    for section in found {
        let _ = write!(
            out,
            "\n### {}\n\n{}\n\n",
            section.name,
            capital(section.doc)
        );
        match section.name {
            "proc" => out.push_str("The keys of [typed_proc](#typed_proc), and `type`: one of web, worker, oneshot, portal, cron; default `worker`.\n"),
            "service" => out.push_str("The keys of [proc](#proc), and `portal` (**required**): the portal, with the keys of [typed_proc](#typed_proc).\n"),
            "service_portal" => out.push_str("The keys of [typed_proc](#typed_proc).\n"),
            _ => table(section, &mut out),
        }
    }
    out.push('\n');
    out
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    format!("{first}{}.", chars.as_str())
}

#[test]
fn the_reference_is_the_table() {
    let path = format!("{}/docs/lain-yaml.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the reference");
    let (before, rest) = text.split_once(BEGIN).expect("the begin mark");
    let (written, after) = rest.split_once(END).expect("the end mark");
    let expected = format!("\n{}", reference());
    if std::env::var_os("LAIN_UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}"))
            .expect("a writable reference");
    } else {
        assert_eq!(
            written, expected,
            "run LAIN_UPDATE_DOCS=1 cargo test --lib reference"
        );
    }
}
