//! Draws the live tree with ratatui. Only reads the model; the time is given.

use super::line;
use super::model::{Mode, Model, Row as Line};
use super::printed::branches;
use crate::cli::output::style::{Style as Symbols, Tone, plain};
use crate::cli::output::time;
use chrono::{DateTime, Utc};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row, Table, TableState, Wrap};

/// Rows of the panel of events.
const EVENT_ROWS: u16 = 4;

/// The keys, for the help.
const KEYS: [(&str, &str); 10] = [
    ("up, down, k, j", "move"),
    ("page up, page down", "move by a page"),
    ("home, end, g, G", "first, last"),
    ("left, right, space", "close, open"),
    ("Enter", "the actor's state and crash report"),
    ("r", "restart the actor (asks)"),
    ("t", "terminate the actor (asks)"),
    ("/", "filter by path, state or note; Escape ends it"),
    ("R", "read the tree again"),
    ("q, Ctrl-C", "quit"),
];

/// Draws everything. `table` keeps the scroll position between frames.
pub fn draw(
    frame: &mut Frame<'_>,
    model: &mut Model,
    table: &mut TableState,
    symbols: Symbols,
    now: DateTime<Utc>,
) {
    let [title, tree, events, footer] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(EVENT_ROWS),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    model.set_page(usize::from(tree.height.saturating_sub(2)));
    frame.render_widget(title_line(model, symbols), title);
    draw_tree(frame, model, table, symbols, now, tree);
    frame.render_widget(events_panel(model, symbols, now), events);
    frame.render_widget(footer_line(model, symbols), footer);
    match &model.mode {
        Mode::Help => draw_help(frame, symbols),
        Mode::Report {
            title,
            lines,
            scroll,
        } => draw_report(frame, title, lines, *scroll, symbols),
        Mode::Tree | Mode::Filter | Mode::Confirm(..) => {}
    }
}

fn style(tone: Tone, symbols: Symbols) -> Style {
    let colour = |colour| match symbols.colour {
        true => Style::default().fg(colour),
        false => Style::default(),
    };
    match tone {
        Tone::Plain => Style::default(),
        Tone::Good => colour(Color::Green),
        Tone::Warn => colour(Color::Yellow),
        Tone::Bad => colour(Color::Red),
        Tone::Dim => Style::default().add_modifier(Modifier::DIM),
        Tone::Bold => Style::default().add_modifier(Modifier::BOLD),
    }
}

fn title_line(model: &Model, symbols: Symbols) -> Text<'static> {
    let mut spans = vec![Span::styled(
        model.title.clone(),
        style(Tone::Bold, symbols),
    )];
    if !model.filter.is_empty() {
        spans.push(Span::raw(format!("  filter: {}", model.filter)));
    }
    if let Some(why) = &model.stale {
        let banner = style(Tone::Bad, symbols).add_modifier(Modifier::REVERSED);
        spans.push(Span::styled(
            format!("  NOT CURRENT: {}", plain(why)),
            banner,
        ));
    }
    Text::from(spans)
}

fn draw_tree(
    frame: &mut Frame<'_>,
    model: &Model,
    state: &mut TableState,
    symbols: Symbols,
    now: DateTime<Utc>,
    area: Rect,
) {
    let lines = model.rows();
    if lines.is_empty() {
        frame.render_widget(Paragraph::new("reading the tree …"), area);
        return;
    }
    let names: Vec<String> = lines
        .iter()
        .map(|line| name(line, symbols.unicode))
        .collect();
    let longest = names
        .iter()
        .map(|name| Span::raw(name.as_str()).width())
        .max();
    let widest = u16::try_from(longest.unwrap_or(0)).unwrap_or(u16::MAX);
    // The tree takes what it needs, up to half: the figures beside it must stay in sight.
    let column = widest.clamp(12, (area.width / 2).max(12));
    let rows = lines
        .iter()
        .zip(names)
        .map(|(line, name)| row(line, name, symbols, now));
    let header = Row::new([
        "ACTOR", "STATE", "RESTARTS", "WINDOW", "MAILBOX", "UPTIME", "REMARKS",
    ])
    .style(style(Tone::Bold, symbols));
    let widths = [
        Constraint::Length(column),
        Constraint::Length(12),
        Constraint::Length(8),
        Constraint::Length(10),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Min(10),
    ];
    let table = Table::new(rows, widths)
        .header(header)
        .column_spacing(1)
        .row_highlight_style(Style::default().add_modifier(Modifier::REVERSED));
    state.select(Some(model.selected_row()));
    frame.render_stateful_widget(table, area, state);
}

