//! `lain ps`: all apps, or one app with its procs and instances.

use crate::cli::args::AppArg;
use crate::cli::error::{Exit, Result};
use crate::cli::lainfile;
use crate::cli::output::style::{Style, Tone};
use crate::cli::output::table::{Cell, Table};
use crate::cli::output::{Format, Screen, time};
use crate::cli::request::Target;
use crate::cli::session::Session;
use crate::domain::view::{AppState, AppView, InstanceRole, InstanceState, InstanceView, ProcView};
use chrono::{DateTime, Utc};
use clap::Args;

/// Show apps, procs and instances
///
/// In the folder of a lain.yaml, or with -a, that app with its procs and instances; else all apps.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain ps                 the app of ./lain.yaml, else all apps
  lain ps --all           all apps
  lain ps -a shop -o wide one app, with containers and versions
  lain ps -a shop -o json | jq '.procs[].instances[].state'")]
pub struct PsArgs {
    /// Which app.
    #[command(flatten)]
    pub app: AppArg,
    /// All apps, also in the folder of a lain.yaml
    #[arg(long, conflicts_with = "app")]
    pub all: bool,
}

impl PsArgs {
    /// What `lain ps --all` gives.
    pub fn all() -> Self {
        Self {
            app: AppArg::default(),
            all: true,
        }
    }
}

/// Shows them.
///
/// # Errors
/// Where the app does not exist or the server does not answer.
pub async fn run(args: PsArgs, session: &Session) -> Result<Exit> {
    let app = match args.all {
        true => None,
        false => lainfile::maybe_app(args.app.app.as_deref())?,
    };
    match app {
        Some(app) => one(session, app.as_str()).await,
        None => all(session).await,
    }
}

async fn all(session: &Session) -> Result<Exit> {
    let (page, apps) = session
        .client
        .list::<AppView>(&Target::new(["apps"]), None)
        .await?;
    let screen = &session.screen;
    let empty = "no apps; deploy one with `lain deploy` in the folder of its lain.yaml";
    let table = |apps: &[AppView]| apps_table(apps, screen.out, screen.now(), screen.is_wide());
    screen.list(&apps, &page, empty, table, |app| app.name.clone())?;
    Ok(Exit::Ok)
}

async fn one(session: &Session, app: &str) -> Result<Exit> {
    let found = session.client.get(&Target::new(["apps", app])).await;
    let document = found.map_err(|error| match error.status {
        Some(404) if error.hint.is_none() => {
            error.hint("deploy it with `lain deploy`, or list what there is with `lain ps --all`")
        }
        _ => error,
    })?;
    let screen = &session.screen;
    match screen.format {
        Format::Json | Format::Ndjson | Format::Yaml => screen.document(&document)?,
        Format::Name => {
            let view: AppView = session.client.view(&document)?;
            let ids = view.procs.iter().flat_map(|proc| &proc.instances);
            screen.print(
                &ids.map(|instance| instance.id.clone() + "\n")
                    .collect::<String>(),
            )?;
        }
        Format::Table | Format::Wide => {
            let view: AppView = session.client.view(&document)?;
            screen.print(&app_text(&view, screen, screen.now()))?;
        }
    }
    Ok(Exit::Ok)
}

/// How an app's or proc's state looks.
pub fn app_tone(state: AppState) -> (Tone, &'static str) {
    match state {
        AppState::Deploying => (Tone::Warn, "deploying"),
        AppState::Running => (Tone::Good, "running"),
        AppState::Recovering => (Tone::Warn, "recovering"),
        AppState::Degraded => (Tone::Bad, "degraded"),
        AppState::Done => (Tone::Good, "done"),
        AppState::Stopped => (Tone::Dim, "stopped"),
        AppState::Removing => (Tone::Warn, "removing"),
    }
}

/// How an instance's state looks.
pub fn instance_tone(state: InstanceState) -> (Tone, &'static str) {
    match state {
        InstanceState::Pending => (Tone::Warn, "pending"),
        InstanceState::Starting => (Tone::Warn, "starting"),
        InstanceState::Running => (Tone::Good, "running"),
        InstanceState::Idle => (Tone::Good, "idle"),
        InstanceState::Backoff => (Tone::Bad, "backoff"),
        InstanceState::Degraded => (Tone::Bad, "degraded"),
        InstanceState::Stopping => (Tone::Warn, "stopping"),
        InstanceState::Stopped => (Tone::Dim, "stopped"),
        InstanceState::Done => (Tone::Good, "done"),
        InstanceState::Failed => (Tone::Bad, "failed"),
    }
}

fn state_cell(style: Style, (tone, word): (Tone, &str)) -> Cell {
    Cell::toned(tone, style.state(tone, word))
}

fn apps_table(apps: &[AppView], style: Style, now: DateTime<Utc>, wide: bool) -> Table {
    let mut header = vec!["APP", "STATE", "READY", "CRASHES", "REVISION", "AGE", "URL"];
    if wide {
        header.extend(["TYPE", "STRATEGY", "META VERSION", "UPDATED"]);
    }
    header.push("REASON");
    let mut table = Table::new(&header);
    for app in apps {
        // The runs of a cron proc come and go by the clock.
        let steady = app.procs.iter().filter(|proc| proc.proc_type != "cron");
        let count = |of: fn(&ProcView) -> u32| steady.clone().map(of).sum::<u32>();
        let crashes: u64 = app.procs.iter().map(|proc| proc.crashes).sum();
        let mut row: Vec<Cell> = vec![
            app.name.as_str().into(),
            state_cell(style, app_tone(app.state)),
            format!("{}/{}", count(|p| p.ready), count(|p| p.wanted)).into(),
            crashes.to_string().into(),
            app.revision.to_string().into(),
            time::since(Some(app.created_at), now).into(),
            app.urls.join(" ").into(),
        ];
        if wide {
            row.push(app.apptype.as_str().into());
            row.push(app.strategy.as_str().into());
            row.push(app.meta_version.as_deref().unwrap_or("-").into());
            row.push(time::since(Some(app.updated_at), now).into());
        }
        row.push(app.reason.as_deref().unwrap_or("").into());
        table.row(row);
    }
    table
}

