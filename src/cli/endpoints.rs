//! `lain endpoints`: where an app answers now, and each change of it.

use crate::cli::args::{NamedApp, proc_name};
use crate::cli::complete;
use crate::cli::error::{Exit, Result};
use crate::cli::lainfile;
use crate::cli::output::Format;
use crate::cli::output::table::Table;
use crate::cli::request::Target;
use crate::cli::session::Session;
use crate::cli::watch::{Signal, Watch};
use crate::domain::id::ProcName;
use crate::domain::view::{EndpointView, Page};
use clap::Args;
use clap_complete::engine::ArgValueCompleter;

/// Show the addresses at which an app answers
///
/// Those of instances that are ready for requests. One that is to be stopped leaves the list for its `drain_time`
/// first. With -f the whole list again at each change, for a router or a client to follow.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain endpoints                the app of ./lain.yaml
  lain endpoints shop -p web -o name
  lain endpoints shop -f -o ndjson | while read -r list; do …; done")]
pub struct EndpointsArgs {
    /// Which app.
    #[command(flatten)]
    pub app: NamedApp,
    /// Of this proc only
    #[arg(short, long = "proc", value_name = "PROC", value_parser = proc_name, add = ArgValueCompleter::new(complete::procs))]
    pub proc: Option<ProcName>,
    /// Go on with each change
    #[arg(short, long)]
    pub follow: bool,
}

/// Shows them.
///
/// # Errors
/// Where the app does not exist or the server does not answer.
pub async fn run(args: EndpointsArgs, session: &Session) -> Result<Exit> {
    let app = lainfile::app(args.app.name())?;
    let target = Target::new(["apps", app.as_str(), "endpoints"]);
    let target = target.maybe("proc", args.proc.as_ref());
    let screen = &session.screen;
    if !args.follow {
        let (page, all) = session.client.list::<EndpointView>(&target, None).await?;
        let empty = "nothing of it answers now; see `lain ps`";
        screen.list(&all, &page, empty, table, |one| one.address.clone())?;
        return Ok(Exit::Ok);
    }
    let mut watch = Watch::new(&session.client, target.query("watch", true));
    loop {
        let document = match watch.next().await? {
            Signal::Event(event) if event.name.is_empty() => session.client.parse(&event.data)?,
            Signal::Event(_) | Signal::Back => continue,
            Signal::Lost(why) => {
                screen.note(&format!("connection lost ({why}), trying again"));
                continue;
            }
        };
        let page: Page<EndpointView> = session.client.view(&document)?;
        match screen.format {
            Format::Json | Format::Ndjson | Format::Yaml => screen.document_line(&document)?,
            _ => {
                let all: Vec<&str> = page.items.iter().map(|e| e.address.as_str()).collect();
                screen.line(&all.join(" "))?;
            }
        }
    }
}

fn table(endpoints: &[EndpointView]) -> Table {
    let mut table = Table::new(&["ADDRESS", "PORT", "INSTANCE", "VERSION", "NODE"]);
    for endpoint in endpoints {
        table.row(vec![
            endpoint.address.as_str().into(),
            endpoint.port.port.to_string().into(),
            endpoint.instance.as_str().into(),
            endpoint.version.to_string().into(),
            endpoint.node.as_str().into(),
        ]);
    }
    table
}
