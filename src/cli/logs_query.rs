//! `lain logs query`: log events of all apps by a query, as Kibana's Discover shows them.

use crate::cli::error::{CliError, Exit, Result};
use crate::cli::output::Format;
use crate::cli::output::document::Document;
use crate::cli::output::style::{Style, Tone, plain};
use crate::cli::output::table::{Cell, Table};
use crate::cli::request::Target;
use crate::cli::session::Session;
use crate::cli::watch::{Signal, Watch};
use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What is shown of an event unless something else is asked for.
const FIELDS: &str = "timestamp,app,proc,instance,level,message";
/// Events that are shown unless something else is asked for.
const LIMIT: usize = 100;
/// Events asked for at a time.
const PAGE: usize = 1000;
/// Lines of a histogram.
const HEIGHT: u64 = 6;

/// In which language the query is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Kibana's.
    Kql,
    /// Lucene's query string.
    Lucene,
}

/// Which events.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The query; absent: all events
    #[arg(value_name = "QUERY", default_value = "", hide_default_value = true)]
    pub query: String,
    /// From this time
    #[arg(long, value_name = "TIME", default_value = "now-15m")]
    pub from: String,
    /// Up to this time
    #[arg(long, value_name = "TIME", default_value = "now")]
    pub to: String,
    /// The zone of times that name none
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// The language of the query
    #[arg(long, value_enum, default_value_t = Language::Kql)]
    pub language: Language,
    /// Only events of this app
    #[arg(short, long, value_name = "APP")]
    pub app: Option<String>,
}

impl Which {
    /// What is asked at this place, whatever the time.
    pub fn filtered(&self, what: &str) -> Target {
        let language = (self.language == Language::Lucene).then_some("lucene");
        Target::new(["logs", what])
            .maybe("query", Some(&self.query).filter(|query| !query.is_empty()))
            .maybe("language", language)
            .maybe("zone", self.zone.as_ref())
            .maybe("app", self.app.as_ref())
    }

    /// The same within the time.
    pub fn timed(&self, what: &str) -> Target {
        self.filtered(what)
            .query("from", &self.from)
            .query("to", &self.to)
    }
}

/// Search the log events of all apps
///
/// In KQL, the language of Kibana: `level: error and status >= 500`, `message: "connection refused"`,
/// `app: shop* and not proc: worker`. Times are RFC 3339 or relative to now: now-15m, now/d, 2026-01-31.
/// The newest events are shown, the newest last. `-o ndjson` prints one event a line.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain logs query 'level: error' --from now-1h
  lain logs query 'app: shop and status >= 500' --histogram
  lain logs query 'message: timeout*' --fields timestamp,app,message --limit 1000
  lain logs query --from now/d --limit all -o ndjson > today.ndjson
  lain logs query 'level: error' -f")]
pub struct QueryArgs {
    /// Which events.
    #[command(flatten)]
    pub which: Which,
    /// The fields that are shown, separated by commas
    #[arg(long, value_name = "A,B", conflicts_with = "histogram")]
    pub fields: Option<String>,
    /// At most this many of the newest events, or `all`
    #[arg(long, value_name = "N|all", value_parser = limit, conflicts_with_all = ["histogram", "follow"])]
    pub limit: Option<Limit>,
    /// Show how many events there were over time
    #[arg(long, conflicts_with = "follow")]
    pub histogram: bool,
    /// The width of a bar, such as 30s or 1h [default: such that there are about 50]
    #[arg(long, value_name = "DURATION", requires = "histogram")]
    pub interval: Option<String>,
    /// Show events as they come
    #[arg(short, long)]
    pub follow: bool,
}

/// How many events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// As many as there are.
    All,
    /// At most this many.
    Newest(usize),
}

fn limit(text: &str) -> std::result::Result<Limit, String> {
    match text {
        "all" => Ok(Limit::All),
        number => number
            .parse()
            .map(Limit::Newest)
            .map_err(|_| "expected a number or all".to_owned()),
    }
}

#[derive(Deserialize)]
struct Hit {
    event: Map<String, Value>,
}

#[derive(Deserialize)]
struct Bar {
    from: DateTime<Utc>,
    count: u64,
}

#[derive(Deserialize)]
struct Histogram {
    interval: String,
    bars: Vec<Bar>,
    total: u64,
}

