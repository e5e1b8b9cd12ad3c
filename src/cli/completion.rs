//! `lain completion`: shell scripts that complete commands, flags and live names.
//!
//! The script asks this binary at each Tab, through the variable [`VARIABLE`]; `complete` answers.

use crate::cli::error::Result;
use crate::cli::output::Screen;
use clap::{Args, ValueEnum};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

/// Tells this binary that a shell asks for candidates.
pub const VARIABLE: &str = "LAIN_COMPLETE";

/// Print a script that makes a shell complete commands, flags and names
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  source <(lain completion bash)                                  # for this shell
  lain completion bash > /etc/bash_completion.d/lain              # for all users
  lain completion zsh > \"${fpath[1]}/_lain\"
  lain completion fish > ~/.config/fish/completions/lain.fish")]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// The shells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

/// Prints the script.
///
/// # Errors
/// Where stdout is closed.
pub fn run(args: &CompletionArgs, screen: &Screen) -> Result<()> {
    let shell: &dyn EnvCompleter = match args.shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, "lain", "lain", "lain", &mut script)?;
    screen.print(&String::from_utf8_lossy(&script))
}
