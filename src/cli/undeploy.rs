//! `lain undeploy`: removes an app, after its plan was shown and its name typed.

use crate::cli::args::{AppArg, DryRun, Waiting};
use crate::cli::change::{self, Done};
use crate::cli::error::{Exit, Result};
use crate::cli::output::style::plain;
use crate::cli::request::{Change, Expect, Target};
use crate::cli::session::Session;
use crate::cli::{confirm, lainfile, plan};
use crate::domain::view::{AppView, ChangeAnswer};
use clap::Args;
use reqwest::Method;

/// Remove an app and its containers
///
/// Shows the plan, then asks for the app's name. Volumes on the nodes stay.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain undeploy                 the app of ./lain.yaml
  lain undeploy -a hello --dry-run
  lain undeploy -a hello --yes")]
pub struct UndeployArgs {
    /// Which app.
    #[command(flatten)]
    pub app: AppArg,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Whether to plan only.
    #[command(flatten)]
    pub dry_run: DryRun,
    /// How to go on once it is accepted.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Removes it.
///
/// # Errors
/// Where it is not confirmed, does not exist, or as [`change::perform`].
pub async fn run(args: UndeployArgs, session: &Session) -> Result<Exit> {
    let app = lainfile::app(args.app.app.as_deref())?;
    let dry_run = args.dry_run.dry_run;
    if !dry_run {
        confirm::possible(session, args.yes, &format!("removing app {app}"))?;
    }
    let target = Target::new(["apps", app.as_str()]);
    let view: AppView = session.client.get_as(&target).await?;
    let change = Change::new(Method::DELETE).expect(Expect::Etag(view.etag));
    if !dry_run && !args.yes {
        let planned = target.clone().query("dry_run", true);
        let answer = session.client.change(&planned, &change).await?;
        let answer: ChangeAnswer = session.client.view(&answer)?;
        session
            .screen
            .note(plan::render(&answer.plan, session.screen.err).trim_end());
        for warning in &answer.warnings {
            session.screen.warn(&plain(warning));
        }
        let what = format!("app {app} and its containers will be removed");
        confirm::by_name(session, args.yes, &what, app.as_str())?;
    }
    match change::perform(session, target, &change, dry_run, &args.waiting).await? {
        Done::Planned(exit) => return Ok(exit),
        Done::Nothing | Done::Accepted | Done::Waits(_) => {}
        Done::Succeeded(operation) => {
            let next = format!("lain deploy, to have {app} again");
            change::summary(session, &operation, &format!("app {app} is removed"), &next)?;
        }
    }
    Ok(Exit::Ok)
}
