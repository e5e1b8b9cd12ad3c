//! What the user sees: results on stdout, everything else on stderr.
//!
//! [`Screen`] knows what the streams are and how to show things on them. Every verb writes through it,
//! so that a closed pipe ends a command quietly and `-o` means the same everywhere.

pub mod document;
pub mod style;
pub mod table;
pub mod time;

use crate::cli::error::{CliError, Result};
use chrono::{DateTime, Utc};
use document::Document;
use std::future::Future;
use std::io::{IsTerminal, Write};
use std::time::Duration;
use style::Style;
use table::Table;

/// `-o`: how a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people; not a contract.
    #[default]
    Table,
    /// As table, with more columns.
    Wide,
    /// The API's objects unchanged; with --follow one object per line.
    Json,
    /// The same, one object a line.
    Ndjson,
    /// The same as YAML.
    Yaml,
    /// Names or ids alone, one per line.
    Name,
}

/// The streams of this process.
#[derive(Debug, Clone)]
pub struct Screen {
    /// How results are printed.
    pub format: Format,
    /// No progress and no hints.
    pub quiet: bool,
    /// How stdout shows things.
    pub out: Style,
    /// How stderr shows things.
    pub err: Style,
    /// Whether someone can answer a question.
    pub stdin_is_terminal: bool,
    /// Whether stdout is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether progress can be redrawn in place.
    pub stderr_is_terminal: bool,
}

impl Screen {
    /// Looks at the streams and at `NO_COLOR`, `TERM` and the locale.
    pub fn detect(format: Format, quiet: bool, no_color: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let colour = !no_color && !set("NO_COLOR") && !dumb;
        let unicode = !dumb && is_utf8(|name| std::env::var(name).ok());
        let style = |terminal: bool| Style {
            colour: colour && terminal,
            unicode,
        };
        let (stdout, stderr) = (
            std::io::stdout().is_terminal(),
            std::io::stderr().is_terminal(),
        );
        Self {
            format,
            quiet,
            out: style(stdout),
            err: style(stderr),
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stdout_is_terminal: stdout,
            stderr_is_terminal: stderr && !dumb,
        }
    }

    /// Columns of the terminal that stdout is; `None` for a pipe, into which nothing is cut.
    pub fn columns(&self) -> Option<usize> {
        let size = self.stdout_is_terminal.then(terminal_size).flatten();
        size.map(|(columns, _)| usize::from(columns))
    }

    /// Whether the result is for people.
    pub fn is_table(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// Whether more columns are wanted.
    pub fn is_wide(&self) -> bool {
        self.format == Format::Wide
    }

    /// Writes to stdout as it is.
    ///
    /// # Errors
    /// Where stdout is closed or full.
    pub fn print(&self, text: &str) -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()?;
        Ok(())
    }

    /// Writes a line to stdout.
    ///
    /// # Errors
    /// As [`Screen::print`].
    pub fn line(&self, text: &str) -> Result<()> {
        self.print(&format!("{text}\n"))
    }

    /// Progress or a hint, on stderr; not with `--quiet`. A closed stderr is no reason to stop.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// A warning, on stderr, also with `--quiet`.
    pub fn warn(&self, text: &str) {
        let yellow = self.err.paint(style::Tone::Warn, "warning:");
        let _ = writeln!(std::io::stderr().lock(), "{yellow} {text}");
    }

    /// Does `work`, and after 100 ms says on a terminal what is waited for.
    pub async fn waiting<F: Future>(&self, label: &str, work: F) -> F::Output {
        if self.quiet || !self.stderr_is_terminal {
            return work.await;
        }
        let mut work = std::pin::pin!(work);
        let begun = tokio::time::Instant::now();
        let mut pause = Duration::from_millis(100);
        let mut shown = false;
        loop {
            match tokio::time::timeout(pause, &mut work).await {
                Ok(output) => {
                    if shown {
                        let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
                    }
                    return output;
                }
                Err(_) => {
                    let line = spinner(begun.elapsed(), label, self.err);
                    let _ = write!(std::io::stderr().lock(), "\r\x1b[2K{line}");
                    shown = true;
                    pause = Duration::from_millis(80);
                }
            }
        }
    }

    /// A table, fitted to the terminal.
    ///
    /// # Errors
    /// As [`Screen::print`].
    pub fn table(&self, table: &Table) -> Result<()> {
        self.print(&table.render(self.out, self.columns()))
    }

