//! Commands, sizes, times and placement filters.

use super::super::report::shown;
use super::{Read, Wrong};
use crate::domain::spec::model::{Filter, FilterKind, FilterOperator, Share, duration_text};
use croner::parser::{CronParser, Seconds, Year};
use std::time::Duration;

/// The least memory that Docker Engine lets a container have.
pub(in super::super) const MIN_MEMORY: u64 = 6 * 1024 * 1024;
/// Far above any machine, far below overflow.
const MAX_MEMORY: u64 = 1 << 50;

/// Text that is not empty.
pub(in super::super) fn non_empty(text: &str) -> Read<String> {
    if text.trim().is_empty() {
        return Err(Wrong::form("it is empty"));
    }
    Ok(text.to_owned())
}

/// A command line as words: POSIX shell quoting, nothing expanded.
pub(in super::super) fn command(text: &str) -> Read<Vec<String>> {
    shell_words::split(text).map_err(|_| match open_quote(text) {
        Some((offset, quote)) => {
            Wrong::form(format!("the quote {quote} is never closed")).at(offset)
        }
        None => Wrong::form("a quote is never closed"),
    })
}

/// Where the quote that is never closed opens, in characters.
fn open_quote(text: &str) -> Option<(usize, char)> {
    let mut open = None;
    let mut escaped = false;
    for (offset, c) in text.chars().enumerate() {
        match (open, c) {
            _ if escaped => escaped = false,
            (None | Some((_, '"')), '\\') => escaped = true,
            (None, '"' | '\'') => open = Some((offset, c)),
            (Some((_, quote)), c) if c == quote => open = None,
            _ => {}
        }
    }
    open
}

/// Bytes: a number with `k`, `m` or `g`, and `b` if one likes; binary units, as Docker's.
pub(in super::super) fn memory(text: &str) -> Read<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => {
            return Err(Wrong::form(format!(
                "{:?} is not an amount of memory",
                shown(text)
            )));
        }
    };
    if number.is_empty() || number.starts_with('0') {
        return Err(Wrong::form(format!(
            "{:?} is not an amount of memory",
            shown(text)
        )));
    }
    let bytes = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor));
    match bytes {
        Some(bytes) if bytes < MIN_MEMORY => {
            let wrong = Wrong::range(format!(
                "{} is less than 6m, the least that Docker allows",
                shown(text)
            ));
            Err(if factor == 1 {
                wrong.suggest(format!("`{number}m`; a number without unit is in bytes"))
            } else {
                wrong
            })
        }
        Some(bytes) if bytes <= MAX_MEMORY => Ok(bytes),
        _ => Err(Wrong::range(format!(
            "{} is more than any machine has",
            shown(text)
        ))),
    }
}

/// `250ms`, `30s`, `5m`, `12h`, `10d`, or with a fraction, `1.5s`.
pub(in super::super) fn duration(text: &str) -> Read<Duration> {
    let wrong = || Wrong::form(format!("{:?} is not a duration", shown(text)));
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    if number.ends_with('.') || number.starts_with('.') {
        return Err(wrong());
    }
    let duration = duration_text::parse(text).ok_or_else(wrong)?;
    if duration.subsec_nanos() % 1_000_000 != 0 {
        return Err(Wrong::form(format!(
            "{:?} is finer than a millisecond",
            shown(text)
        )));
    }
    Ok(duration)
}

/// How long a backup is kept: whole minutes, hours or days.
pub(in super::super) fn expire(text: &str) -> Read<Duration> {
    let well_formed = text.len() >= 2
        && text.ends_with(['m', 'h', 'd'])
        && text[..text.len() - 1].bytes().all(|b| b.is_ascii_digit())
        && !text.starts_with('0');
    if !well_formed {
        return Err(Wrong::form(format!(
            "{:?} is not a time to keep a backup",
            shown(text)
        )));
    }
    duration_text::parse(text)
        .ok_or_else(|| Wrong::range(format!("{} is more than 366 days", shown(text))))
}

/// A five-field cron expression.
pub(in super::super) fn cron(text: &str) -> Read<String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 || !text.is_ascii() {
        return Err(Wrong::form(format!(
            "{:?} has {} fields",
            shown(text),
            fields.len()
        )));
    }
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    parser
        .parse(text)
        .map_err(|e| Wrong::form(format!("{:?} is not a cron expression: {e}", shown(text))))?;
    if never_due(&fields) {
        return Err(Wrong::form(format!(
            "{:?} is never due: none of these months has that day",
            shown(text)
        )));
    }
    Ok(fields.join(" "))
}

/// `0 0 31 2 *` and the like. Only the plain case: one day, a list of months, any weekday.
fn never_due(fields: &[&str]) -> bool {
    let [_, _, day, months, "*"] = fields else {
        return false;
    };
    let Ok(day) = day.parse::<u32>() else {
        return false;
    };
    let longest = months.split(',').map(|month| match month.parse::<u32>() {
        Ok(2) => 29,
        Ok(4 | 6 | 9 | 11) => 30,
        _ => 31,
    });
    longest.max().is_some_and(|longest| day > longest)
}

/// `constraint:KEY==VALUE`, `affinity:KEY!=VALUE`; a `~` after the operator makes it a preference.
pub(in super::super) fn filter(text: &str) -> Read<Filter> {
    let wrong = |why: &str| Wrong::form(format!("the filter {:?} {why}", shown(text)));
    let (kind, rest) = text.split_once(':').ok_or_else(|| wrong("has no `:`"))?;
    let kind = match kind {
        "constraint" => FilterKind::Constraint,
        "affinity" => FilterKind::Affinity,
        _ => return Err(wrong("starts with neither `constraint:` nor `affinity:`")),
    };
    let at = rest
        .find("==")
        .into_iter()
        .chain(rest.find("!="))
        .min()
        .ok_or_else(|| wrong("has neither `==` nor `!=`"))?;
    let (key, comparison) = rest.split_at(at);
    let (operator, value) = comparison.split_at(2);
    let (soft, value) = value
        .strip_prefix('~')
        .map_or((false, value), |value| (true, value));
    let operator = match (operator, soft) {
        ("==", false) => FilterOperator::Equal,
        ("==", true) => FilterOperator::SoftEqual,
        (_, false) => FilterOperator::NotEqual,
        (_, true) => FilterOperator::SoftNotEqual,
    };
    let usable = |part: &str| {
        !part.is_empty() && part.chars().all(|c| !c.is_whitespace() && !c.is_control())
    };
    if !usable(key) || !usable(value) {
        return Err(wrong("lacks a key or a value, or has blanks in them"));
    }
    Ok(Filter {
        kind,
        key: key.to_owned(),
        operator,
        value: value.to_owned(),
    })
}

/// A share of a proc's instances, `25%`; a number of them is written as a number.
pub(in super::super) fn share(text: &str) -> Read<Share> {
    let wrong = || Wrong::form(format!("{:?} is not per cent", shown(text)));
    match text.parse::<Share>() {
        Ok(Share::Percent(percent)) if percent > 100 => {
            Err(Wrong::range(format!("{percent}% is more than all")))
        }
        Ok(share @ Share::Percent(_)) => Ok(share),
        Ok(Share::Count(count)) => Err(wrong().suggest(format!("`{count}`, without quotes"))),
        Err(_) => Err(wrong()),
    }
}
