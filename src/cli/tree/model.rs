//! The live tree's state: what is shown, what is selected, what a key does. Pure: no terminal, no server.
//!
//! `live` feeds it keys and news and carries out the [`Command`]s that it returns; `draw` shows it.

use crate::domain::view::{ActorView, EventView};
use std::collections::{HashSet, VecDeque};

/// A supervisor with more children than this is shown closed at first.
const MANY: usize = 40;
/// Events kept for the panel below the tree.
const EVENTS: usize = 50;

/// A key, free of any terminal library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// To the parent, or close.
    Left,
    /// To the first child, or open.
    Right,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the first row.
    Home,
    /// To the last row.
    End,
    /// Accept, or show the crash report.
    Enter,
    /// Back.
    Escape,
    /// Delete a character.
    Backspace,
    /// A character.
    Char(char),
    /// Ctrl-C.
    Interrupt,
}

/// What an operator does to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildAction {
    /// Terminate it and start it again.
    Restart,
    /// Terminate it; it stays down until restarted.
    Terminate,
}

impl ChildAction {
    /// The word, also the last segment of its path in the API.
    pub fn word(self) -> &'static str {
        match self {
            ChildAction::Restart => "restart",
            ChildAction::Terminate => "terminate",
        }
    }
}

/// What the terminal loop is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// End.
    Quit,
    /// Read the tree again.
    Refresh,
    /// Do this to the actor at this path.
    Act(ChildAction, String),
    /// Read the actor at this path and its crash report.
    Report(String),
}

/// Which of its faces the live tree shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// The tree; keys move.
    Tree,
    /// The tree; keys edit the filter.
    Filter,
    /// The question whether to do this to the actor at this path.
    Confirm(ChildAction, String),
    /// The list of keys.
    Help,
    /// A text to read, scrolled down by so many lines.
    Report {
        /// Its title.
        title: String,
        /// Its lines.
        lines: Vec<String>,
        /// Lines scrolled.
        scroll: usize,
    },
}

/// One visible line of the tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'m> {
    /// The actor, without regard to its children.
    pub actor: &'m ActorView,
    /// For each level below the top: whether the line of that level's ancestor goes on.
    pub trunk: Vec<bool>,
    /// Whether its children are shown; `None` if it has none.
    pub open: Option<bool>,
}

/// The state of the live tree.
#[derive(Debug, Clone)]
pub struct Model {
    /// Whose tree, for the title.
    pub title: String,
    /// The newest snapshot.
    pub root: Option<ActorView>,
    /// What is shown.
    pub mode: Mode,
    /// Only actors that match, and what leads to them.
    pub filter: String,
    /// What happened last, newest first.
    pub events: VecDeque<EventView>,
    /// Why what is shown may be old; `None` while connected.
    pub stale: Option<String>,
    /// The outcome of the last thing done.
    pub message: Option<String>,
    /// The path of the selected actor.
    pub selected: String,
    row: usize,
    page: usize,
    opened: HashSet<String>,
    closed: HashSet<String>,
}

impl Model {
    /// An empty tree.
    pub fn new(title: String) -> Self {
        Self {
            title,
            root: None,
            mode: Mode::Tree,
            filter: String::new(),
            events: VecDeque::new(),
            stale: None,
            message: None,
            selected: String::new(),
            row: 0,
            page: 10,
            opened: HashSet::new(),
            closed: HashSet::new(),
        }
    }

    /// A new snapshot. The selection stays with its actor, or its row if the actor is gone.
    pub fn snapshot(&mut self, root: ActorView) {
        if self.root.is_none() {
            self.selected.clone_from(&root.path);
        }
        self.root = Some(root);
        self.stale = None;
        self.settle();
    }

    /// Something happened.
    pub fn event(&mut self, event: EventView) {
        self.events.push_front(event);
        self.events.truncate(EVENTS);
    }

    /// A text to read.
    pub fn report(&mut self, title: String, lines: Vec<String>) {
        self.mode = Mode::Report {
            title,
            lines,
            scroll: 0,
        };
    }

    /// How many rows a page has; told by whoever draws.
    pub fn set_page(&mut self, rows: usize) {
        self.page = rows.max(1);
    }

    /// The index of the selected row.
    pub fn selected_row(&self) -> usize {
        self.row
    }

