//! `lain man`: the man pages, from the same definitions as the help. For packagers.

use crate::cli::error::{CliError, Result};
use crate::cli::output::Screen;
use clap::Args;
use std::path::{Path, PathBuf};

/// Write the man pages
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder to write one page per command into [default: print lain(1)]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// Writes or prints them.
///
/// # Errors
/// Where the folder cannot be written.
pub fn run(args: &ManArgs, command: clap::Command, screen: &Screen) -> Result<()> {
    match &args.dir {
        Some(folder) => write(command, folder),
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            screen.print(&String::from_utf8_lossy(&page))
        }
    }
}

fn write(command: clap::Command, folder: &Path) -> Result<()> {
    let wrong = |error: std::io::Error| {
        CliError::failed(format!(
            "cannot write man pages to {}: {error}",
            folder.display()
        ))
    };
    std::fs::create_dir_all(folder).map_err(wrong)?;
    // Without the global flags of each page: lain(1) explains them once.
    clap_mangen::generate_to(command.disable_help_subcommand(true), folder).map_err(wrong)
}
