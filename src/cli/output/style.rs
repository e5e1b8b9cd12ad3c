//! Colours and symbols, and when they are used: never by colour alone, never into a pipe.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What a piece of text says about its subject; shown as a colour where there is colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// As wanted.
    Good,
    /// Not yet as wanted.
    Warn,
    /// Not as wanted.
    Bad,
    /// Less important.
    Dim,
    /// A heading.
    Bold,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Good => "\x1b[32m",
            Tone::Warn => "\x1b[33m",
            Tone::Bad => "\x1b[31m",
            Tone::Dim => "\x1b[2m",
            Tone::Bold => "\x1b[1m",
        }
    }
}

/// How one stream shows things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// With colour.
    pub colour: bool,
    /// With symbols beyond ASCII.
    pub unicode: bool,
}

impl Style {
    /// `text` in the colour of `tone`.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colour || tone == Tone::Plain || text.is_empty() {
            return text.to_owned();
        }
        format!("{}{text}\x1b[0m", tone.code())
    }

    /// One of eight colours for a name, the same each time.
    pub fn paint_name(self, name: &str) -> String {
        if !self.colour {
            return name.to_owned();
        }
        const COLOURS: [u8; 8] = [36, 33, 32, 35, 34, 96, 93, 95];
        let sum = name.bytes().fold(0usize, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(usize::from(byte))
        });
        format!("\x1b[{}m{name}\x1b[0m", COLOURS[sum % COLOURS.len()])
    }

    /// The symbol of a tone: `✔`, `…`, `✖`, or their ASCII forms.
    pub fn symbol(self, tone: Tone) -> &'static str {
        match (tone, self.unicode) {
            (Tone::Good, true) => "✔",
            (Tone::Good, false) => "+",
            (Tone::Warn, true) => "…",
            (Tone::Warn, false) => "~",
            (Tone::Bad, true) => "✖",
            (Tone::Bad, false) => "x",
            (Tone::Plain | Tone::Dim | Tone::Bold, true) => "·",
            (Tone::Plain | Tone::Dim | Tone::Bold, false) => "-",
        }
    }

    /// A state with its symbol: `✔ running`.
    pub fn state(self, tone: Tone, word: &str) -> String {
        format!("{} {word}", self.symbol(tone))
    }
}

/// Columns that a text takes on a terminal.
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text` in at most `columns` columns, the cut marked.
pub fn cut(text: &str, columns: usize, unicode: bool) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mark = if unicode { "…" } else { ".." };
    let room = columns.saturating_sub(width(mark));
    let mut used = 0;
    let mut kept: String = text
        .chars()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= room
        })
        .collect();
    kept.push_str(mark);
    kept
}

/// `text` without control characters: what a server or a container says must not move the cursor.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_only_where_asked() {
        let colour = Style {
            colour: true,
            unicode: true,
        };
        assert_eq!(colour.paint(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(Style::default().paint(Tone::Bad, "x"), "x");
        assert_eq!(colour.paint_name("web"), colour.paint_name("web"));
        assert_eq!(Style::default().state(Tone::Good, "running"), "+ running");
        assert_eq!(colour.state(Tone::Bad, "crashed"), "✖ crashed");
    }

    #[test]
    fn cuts_by_columns() {
        assert_eq!(cut("abcdef", 6, true), "abcdef");
        assert_eq!(cut("abcdefg", 6, true), "abcde…");
        assert_eq!(cut("abcdefg", 6, false), "abcd..");
        assert_eq!(cut("日本語日本語", 6, true), "日本…");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb c");
    }
}
