//! Contexts in the text of the user's configuration file: read and edited in place. Pure.

use std::path::Path;
use toml_edit::{DocumentMut, Item, Table};

/// A server that is known by a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Its name.
    pub name: String,
    /// Its address.
    pub server: String,
    /// The file of its token; empty: none.
    pub token_file: String,
    /// The file of the authority's certificate; empty: none.
    pub ca_file: String,
}

/// What is set of a context; what is `None` stays as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// Its address. Another server has another authority: where `ca_file` is not given, it is forgotten.
    pub server: Option<&'a str>,
    /// The file of its token.
    pub token_file: Option<&'a Path>,
    /// The file of the authority's certificate.
    pub ca_file: Option<&'a Path>,
}

const CURRENT: &str = "current_context";
const CONTEXTS: &str = "contexts";

fn parse(text: &str) -> Result<DocumentMut, String> {
    text.parse()
        .map_err(|error: toml_edit::TomlError| error.to_string())
}

fn table(document: &DocumentMut) -> Option<&dyn toml_edit::TableLike> {
    document.get(CONTEXTS)?.as_table_like()
}

/// The name of the current context, and all of them by name.
///
/// # Errors
/// Why the text is no TOML.
pub fn list(text: &str) -> Result<(Option<String>, Vec<Context>), String> {
    let document = parse(text)?;
    let current = document.get(CURRENT).and_then(Item::as_str);
    let entries = table(&document)
        .into_iter()
        .flat_map(toml_edit::TableLike::iter);
    let mut contexts: Vec<Context> = entries
        .map(|(name, item)| {
            let field = |key: &str| {
                let value = item.as_table_like().and_then(|t| t.get(key));
                value.and_then(Item::as_str).unwrap_or_default().to_owned()
            };
            Context {
                name: name.to_owned(),
                server: field("server"),
                token_file: field("token_file"),
                ca_file: field("ca_file"),
            }
        })
        .collect();
    contexts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((current.map(str::to_owned), contexts))
}

/// The text with `name` as the current context.
///
/// # Errors
/// Why the text is no TOML, or which contexts there are where there is none of this name.
pub fn choose(text: &str, name: &str) -> Result<String, String> {
    let mut document = parse(text)?;
    known(&document, name)?;
    put(document.as_table_mut(), CURRENT, name);
    Ok(document.to_string())
}

/// The text with a context added, or changed in what is given.
///
/// # Errors
/// Why the text is no TOML, or that a new context has no server.
pub fn set(text: &str, name: &str, change: &Change<'_>) -> Result<String, String> {
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("{name:?} cannot be a context's name: no blanks"));
    }
    let mut document = parse(text)?;
    if change.server.is_none() && known(&document, name).is_err() {
        return Err(format!(
            "context {name} is new: say where it is with --server URL"
        ));
    }
    let contexts = document.entry(CONTEXTS).or_insert_with(|| {
        let mut contexts = Table::new();
        contexts.set_implicit(true);
        Item::Table(contexts)
    });
    let contexts = contexts
        .as_table_like_mut()
        .ok_or_else(|| format!("{CONTEXTS} is no table"))?;
    let context = contexts
        .entry(name)
        .or_insert_with(|| Item::Table(Table::new()))
        .as_table_like_mut()
        .ok_or_else(|| format!("{CONTEXTS}.{name} is no table"))?;
    if let Some(server) = change.server {
        let before = context.get("server").and_then(Item::as_str);
        if before.is_some_and(|before| before != server) {
            context.remove("ca_file");
        }
        put(context, "server", server);
    }
    let files = [
        ("token_file", change.token_file),
        ("ca_file", change.ca_file),
    ];
    for (key, path) in files {
        if let Some(path) = path {
            put(context, key, &path.display().to_string());
        }
    }
    Ok(document.to_string())
}

