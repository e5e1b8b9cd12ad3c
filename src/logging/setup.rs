//! The configuration → the sinks and the spool of a node. Called by the roles, and by nobody else.

use crate::config::{Config, Lists, MultilineConfig, SinkConfig, WhenFull};
use crate::domain::log::Level;
use crate::domain::secret::Secret;
use crate::logging::elastic::{ElasticSearch, Target};
use crate::logging::event::multiline::{Mode, Rule};
use crate::logging::inputs::setup as setup_inputs;
use crate::logging::pipe::pipeline::Multiline;
use crate::logging::pipe::pump::Settings;
use crate::logging::pipe::route::{Filter, Redaction};
use crate::logging::pipe::{Host, Pipeline, SinkSpec};
use crate::logging::sinks::rfc5424::{Form, Format};
use crate::logging::sinks::tls::TlsOptions;
use crate::logging::sinks::{bulk, elasticsearch, file, http, index, kafka, relp, syslog};
use crate::logging::sources::file::MAX_LINE;
use crate::logging::spool::{From, Options, Spool, SpoolError, WhenFull as Policy};
use crate::ports::clock::Clock;
use crate::ports::log_index::LogIndex;
use crate::ports::sink::SinkFactory;
use regex::bytes::Regex;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// How long a group of lines waits for more, unless told otherwise; Vector's default.
const GROUP_TIMEOUT: Duration = Duration::from_secs(1);

/// What a node is to do with its events.
pub struct Plan {
    /// Where they go.
    pub sinks: Vec<SinkSpec>,
    /// Which lines belong together.
    pub multiline: Vec<Multiline>,
}

/// Opens the node's pipeline, unless logging is switched off.
///
/// # Errors
/// [`SpoolError::Io`] when the spool's folder cannot be used.
pub fn pipeline(
    config: &Config,
    host: Host,
    clock: Arc<dyn Clock>,
    plan: Plan,
) -> Result<Option<Arc<Pipeline>>, SpoolError> {
    if !config.logging.enabled {
        return Ok(None);
    }
    let options = Options {
        max_bytes: config.logging.spool_size.0,
        // At least four segments, so that there is always an old one to let go of.
        segment_bytes: (32 << 20).min(config.logging.spool_size.0 / 4),
        when_full: match config.logging.when_full {
            WhenFull::DropOldest => Policy::DropOldest,
            WhenFull::Block => Policy::Block,
        },
        keep: config.logging.spool_keep,
        ..Options::new(config.server.data_dir.join("logs"))
    };
    let (spool, recovered) = Spool::open(options)?;
    if recovered != crate::logging::spool::Recovered::default() {
        tracing::warn!(
            torn_bytes = recovered.torn_bytes,
            damaged_bytes = recovered.damaged_bytes,
            lost_events = recovered.lost_events,
            "the log spool was not closed cleanly; what was torn is read again from its source"
        );
    }
    let pipeline = Arc::new(Pipeline::new(
        spool,
        host,
        clock,
        plan.sinks,
        plan.multiline,
    ));
    let inputs = config.lists.inputs.iter();
    pipeline.set_inputs(
        inputs
            .filter_map(|i| setup_inputs::spec(i, &pipeline))
            .collect(),
    );
    Ok(Some(pipeline))
}

/// The lists of a configuration as sinks and rules. `secrets` are values that no sink may see besides their own
/// passwords; `index` is the index that all events go to.
pub fn plan(lists: &Lists, secrets: &[String], index: Option<Arc<dyn LogIndex>>) -> Plan {
    let mut hidden: Vec<String> = lists.sinks.iter().flat_map(SinkConfig::secrets).collect();
    hidden.extend_from_slice(secrets);
    hidden.sort();
    let redaction = Arc::new(Redaction::new(patterns(&lists.redact), &hidden));
    let sinks = lists.sinks.iter().filter_map(|sink| {
        Some(SinkSpec {
            name: sink.name.clone(),
            mark: mark(Some(sink), &lists.redact, &hidden),
            factory: factory(sink)?,
            filter: filter(sink),
            redaction: Arc::clone(&redaction),
            settings: settings(sink),
            from: match sink.from.as_deref() {
                Some("now") => From::Now,
                _ => From::Oldest,
            },
        })
    });
    let mut sinks: Vec<SinkSpec> = sinks.collect();
    sinks.extend(index.map(|index| SinkSpec {
        name: index::NAME.to_owned(),
        mark: mark(None, &lists.redact, &hidden),
        factory: Arc::new(index::Factory { index }),
        filter: Filter::default(),
        redaction,
        settings: Settings::default(),
        from: From::Oldest,
    }));
    Plan {
        sinks,
        multiline: lists.multiline.iter().filter_map(multiline).collect(),
    }
}