/// One app: a line on it, its procs, its instances.
fn app_text(app: &AppView, screen: &Screen, now: DateTime<Utc>) -> String {
    let (style, columns) = (screen.out, screen.columns());
    let (tone, word) = app_tone(app.state);
    let mut text = format!(
        "{}  {}  revision {}, deployed {} ago",
        style.paint(Tone::Bold, &app.name),
        style.paint(tone, &style.state(tone, word)),
        app.revision,
        time::since(Some(app.created_at), now),
    );
    for url in &app.urls {
        text.push_str(&format!("  {url}"));
    }
    text.push('\n');
    if let Some(reason) = &app.reason {
        text.push_str(&format!("  {reason}\n"));
    }
    text.push('\n');
    text.push_str(&procs_table(&app.procs, style, now).render(style, columns));
    let instances: Vec<&InstanceView> = app.procs.iter().flat_map(|proc| &proc.instances).collect();
    if !instances.is_empty() {
        text.push('\n');
        let table = instances_table(&instances, style, now, screen.is_wide());
        text.push_str(&table.render(style, columns));
    }
    text
}

fn procs_table(procs: &[ProcView], style: Style, now: DateTime<Utc>) -> Table {
    let header = [
        "PROC", "STATE", "READY", "SPARES", "CRASHES", "IMAGE", "NOTE",
    ];
    let mut table = Table::new(&header);
    for proc in procs {
        let spares = match proc.spares_wanted {
            0 => "-".to_owned(),
            wanted => format!("{}/{wanted}", proc.spares_ready),
        };
        table.row(vec![
            proc.full_name.as_str().into(),
            state_cell(style, app_tone(proc.state)),
            readiness(proc).into(),
            spares.into(),
            proc.crashes.to_string().into(),
            proc.image.as_str().into(),
            note(proc, now).into(),
        ]);
    }
    table
}

/// How much of a proc is ready: `3/3`, `done 1/1` where all that is ready has ended well, and of a cron proc the
/// runs in progress.
fn readiness(proc: &ProcView) -> String {
    match (proc.proc_type.as_str(), proc.ready, proc.done) {
        ("cron", 0, _) => "at rest".to_owned(),
        ("cron", running, _) => format!("{running} running"),
        (_, ready, done) if done > 0 && ready == done => format!("done {done}/{}", proc.wanted),
        (_, ready, _) => format!("{ready}/{}", proc.wanted),
    }
}

/// What else there is to say of a proc: why, when next, how the last run went, what differs from the file.
fn note(proc: &ProcView, now: DateTime<Utc>) -> String {
    let mut parts: Vec<String> = proc.reason.iter().cloned().collect();
    if let Some(next) = proc.next_run {
        parts.push(format!("next run in {}", time::age(next - now)));
    }
    if let Some(run) = proc.runs.first() {
        let detail = run.detail.as_ref().map(|detail| format!(" ({detail})"));
        parts.push(format!(
            "last run {}{} {} ago",
            run.result,
            detail.unwrap_or_default(),
            time::since(Some(run.started_at), now)
        ));
    }
    parts.extend(proc.overrides.iter().cloned());
    parts.join("; ")
}

fn instances_table(
    instances: &[&InstanceView],
    style: Style,
    now: DateTime<Utc>,
    wide: bool,
) -> Table {
    let mut header = vec![
        "INSTANCE", "STATE", "HEALTH", "NODE", "ADDRESS", "UPTIME", "RESTARTS",
    ];
    if wide {
        header.extend(["VERSION", "IP", "CONTAINER", "LAST EXIT"]);
    }
    header.push("REASON");
    let mut table = Table::new(&header);
    for instance in instances {
        let addresses: Vec<&str> = instance
            .endpoints
            .iter()
            .map(|e| e.address.as_str())
            .collect();
        let mut row: Vec<Cell> = vec![
            instance.id.as_str().into(),
            instance_state(instance, style),
            instance.health.as_str().into(),
            instance.node.as_str().into(),
            or_dash(&addresses.join(" ")).into(),
            time::since(instance.started_at, now).into(),
            instance.restarts.to_string().into(),
        ];
        if wide {
            row.push(instance.version.to_string().into());
            row.push(instance.ip.as_deref().unwrap_or("-").into());
            row.push(instance.container.as_deref().unwrap_or("-").into());
            row.push(instance.last_exit.as_deref().unwrap_or("-").into());
        }
        row.push(instance_reason(instance, now).into());
        table.row(row);
    }
    table
}

fn instance_state(instance: &InstanceView, style: Style) -> Cell {
    let (tone, word) = instance_tone(instance.state);
    let mark = match (instance.role, instance.canary) {
        (InstanceRole::Spare, _) => " (spare)",
        (InstanceRole::Active, true) => " (canary)",
        (InstanceRole::Active, false) => "",
    };
    Cell::toned(tone, format!("{}{mark}", style.state(tone, word)))
}

fn instance_reason(instance: &InstanceView, now: DateTime<Utc>) -> String {
    let mut text = instance.reason.clone().unwrap_or_default();
    if let Some(at) = instance.restart_at {
        let joint = if text.is_empty() { "" } else { "; " };
        text.push_str(&format!("{joint}restart in {}", time::took(at - now)));
    }
    text
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}