/// The text without a context; where it was the current one there is none.
///
/// # Errors
/// As [`choose`].
pub fn delete(text: &str, name: &str) -> Result<String, String> {
    let mut document = parse(text)?;
    known(&document, name)?;
    if let Some(contexts) = document.get_mut(CONTEXTS).and_then(Item::as_table_like_mut) {
        contexts.remove(name);
    }
    if document.get(CURRENT).and_then(Item::as_str) == Some(name) {
        document.remove(CURRENT);
    }
    Ok(document.to_string())
}

/// Sets a key; the comments above and beside it stay.
fn put(table: &mut dyn toml_edit::TableLike, key: &str, text: &str) {
    let mut new = toml_edit::Value::from(text);
    match table.get_mut(key) {
        Some(item) => {
            if let Some(old) = item.as_value() {
                *new.decor_mut() = old.decor().clone();
            }
            *item = Item::Value(new);
        }
        None => {
            table.insert(key, Item::Value(new));
        }
    }
}

fn known(document: &DocumentMut, name: &str) -> Result<(), String> {
    if table(document).is_some_and(|t| t.contains_key(name)) {
        return Ok(());
    }
    let mut names: Vec<&str> = table(document)
        .map(|t| t.iter().map(|(name, _)| name).collect())
        .unwrap_or_default();
    names.sort_unstable();
    Err(match names.is_empty() {
        true => format!("there is no context {name}, nor any other; see `lain login --help`"),
        false => format!(
            "there is no context {name}; there are: {}",
            names.join(", ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# mine
current_context = \"a\" # the usual one

[contexts.a]
server = \"http://127.0.0.1:1\" # here

[log]
level = \"debug\"
";

    fn at(server: &str) -> Change<'_> {
        Change {
            server: Some(server),
            ..Change::default()
        }
    }

    #[test]
    fn edits_leave_everything_else_as_it_is() {
        let change = Change {
            server: Some("http://b:2"),
            token_file: Some(Path::new("/t")),
            ..Change::default()
        };
        let text = set(FILE, "b.example.com", &change).unwrap();
        let text = choose(&text, "b.example.com").unwrap();
        for kept in [
            "# mine",
            "# the usual one",
            "# here",
            "[log]\nlevel = \"debug\"",
        ] {
            assert!(text.contains(kept), "{text}");
        }
        let (current, contexts) = list(&text).unwrap();
        assert_eq!(current.as_deref(), Some("b.example.com"));
        assert_eq!(contexts.len(), 2);
        assert_eq!(
            (contexts[1].server.as_str(), contexts[1].token_file.as_str()),
            ("http://b:2", "/t")
        );
        let text = delete(&text, "b.example.com").unwrap();
        let (current, contexts) = list(&text).unwrap();
        assert_eq!((current, contexts.len()), (None, 1));
    }

    #[test]
    fn a_file_that_is_not_there_yet_is_begun() {
        let text = set("", "a", &at("http://a:1")).unwrap();
        assert_eq!(text, "[contexts.a]\nserver = \"http://a:1\"\n");
        let files = Change {
            server: None,
            token_file: Some(Path::new("/t")),
            ca_file: Some(Path::new("/ca")),
        };
        let text = set(&text, "a", &files).unwrap();
        let of = |text: &str| list(text).unwrap().1.remove(0);
        assert_eq!(of(&text).token_file, "/t");
        assert_eq!(of(&text).ca_file, "/ca");
        // The authority was that of the server before.
        let text = set(&text, "a", &at("https://b:1")).unwrap();
        assert_eq!(of(&text).token_file, "/t");
        assert_eq!(of(&text).ca_file, "");
    }

    #[test]
    fn what_cannot_be_is_said() {
        for (outcome, why) in [
            (choose(FILE, "b"), "there are: a"),
            (choose("", "b"), "lain login"),
            (delete(FILE, "b"), "there are: a"),
            (set(FILE, "b", &Change::default()), "--server URL"),
            (set(FILE, "", &at("http://a")), "no blanks"),
            (set("contexts = 1", "b", &at("http://a")), "no table"),
            (set("[", "b", &at("http://a")), "TOML"),
        ] {
            let error = outcome.unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
