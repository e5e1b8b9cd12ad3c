//! Apache Kafka in KRaft mode.

use super::rsyslog::certificates;
use super::servers::{Running, cache, need, port, script};
use super::world::{Seen, World, parse};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The password of user `lain`.
const PASSWORD: &str = "correct-horse-battery";

/// A broker, with its port, its controller's, and perhaps one with TLS and SASL.
pub struct Kafka {
    dir: PathBuf,
    ports: Vec<u16>,
    /// Its process.
    pub running: Running,
}

/// A record as a consumer has it.
pub struct Record {
    partition: i32,
    key: String,
    value: serde_json::Value,
    event_id: String,
    millis: Option<i64>,
}

impl Kafka {
    /// A broker in a folder.
    pub fn start(dir: &Path) -> Self {
        Self::begin(dir, 2)
    }

    fn begin(dir: &Path, ports: usize) -> Self {
        let found = std::fs::read_dir(cache()).into_iter().flatten().flatten();
        let found = found
            .map(|e| e.path())
            .any(|p| p.display().to_string().contains("kafka-") && p.join(".complete").exists());
        need(found, "kafka.sh");
        let dir = dir.join("kafka");
        std::fs::create_dir_all(&dir).unwrap();
        if ports > 2 {
            certificates(&dir);
            let pem = ["key.pem", "cert.pem", "ca.pem"]
                .map(|file| std::fs::read(dir.join(file)).unwrap());
            std::fs::write(dir.join("server.pem"), pem.concat()).unwrap();
            std::fs::write(dir.join("password"), PASSWORD).unwrap();
        }
        let ports: Vec<u16> = (0..ports).map(|_| port()).collect();
        let running = Self::run(&dir, &ports);
        Self {
            dir,
            ports,
            running,
        }
    }

    fn run(dir: &Path, ports: &[u16]) -> Running {
        let mut command = Command::new(script("kafka.sh"));
        command
            .arg("run")
            .arg(dir)
            .args(ports.iter().map(u16::to_string));
        let mut running = Running::start(&mut command, &dir.join("out.log"));
        running.wait_for_port(ports[0]);
        running
    }

    /// Starts it again.
    pub fn again(&mut self) {
        self.running = Self::run(&self.dir, &self.ports);
    }

    /// Where it is.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// All records of a topic, partition by partition.
    pub fn records(&self, topic: &str) -> Vec<Record> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", format!("127.0.0.1:{}", self.ports[0]))
            .set("group.id", "test")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let timeout = Duration::from_secs(20);
        let Ok(metadata) = consumer.fetch_metadata(Some(topic), timeout) else {
            return Vec::new();
        };
        let mut list = TopicPartitionList::new();
        let mut left = HashMap::new();
        for partition in metadata.topics().iter().flat_map(|t| t.partitions()) {
            let Ok((low, high)) = consumer.fetch_watermarks(topic, partition.id(), timeout) else {
                return Vec::new();
            };
            if high > low {
                list.add_partition_offset(topic, partition.id(), Offset::Beginning)
                    .unwrap();
                left.insert(partition.id(), high);
            }
        }
        consumer.assign(&list).unwrap();
        let (mut records, until) = (Vec::new(), Instant::now() + timeout);
        while !left.is_empty() && Instant::now() < until {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(200)) else {
                continue;
            };
            let headers = message.headers().map(|h| {
                h.iter()
                    .map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec()))
                    .collect::<HashMap<_, _>>()
            });
            let headers = headers.unwrap_or_default();
            assert_eq!(headers["content-type"], b"application/json");
            records.push(Record {
                partition: message.partition(),
                key: String::from_utf8(message.key().unwrap().to_vec()).unwrap(),
                value: serde_json::from_slice(message.payload().unwrap()).unwrap(),
                event_id: String::from_utf8(headers["event_id"].clone()).unwrap(),
                millis: message.timestamp().to_millis(),
            });
            if left.get(&message.partition()) == Some(&(message.offset() + 1)) {
                left.remove(&message.partition());
            }
        }
        records
    }
}

/// Instance and number of each.
pub fn seen(records: &[Record]) -> Vec<Seen> {
    records
        .iter()
        .map(|r| parse(r.value["message"].as_str().unwrap()))
        .collect()
}

