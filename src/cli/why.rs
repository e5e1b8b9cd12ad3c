//! `lain why`: why an instance is where it is, or nowhere.

use crate::cli::complete;
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::output::style::plain;
use crate::cli::request::Target;
use crate::cli::session::Session;
use crate::domain::view::WhyView;
use clap::Args;
use clap_complete::engine::ArgValueCompleter;

/// Say why an instance is where it is, or nowhere
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain why hello/web/2")]
pub struct WhyArgs {
    /// The instance, APP/PROC/NUMBER
    #[arg(value_name = "APP/PROC/N", add = ArgValueCompleter::new(complete::apps))]
    pub instance: String,
}

/// Explains.
///
/// # Errors
/// Where there is no such instance or the server does not answer.
pub async fn run(args: WhyArgs, session: &Session) -> Result<Exit> {
    let mut parts = args.instance.split('/');
    let (Some(app), Some(proc), Some(no), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(CliError::usage(format!(
            "{:?} names no instance: APP/PROC/NUMBER, such as hello/web/2",
            args.instance
        )));
    };
    let proc = proc.rsplit('.').next().unwrap_or(proc);
    let target = Target::new(["apps", app, "procs", proc, "instances", no, "why"]);
    let document = session.client.get(&target).await?;
    let screen = &session.screen;
    if !screen.is_table() {
        screen.document(&document)?;
        return Ok(Exit::Ok);
    }
    screen.print(&text(&session.client.view(&document)?))?;
    Ok(Exit::Ok)
}

fn text(why: &WhyView) -> String {
    let state = format!("{:?}", why.state).to_lowercase();
    let mut lines = vec![match &why.reason {
        Some(reason) => format!("{} is {state}: {}", why.instance, plain(reason)),
        None => format!("{} is {state}", why.instance),
    }];
    let moved = match why.drift {
        0 => String::new(),
        n => format!(", after {n} moves"),
    };
    lines.push(format!("  on node {}{moved}", why.node));
    if !why.gave_up.is_empty() {
        lines.push(format!("  given up by {}", why.gave_up.join(", ")));
    }
    if !why.nodes.is_empty() {
        lines.push("nodes that would not take it now:".to_owned());
    }
    let nodes = why.nodes.iter();
    lines.extend(nodes.map(|n| format!("  {}: {}", n.node, plain(&n.reason))));
    lines.join("\n") + "\n"
}
