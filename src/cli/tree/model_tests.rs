//! What keys and news do to the live tree, and what it looks like.

use super::*;
use crate::cli::output::style::Style;
use crate::cli::tree::{draw, line, printed};
use crate::domain::view::{ActorCrash, MailboxView};
use chrono::{DateTime, Duration, Utc};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::widgets::TableState;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn actor(path: &str, state: &str, children: Vec<ActorView>) -> ActorView {
    let supervisor = !children.is_empty();
    ActorView {
        path: path.to_owned(),
        id: path.rsplit('/').next().unwrap_or("").to_owned(),
        kind: if supervisor { "supervisor" } else { "worker" }.to_owned(),
        strategy: supervisor.then(|| "one_for_one".to_owned()),
        restart: "permanent".to_owned(),
        shutdown: "5s".to_owned(),
        significant: false,
        state: state.to_owned(),
        note: None,
        incarnation: 1,
        started_at: Some(now() - Duration::seconds(192)),
        restarts: 0,
        restarts_in_window: supervisor.then_some(0),
        intensity: supervisor.then_some(3),
        period_ms: supervisor.then_some(5000),
        restart_at: None,
        awaiting: None,
        mailbox: (!supervisor).then_some(MailboxView {
            length: 0,
            oldest_age_ms: None,
            handled: 12,
            rate: 0.5,
            current: None,
            current_ms: None,
            handler_max_us: 900,
            handler_p99_us: 40,
        }),
        history: Vec::new(),
        last_crash: None,
        detail: None,
        child_count: u32::try_from(children.len()).unwrap(),
        children,
    }
}

/// root → store, apps → hello → (web: two instances), engine (cut by depth).
fn tree() -> ActorView {
    let mut crashed = actor("apps/hello/web/2", "restarting", Vec::new());
    crashed.restarts = 4;
    crashed.restart_at = Some(now() + Duration::milliseconds(1500));
    crashed.last_crash = Some(ActorCrash {
        at: now() - Duration::seconds(3),
        reason: "exit code 137 (SIGKILL)".to_owned(),
        message_type: None,
        location: None,
        crash: Some("0198f2a1".to_owned()),
    });
    let mut busy = actor("apps/hello/web/1", "running", Vec::new());
    busy.note = Some("hello.web.web.v1-i1-d0, healthy".to_owned());
    if let Some(mailbox) = &mut busy.mailbox {
        (mailbox.length, mailbox.oldest_age_ms) = (3, Some(1200));
    }
    let mut web = actor("apps/hello/web", "running", vec![busy, crashed]);
    web.restarts_in_window = Some(3);
    let hello = actor("apps/hello", "running", vec![web]);
    let mut engine = actor("engine", "running", Vec::new());
    engine.child_count = 2;
    actor(
        "",
        "running",
        vec![
            actor("store", "running", Vec::new()),
            actor("apps", "running", vec![hello]),
            engine,
        ],
    )
}

fn model() -> Model {
    let mut model = Model::new("lain at http://127.0.0.1:7419".to_owned());
    model.snapshot(tree());
    model
}

fn paths(model: &Model) -> Vec<String> {
    model
        .rows()
        .iter()
        .map(|row| row.actor.path.clone())
        .collect()
}

fn press(model: &mut Model, keys: &[Key]) -> Option<Command> {
    keys.iter().fold(None, |_, key| model.key(*key))
}

fn type_in(model: &mut Model, text: &str) {
    for c in text.chars() {
        model.key(Key::Char(c));
    }
}

fn screen(model: &mut Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let symbols = Style {
        colour: false,
        unicode: true,
    };
    let mut table = TableState::default();
    let drawn = terminal.draw(|frame| draw::draw(frame, model, &mut table, symbols, now()));
    drawn.unwrap();
    terminal.backend().to_string()
}

