//! Fills in a resource template: every scalar is a Jinja2 template over the client's variables.
//!
//! Works on the tree, not on the text, so that problems keep their places and no variable can
//! change the file's structure. Bounded in work and output; only the filters below exist.

use super::error::SpecCode;
use super::report::{Finding, Path, Report};
use super::yaml::{Content, Node, Scalar, Style};
use minijinja::value::{Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use std::collections::BTreeMap;

/// Work that one scalar may take: instructions, or as many times 64 bytes.
const FUEL: u64 = 5_000;
/// Templates of a file, and bytes of all of them together, before and after.
const MAX_TEMPLATES: usize = 1_000;
const MAX_SOURCE: usize = 64 * 1024;
const MAX_OUTPUT: usize = 4 * 1024 * 1024;
/// Broken scalars after which the rest is not tried.
const MAX_BROKEN: usize = 20;
/// The filters, for error messages.
const FILTERS: &str = "default, d, int, string, lower, upper, trim";

/// Variables of a template, as `use_resources` gives them.
pub type Variables = BTreeMap<String, serde_json::Value>;

/// Fills in every scalar value below `root`. Keys are no templates.
pub(super) fn render(root: &mut Node, variables: &Variables, report: &mut Report<'_>) {
    let mut renderer = Renderer {
        strict: environment(UndefinedBehavior::Strict),
        lenient: environment(UndefinedBehavior::Chainable),
        variables: Value::from_pairs(
            variables
                .iter()
                .map(|(name, json)| (name.clone(), of_json(json))),
        ),
        count: 0,
        source: 0,
        output: 0,
        broken: 0,
        report,
    };
    renderer.node(root, &Path::root());
}

fn environment(undefined: UndefinedBehavior) -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(undefined);
    environment.set_fuel(Some(FUEL));
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("int", int);
    environment.add_filter("string", |value: Value| value.to_string());
    environment.add_filter("lower", |value: Value| value.to_string().to_lowercase());
    environment.add_filter("upper", |value: Value| value.to_string().to_uppercase());
    environment.add_filter("trim", |value: Value| value.to_string().trim().to_owned());
    environment
}

/// Jinja2's `default(value, boolean=false)`: for the undefined, with `true` for all that is false.
fn default(value: &Value, args: Rest<Value>) -> Value {
    let lax = args.get(1).is_some_and(Value::is_true);
    if value.is_undefined() || (lax && !value.is_true()) {
        return args.first().cloned().unwrap_or_else(|| Value::from(""));
    }
    value.clone()
}

/// Jinja2's `int(default=0)`: what is no number becomes the default; fractions are cut off.
fn int(value: &Value, args: Rest<Value>) -> Value {
    let number = match value.kind() {
        ValueKind::Bool => Some(i64::from(value.is_true())),
        ValueKind::Number => i64::try_from(value.clone())
            .ok()
            .or_else(|| f64::try_from(value.clone()).ok().and_then(cut)),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default().trim();
            text.parse()
                .ok()
                .or_else(|| text.parse().ok().and_then(cut))
        }
        _ => None,
    };
    number
        .map(Value::from)
        .unwrap_or_else(|| args.first().cloned().unwrap_or_else(|| Value::from(0)))
}

fn cut(number: f64) -> Option<i64> {
    // Beyond 2^53 an f64 no longer tells whole numbers apart, and no setting is that large.
    (number.abs() < 9_007_199_254_740_992.0).then_some(number.trunc() as i64)
}

/// A variable as the template engine takes it.
fn of_json(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::from(whole),
            (None, Some(fraction)) => Value::from(fraction),
            (None, None) => Value::from(number.to_string()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(of_json).collect(),
        Json::Object(map) => {
            Value::from_pairs(map.iter().map(|(key, json)| (key.clone(), of_json(json))))
        }
    }
}

struct Renderer<'r, 't> {
    strict: Environment<'static>,
    lenient: Environment<'static>,
    variables: Value,
    count: usize,
    source: usize,
    output: usize,
    broken: usize,
    report: &'r mut Report<'t>,
}

/// What a template became.
enum Filled {
    Scalar(Scalar),
    /// A list or mapping, in words.
    Other(String),
}

impl Renderer<'_, '_> {
    fn node(&mut self, node: &mut Node, path: &Path<'_>) {
        match &mut node.content {
            Content::List(items) => {
                items
                    .iter_mut()
                    .enumerate()
                    .for_each(|(index, item)| self.node(item, &path.index(index)));
            }
            Content::Map(entries) => {
                entries
                    .iter_mut()
                    .for_each(|entry| self.node(&mut entry.node, &path.key(&entry.key)));
            }
            Content::Scalar(scalar)
                if ["{{", "{%", "{#"]
                    .iter()
                    .any(|mark| scalar.text.contains(mark)) =>
            {
                if self.broken < MAX_BROKEN {
                    self.scalar(node, path);
                }
            }
            Content::Scalar(_) => {}
        }
    }

