//! `/metrics`: counters of requests, and gauges that are computed from the control host when asked.
//!
//! Names are `lain_<subsystem>_<what>_<unit>`; labels have few values, never ids or messages. Other
//! parts of lain add their own with [`Metrics::register`].

use super::error::Problem;
use super::limits::lock;
use super::state::Api;
use crate::domain::census::{ActorCensus, Census, ProcCensus};
use crate::domain::view::{AppState, InputView, InstanceState, SinkView};
use crate::ports::control::ControlError;
use actix_web::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde::Serialize;
use std::sync::Mutex;
use std::time::Duration;

/// Upper bounds of the latency histogram, in seconds.
const BUCKETS: [f64; 11] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProcLabels {
    app: String,
    proc: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProcStateLabels {
    app: String,
    proc: String,
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkLabels {
    sink: String,
    node: String,
    kind: String,
}

impl SinkLabels {
    fn of(sink: &SinkView) -> Self {
        Self {
            sink: sink.name.clone(),
            node: sink.node.clone(),
            kind: sink.kind.clone(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InputLabels {
    input: String,
    kind: String,
}

impl InputLabels {
    fn of(input: &InputView) -> Self {
        Self {
            input: input.name.clone(),
            kind: input.kind.clone(),
        }
    }
}

type Latency = Family<RequestLabels, Histogram, fn() -> Histogram>;

fn latency_histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

/// The counters of this process.
pub struct Metrics {
    registry: Mutex<Registry>,
    latency: Latency,
    refused_tokens: Counter,
    panics: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let latency = Latency::new_with_constructor(latency_histogram);
        let (refused_tokens, panics) = (Counter::default(), Counter::default());
        registry.register(
            "lain_http_request_duration_seconds",
            "Time from a request's head to its answer's; streams count to their first byte",
            latency.clone(),
        );
        registry.register(
            "lain_http_refused_tokens",
            "Requests with a token that is not known or has expired",
            refused_tokens.clone(),
        );
        registry.register(
            "lain_http_handler_panics",
            "Requests whose handler panicked; each is a defect of lain",
            panics.clone(),
        );
        Self {
            registry: Mutex::new(registry),
            latency,
            refused_tokens,
            panics,
        }
    }

    /// Lets another part of lain add its own metrics, once, at start.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut lock(&self.registry));
    }

    /// Counts a request. `route` is the path as it is in the route table.
    pub fn request(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let labels = RequestLabels {
            method: known_method(method),
            route: route.to_owned(),
            status: status_class(status),
        };
        self.latency
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// Counts a refused token.
    pub fn refused_token(&self) {
        self.refused_tokens.inc();
    }

    /// Counts a handler that panicked.
    pub fn handler_panicked(&self) {
        self.panics.inc();
    }
}

/// Methods are a label: what a client makes up is `other`.
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("other")
}

fn status_class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

/// A figure of a sink.
type OfSink = fn(&SinkView) -> u64;
/// A figure of an input.
type OfInput = fn(&InputView) -> u64;

/// All metrics as text.
///
/// # Errors
/// 503 where the control host cannot answer.
pub async fn scrape(api: &Api) -> Result<String, Problem> {
    let mut now = snapshot(&api.control.census()?, api.slots.in_use());
    add_sinks(&mut now, &api.control.sinks().await?);
    add_inputs(&mut now, &api.control.inputs().await?);
    let mut text = String::new();
    encode_registry(&mut text, &lock(&api.metrics.registry))
        .and_then(|()| encode_registry(&mut text, &now))
        .and_then(|()| encode_eof(&mut text))
        .map_err(|error| ControlError::Internal(format!("metrics: {error}")))?;
    Ok(text)
}

/// What is counted when asked.
fn snapshot(census: &Census, streams: usize) -> Registry {
    let mut registry = Registry::default();
    add_apps(&mut registry, &census.apps);
    add_procs(&mut registry, &census.procs);
    add_actors(&mut registry, &census.actors);
    let open = Gauge::<i64>::default();
    open.set(as_i64(streams as u64));
    registry.register("lain_http_streams", "Open SSE and WebSocket streams", open);
    registry
}

fn add_apps(registry: &mut Registry, apps: &[AppState]) {
    let by_state = Family::<StateLabels, Gauge>::default();
    use AppState::{Degraded, Deploying, Done, Recovering, Removing, Running, Stopped};
    for state in [
        Deploying, Running, Done, Recovering, Degraded, Stopped, Removing,
    ] {
        let count = apps.iter().filter(|app| **app == state).count();
        let labels = StateLabels {
            state: word(&state),
        };
        by_state.get_or_create(&labels).set(as_i64(count as u64));
    }
    registry.register("lain_apps", "Apps by state", by_state);
}

fn add_procs(registry: &mut Registry, procs: &[ProcCensus]) {
    let instances = Family::<ProcStateLabels, Gauge>::default();
    let wanted = Family::<ProcLabels, Gauge>::default();
    let restarts = Family::<ProcLabels, Counter>::default();
    let crashes = Family::<ProcLabels, Counter>::default();
    for proc in procs {
        let labels = ProcLabels {
            app: proc.app.clone(),
            proc: proc.proc.clone(),
        };
        wanted.get_or_create(&labels).set(i64::from(proc.wanted));
        restarts.get_or_create(&labels).inc_by(proc.restarts);
        crashes.get_or_create(&labels).inc_by(proc.crashes);
        for (state, count) in &proc.instances {
            let labels = ProcStateLabels {
                app: proc.app.clone(),
                proc: proc.proc.clone(),
                state: word::<InstanceState>(state),
            };
            instances.get_or_create(&labels).set(as_i64(*count));
        }
    }
    registry.register(
        "lain_proc_instances",
        "Instances of a proc by state",
        instances,
    );
    registry.register(
        "lain_proc_wanted_instances",
        "Instances wanted of a proc",
        wanted,
    );
    registry.register(
        "lain_proc_restarts",
        "Restarts of the instances that a proc has now",
        restarts,
    );
    registry.register(
        "lain_proc_crashes",
        "Crashes of a proc since it was deployed",
        crashes,
    );
}

fn add_actors(registry: &mut Registry, actors: &ActorCensus) {
    let by_state = Family::<StateLabels, Gauge>::default();
    for (state, count) in &actors.by_state {
        let labels = StateLabels {
            state: known_state(state).to_owned(),
        };
        by_state.get_or_create(&labels).inc_by(as_i64(*count));
    }
    let messages = Gauge::<i64>::default();
    messages.set(as_i64(actors.waiting));
    registry.register(
        "lain_actors",
        "Actors of the supervision tree by state",
        by_state,
    );
    registry.register(
        "lain_actor_waiting_messages",
        "Messages in mailboxes",
        messages,
    );
    registry.register(
        "lain_actor_restarts",
        "Restarts of the actors that there are now",
        ConstCounter::new(actors.restarts),
    );
}

/// By meaning those of Vector's `component_*` and `buffer_*`: received = sent + filtered + discarded + waiting.
fn add_sinks(registry: &mut Registry, sinks: &[SinkView]) {
    type Counts = Family<SinkLabels, Counter>;
    type Gauges = Family<SinkLabels, Gauge>;
    let counters: [(&str, &str, OfSink); 7] = [
        (
            "lain_log_sink_sent_events",
            "Log events that a sink's receiver acknowledged",
            |s| s.sent,
        ),
        (
            "lain_log_sink_sent_bytes",
            "Bytes sent to a sink's receiver",
            |s| s.bytes,
        ),
        (
            "lain_log_sink_filtered_events",
            "Log events that a sink's filter left out",
            |s| s.filtered,
        ),
        (
            "lain_log_sink_discarded_events",
            "Log events that a sink lost: dead letters, dropped, damaged",
            |s| s.discarded,
        ),
        (
            "lain_log_sink_dead_letters",
            "Dead letters of a sink",
            |s| s.dead_letters,
        ),
        (
            "lain_log_sink_duplicate_events",
            "Log events that a sink's receiver had already",
            |s| s.duplicates,
        ),
        ("lain_log_sink_retries", "Failed attempts of a sink", |s| {
            s.retries
        }),
    ];
    for (name, help, value) in counters {
        let family = Counts::default();
        for sink in sinks {
            family
                .get_or_create(&SinkLabels::of(sink))
                .inc_by(value(sink));
        }
        registry.register(name, help, family);
    }
    let gauges: [(&str, &str, OfSink); 4] = [
        (
            "lain_log_sink_waiting_events",
            "Log events in the spool that a sink has not got yet",
            |s| s.lag_events,
        ),
        (
            "lain_log_sink_waiting_bytes",
            "Bytes in the spool that a sink has not got yet",
            |s| s.lag_bytes,
        ),
        (
            "lain_log_sink_lag_milliseconds",
            "Age of the log event that a sink sends next",
            |s| s.lag_ms,
        ),
        (
            "lain_log_sink_up",
            "Whether a sink sends, or has nothing to send",
            |s| u64::from(matches!(s.state.as_str(), "running" | "idle")),
        ),
    ];
    for (name, help, value) in gauges {
        let family = Gauges::default();
        for sink in sinks {
            family
                .get_or_create(&SinkLabels::of(sink))
                .set(as_i64(value(sink)));
        }
        registry.register(name, help, family);
    }
}

fn add_inputs(registry: &mut Registry, inputs: &[InputView]) {
    let counters: [(&str, &str, OfInput); 6] = [
        (
            "lain_log_input_events",
            "Log events that an input put into the spool",
            |i| i.events,
        ),
        ("lain_log_input_bytes", "Bytes that came to an input", |i| {
            i.bytes
        }),
        (
            "lain_log_input_malformed_messages",
            "Messages of an input that are of no known form",
            |i| i.malformed,
        ),
        (
            "lain_log_input_truncated_messages",
            "Messages of an input that were too long, and cut",
            |i| i.truncated,
        ),
        (
            "lain_log_input_dropped_messages",
            "Messages of an input that were lost while the spool was full",
            |i| i.dropped,
        ),
        (
            "lain_log_input_refusals",
            "Connections or requests that an input refused",
            |i| i.refused,
        ),
    ];
    for (name, help, value) in counters {
        let family = Family::<InputLabels, Counter>::default();
        for input in inputs {
            family
                .get_or_create(&InputLabels::of(input))
                .inc_by(value(input));
        }
        registry.register(name, help, family);
    }
    let gauges: [(&str, &str, OfInput); 2] = [
        (
            "lain_log_input_connections",
            "Open connections of an input",
            |i| i.connections,
        ),
        ("lain_log_input_up", "Whether an input takes events", |i| {
            u64::from(i.state == "running")
        }),
    ];
    for (name, help, value) in gauges {
        let family = Family::<InputLabels, Gauge>::default();
        for input in inputs {
            family
                .get_or_create(&InputLabels::of(input))
                .set(as_i64(value(input)));
        }
        registry.register(name, help, family);
    }
}

fn known_state(state: &str) -> &'static str {
    const KNOWN: [&str; 6] = [
        "running",
        "starting",
        "restarting",
        "stopping",
        "undefined",
        "stuck",
    ];
    let known = KNOWN.into_iter().find(|known| *known == state);
    known.unwrap_or("other")
}

/// The word that a state has in the API.
fn word<T: Serialize>(state: &T) -> String {
    let value = serde_json::to_value(state).ok();
    let text = value.as_ref().and_then(|value| value.as_str());
    text.unwrap_or("other").to_owned()
}

fn as_i64(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