/// Searches.
///
/// # Errors
/// Where the query is wrong, or the server does not answer or has no log index.
pub async fn run(args: QueryArgs, session: &Session) -> Result<Exit> {
    if args.histogram {
        return histogram(&args, session).await;
    }
    if args.follow {
        return follow(&args, session).await;
    }
    let named = args.fields.is_some();
    let fields = fields(&args);
    let mut target = args.which.timed("search");
    if named {
        target = target.query("fields", fields.join(","));
    }
    let screen = &session.screen;
    if screen.format == Format::Ndjson {
        return lines(&args, target, session).await;
    }
    let wanted = match args.limit {
        Some(Limit::All) => None,
        Some(Limit::Newest(count)) => Some(count),
        None => Some(LIMIT),
    };
    if wanted == Some(0) {
        return Err(CliError::usage("--limit must be at least 1"));
    }
    let (page, mut hits) = session.client.list::<Hit>(&target, wanted).await?;
    let full = wanted.is_some_and(|wanted| hits.len() >= wanted);
    hits.reverse();
    let table = |hits: &[Hit]| table(hits, &fields, screen.out);
    let name = |hit: &Hit| text_of(&hit.event, "event_id");
    screen.list(&hits, &page, "no events match", table, name)?;
    if full && screen.is_table() {
        screen.note(&format!("the newest {}; more with --limit", hits.len()));
    }
    Ok(Exit::Ok)
}