#[test]
fn every_line_arrives_in_order_while_kafka_and_the_pipeline_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut kafka = Kafka::start(dir.path());
    let brokers = format!("127.0.0.1:{}", kafka.ports[0]);
    let sink = format!(
        "[[logging.sink]]\nname = \"kafka\"\ntype = \"kafka\"\nbrokers = \"{brokers}\"\nretry_max = \"1s\"\nbatch_events = 500\n"
    );
    let mut world = World::new(4, &sink);
    world.start();
    for round in 0..5 {
        world.write(500);
        match round {
            1 | 3 => world.kill(),
            2 => {
                kafka.running.kill();
                world.write(500);
                kafka.again();
            }
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let twice = world.all_arrive(|| seen(&kafka.records("shop.web.front")));
    // A batch at most at each kill of the pipeline, and at each time that the broker was given up.
    assert!(twice <= 6 * 500, "{twice} came twice");
    let records = kafka.records("shop.web.front");
    let mut partitions: BTreeMap<&str, i32> = BTreeMap::new();
    for record in &records {
        let no = record.value["instance"].as_u64().unwrap();
        assert_eq!(record.key, format!("shop.web.front.{no}"));
        assert_eq!(record.value["event_id"], record.event_id.as_str());
        let known = partitions.entry(&record.key).or_insert(record.partition);
        assert_eq!(
            *known, record.partition,
            "an instance stays in its partition"
        );
        let at = chrono::DateTime::parse_from_rfc3339(record.value["timestamp"].as_str().unwrap())
            .unwrap();
        assert_eq!(
            record.millis,
            Some(at.timestamp_millis()),
            "the record has the event's time"
        );
    }
}

/// TLS, and both ways to log in; LAIN's topic for each proc, and one topic for all; and a wrong password, which holds
/// up nobody else.
#[test]
fn tls_and_sasl() {
    let dir = tempfile::tempdir().unwrap();
    let kafka = Kafka::begin(dir.path(), 3);
    let sink = |name: &str, mechanism: &str, password: &str, more: &str| {
        format!(
            "[[logging.sink]]\nname = \"{name}\"\ntype = \"kafka\"\nbrokers = \"localhost:{}\"\nretry_max = \"1s\"\ntls = true\nca_file = \"{}\"\nsasl_mechanism = \"{mechanism}\"\nusername = \"lain\"\npassword = \"{password}\"\n{more}\n",
            kafka.ports[2],
            dir.path().join("kafka/ca.pem").display(),
        )
    };
    let sinks = [
        sink("scram", "SCRAM-SHA-512", PASSWORD, "compression = \"zstd\""),
        sink(
            "scram-256",
            "SCRAM-SHA-256",
            PASSWORD,
            "topic = \"lain.gzip\"\ncompression = \"gzip\"",
        ),
        sink(
            "plain",
            "PLAIN",
            PASSWORD,
            "topic = \"lain.single\"\ncompression = \"snappy\"",
        ),
        sink(
            "wrong",
            "SCRAM-SHA-512",
            "wrong-password",
            "topic = \"never\"",
        ),
    ];
    let mut world = World::new(2, &sinks.concat());
    world.write(300);
    world.start();
    for topic in ["shop.web.front", "lain.single", "lain.gzip"] {
        assert_eq!(
            world.all_arrive(|| seen(&kafka.records(topic))),
            0,
            "{topic}"
        );
    }
    let until = Instant::now() + Duration::from_secs(60);
    let view = loop {
        let views = world.sinks();
        let views = views.as_array().unwrap();
        let view = views.iter().find(|v| v["name"] == "wrong").unwrap().clone();
        if !view["last_error"].is_null() {
            break view;
        }
        assert!(Instant::now() < until, "{view}");
        std::thread::sleep(Duration::from_millis(200));
    };
    let said = view["last_error"].as_str().unwrap();
    assert!(said.to_lowercase().contains("authentication"), "{said}");
    assert!(!view.to_string().contains("wrong-password"));
    assert_eq!((&view["sent"], &view["discarded"]), (&0.into(), &0.into()));
}
