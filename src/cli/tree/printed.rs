//! The supervision tree as text: a table whose first column is drawn as a tree.

use super::line;
use crate::cli::output::style::Style;
use crate::cli::output::table::{Cell, Table};
use crate::domain::view::ActorView;
use chrono::{DateTime, Utc};

/// The table of an actor and everything below it.
pub fn table(root: &ActorView, style: Style, now: DateTime<Utc>, wide: bool) -> Table {
    let mut header = vec!["ACTOR", "STATE", "RESTARTS", "WINDOW", "MAILBOX", "UPTIME"];
    if wide {
        header.extend(["RESTART", "SHUTDOWN", "HANDLED", "RATE", "P99", "PATH"]);
    }
    header.push("REMARKS");
    let mut table = Table::new(&header);
    let mut lines = Lines {
        table: &mut table,
        style,
        now,
        wide,
    };
    lines.add(root, "", "");
    table
}

struct Lines<'t> {
    table: &'t mut Table,
    style: Style,
    now: DateTime<Utc>,
    wide: bool,
}

impl Lines<'_> {
    /// Adds an actor whose line begins with `own`, and its children, whose lines begin with `below`.
    fn add(&mut self, actor: &ActorView, own: &str, below: &str) {
        self.row(actor, format!("{own}{}", line::name(actor)));
        let hidden = (actor.child_count as usize).saturating_sub(actor.children.len());
        let last = actor.children.len() + usize::from(hidden > 0);
        let (fork, end, through) = branches(self.style.unicode);
        for (at, child) in actor.children.iter().enumerate() {
            let (branch, indent) = match at + 1 == last {
                true => (end, "    "),
                false => (fork, through),
            };
            self.add(
                child,
                &format!("{below}{branch}"),
                &format!("{below}{indent}"),
            );
        }
        if hidden > 0 {
            let text = format!("{below}{end}{hidden} more below");
            self.table.row(vec![text.into()]);
        }
    }

    fn row(&mut self, actor: &ActorView, name: String) {
        let tone = line::tone(&actor.state);
        let mut row: Vec<Cell> = vec![
            name.into(),
            Cell::toned(tone, self.style.state(tone, &actor.state)),
            actor.restarts.to_string().into(),
            Cell::toned(line::window_tone(actor), line::window(actor)),
            line::mailbox(actor).into(),
            line::uptime(actor, self.now).into(),
        ];
        if self.wide {
            row.extend(wide_cells(actor));
        }
        row.push(line::remarks(actor, self.now).into());
        self.table.row(row);
    }
}

fn wide_cells(actor: &ActorView) -> [Cell; 6] {
    let figures = actor.mailbox.as_ref();
    let figure = |text: Option<String>| Cell::from(text.unwrap_or_default());
    [
        actor.restart.as_str().into(),
        actor.shutdown.as_str().into(),
        figure(figures.map(|f| f.handled.to_string())),
        figure(figures.map(|f| format!("{:.1}/s", f.rate))),
        figure(figures.map(|f| format!("{}µs", f.handler_p99_us))),
        actor.path.as_str().into(),
    ]
}

/// The branches of a tree: to a child, to the last child, past a child.
pub fn branches(unicode: bool) -> (&'static str, &'static str, &'static str) {
    match unicode {
        true => ("├── ", "└── ", "│   "),
        false => ("|-- ", "`-- ", "|   "),
    }
}
