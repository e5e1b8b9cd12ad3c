//! Kafka, through librdkafka: idempotent, keyed by instance, acknowledged by all replicas.
//!
//! An event counts as sent only with its delivery report. When no report comes for a while, what is in
//! librdkafka's queue is thrown away and the batch is sent again from the spool: duplicates are possible then,
//! with the same `event_id`, a gap is not.

use crate::domain::log::{LogEvent, LogSource};
use crate::domain::secret::Secret;
use crate::logging::event::Encoder;
use crate::ports::sink::{Delivery, Sink, SinkError, SinkFactory};
use async_trait::async_trait;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, NoCustomPartitioner, Producer, ProducerContext, PurgeConfig, ThreadedProducer,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Without a delivery report for so long the brokers are taken to be away.
const STALL: Duration = Duration::from_secs(15);
/// How long the brokers may take to tell their metadata.
const METADATA: Duration = Duration::from_secs(5);
/// The longest name of a topic.
const LONGEST_TOPIC: usize = 249;

/// How clients prove who they are.
#[derive(Debug, Clone)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

/// A cluster, and where events go in it.
#[derive(Debug, Clone)]
pub struct Options {
    /// `host:port`, with commas between.
    pub brokers: String,
    /// The topic; `{{proc_full}}`, `{{app}}`, `{{proc}}`, `{{proc_type}}`, `{{node}}` stand for what they say.
    pub topic: String,
    /// `gzip`, `lz4`, `snappy`, `zstd` or `none`.
    pub compression: String,
    /// How long librdkafka gathers a batch.
    pub linger: Duration,
    /// TLS.
    pub tls: Option<super::tls::TlsOptions>,
    /// Authentication.
    pub sasl: Option<Sasl>,
    /// Further settings of librdkafka, by their own names.
    pub settings: Vec<(String, String)>,
}

impl Options {
    /// A cluster with LAIN's topics: the full name of the proc.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            topic: "{{proc_full}}".to_owned(),
            compression: "lz4".to_owned(),
            linger: Duration::from_millis(5),
            tls: None,
            sasl: None,
            settings: Vec::new(),
        }
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "lain")
            // Implies acks=all, at most 5 requests on the way, retries without end.
            .set("enable.idempotence", "true")
            .set("compression.type", &self.compression)
            .set("linger.ms", self.linger.as_millis().to_string())
            .set("batch.size", "1000000")
            .set("queue.buffering.max.kbytes", "65536")
            // The spool keeps what is not acknowledged: librdkafka never gives up by itself.
            .set("message.timeout.ms", "0")
            .set("reconnect.backoff.max.ms", "2000")
            .set("topic.metadata.propagation.max.ms", "10000");
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            let files = [
                ("ssl.ca.location", &tls.ca_file),
                ("ssl.certificate.location", &tls.cert_file),
                ("ssl.key.location", &tls.key_file),
            ];
            for (key, file) in files {
                if let Some(file) = file {
                    config.set(key, file.display().to_string());
                }
            }
        }
        if let Some(sasl) = &self.sasl {
            config
                .set("sasl.mechanisms", &sasl.mechanism)
                .set("sasl.username", &sasl.username)
                .set("sasl.password", sasl.password.expose());
        }
        for (key, value) in &self.settings {
            config.set(key, value);
        }
        config
    }
}

/// The topic of a source: the template filled in, with what Kafka does not allow as `_`. Pure.
pub fn topic(template: &str, source: &LogSource) -> String {
    let group = source.group();
    let filled = template
        .replace(
            "{{proc_full}}",
            if group.is_empty() { "lain" } else { &group },
        )
        .replace(
            "{{app}}",
            if source.app.is_empty() {
                "lain"
            } else {
                &source.app
            },
        )
        .replace("{{proc_type}}", &source.proc_type)
        .replace("{{proc}}", &source.proc)
        .replace("{{node}}", &source.node);
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let topic: String = filled
        .chars()
        .map(|c| if legal(c) { c } else { '_' })
        .take(LONGEST_TOPIC)
        .collect();
    match topic.as_str() {
        "" | "." | ".." => "lain".to_owned(),
        _ => topic,
    }
}

/// What delivery reports say of the batch that is on the way.
#[derive(Debug, Default)]
struct Reports {
    batch: usize,
    waiting: usize,
    failed: Vec<(usize, KafkaError)>,
    trouble: Option<String>,
}

#[derive(Debug, Default)]
struct Context {
    reports: Mutex<Reports>,
    news: Notify,
}