    fn scalar(&mut self, node: &mut Node, path: &Path<'_>) {
        let (place, width) = (node.place, node.width);
        let Content::Scalar(scalar) = &mut node.content else {
            return;
        };
        let finding = |code, message: String| Finding::new(code, place, path, message).width(width);
        self.count += 1;
        self.source += scalar.text.len();
        if self.count > MAX_TEMPLATES || self.source > MAX_SOURCE {
            self.broken = MAX_BROKEN;
            let message =
                format!("more than {MAX_TEMPLATES} templates, or {MAX_SOURCE} bytes of them");
            return self.report.error(finding(SpecCode::TooComplex, message));
        }
        let mut filled = fill(&self.strict, &scalar.text, &self.variables);
        let undefined = matches!(&filled, Err(error) if error.kind() == ErrorKind::UndefinedError)
            || matches!(&filled, Ok((_, true)));
        if undefined {
            let names = self.missing(&scalar.text);
            let message = format!("{names} has no value and no default here; taken as empty");
            self.report.warn(
                finding(SpecCode::UndefinedVariable, message).suggest("{{ name|default('…') }}"),
            );
            filled = fill(&self.lenient, &scalar.text, &self.variables);
        }
        match filled {
            Ok((Filled::Scalar(new), _)) => {
                self.output += new.text.len();
                *scalar = new;
                if self.output > MAX_OUTPUT {
                    self.broken = MAX_BROKEN;
                    let message = format!("the template becomes larger than {MAX_OUTPUT} bytes");
                    self.report.error(finding(SpecCode::TooComplex, message));
                }
            }
            Ok((Filled::Other(what), _)) => {
                self.broken += 1;
                self.report.error(
                    finding(SpecCode::Template, format!("the template yields {what}"))
                        .expected("text, a number or a truth value"),
                );
            }
            Err(error) => self.fail(&error, finding),
        }
    }

    fn fail(&mut self, error: &Error, finding: impl Fn(SpecCode, String) -> Finding) {
        self.broken += 1;
        if error.kind() == ErrorKind::OutOfFuel {
            self.broken = MAX_BROKEN;
            return self.report.error(finding(
                SpecCode::TooComplex,
                "the template takes too much work".to_owned(),
            ));
        }
        let detail = error
            .detail()
            .map(|detail| format!(": {}", super::report::shown(detail)))
            .unwrap_or_default();
        let found = finding(SpecCode::Template, format!("{}{detail}", error.kind()));
        self.report.error(match error.kind() {
            ErrorKind::UnknownFilter => found.expected(format!("one of the filters {FILTERS}")),
            _ => found,
        });
    }

    /// The variables of a template that have no value.
    fn missing(&self, text: &str) -> String {
        let Ok(template) = self.lenient.template_from_str(text) else {
            return "a variable".to_owned();
        };
        let given = |name: &String| {
            self.variables
                .get_attr(name)
                .is_ok_and(|value| !value.is_undefined())
        };
        let mut names: Vec<String> = template
            .undeclared_variables(false)
            .into_iter()
            .filter(|n| !given(n))
            .collect();
        names.sort();
        if names.is_empty() {
            "a variable".to_owned()
        } else {
            super::report::shown(&names.join(", "))
        }
    }
}

/// Fills in one scalar; the flag tells that it is a single variable without a value.
fn fill(
    environment: &Environment<'_>,
    text: &str,
    variables: &Value,
) -> Result<(Filled, bool), Error> {
    if let Some(expression) =
        single_expression(text).and_then(|inner| environment.compile_expression(inner).ok())
    {
        let value = expression.eval(variables.clone())?;
        let undefined = value.is_undefined();
        return Ok((of_value(&value), undefined));
    }
    let text = environment.render_str(text, variables.clone())?;
    Ok((
        Filled::Scalar(Scalar {
            text,
            style: Style::Rendered,
        }),
        false,
    ))
}

/// What is between `{{` and `}}`, if there is nothing else. It may turn out to be no expression.
fn single_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    Some(
        inner
            .strip_prefix('-')
            .unwrap_or(inner)
            .strip_suffix('-')
            .unwrap_or(inner),
    )
}

/// Truth values and nothing stay what they are; numbers and text suit either.
fn of_value(value: &Value) -> Filled {
    let scalar = |text: String, style| Filled::Scalar(Scalar { text, style });
    match value.kind() {
        ValueKind::Undefined => scalar(String::new(), Style::Rendered),
        ValueKind::None => scalar("null".to_owned(), Style::Plain),
        ValueKind::Bool => scalar(value.is_true().to_string(), Style::Plain),
        ValueKind::Number | ValueKind::String => scalar(value.to_string(), Style::Rendered),
        ValueKind::Seq | ValueKind::Iterable => Filled::Other("a list".to_owned()),
        ValueKind::Map => Filled::Other("a mapping".to_owned()),
        kind => Filled::Other(format!("a value of kind {kind}")),
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
