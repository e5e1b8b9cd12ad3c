//! `lain node`: the machines that apps run on.

use crate::cli::args::duration;
use crate::cli::complete;
use crate::cli::confirm;
use crate::cli::drift;
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::output::document::Document;
use crate::cli::output::style::{Style, Tone, plain};
use crate::cli::output::table::{Cell, Table};
use crate::cli::output::{Screen, time};
use crate::cli::request::{Change, Target};
use crate::cli::session::Session;
use crate::domain::view::{JoinTokenView, NodeChange, NodeView};
use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use reqwest::Method;
use std::collections::BTreeMap;
use std::time::Duration;

/// List, join, cordon, drain and remove nodes
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain node list
  lain node token                      the command that joins another host
  lain node drain node1                move what runs there away
  lain node uncordon node1             and let it take instances again
  lain node label node1 zone=a disk-   set a label, remove another")]
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
    /// Make a single-use token, and print the command that joins another host
    Token(TokenArgs),
    /// Place nothing new on a node
    Cordon(CordonArgs),
    /// Let a node take instances again
    Uncordon(NodeArg),
    /// Move what runs on a node away
    Drain(DrainArgs),
    /// Take a node out of the cluster
    Remove(RemoveArgs),
    /// Set or remove labels of a node
    Label(LabelArgs),
    /// LAIN's name of `show`.
    #[command(hide = true)]
    Inspect(NodeArg),
}

/// How a host joins.
#[derive(Debug, Clone, Args)]
pub struct TokenArgs {
    /// How long the token is good
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    pub lifetime: Duration,
}

/// A node to be cordoned.
#[derive(Debug, Clone, Args)]
pub struct CordonArgs {
    /// Which node.
    #[command(flatten)]
    pub node: NodeArg,
    /// Why, for those who wonder later
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// A node to be drained.
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    /// Which node.
    #[command(flatten)]
    pub node: NodeArg,
    /// Instances of a proc that may move at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_unavailable: u32,
    /// Return at once
    #[arg(long)]
    pub no_wait: bool,
}

/// A node to be removed.
#[derive(Debug, Clone, Args)]
pub struct RemoveArgs {
    /// Which node.
    #[command(flatten)]
    pub node: NodeArg,
    /// Also when instances are on it: they are started elsewhere
    #[arg(long)]
    pub force: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Labels of a node.
#[derive(Debug, Clone, Args)]
pub struct LabelArgs {
    /// Which node.
    #[command(flatten)]
    pub node: NodeArg,
    /// KEY=VALUE sets, KEY- removes
    #[arg(value_name = "KEY=VALUE|KEY-", required = true)]
    pub labels: Vec<String>,
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
        Some(NodeVerb::Token(args)) => token(&args, session).await,
        Some(NodeVerb::Cordon(args)) => {
            let change = NodeChange {
                cordoned: Some(true),
                reason: args.reason,
                labels: None,
            };
            change_node(&args.node.node, &change, session).await
        }
        Some(NodeVerb::Uncordon(NodeArg { node })) => {
            let change = NodeChange {
                cordoned: Some(false),
                ..NodeChange::default()
            };
            change_node(&node, &change, session).await
        }
        Some(NodeVerb::Drain(args)) => drain(&args, session).await,
        Some(NodeVerb::Remove(args)) => remove(&args, session).await,
        Some(NodeVerb::Label(args)) => {
            let change = NodeChange {
                labels: Some(parse_labels(&args.labels)?),
                ..NodeChange::default()
            };
            change_node(&args.node.node, &change, session).await
        }
        Some(NodeVerb::Inspect(NodeArg { node })) => {
            session
                .screen
                .note("`lain node inspect` is now `lain node show`");
            show(&node, session).await
        }
    }
}

async fn token(args: &TokenArgs, session: &Session) -> Result<Exit> {
    let body = serde_json::json!({ "lifetime_seconds": args.lifetime.as_secs().clamp(1, 86_400) });
    let change = Change::new(Method::POST).body(&body)?;
    let document = session
        .client
        .change(&Target::new(["nodes", "tokens"]), &change)
        .await?;
    if !session.screen.is_table() {
        session.screen.document(&document)?;
        return Ok(Exit::Ok);
    }
    let view: JoinTokenView = session.client.view(&document)?;
    // One line to paste; the token stays out of the process list.
    session.screen.line(&format!(
        "LAIN_JOIN_TOKEN={} lain agent --join {} --ca {}",
        view.token, view.server, view.authority
    ))?;
    session.screen.note(&format!(
        "good once, until {}; run it on the host that is to join",
        time::stamp(view.expires_at)
    ));
    Ok(Exit::Ok)
}

async fn change_node(name: &str, change: &NodeChange, session: &Session) -> Result<Exit> {
    let change = Change::new(Method::PATCH).body(change)?;
    let document = session
        .client
        .change(&Target::new(["nodes", name]), &change)
        .await?;
    print(&document, session)
}

async fn drain(args: &DrainArgs, session: &Session) -> Result<Exit> {
    let target = Target::new(["nodes", &args.node.node, "drain"])
        .query("max_unavailable", args.max_unavailable);
    let begun = session
        .client
        .change(&target, &Change::new(Method::POST))
        .await?;
    drift::follow(begun, args.no_wait, session).await
}

async fn remove(args: &RemoveArgs, session: &Session) -> Result<Exit> {
    let name = &args.node.node;
    let what = format!("node {name} is taken out of the cluster");
    confirm::possible(session, args.yes, &what)?;
    confirm::by_name(session, args.yes, &what, name)?;
    let target = Target::new(["nodes", name]).query("force", args.force);
    session
        .client
        .change(&target, &Change::new(Method::DELETE))
        .await?;
    session
        .screen
        .note(&format!("node {name} is no node of this cluster any more"));
    Ok(Exit::Ok)
}

/// `KEY=VALUE` sets, `KEY-` removes.
fn parse_labels(words: &[String]) -> Result<BTreeMap<String, Option<String>>> {
    let parsed = words.iter().map(|word| {
        if let Some((key, value)) = word.split_once('=').filter(|(key, _)| !key.is_empty()) {
            return Ok((key.to_owned(), Some(value.to_owned())));
        }
        match word.strip_suffix('-').filter(|key| !key.is_empty()) {
            Some(key) => Ok((key.to_owned(), None)),
            None => Err(CliError::usage(format!(
                "{word:?} is no label: KEY=VALUE sets one, KEY- removes one"
            ))),
        }
    });
    parsed.collect()
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
    print(&document, session)
}

fn print(document: &Document, session: &Session) -> Result<Exit> {
    let screen = &session.screen;
    if !screen.is_table() {
        screen.document(document)?;
        return Ok(Exit::Ok);
    }
    let node: NodeView = session.client.view(document)?;
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
