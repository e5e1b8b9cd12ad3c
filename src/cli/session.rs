//! What a verb works with: a screen, and a client of the server that the flags point to.

use crate::cli::args::Global;
use crate::cli::client::Client;
use crate::cli::connection::{self, Here};
use crate::cli::error::Result;
use crate::cli::output::Screen;

/// A screen and a client.
pub struct Session {
    /// Where results and progress go.
    pub screen: Screen,
    /// The server.
    pub client: Client,
}

impl Session {
    /// Finds the server and its token; opens no connection yet.
    ///
    /// # Errors
    /// Where a named context or token file cannot be used.
    pub fn open(global: &Global) -> Result<Self> {
        let screen = screen(global);
        let connection = connection::resolve(&global.wanted(), &Here)?;
        let client = Client::new(connection, screen.clone(), global.verbose)?;
        Ok(Self { screen, client })
    }
}

/// The screen that the flags ask for.
pub fn screen(global: &Global) -> Screen {
    Screen::detect(global.output, global.quiet, global.no_color)
}
