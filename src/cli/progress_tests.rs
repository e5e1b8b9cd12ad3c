//! What an operation looks like on its way.

use super::*;
use crate::domain::view::{PlanAction, PlanStep};
use chrono::{Duration, TimeZone};
use std::sync::Arc;

fn start() -> DateTime<Utc> {
    Utc.timestamp_opt(1_800_000_000, 0).unwrap()
}

fn step(
    no: u32,
    state: OperationState,
    detail: &str,
    seconds: Option<(i64, i64)>,
) -> OperationStep {
    OperationStep {
        step: Arc::new(PlanStep {
            action: PlanAction::Create,
            target: format!("hello.web.web.i{no}"),
            changes: Vec::new(),
        }),
        state,
        detail: detail.to_owned(),
        started_at: seconds.map(|(begun, _)| start() + Duration::seconds(begun)),
        ended_at: seconds
            .filter(|(_, ended)| *ended > 0)
            .map(|(_, ended)| start() + Duration::milliseconds(ended * 1000 + 150)),
    }
}

fn operation(steps: Vec<OperationStep>) -> OperationView {
    OperationView {
        id: "op1".to_owned(),
        kind: "deploy".to_owned(),
        app: "hello".to_owned(),
        state: OperationState::Running,
        actor: "root".to_owned(),
        started_at: start(),
        ended_at: None,
        steps,
        error: None,
        revision: None,
        waiting: None,
        crashes: Vec::new(),
    }
}

fn mixed() -> OperationView {
    operation(vec![
        step(1, OperationState::Succeeded, "healthy", Some((0, 2))),
        step(
            2,
            OperationState::Running,
            "waiting for health",
            Some((2, 0)),
        ),
        step(3, OperationState::Failed, "exit code 1", Some((1, 4))),
        step(10, OperationState::Pending, "", None),
    ])
}

#[test]
fn a_terminal_gets_a_line_per_step() {
    let style = Style {
        colour: false,
        unicode: true,
    };
    let now = start() + Duration::seconds(5);
    insta::assert_snapshot!(frame(&mixed(), now, style, 80).join("\n"));
    assert!(
        frame(&mixed(), now, style, 40)
            .iter()
            .all(|line| width(line) <= 40)
    );
}

#[test]
fn a_pipe_gets_each_change_once() {
    let mut said = Vec::new();
    let now = start() + Duration::seconds(5);
    let first = changes(&mixed(), &mut said, now, Style::default());
    insta::assert_snapshot!(first.join("\n"));
    assert!(changes(&mixed(), &mut said, now, Style::default()).is_empty());
    let mut later = mixed();
    later.steps[1] = step(2, OperationState::Succeeded, "healthy", Some((2, 6)));
    assert_eq!(
        changes(&later, &mut said, now, Style::default()),
        ["+ create hello.web.web.i2: healthy (4.1s)"]
    );
}

#[test]
fn many_steps_are_folded() {
    let steps = (1..=50)
        .map(|no| match no {
            1..=20 => step(no, OperationState::Succeeded, "healthy", Some((0, 2))),
            21..=23 => step(no, OperationState::Running, "starting", Some((2, 0))),
            _ => step(no, OperationState::Pending, "", None),
        })
        .collect();
    let operation = operation(steps);
    let mut lines = frame(&operation, start(), Style::default(), 80);
    fold(&mut lines, &operation, 10);
    assert_eq!(lines.len(), 4);
    assert!(lines[0].contains("hello.web.web.i21"));
    assert_eq!(lines[3], "  50 steps: 20 done, 27 waiting");
}
