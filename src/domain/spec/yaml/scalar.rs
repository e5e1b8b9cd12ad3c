//! What a YAML scalar can mean.
//!
//! YAML 1.2's core schema, but numbers that YAML 1.1 (which LAIN used) and 1.2 read differently
//! (`010`, `0x10`, `1_000`) are neither number nor text: they are to be quoted or written plainly.

use super::super::report::shown;
use serde_json::Value;

/// A scalar: its text, and how it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::domain::spec) struct Scalar {
    /// The text, unquoted and unescaped.
    pub text: String,
    /// How it was written.
    pub style: Style,
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::domain::spec) enum Style {
    /// Without quotes, on one line: its meaning depends on its form.
    Plain,
    /// Quoted, a block, or tagged `!!str`: text.
    Quoted,
    /// Filled in from a template: a number where one is wanted, else text.
    Rendered,
}

/// What a plain scalar is by its form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::domain::spec) enum Plain {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A decimal whole number.
    Int(i64),
    /// A decimal fraction, infinity or not-a-number.
    Float(f64),
    /// A number whose value depends on the version of YAML, or that is too large.
    OddNumber,
    /// Anything else.
    Text,
}

impl Plain {
    /// Reads the form of `text`.
    pub fn of(text: &str) -> Plain {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
            "true" | "True" | "TRUE" => return Plain::Bool(true),
            "false" | "False" | "FALSE" => return Plain::Bool(false),
            ".nan" | ".NaN" | ".NAN" => return Plain::Float(f64::NAN),
            _ => {}
        }
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
            let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
            return Plain::Float(f64::INFINITY * sign);
        }
        if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return Plain::Text;
        }
        if unsigned.bytes().all(|b| b.is_ascii_digit()) {
            let padded = unsigned.len() > 1 && unsigned.starts_with('0');
            return match text.parse() {
                Ok(number) if !padded => Plain::Int(number),
                _ => Plain::OddNumber,
            };
        }
        if odd_number(unsigned) {
            return Plain::OddNumber;
        }
        if decimal_fraction(unsigned) {
            return text.parse().map_or(Plain::Text, Plain::Float);
        }
        Plain::Text
    }
}

/// `0x1F`, `0o17`, `0b11`, `1_000`.
fn odd_number(text: &str) -> bool {
    let prefixed = |prefix: &str, digit: fn(char) -> bool| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| digit(c) || c == '_'))
    };
    prefixed("0x", |c| c.is_ascii_hexdigit())
        || prefixed("0o", |c| c.is_digit(8))
        || prefixed("0b", |c| c.is_digit(2))
        || (text.contains('_') && text.chars().all(|c| c.is_ascii_digit() || c == '_'))
}

/// `(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?`
fn decimal_fraction(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, "")) => digits(whole),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(mantissa),
    };
    mantissa && exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)))
}

impl Scalar {
    fn plain(&self) -> Plain {
        if self.style == Style::Plain {
            Plain::of(&self.text)
        } else {
            Plain::Text
        }
    }

    /// The text, if that is what it is.
    pub fn as_text(&self) -> Option<&str> {
        (self.plain() == Plain::Text).then_some(self.text.as_str())
    }

    /// The whole number, if that is what it is.
    pub fn as_int(&self) -> Option<i64> {
        match (self.style, Plain::of(&self.text)) {
            (Style::Plain | Style::Rendered, Plain::Int(number)) => Some(number),
            _ => None,
        }
    }

    /// The truth value, if that is what it is; YAML 1.1's words count too.
    pub fn as_bool(&self) -> Option<bool> {
        if self.style == Style::Quoted {
            return None;
        }
        match Plain::of(&self.text) {
            Plain::Bool(value) => Some(value),
            _ => self.old_bool(),
        }
    }

    /// The truth value of YAML 1.1's `yes`, `no`, `on`, `off`.
    pub fn old_bool(&self) -> Option<bool> {
        if self.style == Style::Quoted {
            return None;
        }
        match self.text.as_str() {
            "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
            "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
            _ => None,
        }
    }

    /// Whether it is nothing.
    pub fn is_null(&self) -> bool {
        self.plain() == Plain::Null
    }

    /// Whether it is a number that must be written another way.
    pub fn is_odd_number(&self) -> bool {
        self.plain() == Plain::OddNumber
    }

    /// What it is, in words.
    pub fn describe(&self) -> String {
        let text = shown(&self.text);
        match self.plain() {
            Plain::Null => "nothing".to_owned(),
            Plain::Bool(value) => value.to_string(),
            Plain::Int(_) | Plain::Float(_) => format!("the number {text}"),
            Plain::OddNumber => format!("{text}, a number that versions of YAML read differently"),
            Plain::Text => format!("the text {text:?}"),
        }
    }

    /// The scalar as JSON; numbers that versions of YAML read differently stay text.
    pub fn to_json(&self) -> Value {
        let plain = match self.style {
            Style::Plain => Plain::of(&self.text),
            Style::Quoted => Plain::Text,
            // LAIN: a template's result that is a number is one. "010" is none.
            Style::Rendered => match Plain::of(&self.text) {
                Plain::Int(number) => Plain::Int(number),
                _ => Plain::Text,
            },
        };
        match plain {
            Plain::Null => Value::Null,
            Plain::Bool(value) => value.into(),
            Plain::Int(number) => number.into(),
            Plain::Float(number) => number.into(),
            Plain::OddNumber | Plain::Text => self.text.clone().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_read_by_the_core_schema() {
        for (text, plain) in [
            ("", Plain::Null),
            ("~", Plain::Null),
            ("true", Plain::Bool(true)),
            ("False", Plain::Bool(false)),
            ("0", Plain::Int(0)),
            ("-3", Plain::Int(-3)),
            ("+3", Plain::Int(3)),
            ("201705231514", Plain::Int(201_705_231_514)),
            ("010", Plain::OddNumber),
            ("00", Plain::OddNumber),
            ("0x1F", Plain::OddNumber),
            ("0o17", Plain::OddNumber),
            ("1_000", Plain::OddNumber),
            ("99999999999999999999", Plain::OddNumber),
            ("1.5", Plain::Float(1.5)),
            (".5", Plain::Float(0.5)),
            ("1e3", Plain::Float(1000.0)),
            ("-.inf", Plain::Float(f64::NEG_INFINITY)),
            ("1.2.3", Plain::Text),
            ("1:30", Plain::Text),
            ("yes", Plain::Text),
            ("2018-01-01", Plain::Text),
            ("-", Plain::Text),
            (".", Plain::Text),
            ("1e", Plain::Text),
        ] {
            assert_eq!(Plain::of(text), plain, "{text}");
        }
    }

    #[test]
    fn style_decides_what_a_form_means() {
        let scalar = |text: &str, style| Scalar {
            text: text.to_owned(),
            style,
        };
        assert_eq!(scalar("3", Style::Plain).as_text(), None);
        assert_eq!(scalar("3", Style::Quoted).as_int(), None);
        assert_eq!(scalar("3", Style::Quoted).as_text(), Some("3"));
        assert_eq!(scalar("3", Style::Rendered).as_int(), Some(3));
        assert_eq!(scalar("3", Style::Rendered).as_text(), Some("3"));
        assert_eq!(scalar("010", Style::Rendered).to_json(), Value::from("010"));
        assert_eq!(scalar("yes", Style::Plain).as_bool(), Some(true));
        assert_eq!(scalar("yes", Style::Quoted).as_bool(), None);
        assert!(scalar("", Style::Plain).is_null());
        assert!(!scalar("", Style::Quoted).is_null());
    }
}
