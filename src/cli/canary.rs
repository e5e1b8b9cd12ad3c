//! `lain promote` and `lain abort`: the verdict on a canary.

use crate::cli::args::{DryRun, NamedApp, Waiting};
use crate::cli::change::{self, Done};
use crate::cli::error::{Exit, Result};
use crate::cli::lainfile;
use crate::cli::request::{Change, Expect, Target};
use crate::cli::session::Session;
use crate::domain::id::AppName;
use crate::domain::view::AppView;
use clap::Args;
use reqwest::Method;

/// Promote a canary: update the other instances too
///
/// For a deploy with --canary, or `update.canary` in its lain.yaml, once the instances that were updated first are up.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain promote                  the app of ./lain.yaml
  lain promote shop --no-wait")]
pub struct PromoteArgs {
    /// Which app.
    #[command(flatten)]
    pub app: NamedApp,
    /// How to go on once it is accepted.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Abort a canary: put its instances back to the release before
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain abort                    the app of ./lain.yaml
  lain abort shop --dry-run")]
pub struct AbortArgs {
    /// Which app.
    #[command(flatten)]
    pub app: NamedApp,
    /// Whether to plan only.
    #[command(flatten)]
    pub dry_run: DryRun,
    /// How to go on once it is accepted.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Promotes.
///
/// # Errors
/// Where no canary waits, and as [`change::perform`].
pub async fn promote(args: PromoteArgs, session: &Session) -> Result<Exit> {
    let app = lainfile::app(args.app.name())?;
    let verdict = Verdict {
        word: "promote",
        done: "is deployed: its canary was promoted",
        next: format!("lain history {app}, lain ps -a {app}"),
        dry_run: false,
    };
    give(&app, verdict, &args.waiting, session).await
}

/// Aborts.
///
/// # Errors
/// Where no canary is in progress, and as [`change::perform`].
pub async fn abort(args: AbortArgs, session: &Session) -> Result<Exit> {
    let app = lainfile::app(args.app.name())?;
    let verdict = Verdict {
        word: "abort",
        done: "is back at the release before: its canary was aborted",
        next: format!("lain history {app}, lain crashes -a {app}"),
        dry_run: args.dry_run.dry_run,
    };
    give(&app, verdict, &args.waiting, session).await
}

struct Verdict {
    word: &'static str,
    done: &'static str,
    next: String,
    dry_run: bool,
}

async fn give(
    app: &AppName,
    verdict: Verdict,
    waiting: &Waiting,
    session: &Session,
) -> Result<Exit> {
    let target = Target::new(["apps", app.as_str()]);
    let before: AppView = session.client.get_as(&target).await?;
    let change = Change::new(Method::POST).expect(Expect::Etag(before.etag));
    let target = target.join(verdict.word);
    match change::perform(session, target, &change, verdict.dry_run, waiting).await? {
        Done::Planned(exit) => return Ok(exit),
        Done::Nothing | Done::Accepted | Done::Waits(_) => {}
        Done::Succeeded(operation) => {
            let what = format!("{app} {}", verdict.done);
            change::summary(session, &operation, &what, &verdict.next)?;
        }
    }
    Ok(Exit::Ok)
}