impl Context {
    fn reports(&self) -> std::sync::MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of the batch and the place in it.
const PLACE_BITS: u32 = 24;

type KafkaProducer = ThreadedProducer<Shared, NoCustomPartitioner>;

/// The producer's thread and the sink share the reports.
#[derive(Clone, Default)]
struct Shared(Arc<Context>);

impl ClientContext for Shared {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        let mut reports = self.0.reports();
        // That no broker is left says less than why they went.
        let vague = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        if !(vague && reports.trouble.is_some()) {
            reports.trouble = Some(format!("{error}: {reason}"));
        }
    }
}

impl ProducerContext<NoCustomPartitioner> for Shared {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let (batch, place) = (opaque >> PLACE_BITS, opaque & ((1 << PLACE_BITS) - 1));
        let mut reports = self.0.reports();
        // A report of a batch that was given up.
        if batch != reports.batch {
            return;
        }
        reports.waiting -= 1;
        if let Err((error, _)) = result {
            reports.failed.push((place, error.clone()));
        }
        if reports.waiting.is_multiple_of(1024) {
            self.0.news.notify_one();
        }
    }
}

/// The sink.
pub struct Kafka {
    options: Options,
    shared: Shared,
    producer: Option<KafkaProducer>,
    encoder: Encoder,
    batch: usize,
    /// Topic and key by source.
    routes: HashMap<Arc<LogSource>, Arc<(String, String)>>,
    buffer: Vec<u8>,
    id: Vec<u8>,
}

impl Kafka {
    /// Not connected yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            shared: Shared::default(),
            producer: None,
            encoder: Encoder::default(),
            batch: 0,
            routes: HashMap::new(),
            buffer: Vec::new(),
            id: Vec::new(),
        }
    }

    fn producer(&mut self) -> Result<&KafkaProducer, SinkError> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => {
                let config = self.options.config();
                KafkaProducer::from_config_and_context(&config, self.shared.clone()).map_err(
                    |error| SinkError::Refused {
                        reason: format!(
                            "Kafka {}: {error}; see the sink's settings",
                            self.options.brokers
                        ),
                    },
                )?
            }
        };
        Ok(self.producer.insert(producer))
    }

    fn route(&mut self, source: &Arc<LogSource>) -> Arc<(String, String)> {
        if self.routes.len() > 4096 {
            self.routes.clear();
        }
        let template = &self.options.topic;
        let route = self
            .routes
            .entry(Arc::clone(source))
            .or_insert_with(|| Arc::new((topic(template, source), source.key())));
        Arc::clone(route)
    }

    /// Throws away what librdkafka holds: the spool has it.
    fn give_up(&mut self) -> SinkError {
        if let Some(producer) = self.producer.take() {
            producer.purge(PurgeConfig::default().queue().inflight());
            // Its thread ends with it, which may take a moment.
            std::thread::spawn(move || drop(producer));
        }
        let trouble = self.shared.0.reports().trouble.take();
        let reason =
            trouble.unwrap_or_else(|| format!("no delivery report within {}s", STALL.as_secs()));
        SinkError::retry(format!("Kafka {}: {reason}", self.options.brokers))
    }

    /// Waits until `done`, as long as reports come.
    async fn wait(&mut self, done: impl Fn(&Reports) -> bool) -> Result<(), SinkError> {
        let mut last = (usize::MAX, Instant::now());
        loop {
            {
                let reports = self.shared.0.reports();
                if done(&reports) {
                    return Ok(());
                }
                if reports.waiting != last.0 {
                    last = (reports.waiting, Instant::now());
                }
            }
            if last.1.elapsed() >= STALL {
                return Err(self.give_up());
            }
            // A report between the look and the wait is not missed for longer than this.
            let news = self.shared.0.news.notified();
            let _ = tokio::time::timeout(Duration::from_millis(20), news).await;
        }
    }

    async fn produce(&mut self, events: &[LogEvent]) -> Result<u64, SinkError> {
        let mut bytes = 0;
        for (place, event) in events.iter().enumerate() {
            let route = self.route(&event.source);
            let (mut buffer, mut id) = (
                std::mem::take(&mut self.buffer),
                std::mem::take(&mut self.id),
            );
            buffer.clear();
            id.clear();
            self.encoder.encode(event, &mut buffer);
            self.encoder.id(event, &mut id);
            bytes += buffer.len() as u64;
            let opaque = self.batch << PLACE_BITS | place;
            loop {
                let headers = OwnedHeaders::new_with_capacity(2)
                    .insert(Header {
                        key: "content-type",
                        value: Some("application/json"),
                    })
                    .insert(Header {
                        key: "event_id",
                        value: Some(id.as_slice()),
                    });
                let record = BaseRecord::with_opaque_to(&route.0, opaque)
                    .key(route.1.as_str())
                    .payload(buffer.as_slice())
                    .timestamp(event.at.millis())
                    .headers(headers);
                self.shared.0.reports().waiting += 1;
                match self.producer()?.send(record) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                        let before = {
                            let mut reports = self.shared.0.reports();
                            reports.waiting -= 1;
                            reports.waiting
                        };
                        self.wait(|reports| reports.waiting < before || before == 0)
                            .await?;
                    }
                    Err((error, _)) => {
                        let mut reports = self.shared.0.reports();
                        reports.waiting -= 1;
                        reports.failed.push((place, error));
                        break;
                    }
                }
            }
            (self.buffer, self.id) = (buffer, id);
        }
        Ok(bytes)
    }
}

