//! One road for every command that changes something: plan, send, follow to the end, conclude.
//!
//! Called by deploy, undeploy, scale, restart, stop and start. The server plans; the plan that is shown
//! is the very data that is carried out.

use crate::cli::args::Waiting;
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::output::document::Document;
use crate::cli::output::style::{Tone, plain};
use crate::cli::output::{Format, time};
use crate::cli::progress::Progress;
use crate::cli::request::{Change, Target};
use crate::cli::session::Session;
use crate::cli::watch::{Signal, Watch};
use crate::cli::{crashes, plan};
use crate::domain::view::{ChangeAnswer, OperationState, OperationView};
use std::time::Duration;
use tokio::time::Instant;

/// How a change went, as far as the command followed it.
#[derive(Debug)]
pub enum Done {
    /// There was nothing to do.
    Nothing,
    /// A dry run, shown; the exit code says whether there is something to do.
    Planned(Exit),
    /// Accepted and not waited for; its id is shown.
    Accepted,
    /// It waits for a verdict: a canary is up.
    Waits(Box<OperationView>),
    /// Done as wanted.
    Succeeded(Box<OperationView>),
}

/// Sends a change and follows it as the flags ask.
///
/// # Errors
/// Where the server refuses, the operation fails or is cancelled, or the time is up.
pub async fn perform(
    session: &Session,
    target: Target,
    change: &Change,
    dry_run: bool,
    waiting: &Waiting,
) -> Result<Done> {
    let target = match dry_run {
        true => target.query("dry_run", true),
        false => target,
    };
    let document = session.client.change(&target, change).await?;
    let answer: ChangeAnswer = session.client.view(&document)?;
    for warning in &answer.warnings {
        session.screen.warn(&plain(warning));
    }
    if dry_run {
        return planned(session, &document, &answer).map(Done::Planned);
    }
    let Some(operation) = answer.operation else {
        show_nothing(session, &document, &answer)?;
        return Ok(Done::Nothing);
    };
    if session.screen.is_table() {
        let text = plan::render(&answer.plan, session.screen.err);
        session.screen.note(text.trim_end());
    }
    if waiting.no_wait {
        accepted(session, &document, &operation)?;
        return Ok(Done::Accepted);
    }
    let (ended, document) = follow(session, operation, Some(waiting.timeout), true).await?;
    if !ended.state.is_final() {
        waits(session, &ended, &document)?;
        return Ok(Done::Waits(Box::new(ended)));
    }
    conclude(session, ended, &document).map(|ended| Done::Succeeded(Box::new(ended)))
}

fn planned(session: &Session, document: &Document, answer: &ChangeAnswer) -> Result<Exit> {
    match session.screen.format {
        Format::Json | Format::Ndjson | Format::Yaml => session.screen.document(document)?,
        Format::Name => {
            let targets = answer
                .plan
                .steps
                .iter()
                .map(|step| step.target.clone() + "\n");
            session.screen.print(&targets.collect::<String>())?;
        }
        Format::Table | Format::Wide => {
            session
                .screen
                .print(&plan::render(&answer.plan, session.screen.out))?;
        }
    }
    Ok(match answer.plan.is_empty() {
        true => Exit::Ok,
        false => Exit::Changes,
    })
}

fn show_nothing(session: &Session, document: &Document, answer: &ChangeAnswer) -> Result<()> {
    match session.screen.format {
        Format::Json | Format::Ndjson | Format::Yaml => session.screen.document(document),
        Format::Name => Ok(()),
        Format::Table | Format::Wide => session
            .screen
            .print(&plan::render(&answer.plan, session.screen.out)),
    }
}

fn accepted(session: &Session, document: &Document, operation: &OperationView) -> Result<()> {
    match session.screen.format {
        Format::Json | Format::Ndjson | Format::Yaml => session.screen.document(document)?,
        _ => session.screen.line(&operation.id)?,
    }
    session
        .screen
        .note(&format!("next: lain event watch {}", operation.id));
    Ok(())
}

/// A canary is up: what is known of it, and what to do next.
fn waits(session: &Session, operation: &OperationView, document: &Document) -> Result<()> {
    let OperationView { app, .. } = operation;
    match session.screen.format {
        Format::Json | Format::Ndjson | Format::Yaml => session.screen.document(document)?,
        Format::Name => session.screen.line(&operation.id)?,
        Format::Table | Format::Wide => {
            let updated = operation.steps.iter();
            let updated = updated.filter(|s| s.state == OperationState::Succeeded);
            session.screen.line(&format!(
                "{app}: its canary is up, {} of {} steps are done; the others wait for a verdict",
                updated.count(),
                operation.steps.len()
            ))?;
        }
    }
    session.screen.note(&format!(
        "next: lain promote {app}, or lain abort {app}; watch it with lain ps -a {app}, lain logs -f -a {app}"
    ));
    Ok(())
}