    /// The visible lines, top first.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let mut rows = Vec::new();
        if let Some(root) = &self.root {
            self.collect(root, Vec::new(), &mut rows);
        }
        rows
    }

    fn collect<'m>(&'m self, actor: &'m ActorView, trunk: Vec<bool>, rows: &mut Vec<Row<'m>>) {
        let filtering = !self.filter.is_empty();
        let children: Vec<&ActorView> = match filtering {
            true => actor
                .children
                .iter()
                .filter(|child| self.leads(child))
                .collect(),
            false => actor.children.iter().collect(),
        };
        let open = (!children.is_empty()).then(|| filtering || self.is_open(actor));
        rows.push(Row {
            actor,
            trunk: trunk.clone(),
            open,
        });
        if open != Some(true) {
            return;
        }
        let last = children.len() - 1;
        for (at, child) in children.into_iter().enumerate() {
            let mut trunk = trunk.clone();
            trunk.push(at != last);
            self.collect(child, trunk, rows);
        }
    }

    /// Whether the actor or one below it matches the filter.
    fn leads(&self, actor: &ActorView) -> bool {
        self.matches(actor) || actor.children.iter().any(|child| self.leads(child))
    }

    fn matches(&self, actor: &ActorView) -> bool {
        let wanted = self.filter.to_lowercase();
        let note = actor.note.as_deref().unwrap_or("");
        [actor.path.as_str(), actor.state.as_str(), note]
            .iter()
            .any(|text| text.to_lowercase().contains(&wanted))
    }

    fn is_open(&self, actor: &ActorView) -> bool {
        if self.opened.contains(&actor.path) {
            return true;
        }
        !self.closed.contains(&actor.path) && actor.children.len() <= MANY
    }

    /// Keeps the selection on its actor, or near its old row.
    fn settle(&mut self) {
        let (row, path) = {
            let rows = self.rows();
            let found = rows.iter().position(|row| row.actor.path == self.selected);
            let row = found.unwrap_or(self.row.min(rows.len().saturating_sub(1)));
            (row, rows.get(row).map(|row| row.actor.path.clone()))
        };
        self.row = row;
        self.selected = path.unwrap_or_default();
    }

    fn go(&mut self, row: usize) {
        self.row = row;
        // An index beyond the end settles on the last row.
        self.selected = "\0".to_owned();
        self.settle();
    }

    /// What a key does.
    pub fn key(&mut self, key: Key) -> Option<Command> {
        if key == Key::Interrupt {
            return Some(Command::Quit);
        }
        match &mut self.mode {
            Mode::Tree => self.tree_key(key),
            Mode::Filter => {
                self.filter_key(key);
                None
            }
            Mode::Confirm(action, path) => {
                let command = Command::Act(*action, path.clone());
                self.mode = Mode::Tree;
                matches!(key, Key::Char('y' | 'Y')).then_some(command)
            }
            Mode::Help => {
                self.mode = Mode::Tree;
                None
            }
            Mode::Report { lines, scroll, .. } => {
                let end = lines.len().saturating_sub(1);
                match scrolled(key, *scroll, self.page) {
                    Some(to) => *scroll = to.min(end),
                    None => self.mode = Mode::Tree,
                }
                None
            }
        }
    }

    fn tree_key(&mut self, key: Key) -> Option<Command> {
        self.message = None;
        match key {
            Key::Char('q') => return Some(Command::Quit),
            Key::Escape if self.filter.is_empty() => return Some(Command::Quit),
            Key::Escape => {
                self.filter.clear();
                self.settle();
            }
            Key::Char('/') => self.mode = Mode::Filter,
            Key::Char('?' | 'h') => self.mode = Mode::Help,
            Key::Char('r') => self.ask(ChildAction::Restart),
            Key::Char('t') => self.ask(ChildAction::Terminate),
            Key::Char(' ') => self.toggle(),
            Key::Left => self.close_or_leave(),
            Key::Right => self.open_or_enter(),
            Key::Char('R') => return Some(Command::Refresh),
            Key::Enter => return Some(Command::Report(self.selected.clone())),
            key => {
                if let Some(row) = scrolled(key, self.row, self.page) {
                    self.go(row);
                }
            }
        }
        None
    }

    fn filter_key(&mut self, key: Key) {
        match key {
            Key::Enter => self.mode = Mode::Tree,
            Key::Escape => {
                self.filter.clear();
                self.mode = Mode::Tree;
            }
            Key::Backspace => {
                self.filter.pop();
            }
            Key::Char(c) => self.filter.push(c),
            _ => {}
        }
        self.settle();
    }

    fn ask(&mut self, action: ChildAction) {
        let root = self.root.as_ref().map(|root| root.path.as_str());
        match self.selected.is_empty() {
            true if root.is_some() => {
                self.message = Some("the root is stopped by stopping lain itself".to_owned());
            }
            true => {}
            false => self.mode = Mode::Confirm(action, self.selected.clone()),
        }
    }

    fn selected_state(&self) -> Option<(Option<bool>, String)> {
        let rows = self.rows();
        rows.get(self.row)
            .map(|row| (row.open, row.actor.path.clone()))
    }

    fn set_open(&mut self, path: String, open: bool) {
        let (to, from) = match open {
            true => (&mut self.opened, &mut self.closed),
            false => (&mut self.closed, &mut self.opened),
        };
        from.remove(&path);
        to.insert(path);
        self.settle();
    }

    fn toggle(&mut self) {
        if let Some((Some(open), path)) = self.selected_state() {
            self.set_open(path, !open);
        }
    }

    fn close_or_leave(&mut self) {
        match self.selected_state() {
            Some((Some(true), path)) if self.filter.is_empty() => self.set_open(path, false),
            Some(_) => {
                let rows = self.rows();
                let depth = rows[self.row].trunk.len();
                let above = rows[..self.row].iter();
                let parent = above.clone().rposition(|row| row.trunk.len() < depth);
                if let Some(parent) = parent {
                    self.go(parent);
                }
            }
            None => {}
        }
    }

    fn open_or_enter(&mut self) {
        match self.selected_state() {
            Some((Some(false), path)) => self.set_open(path, true),
            Some((Some(true), _)) => self.go(self.row + 1),
            _ => {}
        }
    }
}

/// Where a moving key leads from here; `None` if it does not move.
fn scrolled(key: Key, from: usize, page: usize) -> Option<usize> {
    Some(match key {
        Key::Up | Key::Char('k') => from.saturating_sub(1),
        Key::Down | Key::Char('j') => from + 1,
        Key::PageUp => from.saturating_sub(page),
        Key::PageDown => from + page,
        Key::Home | Key::Char('g') => 0,
        Key::End | Key::Char('G') => usize::MAX / 2,
        _ => return None,
    })
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
