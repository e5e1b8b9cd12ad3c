//! `lain context` and `lain login`: servers that are known by a name, kept in the user's configuration file.
//!
//! The file is edited in place: comments, order and what belongs to the daemon stay. A token is never written to
//! it, only where its file is.

use crate::cli::args::Global;
use crate::cli::client::Client;
use crate::cli::connection::{self, Here, Surroundings, Wanted};
use crate::cli::context_file::{self, Change};
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::output::document::Document;
use crate::cli::output::table::Table;
use crate::cli::output::{Format, Screen};
use crate::cli::request::Target;
use crate::cli::tls;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// List the servers that are known by a name, or choose one
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain context list
  lain context use prod            from now on, unless --context or --server says otherwise
  lain context set prod --server http://10.0.0.5:7419 --token-file ~/prod.token
  lain context delete prod")]
pub struct ContextArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: ContextVerb,
}

/// What to do with contexts.
#[derive(Debug, Subcommand)]
pub enum ContextVerb {
    /// List them; the current one is marked
    List,
    /// Make one the current one
    Use {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Add one, or change it: --server and --token-file say to what
    Set {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Forget one; its token's file stays
    Delete {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Check a server and its token, and make it the current context
///
/// The token stays in its file, which only you should be able to read. A server that shows a certificate of its own
/// installation's authority is trusted by that authority's fingerprint (--ca), which `lain server` prints at its
/// start; the authority's certificate is kept beside the configuration.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain login https://10.0.0.5:7419 --ca sha256:9f2c… --token-file ~/prod.token
  lain login https://lain.example.com --token-file ~/prod.token --as prod")]
pub struct LoginArgs {
    /// The server's address
    #[arg(value_name = "URL")]
    pub url: String,
    /// Fingerprint of the authority that the server's certificate is from, as `lain server` printed it
    #[arg(long, value_name = "FINGERPRINT", conflicts_with = "ca_file")]
    pub ca: Option<String>,
    /// Name of the context [default: the server's host]
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
}

/// Carries out a `lain context` command.
///
/// # Errors
/// Where the file cannot be read, understood or written, or there is no such context.
pub fn run(args: ContextArgs, global: &Global, screen: &Screen) -> Result<Exit> {
    let file = UserFile::of_user(&Here)?;
    match args.verb {
        ContextVerb::List => list(&file, screen)?,
        ContextVerb::Use { name } => {
            file.edit(|text| context_file::choose(text, &name))?;
            screen.note(&format!("{name} is the current context"));
        }
        ContextVerb::Set { name } => {
            let server = global.server.as_deref();
            let token_file = absolute(global.token_file.as_deref(), "--token-file")?;
            let ca_file = absolute(global.ca_file.as_deref(), "--ca-file")?;
            if let Some(server) = server {
                connection::check_address(server, "--server")?;
            }
            let change = Change {
                server,
                token_file: token_file.as_deref(),
                ca_file: ca_file.as_deref(),
            };
            file.edit(|text| context_file::set(text, &name, &change))?;
            screen.note(&format!(
                "context {name} is set; next: lain context use {name}"
            ));
        }
        ContextVerb::Delete { name } => {
            file.edit(|text| context_file::delete(text, &name))?;
            screen.note(&format!("context {name} is forgotten"));
        }
    }
    Ok(Exit::Ok)
}

/// Checks the server and its token, then keeps both as the current context.
///
/// # Errors
/// Where the server does not answer or refuses the token, or the file cannot be written.
pub async fn login(args: LoginArgs, global: &Global, screen: &Screen) -> Result<Exit> {
    let server = connection::check_address(&args.url, "the command line")?;
    let user = UserFile::of_user(&Here)?;
    let token_file = absolute(global.token_file.as_deref(), "--token-file")?;
    let mut ca_file = absolute(global.ca_file.as_deref(), "--ca-file")?;
    let wanted = Wanted {
        server: Some(server.clone()),
        context: None,
        token_file: token_file.clone(),
        ca_file: ca_file.clone(),
    };
    let mut found = connection::resolve(&wanted, &Here)?;
    if let Some(fingerprint) = &args.ca {
        found.authority = Some(tls::authority(&server, fingerprint).await?);
    }
    let authority = found.authority.clone();
    let client = Client::new(found, screen.clone(), global.verbose)?;
    client.get(&Target::new(["apps"]).query("limit", 1)).await?;
    let host = reqwest::Url::parse(&server).ok();
    let host = host.and_then(|url| url.host_str().map(str::to_owned));
    let name = args.name.or(host).unwrap_or_else(|| "default".to_owned());
    if let (Some(pem), Some(_)) = (authority, &args.ca) {
        ca_file = Some(user.keep_authority(&name, &pem)?);
    }
    user.edit(|text| {
        let change = Change {
            server: Some(&server),
            token_file: token_file.as_deref(),
            ca_file: ca_file.as_deref(),
        };
        let text = context_file::set(text, &name, &change)?;
        context_file::choose(&text, &name)
    })?;
    screen.note(&format!(
        "{server} is context {name}, and the current one; next: lain ps --all"
    ));
    Ok(Exit::Ok)
}

/// A path that holds in every folder.
fn absolute(path: Option<&Path>, flag: &str) -> Result<Option<PathBuf>> {
    path.map(std::path::absolute)
        .transpose()
        .map_err(|error| CliError::usage(format!("{flag}: {error}")))
}

fn list(file: &UserFile, screen: &Screen) -> Result<()> {
    let (current, contexts) = context_file::list(&file.read()?).map_err(|e| file.wrong(&e))?;
    let is_current = |name: &str| current.as_deref() == Some(name);
    match screen.format {
        Format::Json | Format::Yaml | Format::Ndjson => {
            let items = contexts.iter().map(|context| {
                let text =
                    |key: &str, value: &str| (key.to_owned(), Document::Text(value.to_owned()));
                Document::Object(vec![
                    text("name", &context.name),
                    text("server", &context.server),
                    text("token_file", &context.token_file),
                    text("ca_file", &context.ca_file),
                    text(
                        "current",
                        if is_current(&context.name) {
                            "yes"
                        } else {
                            "no"
                        },
                    ),
                ])
            });
            screen.document(&Document::page(items.collect()))
        }
        Format::Name => {
            let names = contexts.iter().map(|context| format!("{}\n", context.name));
            screen.print(&names.collect::<String>())
        }
        Format::Table | Format::Wide if contexts.is_empty() => {
            screen.note("no contexts; add one with `lain login URL --token-file FILE`");
            Ok(())
        }
        Format::Table | Format::Wide => {
            let mut table = Table::new(&["CURRENT", "NAME", "SERVER", "TOKEN FILE"]);
            for context in &contexts {
                let mark = if is_current(&context.name) { "*" } else { "" };
                let fields = [mark, &context.name, &context.server, &context.token_file];
                table.row(fields.map(Into::into).to_vec());
            }
            screen.table(&table)
        }
    }
}

/// The user's configuration file.
struct UserFile(PathBuf);

impl UserFile {
    fn of_user(around: &dyn Surroundings) -> Result<Self> {
        let path = connection::user_config(around).ok_or_else(|| {
            CliError::usage("neither HOME nor XDG_CONFIG_HOME says where your configuration is")
        })?;
        Ok(Self(path))
    }

    /// Its text, empty where there is none yet.
    fn read(&self) -> Result<String> {
        let text = Here
            .read(&self.0)
            .map_err(|error| self.wrong(&error.to_string()))?;
        Ok(text.unwrap_or_default())
    }

    fn wrong(&self, why: &str) -> CliError {
        CliError::new(Exit::Invalid, format!("{}: {why}", self.0.display()))
    }

    /// Keeps the certificate of a context's authority beside it, and tells where.
    fn keep_authority(&self, context: &str, pem: &str) -> Result<PathBuf> {
        let usable = |c: char| {
            if c.is_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        };
        let name: String = context.chars().map(usable).collect();
        let path = self.0.with_file_name(format!("{name}.ca.pem"));
        replace(&path, pem)?;
        Ok(path)
    }

    /// Replaces its text as a whole, or not at all.
    fn edit(&self, change: impl FnOnce(&str) -> std::result::Result<String, String>) -> Result<()> {
        let text = change(&self.read()?).map_err(|why| self.wrong(&why))?;
        replace(&self.0, &text)
    }
}

/// Replaces a file's text as a whole, or not at all.
fn replace(file: &Path, text: &str) -> Result<()> {
    let write = || -> std::io::Result<()> {
        // Where it is a link, what it leads to is replaced.
        let path = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let new = path.with_extension(format!("{}.new", std::process::id()));
        std::fs::write(&new, text)?;
        if let Ok(before) = std::fs::metadata(&path) {
            std::fs::set_permissions(&new, before.permissions())?;
        }
        std::fs::rename(&new, &path)
    };
    write().map_err(|error| CliError::failed(format!("cannot write {}: {error}", file.display())))
}
