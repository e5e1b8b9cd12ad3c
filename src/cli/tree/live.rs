//! Runs the live tree: keys from the terminal, news from the server, frames to the screen.
//!
//! Every request runs beside the loop, so that a slow server never blocks a key.

use super::model::{ChildAction, Command, Key, Model};
use super::{draw, report, target};
use crate::cli::client::Client;
use crate::cli::error::{Exit, Result};
use crate::cli::output::style::Style;
use crate::cli::request::{Change, Target};
use crate::cli::session::Session;
use crate::cli::watch::{Signal, Watch};
use crate::domain::view::{ActorView, EventView};
use ratatui::crossterm::event::{self, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::widgets::TableState;
use reqwest::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// After an event the tree is read again no sooner than this after the last time.
const SHORTEST: Duration = Duration::from_millis(100);
/// Mailboxes and ages change without events.
const LONGEST: Duration = Duration::from_secs(2);

/// What comes in.
enum News {
    Key(Key),
    /// The terminal was resized.
    Redraw,
    Tree(Box<Result<ActorView>>),
    Event(Box<EventView>),
    Lost(String),
    Back,
    Report(String, Vec<String>),
    Acted(String),
}

/// Shows the tree below `path` until the user quits.
///
/// # Errors
/// Where the first reading fails, or the terminal cannot be used.
pub async fn run(path: &str, session: &Session) -> Result<Exit> {
    let client = Arc::new(session.client.quiet()?);
    // The first reading may fail with a message on a screen that is still whole.
    let first: ActorView = client.get_as(&target(path, None)).await?;
    let (send, receive) = unbounded_channel();
    let stop = Arc::new(AtomicBool::new(false));
    let mut terminal = ratatui::try_init()?;
    let keys = read_keys(send.clone(), stop.clone());
    let mut live = Live {
        path: path.to_owned(),
        model: Model::new(title(path, &client)),
        client,
        send,
        symbols: session.screen.out,
        dirty: false,
        reading: false,
        last: Instant::now(),
    };
    live.model.snapshot(first);
    let outcome = live.turn(&mut terminal, receive).await;
    stop.store(true, Ordering::Relaxed);
    ratatui::restore();
    // The thread ends within one poll; its panic, if any, has nothing left to tell.
    let _ = keys.join();
    outcome
}

fn title(path: &str, client: &Client) -> String {
    let place = if path.is_empty() { "lain" } else { path };
    format!("{place} at {}", client.connection().server)
}

struct Live {
    path: String,
    model: Model,
    client: Arc<Client>,
    send: UnboundedSender<News>,
    symbols: Style,
    dirty: bool,
    reading: bool,
    last: Instant,
}

impl Live {
    async fn turn(
        &mut self,
        terminal: &mut ratatui::DefaultTerminal,
        mut receive: UnboundedReceiver<News>,
    ) -> Result<Exit> {
        let watching = tokio::spawn(watch(self.client.clone(), self.send.clone()));
        let mut table = TableState::default();
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        let mut drawn = Instant::now();
        terminal.draw(|frame| self.draw(frame, &mut table))?;
        let outcome = loop {
            let news = tokio::select! {
                news = receive.recv() => news,
                _ = tick.tick() => None,
            };
            let fresh = news.is_some();
            if let Some(News::Key(key)) = news {
                match self.model.key(key) {
                    Some(Command::Quit) => break Ok(Exit::Ok),
                    Some(command) => self.command(command),
                    None => {}
                }
            } else if let Some(news) = news {
                self.news(news);
            }
            self.read_if_due();
            if fresh || drawn.elapsed() >= Duration::from_secs(1) {
                terminal.draw(|frame| self.draw(frame, &mut table))?;
                drawn = Instant::now();
            }
        };
        watching.abort();
        outcome
    }

    fn draw(&mut self, frame: &mut ratatui::Frame<'_>, table: &mut TableState) {
        draw::draw(
            frame,
            &mut self.model,
            table,
            self.symbols,
            chrono::Utc::now(),
        );
    }

    fn news(&mut self, news: News) {
        match news {
            News::Key(_) | News::Redraw => {}
            News::Tree(tree) => {
                self.reading = false;
                match *tree {
                    Ok(root) => self.model.snapshot(root),
                    Err(error) => self.model.stale = Some(error.message),
                }
            }
            News::Event(event) => {
                self.dirty = true;
                self.model.event(*event);
            }
            News::Lost(why) => self.model.stale = Some(why),
            News::Back => self.dirty = true,
            News::Report(title, lines) => self.model.report(title, lines),
            News::Acted(message) => {
                self.dirty = true;
                self.model.message = Some(message);
            }
        }
    }

    fn command(&mut self, command: Command) {
        let (client, send) = (self.client.clone(), self.send.clone());
        match command {
            Command::Quit => {}
            Command::Refresh => self.dirty = true,
            Command::Act(action, path) => {
                tokio::spawn(async move {
                    let _ = send.send(News::Acted(act(&client, action, &path).await));
                });
            }
            Command::Report(path) => {
                tokio::spawn(async move {
                    let lines = report::read(&client, &path).await;
                    let title = if path.is_empty() {
                        "lain".to_owned()
                    } else {
                        path
                    };
                    let _ = send.send(News::Report(title, lines));
                });
            }
        }
    }

    fn read_if_due(&mut self) {
        let since = self.last.elapsed();
        let due = (self.dirty && since >= SHORTEST) || since >= LONGEST;
        if self.reading || !due {
            return;
        }
        (self.dirty, self.reading, self.last) = (false, true, Instant::now());
        let (client, send) = (self.client.clone(), self.send.clone());
        let target = target(&self.path, None);
        tokio::spawn(async move {
            let tree = client.get_as(&target).await;
            let _ = send.send(News::Tree(Box::new(tree)));
        });
    }
}

/// Keys block their reader, so they have a thread of their own.
fn read_keys(send: UnboundedSender<News>, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let ready = event::poll(Duration::from_millis(100)).unwrap_or(false);
            let news = match ready.then(event::read) {
                Some(Ok(event::Event::Key(key))) => key_of(key).map(News::Key),
                Some(Ok(event::Event::Resize(..))) => Some(News::Redraw),
                Some(Err(_)) => Some(News::Key(Key::Interrupt)),
                _ => None,
            };
            if news.is_some_and(|news| send.send(news).is_err()) {
                return;
            }
        }
    })
}

