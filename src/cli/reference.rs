//! `docs/cli.md`: the reference of the command line, made from the clap tree so that it cannot be wrong.
//!
//! A test compares the file with what this makes; `UPDATE_DOCS=1 cargo test --test cli reference`
//! writes it.

use crate::cli::error::Exit;
use clap::{Arg, Command};
use std::fmt::Write as _;

const INTRODUCTION: &str = "# The command line

<!-- Made from the definitions in src/cli; change them, then: UPDATE_DOCS=1 cargo test --test cli reference -->

## Conventions

- **Which app.** App commands take the app from `-a APP`, else from the `appname` of `./lain.yaml`.
- **Output.** Results go to stdout; progress, hints and warnings go to stderr. `-o json` and `-o yaml` print
  the API's objects unchanged, lists as `{\"items\": […]}`; with `--follow` one object per line. That is a
  contract; tables are not. `-o name` prints names or ids alone. Tables are fitted to a terminal and never
  cut in a pipe.
- **Colour.** Only on a terminal; off with `NO_COLOR`, `TERM=dumb` or `--no-color`. Without a UTF-8 locale
  the symbols are ASCII.
- **Waiting.** Commands that change something wait for the result, with a live line per step on a terminal
  and one plain line per change otherwise. `--no-wait` prints the operation's id; `lain event watch ID`
  attaches later. Ctrl-C and `--timeout` leave the operation going on.
- **Plan first.** `--dry-run` prints the plan: exit 0 if there is nothing to do, 10 if there is. `undeploy`
  asks for the app's name; without a terminal it needs `--yes`.
- **Ids.** Tables show as much of an id as is unique; commands take as much.

## Connection

The server is the first of: `--server`, `--context`, `LAIN_SERVER`, `LAIN_CONTEXT`, `current_context` of
`~/.config/lain/config.toml`, the endpoint file that `lain dev` writes
(`$XDG_RUNTIME_DIR/lain/endpoint.json`, `/run/lain/endpoint.json` for root,
`~/.local/share/lain/endpoint.json`), `http://127.0.0.1:7419`.

The token is the first of: `--token-file`, `LAIN_TOKEN_FILE`, `LAIN_TOKEN`, the context's `token_file`, the
endpoint file's. It is never given on the command line and never shown.

```toml
# ~/.config/lain/config.toml
current_context = \"lab\"

[contexts.lab]
server = \"https://lab:7419\"
token_file = \"/home/me/.config/lain/lab.token\"
ca_file = \"/home/me/.config/lain/lab.ca.pem\"
```

A server that is called by https is trusted by its installation's authority: the first of `--ca-file`, `LAIN_CA_FILE`,
the context's `ca_file` (which `lain login URL --ca FINGERPRINT` writes), the endpoint file's. Where there is none, the
authorities of the system are trusted.

";

/// The whole page.
pub fn markdown(mut root: Command) -> String {
    root.build();
    let mut text = INTRODUCTION.to_owned();
    text.push_str("## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (exit, meaning) in Exit::ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} | {meaning} |", exit.code());
    }
    text.push_str("\n`enter` and `run` return the code of the remote command.\n\n## Flags of every command\n\n");
    let global = |arg: &&Arg| arg.is_global_set();
    flags(root.get_arguments().filter(global), &mut text);
    text.push_str("## Commands\n\n");
    for command in visible(&root) {
        section(command, "lain", 3, &mut text);
    }
    text.trim_end().to_owned() + "\n"
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    let wanted = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    command.get_subcommands().filter(wanted)
}

fn section(command: &Command, parent: &str, level: usize, text: &mut String) {
    let name = format!("{parent} {}", command.get_name());
    let _ = writeln!(text, "{} `{name}`\n", "#".repeat(level));
    let about = command.get_long_about().or(command.get_about());
    if let Some(about) = about {
        let _ = writeln!(text, "{}\n", about.to_string().trim());
    }
    let aliases: Vec<String> = command
        .get_visible_aliases()
        .map(|a| format!("`{parent} {a}`"))
        .collect();
    if !aliases.is_empty() {
        let _ = writeln!(text, "Also {}.\n", aliases.join(", "));
    }
    if let Some(examples) = command.get_before_long_help() {
        let examples = examples.to_string();
        let examples = examples.trim_start_matches("Examples:\n");
        let _ = writeln!(text, "```sh\n{}\n```\n", unindented(examples));
    }
    let own = |arg: &&Arg| !arg.is_global_set() && !arg.is_hide_set() && arg.get_id() != "help";
    flags(command.get_arguments().filter(own), text);
    for below in visible(command) {
        section(below, &name, level + 1, text);
    }
}

fn unindented(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.strip_prefix("  ").unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

fn flags<'a>(arguments: impl Iterator<Item = &'a Arg>, text: &mut String) {
    let rows: Vec<String> = arguments.map(flag).collect();
    if rows.is_empty() {
        return;
    }
    text.push_str("| argument | meaning |\n|---|---|\n");
    text.push_str(&rows.concat());
    text.push('\n');
}

fn flag(argument: &Arg) -> String {
    let mut forms: Vec<String> = Vec::new();
    let values = argument.get_value_names().unwrap_or_default();
    let takes = argument.get_action().takes_values();
    let value = match values {
        [name, ..] if takes => format!(" {name}"),
        _ => String::new(),
    };
    forms.extend(argument.get_short().map(|short| format!("-{short}")));
    forms.extend(argument.get_long().map(|long| format!("--{long}")));
    for alias in argument.get_visible_aliases().unwrap_or_default() {
        forms.push(format!("--{alias}"));
    }
    let form = match forms.is_empty() {
        true => values.first().map_or_else(String::new, ToString::to_string),
        false => forms.join(", ") + &value,
    };
    let help = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|v| v.to_string_lossy())
        .collect();
    let default = match takes && !defaults.is_empty() {
        true => format!(" [default: {}]", defaults.join(" ")),
        false => String::new(),
    };
    let env = argument
        .get_env()
        .map(|env| format!(" [env: {}]", env.to_string_lossy()));
    let env = env.unwrap_or_default();
    let possible = match argument.is_hide_possible_values_set() || !takes {
        true => Vec::new(),
        false => argument.get_possible_values(),
    };
    let possible: Vec<&str> = possible.iter().map(|value| value.get_name()).collect();
    let possible = match possible.is_empty() {
        true => String::new(),
        false => format!(" ({})", possible.join(", ")),
    };
    let escaped = |text: &str| text.replace('|', "\\|").replace('<', "&lt;");
    format!(
        "| `{}` | {}{possible}{default}{env} |\n",
        form.replace('|', "\\|"),
        escaped(&help)
    )
}