    /// A list of the API: as a table made by `table`, or as `-o` says. `empty` is said on stderr
    /// where there is nothing.
    ///
    /// # Errors
    /// As [`Screen::print`].
    pub fn list<T>(
        &self,
        items: &[T],
        page: &Document,
        empty: &str,
        table: impl FnOnce(&[T]) -> Table,
        name: impl Fn(&T) -> String,
    ) -> Result<()> {
        match self.format {
            Format::Json | Format::Ndjson | Format::Yaml => return self.document(page),
            Format::Name => {
                let names: String = items.iter().map(|item| name(item) + "\n").collect();
                self.print(&names)?;
            }
            Format::Table | Format::Wide if !items.is_empty() => self.table(&table(items))?,
            Format::Table | Format::Wide => {}
        }
        if items.is_empty() {
            self.note(empty);
        }
        Ok(())
    }

    /// One object as JSON or YAML.
    ///
    /// # Errors
    /// As [`Screen::print`].
    pub fn document(&self, document: &Document) -> Result<()> {
        if self.format == Format::Ndjson {
            return match document.get("items") {
                Some(Document::List(items)) => {
                    items.iter().try_for_each(|item| self.document_line(item))
                }
                _ => self.document_line(document),
            };
        }
        if self.format == Format::Yaml {
            return self.print(&yaml(document)?);
        }
        let text = serde_json::to_string_pretty(document)
            .map_err(|error| CliError::failed(format!("cannot write JSON: {error}")))?;
        self.line(&text)
    }

    /// One object of a stream: a line of JSON, or a YAML document.
    ///
    /// # Errors
    /// As [`Screen::print`].
    pub fn document_line(&self, document: &Document) -> Result<()> {
        if self.format == Format::Yaml {
            return self.print(&format!("---\n{}", yaml(document)?));
        }
        let text = serde_json::to_string(document)
            .map_err(|error| CliError::failed(format!("cannot write JSON: {error}")))?;
        self.line(&text)
    }

    /// The time now; the only clock that the views of the CLI use.
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// One picture of the wait: `⠹ waiting for http://… 1.2s`.
fn spinner(waited: Duration, label: &str, style: Style) -> String {
    const ROUND: [&str; 8] = ["⠋", "⠙", "⠸", "⠴", "⠦", "⠇", "⠏", "⠋"];
    const ASCII: [&str; 4] = ["|", "/", "-", "\\"];
    let frame = usize::try_from(waited.as_millis() / 80).unwrap_or(0);
    let wheel = if style.unicode {
        ROUND[frame % ROUND.len()]
    } else {
        ASCII[frame % ASCII.len()]
    };
    let tenths = waited.as_millis() / 100;
    format!("{wheel} {label} {}.{}s", tenths / 10, tenths % 10)
}

/// An object as YAML, ended by a newline.
///
/// # Errors
/// Where the serialiser refuses it.
pub fn yaml(document: &Document) -> Result<String> {
    serde_saphyr::to_string(document)
        .map_err(|error| CliError::failed(format!("cannot write YAML: {error}")))
}

/// Columns and rows of the terminal: of stdout, else stderr, else stdin.
pub fn terminal_size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout())
        .or_else(|_| rustix::termios::tcgetwinsize(std::io::stderr()))
        .or_else(|_| rustix::termios::tcgetwinsize(std::io::stdin()))
        .ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// The locale's encoding, as POSIX orders the variables.
fn is_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| variable(name).filter(|value| !value.is_empty()))
        .is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_decides_on_symbols() {
        let with = |pairs: &'static [(&str, &str)]| {
            is_utf8(|name| {
                let pair = pairs.iter().find(|(key, _)| *key == name);
                pair.map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(with(&[("LANG", "en_US.UTF-8")]));
        assert!(!with(&[("LANG", "en_US.UTF-8"), ("LC_ALL", "C")]));
        assert!(!with(&[]));
    }

    #[test]
    fn yaml_quotes_what_would_be_read_as_something_else() {
        let text = r#"{"name":"on","version":"1.0","no":2,"list":[{"a":null,"b":[]}],"text":"a\nb","at":"12:30"}"#;
        let document = Document::parse(text.as_bytes()).unwrap();
        insta::assert_snapshot!(yaml(&document).unwrap());
    }
}