fn key_of(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == KeyCode::Char('c')).then_some(Key::Interrupt);
    }
    Some(match key.code {
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Char(c) => Key::Char(c),
        _ => return None,
    })
}

/// Passes the server's events on, for ever.
async fn watch(client: Arc<Client>, send: UnboundedSender<News>) {
    let mut watch = Watch::new(&client, Target::new(["supervision", "events"]));
    loop {
        let news = match watch.next().await {
            Ok(Signal::Event(event)) => match serde_json::from_str(&event.data) {
                Ok(event) => News::Event(Box::new(event)),
                Err(_) => continue,
            },
            Ok(Signal::Lost(why)) => News::Lost(why),
            Ok(Signal::Back) => News::Back,
            Err(error) => {
                // Too old to resume, or refused: begin anew. The tree itself is read in any case.
                watch.restart();
                tokio::time::sleep(LONGEST).await;
                News::Lost(error.message)
            }
        };
        if send.send(news).is_err() {
            return;
        }
    }
}

async fn act(client: &Client, action: ChildAction, path: &str) -> String {
    let target = Target::new(["supervision", action.word()]).query("path", path);
    match client.change(&target, &Change::new(Method::POST)).await {
        Ok(_) => format!("{path}: {} asked for", action.word()),
        Err(error) => format!("{path}: {}", error.message),
    }
}
