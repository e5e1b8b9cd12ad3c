//! Shows a plan: what will be done, step by step, with what changes.

use crate::cli::output::style::{Style, Tone, plain};
use crate::domain::view::{PlanAction, PlanStep, PlanView};

/// The sign and words of an action.
pub fn words(action: PlanAction) -> (&'static str, &'static str) {
    match action {
        PlanAction::Create => ("+", "create"),
        PlanAction::Recreate => ("~", "update (recreate)"),
        PlanAction::UpdateInPlace => ("~", "update (in place)"),
        PlanAction::Restart => ("~", "restart"),
        PlanAction::Stop => ("~", "stop"),
        PlanAction::Start => ("~", "start"),
        PlanAction::Delete => ("-", "delete"),
    }
}

fn tone(action: PlanAction) -> Tone {
    match action {
        PlanAction::Create | PlanAction::Start => Tone::Good,
        PlanAction::Delete => Tone::Bad,
        PlanAction::Recreate
        | PlanAction::UpdateInPlace
        | PlanAction::Restart
        | PlanAction::Stop => Tone::Warn,
    }
}

/// The whole plan, each line ended: totals first, then the steps.
pub fn render(plan: &PlanView, style: Style) -> String {
    if plan.is_empty() {
        return format!("app {}: nothing to do\n", plan.app);
    }
    let mut text = format!("plan for app {}: {}\n", plan.app, totals(&plan.steps));
    let longest = plan.steps.iter().map(|step| words(step.action).1.len());
    let column = longest.max().unwrap_or(0);
    for step in &plan.steps {
        let (sign, word) = words(step.action);
        let sign = style.paint(tone(step.action), sign);
        text.push_str(&format!(
            "  {sign} {word:column$}  {}\n",
            plain(&step.target)
        ));
        for change in &step.changes {
            text.push_str(&format!("      {}\n", plain(change)));
        }
    }
    text
}

/// `3 to create, 1 to update, 2 to delete`; what there is none of is left out.
fn totals(steps: &[PlanStep]) -> String {
    let count = |of: &[PlanAction]| {
        steps
            .iter()
            .filter(|step| of.contains(&step.action))
            .count()
    };
    let parts = [
        (count(&[PlanAction::Create]), "create"),
        (
            count(&[PlanAction::Recreate, PlanAction::UpdateInPlace]),
            "update",
        ),
        (count(&[PlanAction::Restart]), "restart"),
        (count(&[PlanAction::Stop]), "stop"),
        (count(&[PlanAction::Start]), "start"),
        (count(&[PlanAction::Delete]), "delete"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts
        .map(|(count, word)| format!("{count} to {word}"))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_has_totals_signs_and_differences() {
        let step = |action, target: &str, changes: &[&str]| PlanStep {
            action,
            target: target.to_owned(),
            changes: changes.iter().map(|c| (*c).to_owned()).collect(),
        };
        let plan = PlanView {
            app: "hello".to_owned(),
            steps: vec![
                step(PlanAction::Create, "hello.web.web.i2", &[]),
                step(
                    PlanAction::Recreate,
                    "hello.web.web.i1",
                    &["image: a → b", "env: +X"],
                ),
                step(
                    PlanAction::UpdateInPlace,
                    "hello.worker.w.i1",
                    &["memory: 32m → 64m"],
                ),
                step(PlanAction::Delete, "hello.worker.old.i1", &[]),
            ],
        };
        insta::assert_snapshot!(render(&plan, Style::default()));
        let empty = PlanView {
            app: "hello".to_owned(),
            steps: Vec::new(),
        };
        assert_eq!(
            render(&empty, Style::default()),
            "app hello: nothing to do\n"
        );
    }
}
