//! Shows an operation on its way: a live line per step on a terminal, one plain line per change else.
//!
//! What is drawn is decided by pure functions of the operation and the time; [`Progress`] draws it on
//! stderr.

use crate::cli::output::style::{Style, Tone, cut, plain, width};
use crate::cli::output::{Screen, terminal_size, time};
use crate::cli::plan;
use crate::domain::view::{OperationState, OperationStep, OperationView};
use chrono::{DateTime, Utc};
use std::io::Write;

/// The display of one operation.
pub struct Progress<'s> {
    screen: &'s Screen,
    drawn: usize,
    said: Vec<(OperationState, String)>,
}

impl<'s> Progress<'s> {
    /// A display on the screen's stderr.
    pub fn new(screen: &'s Screen) -> Self {
        Self {
            screen,
            drawn: 0,
            said: Vec::new(),
        }
    }

    /// Whether it is redrawn in place, so that seconds should be kept running.
    pub fn is_live(&self) -> bool {
        self.screen.stderr_is_terminal && !self.screen.quiet
    }

    /// Shows where the operation stands.
    pub fn show(&mut self, operation: &OperationView, now: DateTime<Utc>) {
        if self.screen.quiet {
            return;
        }
        if !self.is_live() {
            for line in changes(operation, &mut self.said, now, self.screen.err) {
                self.screen.note(&line);
            }
            return;
        }
        let (columns, rows) = terminal_size().unwrap_or((80, 24));
        let room = usize::from(rows).saturating_sub(2).max(3);
        let mut lines = frame(operation, now, self.screen.err, usize::from(columns));
        fold(&mut lines, operation, room);
        self.draw(&lines);
    }

    /// Says something in between; the live lines are drawn again below it.
    pub fn say(&mut self, text: &str) {
        if self.is_live() {
            self.draw(&[]);
        }
        self.screen.note(text);
    }

    fn draw(&mut self, lines: &[String]) {
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", self.drawn));
        }
        text.push_str("\x1b[J");
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = lines.len();
        let mut stderr = std::io::stderr().lock();
        let _ = stderr.write_all(text.as_bytes());
        let _ = stderr.flush();
    }
}

/// How a step's state looks.
pub fn tone(state: OperationState) -> Tone {
    match state {
        OperationState::Pending => Tone::Dim,
        OperationState::Running => Tone::Warn,
        OperationState::Succeeded => Tone::Good,
        OperationState::Failed => Tone::Bad,
        OperationState::Cancelled => Tone::Plain,
    }
}

/// The word of a state, as in JSON.
pub fn word(state: OperationState) -> &'static str {
    match state {
        OperationState::Pending => "pending",
        OperationState::Running => "running",
        OperationState::Succeeded => "succeeded",
        OperationState::Failed => "failed",
        OperationState::Cancelled => "cancelled",
    }
}

fn what(step: &OperationStep) -> String {
    let said = plain(&step.detail);
    match said.is_empty() {
        true => word(step.state).to_owned(),
        false => said,
    }
}

fn seconds(step: &OperationStep, now: DateTime<Utc>) -> String {
    step.started_at
        .map(|begun| time::took(step.ended_at.unwrap_or(now) - begun))
        .unwrap_or_default()
}

/// A line per step: `✔ hello.web.web.i1  create  healthy  2.1s`.
pub fn frame(
    operation: &OperationView,
    now: DateTime<Utc>,
    style: Style,
    columns: usize,
) -> Vec<String> {
    let cells: Vec<[String; 4]> = operation
        .steps
        .iter()
        .map(|step| {
            let action = plan::words(step.step.action).1.to_owned();
            [
                plain(&step.step.target),
                action,
                what(step),
                seconds(step, now),
            ]
        })
        .collect();
    let widest = |column: usize| {
        cells
            .iter()
            .map(|row| width(&row[column]))
            .max()
            .unwrap_or(0)
    };
    let (target, action, detail) = (widest(0), widest(1), widest(2).min(60));
    let lines = cells.iter().zip(&operation.steps).map(|(row, step)| {
        let tone = tone(step.state);
        let what = cut(&row[2], detail, style.unicode);
        let line = format!(
            "{}{}  {}{}  {what}{}  {}",
            row[0],
            " ".repeat(target - width(&row[0])),
            row[1],
            " ".repeat(action - width(&row[1])),
            " ".repeat(detail.saturating_sub(width(&what))),
            row[3]
        );
        let line = cut(line.trim_end(), columns.saturating_sub(5), style.unicode);
        format!("  {} {line}", style.paint(tone, style.symbol(tone)))
    });
    lines.collect()
}

/// Keeps what is going on or failed where there are more steps than rows, and counts the rest.
fn fold(lines: &mut Vec<String>, operation: &OperationView, rows: usize) {
    if lines.len() <= rows {
        return;
    }
    let count = |state| {
        operation
            .steps
            .iter()
            .filter(|step| step.state == state)
            .count()
    };
    let (done, waiting) = (
        count(OperationState::Succeeded),
        count(OperationState::Pending),
    );
    let active = |step: &OperationStep| {
        matches!(step.state, OperationState::Running | OperationState::Failed)
    };
    let kept = std::mem::take(lines).into_iter().zip(&operation.steps);
    *lines = kept
        .filter_map(|(line, step)| active(step).then_some(line))
        .take(rows - 1)
        .collect();
    lines.push(format!(
        "  {} steps: {done} done, {waiting} waiting",
        operation.steps.len()
    ));
}

/// A line for each step that has changed since it was last said.
pub fn changes(
    operation: &OperationView,
    said: &mut Vec<(OperationState, String)>,
    now: DateTime<Utc>,
    style: Style,
) -> Vec<String> {
    said.resize(
        operation.steps.len(),
        (OperationState::Pending, String::new()),
    );
    let mut lines = Vec::new();
    for (step, said) in operation.steps.iter().zip(said) {
        let current = (step.state, step.detail.clone());
        if *said == current || (step.state == OperationState::Pending && step.detail.is_empty()) {
            continue;
        }
        let tone = tone(step.state);
        let took = seconds(step, now);
        let took = match took.is_empty() {
            true => took,
            false => format!(" ({took})"),
        };
        lines.push(format!(
            "{} {} {}: {}{took}",
            style.paint(tone, style.symbol(tone)),
            plan::words(step.step.action).1,
            plain(&step.step.target),
            what(step)
        ));
        *said = current;
    }
    lines
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