#[test]
fn arrows_move_and_stay_within_the_tree() {
    let mut model = model();
    assert_eq!(model.selected, "");
    press(&mut model, &[Key::Up]);
    assert_eq!(model.selected_row(), 0);
    press(&mut model, &[Key::Down, Key::Char('j')]);
    assert_eq!(model.selected, "apps");
    press(&mut model, &[Key::End]);
    assert_eq!(model.selected, "engine");
    press(&mut model, &[Key::Down]);
    assert_eq!(model.selected, "engine");
    press(&mut model, &[Key::PageUp]);
    assert_eq!(model.selected, "");
}

#[test]
fn left_and_right_close_and_open() {
    let mut model = model();
    press(&mut model, &[Key::Down, Key::Down, Key::Left]);
    assert_eq!(paths(&model), ["", "store", "apps", "engine"]);
    press(&mut model, &[Key::Right]);
    assert_eq!(paths(&model).len(), 8);
    press(&mut model, &[Key::Right]);
    assert_eq!(model.selected, "apps/hello");
    // From a leaf to its parent.
    press(&mut model, &[Key::Down, Key::Down, Key::Left]);
    assert_eq!(model.selected, "apps/hello/web");
    press(&mut model, &[Key::Char(' ')]);
    assert_eq!(
        paths(&model),
        [
            "",
            "store",
            "apps",
            "apps/hello",
            "apps/hello/web",
            "engine"
        ]
    );
}

#[test]
fn crowds_are_closed_at_first() {
    let children = (0..100).map(|n| actor(&format!("many/{n}"), "running", Vec::new()));
    let many = actor("many", "running", children.collect());
    let mut model = Model::new(String::new());
    model.snapshot(actor("", "running", vec![many]));
    assert_eq!(paths(&model), ["", "many"]);
    press(&mut model, &[Key::Down, Key::Right]);
    assert_eq!(paths(&model).len(), 102);
}

#[test]
fn the_selection_stays_with_its_actor() {
    let mut model = model();
    press(&mut model, &[Key::End]);
    let mut changed = tree();
    changed
        .children
        .insert(0, actor("audit", "running", Vec::new()));
    model.snapshot(changed);
    assert_eq!(model.selected, "engine");
    // The actor is gone: its neighbour is selected.
    let mut changed = tree();
    changed.children.pop();
    model.snapshot(changed);
    assert_eq!(model.selected, "apps/hello/web/2");
}

#[test]
fn the_filter_keeps_what_matches_and_what_leads_there() {
    let mut model = model();
    press(&mut model, &[Key::Char('/')]);
    type_in(&mut model, "RESTARTING");
    let kept = [
        "",
        "apps",
        "apps/hello",
        "apps/hello/web",
        "apps/hello/web/2",
    ];
    assert_eq!(paths(&model), kept);
    assert_eq!(press(&mut model, &[Key::Enter]), None);
    assert_eq!(model.mode, Mode::Tree);
    assert_eq!(paths(&model), kept);
    // Escape first ends the filter, then the program.
    assert_eq!(press(&mut model, &[Key::Escape]), None);
    assert_eq!(paths(&model).len(), 8);
    assert_eq!(press(&mut model, &[Key::Escape]), Some(Command::Quit));
    press(&mut model, &[Key::Char('/')]);
    type_in(&mut model, "xq");
    press(&mut model, &[Key::Backspace, Key::Backspace, Key::Escape]);
    assert_eq!((model.filter.as_str(), &model.mode), ("", &Mode::Tree));
}

#[test]
fn restart_and_terminate_ask_first() {
    let mut model = model();
    press(&mut model, &[Key::Down]);
    assert_eq!(press(&mut model, &[Key::Char('t'), Key::Char('n')]), None);
    assert_eq!(press(&mut model, &[Key::Char('t'), Key::Enter]), None);
    assert_eq!(
        press(&mut model, &[Key::Char('t'), Key::Char('y')]),
        Some(Command::Act(ChildAction::Terminate, "store".to_owned()))
    );
    assert_eq!(
        press(&mut model, &[Key::Char('r'), Key::Char('y')]),
        Some(Command::Act(ChildAction::Restart, "store".to_owned()))
    );
    // The root is nobody's child.
    press(&mut model, &[Key::Home, Key::Char('r')]);
    assert_eq!(model.mode, Mode::Tree);
    assert!(model.message.is_some());
}

