//! The log pipeline against real receivers: rsyslog (TCP, RELP, UDP, TLS), Apache Kafka, Elasticsearch, OpenSearch,
//! and an HTTP receiver, while they are stopped and started and the pipeline is killed with SIGKILL.
//!
//! The pipeline runs in a process of its own: this very program, started again (`child`). What it needs is
//! installed by `scripts/rsyslog.sh install`, `scripts/kafka.sh install`,
//! `scripts/elasticsearch.sh install` and `scripts/opensearch.sh install`.

#![expect(
    clippy::unwrap_used,
    reason = "a test, and what helps it, fails by panicking"
)]

mod child;
mod daemon;
mod elasticsearch;
mod http;
mod kafka;
mod proof;
mod rebuild;
mod reload;
mod rsyslog;
mod search;
mod servers;
mod world;