/// The same for the same settings: what says that a sink has changed.
fn mark(sink: Option<&SinkConfig>, redact: &[String], hidden: &[String]) -> String {
    let all = Lists {
        sinks: sink.into_iter().cloned().collect(),
        redact: redact.iter().chain(hidden).cloned().collect(),
        ..Lists::default()
    };
    hex::encode(Sha256::digest(all.sealed().expose().as_bytes()))
}

/// Searches Elasticsearch or OpenSearch, where the configuration says so; `None` for the embedded index.
///
/// # Errors
/// What cannot be meant.
pub fn elastic(config: &Config, clock: Arc<dyn Clock>) -> Option<Result<ElasticSearch, String>> {
    let settings = &config.log_search;
    if settings.backend != "elasticsearch" {
        return None;
    }
    let urls = settings.urls.split(',').map(str::trim);
    let urls = urls.filter(|url| !url.is_empty()).map(str::to_owned);
    let mut options = elasticsearch::Options::new(urls.collect());
    let login = settings.username.clone().zip(settings.password.clone());
    options.login = elastic_login(settings.api_key.as_ref(), login);
    options.ca_file = settings.ca_file.clone().map(Into::into);
    let transport = options.transport().map_err(|e| e.to_string());
    Some(transport.map(|transport| {
        let client = ::elasticsearch::Elasticsearch::new(transport);
        ElasticSearch::new(client, Target::lain(&settings.indices), clock)
    }))
}

/// Who we are to Elasticsearch; a key goes before a password.
fn elastic_login(
    key: Option<&Secret>,
    basic: Option<(String, Secret)>,
) -> Option<elasticsearch::Login> {
    let basic = basic.map(|(user, password)| elasticsearch::Login::Basic(user, password));
    key.cloned().map(elasticsearch::Login::ApiKey).or(basic)
}

/// The values of a configuration that no sink may see, besides the sinks' own.
pub fn secrets(config: &Config) -> Vec<String> {
    let search = &config.log_search;
    let all = [&config.registry.password, &search.password, &search.api_key];
    all.into_iter()
        .flatten()
        .map(|secret| secret.expose().to_owned())
        .collect()
}

/// The patterns of a list; the configuration has checked each.
fn patterns(list: &[String]) -> Vec<Regex> {
    list.iter().filter_map(|p| Regex::new(p).ok()).collect()
}

fn filter(sink: &SinkConfig) -> Filter {
    let level = |word: &String| Level::from_word(word.as_bytes());
    Filter {
        apps: sink.apps.clone(),
        exclude_apps: sink.exclude_apps.clone(),
        procs: sink.procs.clone(),
        source_types: sink.source_types.clone(),
        min_level: sink.min_level.as_ref().and_then(level),
        matching: patterns(&sink.matching),
        excluding: patterns(&sink.exclude),
        sample: sink.sample,
    }
}

fn settings(sink: &SinkConfig) -> Settings {
    let usual = Settings::default();
    let size = SinkConfig::size(sink.batch_size.as_ref());
    Settings {
        batch_events: sink.batch_events.map_or(usual.batch_events, |n| n as usize),
        batch_bytes: size.map_or(usual.batch_bytes, |n| {
            usize::try_from(n).unwrap_or(usize::MAX)
        }),
        timeout: SinkConfig::duration(sink.timeout.as_ref()).unwrap_or(usual.timeout),
        retry_most: SinkConfig::duration(sink.retry_max.as_ref()).unwrap_or(usual.retry_most),
        ..usual
    }
}

fn tls(sink: &SinkConfig) -> TlsOptions {
    TlsOptions {
        ca_file: sink.ca_file.clone(),
        cert_file: sink.cert_file.clone(),
        key_file: sink.key_file.clone(),
        server_name: sink.server_name.clone(),
    }
}

