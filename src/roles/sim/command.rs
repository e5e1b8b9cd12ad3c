//! `lain sim` on the command line: which seeds, on how many threads, and what is printed.

use super::{Fault, Options, Outcome, Violation, run as run_schedule, scale};
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::output::Screen;
use crate::cli::output::document::Document;
use crate::cli::sim::SimArgs;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Schedules that are run where nothing else is said.
const SCHEDULES: u64 = 100;
/// How often it is told how far it is.
const PROGRESS: Duration = Duration::from_secs(5);
/// Failed schedules after which no more are begun.
const ENOUGH: usize = 5;

/// How it went, as JSON.
#[derive(Debug, Serialize)]
struct Summary {
    schedules: u64,
    first_seed: u64,
    virtual_seconds: u64,
    seconds: f64,
    failed: Vec<Failed>,
}

/// A schedule that broke an invariant.
#[derive(Debug, Serialize)]
struct Failed {
    seed: u64,
    violations: Vec<Violation>,
    replay: String,
}

/// Runs what the arguments say.
///
/// # Errors
/// What is wrong with them, or that a runtime could not be made.
pub fn run(args: SimArgs, screen: &Screen) -> Result<Exit> {
    if args.scale {
        return scale::run(&args, screen);
    }
    let options = options(&args)?;
    let begun = Instant::now();
    let summary = run_all(&args, &options, screen, begun)?;
    if !screen.is_table() {
        let document = Document::of(&summary);
        screen.document(&document.map_err(|e| CliError::failed(e.to_string()))?)?;
    } else {
        screen.line(&format!(
            "{} schedules, {} s of virtual time in {:.1} s: {}",
            summary.schedules,
            summary.virtual_seconds,
            summary.seconds,
            match summary.failed.len() {
                0 => "all invariants held".to_owned(),
                n => format!("{n} broke an invariant"),
            }
        ))?;
    }
    match summary.failed.is_empty() {
        true => Ok(Exit::Ok),
        false => Ok(Exit::Failed),
    }
}

fn options(args: &SimArgs) -> Result<Options> {
    let defaults = Options::default();
    let mut faults = BTreeSet::new();
    for name in &args.faults {
        let fault: Fault = name
            .trim()
            .parse()
            .map_err(|e: super::faults::UnknownFault| CliError::usage(e.to_string()))?;
        faults.insert(fault);
    }
    Ok(Options {
        nodes: args.nodes.unwrap_or(defaults.nodes),
        instances: args.instances.unwrap_or(defaults.instances),
        faults: match faults.is_empty() {
            true => defaults.faults,
            false => faults,
        },
        span: args.span,
        plant: None,
    })
}

fn run_all(args: &SimArgs, options: &Options, screen: &Screen, begun: Instant) -> Result<Summary> {
    let most = match (args.schedules, args.time) {
        (Some(n), _) => n,
        (None, Some(_)) => u64::MAX,
        (None, None) => SCHEDULES,
    };
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (sender, outcomes) = mpsc::channel();
    let mut summary = Summary {
        schedules: 0,
        first_seed: args.seed,
        virtual_seconds: 0,
        seconds: 0.0,
        failed: Vec::new(),
    };
    let mut passed = Duration::ZERO;
    let ran = std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            let sender = sender.clone();
            scope.spawn(|| {
                let sender = sender;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let late = args.time.is_some_and(|t| begun.elapsed() >= t);
                    if number >= most || late || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let outcome = run_schedule(args.seed.wrapping_add(number), options);
                    let failed = outcome.is_err();
                    if sender.send(outcome).is_err() || failed {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut told = Instant::now();
        for outcome in outcomes {
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    return Err(CliError::failed(format!(
                        "no runtime could be made: {error}"
                    )));
                }
            };
            summary.schedules += 1;
            passed += outcome.took;
            if args.trace {
                screen.print(&format!("{}\n", outcome.trace.join("\n")))?;
            }
            if !outcome.violations.is_empty() {
                summary.failed.push(tell(args, options, screen, outcome));
                if summary.failed.len() >= ENOUGH {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            if told.elapsed() > PROGRESS {
                told = Instant::now();
                screen.note(&format!(
                    "{} schedules, {} failed\n",
                    summary.schedules,
                    summary.failed.len()
                ));
            }
        }
        Ok(())
    });
    ran?;
    summary.virtual_seconds = passed.as_secs();
    summary.seconds = begun.elapsed().as_secs_f64();
    Ok(summary)
}

/// Tells of a schedule that broke an invariant, with the command that replays it.
fn tell(args: &SimArgs, options: &Options, screen: &Screen, outcome: Outcome) -> Failed {
    let replay = replay(outcome.seed, args, options);
    for violation in &outcome.violations {
        screen.warn(&format!(
            "seed {}, at {} ms: {:?}: {}",
            outcome.seed, violation.at_ms, violation.invariant, violation.what
        ));
    }
    screen.note(&format!("replay with: {replay}\n"));
    Failed {
        seed: outcome.seed,
        violations: outcome.violations,
        replay,
    }
}

/// The command that runs exactly this schedule.
fn replay(seed: u64, args: &SimArgs, options: &Options) -> String {
    let defaults = Options::default();
    let mut command = format!("lain sim --seed {seed} --schedules 1 --trace");
    if options.nodes != defaults.nodes {
        command.push_str(&format!(" --nodes {}", options.nodes));
    }
    if options.instances != defaults.instances {
        command.push_str(&format!(" --instances {}", options.instances));
    }
    if options.span != defaults.span {
        command.push_str(&format!(" --span {}ms", options.span.as_millis()));
    }
    if !args.faults.is_empty() {
        let names: Vec<&str> = options.faults.iter().map(|f| f.as_str()).collect();
        command.push_str(&format!(" --faults {}", names.join(",")));
    }
    command
}
