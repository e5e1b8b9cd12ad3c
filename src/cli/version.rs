//! `lain version`: of this binary and of the server.

use crate::cli::args::Global;
use crate::cli::error::{Exit, Result};
use crate::cli::output::document::Document;
use crate::cli::output::time;
use crate::cli::request::Target;
use crate::cli::session::{self, Session};
use crate::domain::view::VersionView;

/// This binary's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Shows both; a server that does not answer is a remark, not a failure.
///
/// # Errors
/// Where stdout is closed.
pub async fn run(global: &Global) -> Result<Exit> {
    let screen = session::screen(global);
    let found = server(global).await;
    let server = found.as_ref().ok().map(|(_, document)| document.clone());
    if !screen.is_table() {
        let client = Document::Object(vec![(
            "version".to_owned(),
            Document::Text(VERSION.to_owned()),
        )]);
        screen.document(&Document::Object(vec![
            ("client".to_owned(), client),
            ("server".to_owned(), server.unwrap_or(Document::Null)),
        ]))?;
        return Ok(Exit::Ok);
    }
    screen.line(&format!("lain {VERSION}"))?;
    let view = found.and_then(|(session, document)| {
        let view: VersionView = session.client.view(&document)?;
        Ok((session, view))
    });
    match view {
        Ok((session, view)) => {
            let server = &session.client.connection().server;
            screen.line(&format!(
                "server {} at {server}: API {}, role {}, node {}, up {}",
                view.version,
                view.api,
                view.role,
                view.node,
                time::since(Some(view.started_at), screen.now())
            ))?;
            if view.version != VERSION {
                screen.warn("the server is of another version");
            }
        }
        Err(error) => screen.note(&format!("server: {}", error.message)),
    }
    Ok(Exit::Ok)
}

async fn server(global: &Global) -> Result<(Session, Document)> {
    let session = Session::open(global)?;
    let document = session.client.get(&Target::new(["version"])).await?;
    Ok((session, document))
}
