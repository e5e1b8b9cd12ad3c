//! The sinks, one file a kind of receiver. A new one implements `ports::sink::Sink`, and has an arm in
//! [`factory`].
//!
//! ```text
//! syslog.rs        rsyslog and others: TCP, TLS, UDP
//! relp.rs          rsyslog's RELP, which acknowledges
//! rfc5424.rs       an event as a syslog message     (pure)
//! kafka.rs         Kafka, through librdkafka
//! elasticsearch.rs Elasticsearch and OpenSearch
//! bulk.rs          their bulk requests           (pure)
//! template.rs      their index template              (pure)
//! http.rs          Vector's HTTP form
//! file.rs          a rotated file
//! memory.rs        for tests
//! tls.rs           TLS of the sinks that bring their own connections
//! ```

pub mod bulk;
pub mod elasticsearch;
pub mod file;
pub mod http;
pub mod index;
pub mod kafka;
pub mod memory;
pub mod relp;
pub mod rfc5424;
pub mod syslog;
pub mod template;
pub mod tls;
