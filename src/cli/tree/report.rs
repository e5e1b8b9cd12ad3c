//! What the live tree shows of one actor: child specification, figures, history, crash report.

use super::line;
use crate::cli::client::Client;
use crate::cli::crashes;
use crate::cli::output::document::Document;
use crate::cli::output::style::plain;
use crate::cli::output::{self, time};
use crate::cli::request::Target;
use crate::domain::crash::CrashReport;
use crate::domain::view::{ActorView, RestartRecord};
use chrono::{DateTime, Utc};

/// What is known of an actor: its child specification, figures, history and crash report.
pub async fn read(client: &Client, path: &str) -> Vec<String> {
    let target = Target::new(["supervision", "actor"]).query("path", path);
    let actor: ActorView = match client.get_as(&target).await {
        Ok(actor) => actor,
        Err(error) => return vec![error.message],
    };
    let mut lines = describe(&actor, chrono::Utc::now());
    let crash = actor
        .last_crash
        .as_ref()
        .and_then(|crash| crash.crash.as_deref());
    if let Some(id) = crash {
        lines.push(String::new());
        match client
            .get_as::<CrashReport>(&Target::new(["crashes", id]))
            .await
        {
            Ok(report) => lines.extend(crashes::describe(&report)),
            Err(error) => lines.push(error.message),
        }
    }
    lines
}

/// The lines on an actor.
pub fn describe(actor: &ActorView, now: DateTime<Utc>) -> Vec<String> {
    let remarks = line::remarks(actor, now);
    let joint = if remarks.is_empty() { "" } else { ", " };
    let significant = if actor.significant {
        ", significant"
    } else {
        ""
    };
    let mut lines = vec![
        format!("{} {}{joint}{remarks}", actor.state, actor.kind),
        format!(
            "restart {}, shutdown {}{significant}",
            actor.restart, actor.shutdown
        ),
        format!(
            "incarnation {}, up {}, restarts in all: {}",
            actor.incarnation,
            line::uptime(actor, now),
            actor.restarts
        ),
    ];
    if actor.intensity.is_some() {
        lines.push(format!("restarts of children: {}", line::window(actor)));
    }
    lines.extend(figures(actor));
    if let Some(crash) = &actor.last_crash {
        lines.push("last crash:".to_owned());
        lines.push(format!(
            "  {} {}",
            time::stamp(crash.at),
            plain(&crash.reason)
        ));
        let message = crash
            .message_type
            .as_ref()
            .map(|m| format!("  while handling {m}"));
        let location = crash.location.as_ref().map(|place| format!("  at {place}"));
        lines.extend(message.into_iter().chain(location));
    }
    if !actor.history.is_empty() {
        lines.push("restarts, newest first:".to_owned());
        lines.extend(actor.history.iter().map(record));
    }
    if let Some(detail) = actor
        .detail
        .as_ref()
        .and_then(|detail| Document::of(detail).ok())
    {
        lines.push("state:".to_owned());
        let text = output::yaml(&detail).unwrap_or_default();
        lines.extend(text.lines().map(|line| format!("  {}", plain(line))));
    }
    lines
}

fn record(record: &RestartRecord) -> String {
    let at = time::stamp(record.at);
    format!("  {at} in {} µs: {}", record.took_us, plain(&record.reason))
}

/// The mailbox and what is being handled.
fn figures(actor: &ActorView) -> Vec<String> {
    let Some(mailbox) = &actor.mailbox else {
        return Vec::new();
    };
    let mut lines = vec![format!(
        "mailbox {} waiting, {} handled, {:.1}/s; handler p99 {} µs, max {} µs",
        mailbox.length,
        mailbox.handled,
        mailbox.rate,
        mailbox.handler_p99_us,
        mailbox.handler_max_us
    )];
    if let Some(current) = &mailbox.current {
        let for_ms = mailbox.current_ms.unwrap_or(0);
        lines.push(format!("handling {} for {for_ms} ms", plain(current)));
    }
    lines
}
