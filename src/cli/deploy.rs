//! `lain deploy`: from a `lain.yaml` to a running app, and its URL.

use crate::cli::args::{DryRun, Waiting};
use crate::cli::change::{self, Done};
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::lainfile::{DEFAULT_FILE, LainFile};
use crate::cli::request::{Change, Expect, Target};
use crate::cli::session::Session;
use crate::domain::id::AppName;
use crate::domain::view::{AppView, DeployRequest, OperationView, ProcView};
use clap::Args;
use reqwest::Method;
use std::path::PathBuf;

/// Deploy or update the app of a lain.yaml
///
/// The server checks the file, plans, and carries the plan out: it is shown, then its progress to
/// healthy, then the app's URL. Repeating a deploy changes nothing.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain deploy                      the app of ./lain.yaml
  lain deploy --dry-run            only show the plan (exit 10: there are changes)
  lain deploy -f shop/lain.yaml --image shop:v3
  lain deploy --canary 1           one instance of each proc first; then lain promote, or lain abort
  lain deploy --meta-version 1700000000-8f3c…   the release image of that commit")]
pub struct DeployArgs {
    /// The file
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_FILE, value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// Meta version, `<unix seconds>-<commit>`: picks the app's release image
    #[arg(long, value_name = "META", conflicts_with = "image")]
    pub meta_version: Option<String>,
    /// Image for the procs that name none
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Update only this many instances of each web and worker proc, and wait for `lain promote` or `lain abort`
    /// [default: `update.canary` of the file]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub canary: Option<u32>,
    /// Whether to plan only.
    #[command(flatten)]
    pub dry_run: DryRun,
    /// How to go on once it is accepted.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Deploys.
///
/// # Errors
/// As [`change::perform`]; [`Exit::Invalid`] with each mistake of the file and its line.
pub async fn run(args: DeployArgs, session: &Session) -> Result<Exit> {
    let file = LainFile::read(&args.file)?;
    let app = file.app()?;
    let target = Target::new(["apps", app.as_str()]);
    let request = DeployRequest {
        lain_yaml: file.text.clone(),
        file_name: file.path.display().to_string(),
        meta_version: args.meta_version,
        image: args.image,
        canary: args.canary,
    };
    let expect = state(session, &target).await?;
    let change = Change::new(Method::PUT).body(&request)?.expect(expect);
    let done = change::perform(
        session,
        target,
        &change,
        args.dry_run.dry_run,
        &args.waiting,
    )
    .await;
    match done.map_err(|error| placed(error, &file))? {
        Done::Planned(exit) => Ok(exit),
        Done::Nothing => {
            finished(session, &app, None).await?;
            Ok(Exit::Ok)
        }
        Done::Accepted | Done::Waits(_) => Ok(Exit::Ok),
        Done::Succeeded(operation) => {
            finished(session, &app, Some(&operation)).await?;
            Ok(Exit::Ok)
        }
    }
}

/// The state to change, or that there is none.
async fn state(session: &Session, target: &Target) -> Result<Expect> {
    match session.client.get_as::<AppView>(target).await {
        Ok(app) => Ok(Expect::Etag(app.etag)),
        Err(error) if error.status == Some(404) => Ok(Expect::Absent),
        Err(error) => Err(error),
    }
}

/// Gives each mistake that the server found its file and line of text.
fn placed(mut error: CliError, file: &LainFile) -> CliError {
    if error.exit != Exit::Invalid {
        return error;
    }
    let details = std::mem::take(&mut error.details);
    for detail in details {
        let line = detail
            .split(':')
            .next()
            .and_then(|number| number.parse::<usize>().ok());
        let source = line.and_then(|line| file.text.lines().nth(line.checked_sub(1)?));
        match source {
            Some(source) => {
                error
                    .details
                    .push(format!("{}:{detail}", file.path.display()));
                error.details.push(format!("  | {}", source.trim_end()));
            }
            None => error.details.push(detail),
        }
    }
    error.hint = Some(format!("lain validate {}", file.path.display()));
    error
}

/// What runs now, where it answers, and what to do next.
async fn finished(
    session: &Session,
    app: &AppName,
    operation: Option<&OperationView>,
) -> Result<()> {
    if !session.screen.is_table() {
        return Ok(());
    }
    let view: AppView = session
        .client
        .get_as(&Target::new(["apps", app.as_str()]))
        .await?;
    let next = format!("lain tree --watch -a {app}, lain logs -f -a {app}");
    if let Some(operation) = operation {
        let what = format!(
            "{app} is deployed: {}, revision {}",
            readiness(&view),
            view.revision
        );
        change::summary(session, operation, &what, &next)?;
    }
    for url in &view.urls {
        session.screen.line(&format!("  {url}"))?;
    }
    Ok(())
}

/// How much of an app is ready: `4 of 4 instances ready, 1 done, 1 spare`.
fn readiness(app: &AppView) -> String {
    // The runs of a cron proc come and go by the clock.
    let procs = app.procs.iter().filter(|proc| proc.proc_type != "cron");
    let sum = |of: fn(&ProcView) -> u32| procs.clone().map(of).sum::<u32>();
    let (done, spares) = (sum(|proc| proc.done), sum(|proc| proc.spares_ready));
    let mut text = format!(
        "{} of {} instances ready",
        sum(|proc| proc.ready) - done,
        sum(|proc| proc.wanted) - done
    );
    let mut and = |count: u32, one: &str, many: &str| match count {
        0 => {}
        1 => text.push_str(&format!(", 1 {one}")),
        more => text.push_str(&format!(", {more} {many}")),
    };
    and(done, "done", "done");
    and(spares, "spare", "spares");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_show_their_line() {
        let file = LainFile {
            path: "lain.yaml".into(),
            text: "appname: a\nweb:\n  prot: 80\n".to_owned(),
        };
        let error = CliError::new(Exit::Invalid, "lain.yaml has 2 problem(s)").details([
            "3:3: web.prot: unknown key".to_owned(),
            "too many".to_owned(),
        ]);
        let error = placed(error, &file);
        assert_eq!(
            error.details,
            [
                "lain.yaml:3:3: web.prot: unknown key",
                "  |   prot: 80",
                "too many"
            ]
        );
    }
}