/// Follows an operation to its end, or with `to_verdict` until it waits for one, over lost connections and restarts of the server.
///
/// # Errors
/// [`Exit::Timeout`] when `limit` is over, [`Exit::Interrupted`] at Ctrl-C: the operation goes on.
pub async fn follow(
    session: &Session,
    operation: OperationView,
    limit: Option<Duration>,
    to_verdict: bool,
) -> Result<(OperationView, Document)> {
    let target = Target::new(["operations", &operation.id]);
    let mut watch = Watch::new(&session.client, target.clone().query("watch", true));
    let mut progress = Progress::new(&session.screen);
    let mut latest = operation;
    let deadline = limit.map(|limit| Instant::now() + limit);
    let mut redraw = tokio::time::interval(Duration::from_millis(200));
    progress.show(&latest, session.screen.now());
    loop {
        let document = tokio::select! {
            signal = watch.next() => match signal? {
                // `synced` and the like carry no operation.
                Signal::Event(event) if !event.name.is_empty() => continue,
                Signal::Event(event) => session.client.parse(&event.data)?,
                Signal::Lost(why) => {
                    progress.say(&format!("connection lost ({why}); the operation goes on, trying again"));
                    continue;
                }
                Signal::Back => session.client.get(&target).await?,
            },
            () = passed(deadline) => return Err(detached(&latest, Exit::Timeout)),
            _ = tokio::signal::ctrl_c() => return Err(detached(&latest, Exit::Interrupted)),
            _ = redraw.tick(), if progress.is_live() => {
                progress.show(&latest, session.screen.now());
                continue;
            }
        };
        latest = session.client.view(&document)?;
        progress.show(&latest, session.screen.now());
        if latest.state.is_final() || (to_verdict && latest.waiting.is_some()) {
            return Ok((latest, document));
        }
    }
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn detached(operation: &OperationView, exit: Exit) -> CliError {
    let OperationView { id, kind, app, .. } = operation;
    let why = match exit {
        Exit::Timeout => "is not done within --timeout",
        _ => "was left alone",
    };
    CliError::new(exit, format!("the {kind} of {app} {why}; it goes on")).hint(format!(
        "lain event watch {id}, or lain operation cancel {id}"
    ))
}

/// Prints an operation that has ended, or fails as it did.
///
/// # Errors
/// [`Exit::Failed`] with the newest crash and its last lines, or [`Exit::Conflict`] if it was cancelled.
pub fn conclude(
    session: &Session,
    operation: OperationView,
    document: &Document,
) -> Result<OperationView> {
    match session.screen.format {
        Format::Json | Format::Ndjson | Format::Yaml => session.screen.document(document)?,
        Format::Name => session.screen.line(&operation.id)?,
        Format::Table | Format::Wide => {}
    }
    match operation.state {
        OperationState::Failed => Err(failure(&operation)),
        OperationState::Cancelled => Err(cancelled(&operation)),
        _ => Ok(operation),
    }
}

fn cancelled(operation: &OperationView) -> CliError {
    let OperationView { kind, app, .. } = operation;
    let why = operation.error.as_deref().unwrap_or("by an operator");
    CliError::new(
        Exit::Conflict,
        format!("the {kind} of {app} was cancelled: {}", plain(why)),
    )
    .hint(format!("what it did so far stays; lain ps -a {app}"))
}

/// Why an operation failed: its error, the steps that failed, and the last lines of the newest crash.
fn failure(operation: &OperationView) -> CliError {
    let OperationView { kind, app, .. } = operation;
    let why = operation.error.as_deref().unwrap_or("see its steps");
    let failed = operation
        .steps
        .iter()
        .filter(|step| step.state == OperationState::Failed);
    let steps = failed.map(|step| {
        let (target, detail) = (plain(&step.step.target), plain(&step.detail));
        match detail.starts_with(&target) {
            true => detail,
            false => format!("{target}: {detail}"),
        }
    });
    // A single failing step is often the whole error.
    let steps = steps.filter(|step| *step != plain(why));
    let mut error =
        CliError::failed(format!("the {kind} of {app} failed: {}", plain(why))).details(steps);
    error.hint = Some(format!("lain logs -a {app}, or lain tree -a {app}"));
    if let Some(crash) = operation.crashes.first() {
        error = error.details(crashes::tail(crash, 10));
        error.hint = Some(format!(
            "lain crashes show {}, or lain logs -a {app}",
            crash.id
        ));
    }
    error
}

/// The line that ends a change: `✔ app hello restarted (2.1s)`, only for people.
///
/// # Errors
/// Where stdout is closed.
pub fn summary(session: &Session, operation: &OperationView, what: &str, next: &str) -> Result<()> {
    if !session.screen.is_table() {
        return Ok(());
    }
    let style = session.screen.out;
    let took = operation.ended_at.unwrap_or_else(|| session.screen.now()) - operation.started_at;
    let symbol = style.paint(Tone::Good, style.symbol(Tone::Good));
    session
        .screen
        .line(&format!("{symbol} {what} ({})", time::took(took)))?;
    session.screen.note(&format!("next: {next}"));
    Ok(())
}