fn format(sink: &SinkConfig) -> Format {
    let usual = Format::default();
    let size = SinkConfig::size(sink.max_message.as_ref());
    Format {
        form: match sink.format.as_deref() {
            Some("rfc3164") => Form::Rfc3164,
            _ => Form::Rfc5424,
        },
        facility: sink.facility.unwrap_or(usual.facility),
        enterprise: sink.enterprise.unwrap_or(usual.enterprise),
        max_bytes: size.map_or(usual.max_bytes, |n| {
            usize::try_from(n).unwrap_or(usize::MAX)
        }),
    }
}

/// What makes a sink of this kind. `None` for a kind that the configuration does not let through.
fn factory(sink: &SinkConfig) -> Option<Arc<dyn SinkFactory>> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let login = sink.username.clone().zip(sink.password.clone());
    let has_tls = sink.tls.unwrap_or_default();
    Some(match sink.kind.as_str() {
        "syslog" => Arc::new(syslog::Options {
            address: text(&sink.address),
            transport: match sink.transport.as_deref() {
                Some("udp") => syslog::Transport::Udp,
                Some("tls") => syslog::Transport::Tls(tls(sink)),
                _ => syslog::Transport::Tcp,
            },
            framing: match sink.framing.as_deref() {
                Some("newline") => syslog::Framing::Newline,
                _ => syslog::Framing::OctetCounting,
            },
            format: format(sink),
        }),
        "relp" => Arc::new(relp::Options {
            address: text(&sink.address),
            tls: has_tls.then(|| tls(sink)),
            format: format(sink),
        }),
        "kafka" => {
            let mut options = kafka::Options::new(text(&sink.brokers));
            options.topic = sink.topic.clone().unwrap_or(options.topic);
            options.compression = sink.compression.clone().unwrap_or(options.compression);
            options.linger = SinkConfig::duration(sink.linger.as_ref()).unwrap_or(options.linger);
            options.tls = has_tls.then(|| tls(sink));
            options.sasl = login.map(|(username, password)| kafka::Sasl {
                mechanism: sink
                    .sasl_mechanism
                    .clone()
                    .unwrap_or_else(|| "SCRAM-SHA-512".to_owned()),
                username,
                password,
            });
            options.settings = sink.settings.clone().into_iter().collect();
            Arc::new(options)
        }
        "elasticsearch" => {
            let mut options = elasticsearch::Options::new(sink.urls.clone());
            options.target = match &sink.data_stream {
                Some(dataset) => bulk::Target::DataStream {
                    dataset: dataset.clone(),
                    namespace: sink
                        .namespace
                        .clone()
                        .unwrap_or_else(|| "default".to_owned()),
                },
                None => bulk::Target::Daily {
                    prefix: sink
                        .index_prefix
                        .clone()
                        .unwrap_or_else(|| "lain".to_owned()),
                },
            };
            options.login = elastic_login(sink.api_key.as_ref(), login);
            options.ca_file.clone_from(&sink.ca_file);
            options.manage_template = sink.manage_template.unwrap_or(true);
            options.keep_days = sink.keep_days;
            options.typed_fields = sink.typed_fields.unwrap_or_default();
            Arc::new(options)
        }
        "http" => Arc::new(http::Options {
            url: text(&sink.url),
            token: sink.token.clone(),
            login,
            compress: sink.compress.unwrap_or(true),
        }),
        "file" => {
            let mut options = file::Options::new(sink.path.clone()?);
            options.max_bytes =
                SinkConfig::size(sink.max_size.as_ref()).unwrap_or(options.max_bytes);
            options.keep = sink.keep.unwrap_or(options.keep);
            options.compress = sink.compress.unwrap_or(options.compress);
            Arc::new(options)
        }
        _ => return None,
    })
}

fn multiline(config: &MultilineConfig) -> Option<Multiline> {
    let rule = Rule {
        start: Regex::new(&config.start_pattern).ok()?,
        condition: Regex::new(&config.condition_pattern).ok()?,
        mode: Mode::from_word(&config.mode)?,
        timeout: SinkConfig::duration(config.timeout.as_ref()).unwrap_or(GROUP_TIMEOUT),
        cap: MAX_LINE,
    };
    let filter = Filter {
        apps: config.apps.clone(),
        procs: config.procs.clone(),
        ..Filter::default()
    };
    Some(Multiline { filter, rule })
}
