//! Supervision beside Erlang/OTP, in one run: `cargo bench --bench supervision`.
//!
//! Runs `otp.escript` (needs `erlang-base`) and the same measures here, in
//! turns, with an observer that takes every event and report; prints the
//! median of the rounds and the ratio. `ROUNDS` sets how many (3 by default),
//! `ONLY=ours` leaves Erlang out.

mod ours;

use std::collections::BTreeMap;
use std::process::Command;

/// Set for the process that only measures: one measure, or all when it is empty.
const MEASURE: &str = "SUPERVISION_MEASURE";

/// Measures by name.
type Figures = BTreeMap<String, f64>;

/// How a row is shown: name, label, unit, divisor, whether more is better.
const ROWS: [(&str, &str, &str, f64, bool); 16] = [
    ("kill_p50", "kill to restarted, p50", "µs", 1.0, false),
    ("kill_p99", "kill to restarted, p99", "µs", 1.0, false),
    ("crash_p50", "crash to restarted, p50", "µs", 1.0, false),
    ("crash_p99", "crash to restarted, p99", "µs", 1.0, false),
    (
        "siblings_p50",
        "kill to restarted among 100,000, p50",
        "µs",
        1.0,
        false,
    ),
    (
        "siblings_p99",
        "kill to restarted among 100,000, p99",
        "µs",
        1.0,
        false,
    ),
    ("started_per_s", "children started", "/s", 1.0, true),
    (
        "instances_per_s",
        "instances of a template started",
        "/s",
        1.0,
        true,
    ),
    (
        "bytes_per_child",
        "resident memory per idle child",
        "KB",
        1024.0,
        false,
    ),
    (
        "shutdown",
        "shutdown of 100,000 children",
        "ms",
        1000.0,
        false,
    ),
    (
        "instances_shutdown",
        "shutdown of 100,000 instances",
        "ms",
        1000.0,
        false,
    ),
    (
        "one_for_all_p50",
        "one_for_all over 1,000, p50",
        "ms",
        1000.0,
        false,
    ),
    (
        "one_for_all_p99",
        "one_for_all over 1,000, p99",
        "ms",
        1000.0,
        false,
    ),
    ("calls_per_s", "calls, one caller", "/s", 1.0, true),
    (
        "reference_calls_per_s",
        "calls through a reference",
        "/s",
        1.0,
        true,
    ),
    (
        "remote_calls_per_s",
        "calls, across arbiters",
        "/s",
        1.0,
        true,
    ),
];

/// What Erlang has one figure for and we have two.
fn counterpart(name: &str) -> &str {
    match name {
        "reference_calls_per_s" => "calls_per_s",
        name => name,
    }
}

/// Figures from the lines of a program, `name value` each.
fn run(what: &str, command: &mut Command) -> Option<Figures> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("{what} is left out, since its program cannot be run: {error}");
            return None;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let figure = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Some(text.lines().filter_map(figure).collect())
}

fn otp() -> Option<Figures> {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/benches/supervision/otp.escript"
    );
    run(
        "Erlang (install erlang-base)",
        Command::new("escript").arg(script),
    )
}

/// A process of its own for each round, as for Erlang: what one has freed would
/// hide what the next takes.
fn ours() -> Option<Figures> {
    let program = std::env::current_exe().ok()?;
    run("lain", Command::new(program).env(MEASURE, ""))
}

fn median(rounds: &[Figures], name: &str) -> Option<f64> {
    let mut values: Vec<f64> = rounds
        .iter()
        .filter_map(|round| round.get(name).copied())
        .collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn show(value: Option<f64>, divisor: f64) -> String {
    match value.map(|value| value / divisor) {
        None => "-".to_owned(),
        Some(value) if value >= 1000.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.1}"),
    }
}

fn main() {
    // `cargo bench` and `cargo test` pass flags of their own; a test run only builds this.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    if let Ok(only) = std::env::var(MEASURE) {
        for (name, value) in ours::measure(&only) {
            println!("{name} {value}");
        }
        return;
    }
    let rounds: usize = std::env::var("ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(3);
    let with_otp = std::env::var("ONLY").as_deref() != Ok("ours");
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        if with_otp {
            theirs.extend(otp());
        }
        ours.extend(self::ours());
    }
    println!("| measure | OTP | lain | lain is |");
    println!("|---|---|---|---|");
    for (name, label, unit, divisor, more_is_better) in ROWS {
        let (otp, lain) = (median(&theirs, counterpart(name)), median(&ours, name));
        let ratio = otp.zip(lain).map(|(otp, lain)| {
            if more_is_better {
                lain / otp
            } else {
                otp / lain
            }
        });
        let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.1}×"));
        println!(
            "| {label} ({unit}) | {} | {} | {ratio} |",
            show(otp, divisor),
            show(lain, divisor)
        );
    }
}
