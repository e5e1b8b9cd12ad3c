//! Checks single values: text of a form, words, numbers, truth values, durations, memory.

use super::super::error::SpecCode;
use super::super::keys::Form;
use super::super::model::duration_text;
use super::super::nearest::nearest;
use super::super::report::{Finding, Report, shown, to_u32};
use super::super::value::{self, Wrong};
use super::super::yaml::Style;
use super::At;
use std::time::Duration;

impl At<'_> {
    /// A finding about the value; an offset counts where the text stands in the file as it is.
    fn wrong_value(&self, wrong: Wrong) -> Finding {
        let node = self.node;
        let literal = node.scalar().is_some_and(|scalar| {
            scalar.style == Style::Plain && scalar.text.chars().count() == node.width as usize
        });
        let offset = if literal { to_u32(wrong.offset) } else { 0 };
        let mut finding = self.finding(wrong.code, wrong.message);
        finding.place.column = finding.place.column.saturating_add(offset);
        finding.width = finding.width.saturating_sub(offset);
        finding.suggest_if(wrong.suggestion)
    }
}

pub(super) fn check_form(at: At<'_>, form: &'static Form, report: &mut Report<'_>) {
    let Some(text) = at.node.text() else {
        return at.wrong_type(report);
    };
    if let Err(wrong) = form.check(text) {
        report.error(at.wrong_value(wrong).expected(form.expected));
    }
}

pub(super) fn check_words(at: At<'_>, words: &[&'static str], report: &mut Report<'_>) {
    let Some(text) = at.node.text() else {
        return at.wrong_type(report);
    };
    if words.contains(&text) {
        return;
    }
    let wrong = Wrong::form(format!("{} cannot be {:?}", at.path, shown(text)));
    let near = nearest(text, words.iter().copied()).map(|word| format!("did you mean `{word}`?"));
    report.error(
        at.wrong_value(wrong)
            .expected(at.kind.describe())
            .suggest_if(near),
    );
}

pub(super) fn check_int(at: At<'_>, (min, max): (i64, i64), report: &mut Report<'_>) {
    match at.node.int() {
        Some(number) if (min..=max).contains(&number) => {}
        Some(number) => {
            let wrong = Wrong::range(format!("{} cannot be {number}", at.path));
            report.error(at.wrong_value(wrong).expected(at.kind.describe()));
        }
        None => at.wrong_type(report),
    }
}

pub(super) fn check_bool(at: At<'_>, report: &mut Report<'_>) {
    if at.node.bool().is_none() {
        return at.wrong_type(report);
    }
    if let Some((scalar, value)) = at
        .node
        .scalar()
        .and_then(|scalar| Some((scalar, scalar.old_bool()?)))
    {
        let message = format!("`{}` is a truth value in YAML 1.1 only", scalar.text);
        report.warn(
            at.finding(SpecCode::OldBoolean, message)
                .suggest(format!("write `{value}`")),
        );
    }
}

pub(super) fn check_duration(at: At<'_>, (min, max): (u64, u64), report: &mut Report<'_>) {
    let duration = match (at.node.int(), at.node.text()) {
        (Some(number), _) => u64::try_from(number)
            .map(Duration::from_secs)
            .map_err(|_| Wrong::range(format!("{} cannot be negative", at.path))),
        (None, Some(text)) => value::duration(text),
        (None, None) => return at.wrong_type(report),
    };
    let limits = Duration::from_secs(min)..=Duration::from_secs(max);
    let wrong = match duration {
        Ok(duration) if limits.contains(&duration) => return,
        Ok(duration) => Wrong::range(format!(
            "{} cannot be {}",
            at.path,
            duration_text::render(duration)
        )),
        Err(wrong) => wrong,
    };
    report.error(at.wrong_value(wrong).expected(at.kind.describe()));
}

pub(super) fn check_memory(at: At<'_>, report: &mut Report<'_>) {
    let memory = match (at.node.int(), at.node.text()) {
        (Some(number), _) => value::memory(&number.to_string()),
        (None, Some(text)) => value::memory(text),
        (None, None) => return at.wrong_type(report),
    };
    if let Err(wrong) = memory {
        report.error(at.wrong_value(wrong).expected(at.kind.describe()));
    }
}