fn name(line: &Line<'_>, unicode: bool) -> String {
    let (fork, end, through) = branches(unicode);
    let mut text = String::new();
    for (level, goes_on) in line.trunk.iter().enumerate() {
        text.push_str(match (level + 1 == line.trunk.len(), goes_on) {
            (true, true) => fork,
            (true, false) => end,
            (false, true) => through,
            (false, false) => "    ",
        });
    }
    text.push_str(&line::name(line.actor));
    if line.open == Some(false) {
        text.push_str(&format!(" [{}]", line.actor.child_count));
    }
    text
}

fn row(line: &Line<'_>, name: String, symbols: Symbols, now: DateTime<Utc>) -> Row<'static> {
    let actor = line.actor;
    let tone = line::tone(&actor.state);
    Row::new([
        Cell::from(name),
        Cell::from(symbols.state(tone, &actor.state)).style(style(tone, symbols)),
        Cell::from(actor.restarts.to_string()),
        Cell::from(line::window(actor)).style(style(line::window_tone(actor), symbols)),
        Cell::from(line::mailbox(actor)),
        Cell::from(line::uptime(actor, now)),
        Cell::from(line::remarks(actor, now)),
    ])
}

fn events_panel(model: &Model, symbols: Symbols, now: DateTime<Utc>) -> Paragraph<'static> {
    let rows = usize::from(EVENT_ROWS) - 1;
    let lines = model.events.iter().take(rows).map(|event| {
        let tone = match event.level.as_str() {
            "error" => Tone::Bad,
            "warn" => Tone::Warn,
            _ => Tone::Plain,
        };
        let text = format!(
            "{:>7} ago  {}",
            time::since(Some(event.at), now),
            plain(&event.message)
        );
        Text::styled(text, style(tone, symbols))
    });
    let mut text = vec![Text::styled("LAST EVENTS", style(Tone::Bold, symbols))];
    text.extend(lines);
    Paragraph::new(text)
}

fn footer_line(model: &Model, symbols: Symbols) -> Text<'static> {
    match &model.mode {
        Mode::Filter => Text::from(format!("/{}_", model.filter)),
        Mode::Confirm(action, path) => Text::styled(
            format!("{} {path}? [y/N]", action.word()),
            style(Tone::Warn, symbols).add_modifier(Modifier::REVERSED),
        ),
        Mode::Report { .. } => Text::from("up, down: scroll   any other key: back"),
        _ => match &model.message {
            Some(message) => Text::from(plain(message)),
            None => Text::styled(
                "arrows: move, open, close   Enter: crash report   r: restart   t: terminate   /: filter   ?: keys   q: quit",
                style(Tone::Dim, symbols),
            ),
        },
    }
}

fn popup(frame: &mut Frame<'_>, title: &str, width: u16, height: u16) -> Rect {
    let area = frame.area();
    let (width, height) = (width.min(area.width), height.min(area.height));
    let area = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let block = Block::bordered().title(format!(" {title} "));
    let inner = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    inner
}

fn draw_help(frame: &mut Frame<'_>, symbols: Symbols) {
    let height = u16::try_from(KEYS.len())
        .unwrap_or(u16::MAX)
        .saturating_add(2);
    let inner = popup(frame, "keys", 72, height);
    let lines: Vec<Text<'_>> = KEYS
        .iter()
        .map(|(key, does)| {
            let key = Span::styled(format!("{key:20}"), style(Tone::Bold, symbols));
            Text::from(vec![key, Span::raw(*does)])
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), inner);
}

fn draw_report(
    frame: &mut Frame<'_>,
    title: &str,
    lines: &[String],
    scroll: usize,
    symbols: Symbols,
) {
    let area = frame.area();
    let inner = popup(
        frame,
        title,
        area.width.saturating_sub(4),
        area.height.saturating_sub(3),
    );
    let lines: Vec<Text<'_>> = lines
        .iter()
        .skip(scroll)
        .map(|line| match line.ends_with(':') && !line.starts_with(' ') {
            true => Text::styled(line.as_str(), style(Tone::Bold, symbols)),
            false => Text::raw(line.as_str()),
        })
        .collect();
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), inner);
}
