//! `lain doctor`: what may keep lain from working, one remedy per failure; also while no server answers.

use crate::cli::args::Global;
use crate::cli::connection::Connection;
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::output::Screen;
use crate::cli::output::document::Document;
use crate::cli::output::style::{Tone, plain};
use crate::cli::request::Target;
use crate::cli::session::{self, Session};
use crate::cli::{checks, version};
use crate::domain::view::{Finding, Page, VersionView};
use clap::Args;

/// Check this machine and the server, with a remedy for each failure
///
/// Works also while no server answers: then the machine is checked for what a server would need.
/// Exit 1 if a check fails.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain doctor
  lain doctor -o json | jq '.items[] | select(.result != \"ok\")'")]
pub struct DoctorArgs {}

/// Checks.
///
/// # Errors
/// [`Exit::Failed`] where a check fails.
pub async fn run(global: &Global) -> Result<Exit> {
    let screen = session::screen(global);
    let mut findings = Vec::new();
    if let Err(error) = server(global, &mut findings).await {
        findings.push(from_error("server", &error));
        findings.extend(checks::machine().await);
    }
    print(&findings, &screen)?;
    let failed = findings
        .iter()
        .filter(|finding| finding.result == "fail")
        .count();
    match failed {
        0 => Ok(Exit::Ok),
        _ => Err(CliError::failed(format!(
            "{failed} of {} checks failed",
            findings.len()
        ))),
    }
}

/// Checks the way to the server, then asks it for its own findings. Fails if it does not answer.
async fn server(global: &Global, findings: &mut Vec<Finding>) -> Result<()> {
    let session = Session::open(global)?;
    let connection = session.client.connection();
    let version: VersionView = session.client.get_as(&Target::new(["version"])).await?;
    findings.push(checks::ok(
        "server",
        format!("{} answers ({})", connection.server, connection.origin),
    ));
    findings.push(versions(&version));
    findings.push(token(connection));
    match session
        .client
        .get_as::<Page<Finding>>(&Target::new(["doctor"]))
        .await
    {
        Ok(theirs) => findings.extend(theirs.items),
        Err(error) => findings.push(from_error("access", &error)),
    }
    Ok(())
}

fn versions(server: &VersionView) -> Finding {
    let (ours, theirs) = (version::VERSION, &server.version);
    match ours == theirs {
        true => checks::ok("version", format!("client and server are {ours}")),
        false => checks::warn(
            "version",
            format!("this client is {ours}, the server {theirs}"),
            "use the same version of lain on both sides",
        ),
    }
}

/// A token that others can read is a token that others have.
fn token(connection: &Connection) -> Finding {
    let Some(origin) = &connection.token_origin else {
        let remedy = "name the token's file with --token-file or LAIN_TOKEN_FILE";
        return checks::warn("token", "no token was found".to_owned(), remedy);
    };
    match checks::mode(origin) {
        Some(mode) if mode & 0o077 != 0 => checks::warn(
            "token",
            format!("{origin} can be read by others (mode {mode:o})"),
            &format!("chmod 600 {origin}"),
        ),
        _ => checks::ok("token", format!("from {origin}")),
    }
}

fn from_error(check: &str, error: &CliError) -> Finding {
    Finding {
        check: check.to_owned(),
        result: "fail".to_owned(),
        detail: error.message.clone(),
        remedy: error.hint.clone(),
    }
}

fn print(findings: &[Finding], screen: &Screen) -> Result<()> {
    if !screen.is_table() {
        let items = findings
            .iter()
            .map(Document::of)
            .collect::<std::result::Result<_, _>>();
        let items = items.map_err(|error| CliError::failed(error.to_string()))?;
        return screen.document(&Document::page(items));
    }
    let column = findings
        .iter()
        .map(|finding| finding.check.len())
        .max()
        .unwrap_or(0);
    for finding in findings {
        let tone = match finding.result.as_str() {
            "ok" => Tone::Good,
            "warn" => Tone::Warn,
            _ => Tone::Bad,
        };
        let symbol = screen.out.paint(
            tone,
            &screen.out.state(tone, &format!("{:4}", finding.result)),
        );
        screen.line(&format!(
            "{symbol}  {:column$}  {}",
            plain(&finding.check),
            plain(&finding.detail)
        ))?;
        if let Some(remedy) = &finding.remedy {
            screen.line(&format!(
                "        {:column$}  remedy: {}",
                "",
                plain(remedy)
            ))?;
        }
    }
    Ok(())
}