/// Whether the same message will never be taken.
fn is_permanent(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        InvalidMessage, InvalidMessageSize, InvalidRecord, InvalidTopic, MessageSizeTooLarge,
        PolicyViolation, TopicAuthorizationFailed, UnknownPartition, UnknownTopic,
        UnknownTopicOrPartition,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(
            InvalidMessage
                | InvalidMessageSize
                | InvalidRecord
                | InvalidTopic
                | MessageSizeTooLarge
                | PolicyViolation
                | TopicAuthorizationFailed
                | UnknownPartition
                | UnknownTopic
                | UnknownTopicOrPartition
        )
    )
}

#[async_trait]
impl Sink for Kafka {
    async fn send(&mut self, events: &[LogEvent]) -> Result<Delivery, SinkError> {
        self.batch = self.batch.wrapping_add(1) & 0xff_ffff_ffff;
        {
            let mut reports = self.shared.0.reports();
            let left = reports.waiting;
            *reports = Reports {
                batch: self.batch,
                ..Reports::default()
            };
            if left > 0 {
                // The last call was dropped in the middle.
                drop(reports);
                self.give_up();
            }
        }
        let bytes = self.produce(events).await?;
        self.wait(|reports| reports.waiting == 0).await?;
        let mut failed = std::mem::take(&mut self.shared.0.reports().failed);
        failed.sort_by_key(|(place, _)| *place);
        let fatal = failed
            .iter()
            .any(|(_, error)| error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal));
        if fatal {
            // An idempotent producer that has lost its thread: only a new one goes on.
            return Err(self.give_up());
        }
        let mut delivery = Delivery {
            bytes,
            ..Delivery::default()
        };
        for (place, error) in failed {
            match is_permanent(&error) {
                true => delivery.dead.push((place, format!("Kafka: {error}"))),
                false => delivery.retry.push((place, format!("Kafka: {error}"))),
            }
        }
        Ok(delivery)
    }

    async fn check(&mut self) -> Result<(), SinkError> {
        let brokers = self.options.brokers.clone();
        let mut config = self.options.config();
        config.remove("enable.idempotence");
        let fetched = tokio::task::spawn_blocking(move || {
            let client: rdkafka::producer::BaseProducer = config.create()?;
            client
                .client()
                .fetch_metadata(None, METADATA)
                .map(|m| m.brokers().len())
        });
        let failed = |reason: String| SinkError::retry(format!("Kafka {brokers}: {reason}"));
        match fetched.await {
            Ok(Ok(0)) => Err(failed("no broker answers".to_owned())),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

impl SinkFactory for Options {
    fn kind(&self) -> &'static str {
        "kafka"
    }

    fn make(&self) -> Result<Box<dyn Sink>, SinkError> {
        let mut sink = Kafka::new(self.clone());
        // What librdkafka does not take is said now.
        sink.producer()?;
        Ok(Box::new(sink))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_lains_and_legal() {
        let mut source = LogSource {
            app: "shop".to_owned(),
            proc_type: "web".to_owned(),
            proc: "front".to_owned(),
            instance: 1,
            node: "n 1".to_owned(),
            ..LogSource::default()
        };
        for (template, wanted) in [
            ("{{proc_full}}", "shop.web.front"),
            ("logs", "logs"),
            ("{{app}}_{{proc_type}}_{{proc}}", "shop_web_front"),
            ("on {{node}}!", "on_n_1_"),
            ("..", "lain"),
        ] {
            assert_eq!(topic(template, &source), wanted);
        }
        assert_eq!(topic(&"x".repeat(300), &source).len(), LONGEST_TOPIC);
        source = LogSource::default();
        assert_eq!(topic("{{proc_full}}", &source), "lain");
    }
}