fn fields(args: &QueryArgs) -> Vec<String> {
    let names = args
        .fields
        .as_deref()
        .unwrap_or(FIELDS)
        .split(',')
        .map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// One event a line, page after page, so that there is no bound on how many.
async fn lines(args: &QueryArgs, target: Target, session: &Session) -> Result<Exit> {
    let mut left = match args.limit {
        Some(Limit::Newest(count)) => count,
        Some(Limit::All) => usize::MAX,
        None => LIMIT,
    };
    let mut after: Option<String> = None;
    while left > 0 {
        let page = target
            .clone()
            .query("limit", left.min(PAGE))
            .maybe("after", after);
        let page = session.client.get(&page).await?;
        after = page
            .get("next")
            .and_then(Document::as_text)
            .map(str::to_owned);
        for hit in page.into_items() {
            left -= 1;
            if let Some(event) = hit.get("event") {
                session.screen.document_line(event)?;
            }
        }
        if after.is_none() {
            break;
        }
    }
    Ok(Exit::Ok)
}

/// A value as people read it.
fn text_of(event: &Map<String, Value>, name: &str) -> String {
    match event.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

fn tone_of(event: &Map<String, Value>) -> Tone {
    match event
        .get("level")
        .and_then(Value::as_str)
        .map(str::to_lowercase)
        .as_deref()
    {
        Some("error" | "fatal" | "critical" | "alert" | "emergency") => Tone::Bad,
        Some("warn" | "warning") => Tone::Warn,
        _ => Tone::Plain,
    }
}

fn table(hits: &[Hit], fields: &[String], _: Style) -> Table {
    let header: Vec<String> = fields.iter().map(|name| name.to_uppercase()).collect();
    let mut table = Table::named(header);
    for hit in hits {
        let tone = tone_of(&hit.event);
        let cells = fields.iter().map(|name| {
            Cell::toned(
                if name == "level" { tone } else { Tone::Plain },
                text_of(&hit.event, name),
            )
        });
        table.row(cells.collect());
    }
    table
}

async fn histogram(args: &QueryArgs, session: &Session) -> Result<Exit> {
    let target = args
        .which
        .timed("histogram")
        .maybe("interval", args.interval.as_ref());
    let document = session.client.get(&target).await?;
    let screen = &session.screen;
    if !screen.is_table() {
        screen.document(&document)?;
        return Ok(Exit::Ok);
    }
    let histogram: Histogram = session.client.view(&document)?;
    if histogram.total == 0 {
        screen.note("no events match");
        return Ok(Exit::Ok);
    }
    screen.print(&draw(&histogram, screen.out.unicode))?;
    Ok(Exit::Ok)
}

/// The bars standing, the greatest count at their left, the times below.
fn draw(histogram: &Histogram, unicode: bool) -> String {
    let most = histogram
        .bars
        .iter()
        .map(|bar| bar.count)
        .max()
        .unwrap_or(0)
        .max(1);
    let label = most.to_string();
    let margin = label.len() + 1;
    let mut text = String::new();
    for row in (0..HEIGHT).rev() {
        let left = match row {
            _ if row == HEIGHT - 1 => label.as_str(),
            0 => "0",
            _ => "",
        };
        let bars: String = histogram
            .bars
            .iter()
            .map(|bar| cell(bar.count, most, row, unicode))
            .collect();
        text.push_str(&format!(
            "{left:>width$} {}\n",
            bars.trim_end(),
            width = margin - 1
        ));
    }
    let stamp = |bar: &Bar| bar.from.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    if let (Some(first), Some(last)) = (histogram.bars.first(), histogram.bars.last()) {
        let (first, last) = (stamp(first), stamp(last));
        let room = histogram
            .bars
            .len()
            .saturating_sub(first.len() + last.len())
            .max(2);
        text.push_str(&format!(
            "{}{first}{}{last}\n",
            " ".repeat(margin),
            " ".repeat(room)
        ));
    }
    text.push_str(&format!(
        "{} events, {} a bar\n",
        histogram.total, histogram.interval
    ));
    text
}

/// One row of one bar, in eighths where the terminal has them. What is not none is seen.
fn cell(count: u64, most: u64, row: u64, unicode: bool) -> char {
    const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let full = u128::from(HEIGHT) * 8;
    let height = (u128::from(count) * full).div_ceil(u128::from(most));
    let here = height.saturating_sub(u128::from(row) * 8).min(8);
    match (unicode, usize::try_from(here).unwrap_or(8)) {
        (true, eighths) => EIGHTHS[eighths.min(8)],
        (false, 0) => ' ',
        (false, eighths) => {
            if eighths >= 4 || row == 0 {
                '#'
            } else {
                ' '
            }
        }
    }
}

async fn follow(args: &QueryArgs, session: &Session) -> Result<Exit> {
    let fields = fields(args);
    let screen = &session.screen;
    let mut watch = Watch::new(&session.client, args.which.filtered("tail"));
    loop {
        match watch.next().await? {
            Signal::Event(event) if event.name == "missed" => {
                screen.warn(&format!("events were left out: {}", event.data))
            }
            Signal::Event(event) => {
                let document = session.client.parse(&event.data)?;
                if !screen.is_table() {
                    screen.document_line(&document)?;
                    continue;
                }
                let event: Map<String, Value> = session.client.view(&document)?;
                let tone = tone_of(&event);
                let cells = fields.iter().map(|name| {
                    let text = plain(&text_of(&event, name));
                    if name == "level" {
                        screen.out.paint(tone, &text)
                    } else {
                        text
                    }
                });
                let line = cells
                    .filter(|cell| !cell.is_empty())
                    .collect::<Vec<_>>()
                    .join("  ");
                screen.line(&line)?;
            }
            Signal::Lost(why) => screen.note(&format!(
                "connection lost ({why}); trying again; what comes meanwhile is found by a query"
            )),
            Signal::Back => screen.note("connected again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_as_high_as_they_count() {
        let bar = |second: u32, count| Bar {
            from: format!("2025-03-01T00:00:{second:02}Z").parse().unwrap(),
            count,
        };
        let histogram = Histogram {
            interval: "1s".to_owned(),
            bars: vec![bar(0, 12), bar(1, 0), bar(2, 6), bar(3, 1)],
            total: 19,
        };
        let drawn = draw(&histogram, true);
        let rows: Vec<&str> = drawn.lines().collect();
        assert_eq!(
            rows[..6],
            ["12 █", "   █", "   █", "   █ █", "   █ █", " 0 █ █▄"]
        );
        assert_eq!(rows[7], "19 events, 1s a bar");
        assert!(draw(&histogram, false).is_ascii());
        for count in 1..=5 {
            assert_ne!(cell(count, 1_000_000, 0, true), ' ');
        }
        assert_eq!(cell(u64::MAX, u64::MAX, 5, true), '█');
    }

    #[test]
    fn values_are_shown_as_they_are() {
        let event = serde_json::json!({"a": "x", "n": 5, "l": ["p", "q"], "z": null});
        let event = event.as_object().unwrap();
        let shown = ["a", "n", "l", "z", "none"].map(|name| text_of(event, name));
        assert_eq!(shown, ["x", "5", "[\"p\",\"q\"]", "", ""]);
    }
}
