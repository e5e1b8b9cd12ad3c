//! Tables: capital header, two spaces between columns, fitted to a terminal, never cut in a pipe.

use super::style::{Style, Tone, cut, plain, width};

/// The narrowest that a column is made to fit a terminal.
const NARROWEST: usize = 8;

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell in the colour of `tone`.
    pub fn toned(tone: Tone, text: impl AsRef<str>) -> Self {
        Self {
            text: plain(text.as_ref()),
            tone,
        }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(Tone::Plain, text)
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table.
    pub fn new(header: &[&'static str]) -> Self {
        Self {
            header: header.iter().map(|name| (*name).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// An empty table with a header that is known only now.
    pub fn named(header: Vec<String>) -> Self {
        Self {
            header,
            rows: Vec::new(),
        }
    }

    /// Adds a row; missing cells are empty.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The text, each line ended. `columns`: the terminal's width, `None` for a pipe. Columns in which
    /// no row says anything are left out.
    pub fn render(&self, style: Style, columns: Option<usize>) -> String {
        let told: Vec<usize> = (0..self.header.len())
            .filter(|&column| self.rows.is_empty() || self.tells(column))
            .collect();
        let widths = self.widths(&told, columns);
        let mut text = String::new();
        let header: Vec<Cell> = self
            .header
            .iter()
            .map(|name| Cell::toned(Tone::Bold, name))
            .collect();
        for row in std::iter::once(&header).chain(&self.rows) {
            let cells = told.iter().filter_map(|&column| row.get(column));
            render_row(cells, &widths, style, &mut text);
        }
        text
    }

    fn tells(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.any(|cell| !cell.text.is_empty())
    }

    fn widths(&self, told: &[usize], columns: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = told
            .iter()
            .map(|&column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                let widest = cells.map(|cell| width(&cell.text)).max().unwrap_or(0);
                widest.max(width(&self.header[column]))
            })
            .collect();
        let Some(columns) = columns else {
            return widths;
        };
        let gaps = 2 * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > columns {
            // The widest gives way; of equals the last, which is the least important.
            let Some((at, _)) = widths.iter().enumerate().max_by_key(|(at, w)| (**w, *at)) else {
                break;
            };
            if widths[at] <= NARROWEST {
                break;
            }
            widths[at] -= 1;
        }
        widths
    }
}

fn render_row<'a>(
    cells: impl Iterator<Item = &'a Cell>,
    widths: &[usize],
    style: Style,
    text: &mut String,
) {
    let mut line = String::new();
    let mut pending = 0;
    for (cell, &column) in cells.zip(widths) {
        let shown = cut(&cell.text, column, style.unicode);
        let used = width(&shown);
        if used > 0 {
            line.extend(std::iter::repeat_n(' ', pending));
            line.push_str(&style.paint(cell.tone, &shown));
            pending = 0;
        }
        pending += column - used.min(column) + 2;
    }
    text.push_str(&line);
    text.push('\n');
}

/// The shortest prefixes, at least `least` long, that tell these ids apart.
pub fn short_ids<'a>(ids: impl Iterator<Item = &'a str> + Clone, least: usize) -> Vec<String> {
    let mut sorted: Vec<&str> = ids.clone().collect();
    sorted.sort_unstable();
    sorted.dedup();
    ids.map(|id| {
        let at = sorted.partition_point(|other| *other < id);
        let before = at.checked_sub(1).map(|i| common(sorted[i], id));
        let after = sorted.get(at + 1).map(|other| common(other, id));
        let shared = before.unwrap_or(0).max(after.unwrap_or(0));
        id.chars().take((shared + 1).max(least)).collect()
    })
    .collect()
}

fn common(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "STATE", "REASON"]);
        table.row(vec![
            "hello".into(),
            Cell::toned(Tone::Good, "running"),
            "".into(),
        ]);
        table.row(vec![
            "a".into(),
            Cell::toned(Tone::Bad, "degraded"),
            "proc web keeps failing: exit code 1 (unhandled)".into(),
        ]);
        table
    }

    #[test]
    fn a_pipe_gets_everything() {
        assert_eq!(
            table().render(Style::default(), None),
            "NAME   STATE     REASON\n\
             hello  running\n\
             a      degraded  proc web keeps failing: exit code 1 (unhandled)\n"
        );
    }

    #[test]
    fn a_terminal_gets_what_fits() {
        let style = Style {
            colour: false,
            unicode: true,
        };
        let text = table().render(style, Some(40));
        assert_eq!(
            text.lines().last(),
            Some("a      degraded  proc web keeps failing…")
        );
        assert!(text.lines().all(|line| width(line) <= 40));
    }

    #[test]
    fn colour_does_not_count_as_width() {
        let style = Style {
            colour: true,
            unicode: true,
        };
        let text = table().render(style, None);
        assert!(text.contains("a      \x1b[31mdegraded\x1b[0m  proc"));
    }

    #[test]
    fn ids_are_cut_to_what_is_unique() {
        let ids = ["0193a-1111", "0193a-1222", "0555"];
        assert_eq!(
            short_ids(ids.into_iter(), 4),
            ["0193a-11", "0193a-12", "0555"]
        );
        assert_eq!(short_ids(["abcdef"].into_iter(), 4), ["abcd"]);
        // The same id twice is one id.
        assert_eq!(short_ids(["abc", "abc"].into_iter(), 2), ["ab", "ab"]);
    }
}