#[test]
fn enter_asks_for_the_report_and_any_key_leaves_it() {
    let mut model = model();
    assert_eq!(
        press(&mut model, &[Key::Down, Key::Enter]),
        Some(Command::Report("store".to_owned()))
    );
    model.report("store".to_owned(), (0..30).map(|n| n.to_string()).collect());
    press(&mut model, &[Key::Down, Key::Down]);
    assert!(matches!(&model.mode, Mode::Report { scroll: 2, .. }));
    press(&mut model, &[Key::End]);
    assert!(matches!(&model.mode, Mode::Report { scroll: 29, .. }));
    press(&mut model, &[Key::Char('q')]);
    assert_eq!(model.mode, Mode::Tree);
    assert_eq!(press(&mut model, &[Key::Interrupt]), Some(Command::Quit));
}

#[test]
fn windows_and_mailboxes_in_words() {
    let tree = tree();
    let web = &tree.children[1].children[0].children[0];
    assert_eq!(line::window(web), "3/3 in 5s");
    assert_eq!(line::mailbox(&web.children[0]), "3 (1.2s)");
    assert_eq!(line::mailbox(&web.children[1]), "0");
    assert_eq!(
        line::remarks(&web.children[1], now()),
        "restart in 1.5s, crashed 3s ago: exit code 137 (SIGKILL)"
    );
}

#[test]
fn the_printed_tree() {
    let style = Style {
        colour: false,
        unicode: true,
    };
    insta::assert_snapshot!(printed::table(&tree(), style, now(), false).render(style, None));
    let ascii = Style::default();
    insta::assert_snapshot!(printed::table(&tree(), ascii, now(), true).render(ascii, None));
}

#[test]
fn the_live_tree() {
    let mut model = model();
    press(&mut model, &[Key::End, Key::Up]);
    model.event(crate::domain::view::EventView {
        seq: 1,
        at: now() - Duration::seconds(3),
        kind: "actor_exited".to_owned(),
        level: "warn".to_owned(),
        app: None,
        proc: None,
        instance: None,
        node: None,
        path: None,
        operation: None,
        crash: None,
        message: "apps/hello/web/2 exited: exit code 137 (SIGKILL)".to_owned(),
    });
    insta::assert_snapshot!(screen(&mut model, 110, 18));
}

#[test]
fn the_live_tree_while_disconnected_filtered_and_asking() {
    let mut model = model();
    press(&mut model, &[Key::Char('/')]);
    type_in(&mut model, "web/1");
    press(&mut model, &[Key::Enter, Key::End, Key::Char('t')]);
    model.stale = Some("connection refused".to_owned());
    insta::assert_snapshot!(screen(&mut model, 90, 14));
}

#[test]
fn the_help_and_a_report() {
    let mut model = model();
    press(&mut model, &[Key::Char('?')]);
    insta::assert_snapshot!(screen(&mut model, 90, 16));
    press(&mut model, &[Key::Escape]);
    let tree = tree();
    let crashed = &tree.children[1].children[0].children[0].children[1];
    model.report(
        crashed.path.clone(),
        crate::cli::tree::report::describe(crashed, now()),
    );
    insta::assert_snapshot!(screen(&mut model, 90, 16));
}

#[test]
fn a_small_terminal_does_no_harm() {
    for (width, height) in [(1, 1), (5, 3), (20, 6)] {
        let mut model = model();
        screen(&mut model, width, height);
        press(&mut model, &[Key::Char('?')]);
        screen(&mut model, width, height);
        model.report("x".to_owned(), vec!["y".to_owned()]);
        screen(&mut model, width, height);
    }
}
