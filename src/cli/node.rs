//! `lain node`: the machines that apps run on.

use crate::cli::complete;
use crate::cli::error::{Exit, Result};
use crate::cli::output::style::{Style, Tone, plain};
use crate::cli::output::table::{Cell, Table};
use crate::cli::output::{Screen, time};
use crate::cli::request::Target;
use crate::cli::session::Session;
use crate::domain::view::NodeView;
use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;

/// List the nodes, or show one
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain node list
  lain node show node1")]
pub struct NodeArgs {
    /// What to do; listing if absent.
    #[command(subcommand)]
    pub verb: Option<NodeVerb>,
}

/// What to do with nodes.
#[derive(Debug, Subcommand)]
pub enum NodeVerb {
    /// List the nodes
    List,
    /// Show one node
    Show(NodeArg),
    /// LAIN's name of `show`.
    #[command(hide = true)]
    Inspect(NodeArg),
}

/// One node.
#[derive(Debug, Clone, Args)]
pub struct NodeArg {
    /// Its name
    #[arg(value_name = "NODE", add = ArgValueCompleter::new(complete::nodes))]
    pub node: String,
}

/// Lists or shows.
///
/// # Errors
/// Where there is no such node or the server does not answer.
pub async fn run(args: NodeArgs, session: &Session) -> Result<Exit> {
    match args.verb {
        None | Some(NodeVerb::List) => list(session).await,
        Some(NodeVerb::Show(NodeArg { node })) => show(&node, session).await,
        Some(NodeVerb::Inspect(NodeArg { node })) => {
            session
                .screen
                .note("`lain node inspect` is now `lain node show`");
            show(&node, session).await
        }
    }
}

async fn list(session: &Session) -> Result<Exit> {
    let (page, nodes) = session
        .client
        .list::<NodeView>(&Target::new(["nodes"]), None)
        .await?;
    let screen = &session.screen;
    let table = |nodes: &[NodeView]| table(nodes, screen.out, screen.is_wide());
    screen.list(&nodes, &page, "no nodes", table, |node| node.name.clone())?;
    Ok(Exit::Ok)
}

fn tone(node: &NodeView) -> Tone {
    match node.state.as_str() {
        "ready" if node.warnings.is_empty() => Tone::Good,
        "ready" => Tone::Warn,
        _ => Tone::Bad,
    }
}

fn table(nodes: &[NodeView], style: Style, wide: bool) -> Table {
    let mut header = vec![
        "NODE",
        "STATE",
        "ENGINE",
        "CPUS",
        "MEMORY",
        "RESERVED",
        "CONTAINERS",
    ];
    if wide {
        header.extend(["VERSION", "LABELS"]);
    }
    header.push("REMARKS");
    let mut table = Table::new(&header);
    for node in nodes {
        let tone = tone(node);
        let mut row: Vec<Cell> = vec![
            node.name.as_str().into(),
            Cell::toned(tone, style.state(tone, &node.state)),
            format!("{} {}", node.engine, node.engine_version).into(),
            node.cpus.to_string().into(),
            time::bytes(node.memory).into(),
            time::bytes(node.memory_reserved).into(),
            node.containers.to_string().into(),
        ];
        if wide {
            row.push(node.version.as_str().into());
            row.push(labels(node).into());
        }
        let remarks = node.reason.iter().chain(&node.warnings).cloned();
        row.push(remarks.collect::<Vec<_>>().join("; ").into());
        table.row(row);
    }
    table
}

fn labels(node: &NodeView) -> String {
    let pairs = node
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}

async fn show(name: &str, session: &Session) -> Result<Exit> {
    let document = session.client.get(&Target::new(["nodes", name])).await?;
    let screen = &session.screen;
    if !screen.is_table() {
        screen.document(&document)?;
        return Ok(Exit::Ok);
    }
    let node: NodeView = session.client.view(&document)?;
    screen.print(&text(&node, screen))?;
    Ok(Exit::Ok)
}

fn text(node: &NodeView, screen: &Screen) -> String {
    let tone = tone(node);
    let state = screen.out.state(tone, &node.state);
    let mut lines = vec![format!(
        "{}  {}",
        screen.out.paint(Tone::Bold, &node.name),
        screen.out.paint(tone, &state)
    )];
    lines.extend(
        node.reason
            .iter()
            .map(|reason| format!("  {}", plain(reason))),
    );
    lines.extend([
        format!("  engine      {} {}", node.engine, node.engine_version),
        format!("  cpus        {}", node.cpus),
        format!(
            "  memory      {}, {} reserved",
            time::bytes(node.memory),
            time::bytes(node.memory_reserved)
        ),
        format!("  containers  {}", node.containers),
        format!("  lain        {}", node.version),
    ]);
    if !node.labels.is_empty() {
        lines.push(format!("  labels      {}", plain(&labels(node))));
    }
    let warnings = node
        .warnings
        .iter()
        .map(|warning| format!("  warning: {}", plain(warning)));
    lines.extend(warnings);
    lines.join("\n") + "\n"
}
