//! The proof that no line is lost: a control host and a node, instances that write numbered lines to rsyslog (RELP),
//! Kafka, Elasticsearch and the log index, while each receiver in turn is stopped and started, the agent is killed
//! with SIGKILL again and again, and so is the control host. Then each line is accounted for, at each of the four.
//!
//! A small one by itself. For a large one:
//!
//! ```sh
//! LAIN_PROOF_LINES=10000000 LAIN_PROOF_INSTANCES=50 LAIN_PROOF_KILLS=20 LAIN_PROOF_CONTROL_KILLS=5 \
//!   cargo test --test log_sinks proof -- --nocapture
//! ```

use super::daemon::Daemons;
use super::elasticsearch::{Elastic, Kind};
use super::kafka::Kafka;
use super::rsyslog::Rsyslog;
use futures_util::StreamExt;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use std::io::BufRead;
use std::path::Path;
use std::time::{Duration, Instant};

/// The topic of app `proof`.
const TOPIC: &str = "proof.worker.talk";
/// The most events in a batch of a sink: what may come twice at each accident.
const BATCH: u64 = 5000;

fn number(name: &str, usual: u64) -> u64 {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty());
    text.map_or(usual, |text| {
        text.parse()
            .unwrap_or_else(|e| panic!("{name}={text}: {e}"))
    })
}

/// What has come, line by line.
struct Tally {
    lines: u64,
    next: Vec<u64>,
    seen: Vec<Vec<bool>>,
    known: u64,
    twice: u64,
    disordered: u64,
}

impl Tally {
    fn new(instances: u64, lines: u64) -> Self {
        let (instances, length) = (
            usize::try_from(instances).unwrap() + 1,
            usize::try_from(lines).unwrap(),
        );
        Self {
            lines,
            next: vec![0; instances],
            seen: vec![vec![false; length]; instances],
            known: 0,
            twice: 0,
            disordered: 0,
        }
    }

    fn add(&mut self, instance: u64, line: u64) {
        let instance = usize::try_from(instance).unwrap();
        let seen = &mut self.seen[instance][usize::try_from(line).unwrap()];
        if std::mem::replace(seen, true) {
            self.twice += 1;
            return;
        }
        self.known += 1;
        if line != self.next[instance] {
            self.disordered += 1;
        }
        self.next[instance] = line + 1;
    }

    /// The line of app `proof` in a text, if there is one.
    fn text(&mut self, text: &str) {
        let Some(at) = text.rfind("proof ") else {
            return;
        };
        let mut words = text[at + 6..].split(' ');
        let mut word = || words.next().and_then(|word| word.parse().ok());
        if let (Some(instance), Some(line)) = (word(), word())
            && text[at..].contains(" of some request")
        {
            self.add(instance, line);
        }
    }

    fn whole(&self) -> bool {
        self.known == self.lines * (self.next.len() as u64 - 1)
    }

    fn report(&self, name: &str) {
        let all = self.lines * (self.next.len() as u64 - 1);
        println!(
            "{name:<14} {:>9} of {all} lines, {} missing, {} twice, {} out of order",
            self.known,
            all - self.known,
            self.twice,
            self.disordered
        );
    }
}

struct Servers {
    rsyslog: Rsyslog,
    kafka: Kafka,
    elastic: Elastic,
}

fn config(servers: &Servers) -> String {
    let common = "retry_max = \"1s\"\napps = [\"proof\"]\nsource_types = [\"lain_process\"]\n";
    format!(
        "[logging]\nspool_size = \"16GiB\"\nspool_keep = \"0s\"\n\
         [[logging.sink]]\nname = \"rsyslog\"\ntype = \"relp\"\naddress = \"127.0.0.1:{}\"\n{common}\
         [[logging.sink]]\nname = \"kafka\"\ntype = \"kafka\"\nbrokers = \"{}\"\n{common}\
         [[logging.sink]]\nname = \"elastic\"\ntype = \"elasticsearch\"\nurls = [\"{}\"]\n{common}",
        servers.rsyslog.relp_port(),
        servers.kafka.brokers(),
        servers.elastic.url(),
    )
}

/// Stops a receiver, with and without a farewell by turns, and starts it again once lain was killed meanwhile.
fn accident(lain: &mut Daemons, servers: &mut Servers, round: u64, pause: Duration) {
    let kindly = round.is_multiple_of(2);
    match round % 3 {
        0 if kindly => servers.rsyslog.stop(),
        0 => servers.rsyslog.kill(),
        1 if kindly => servers.kafka.running.stop(),
        1 => servers.kafka.running.kill(),
        _ if kindly => servers.elastic.running.stop(),
        _ => servers.elastic.running.kill(),
    }
    std::thread::sleep(pause);
    lain.kill("agent");
    lain.agent();
    std::thread::sleep(pause);
    match round % 3 {
        0 => servers.rsyslog.again(),
        1 => servers.kafka.again(),
        _ => servers.elastic.again(),
    }
}

#[test]
fn no_line_is_lost_at_any_of_four_receivers() {
    let instances = number("LAIN_PROOF_INSTANCES", 5);
    let lines = number("LAIN_PROOF_LINES", 40_000) / instances;
    let kills = number("LAIN_PROOF_KILLS", 3);
    let control_kills = number("LAIN_PROOF_CONTROL_KILLS", 1);
    let patience = Duration::from_secs(number("LAIN_PROOF_PATIENCE", 240));
    let mut lain = Daemons::new();
    let dir = lain.dir.path().to_owned();
    let mut servers = Servers {
        rsyslog: Rsyslog::with_relp(&dir),
        kafka: Kafka::start(&dir),
        elastic: Elastic::start(&dir, Kind::Elasticsearch),
    };
    lain.write("lain.toml", &config(&servers));
    lain.write(
        "agent.toml",
        "[logging]\nspool_size = \"16GiB\"\nspool_keep = \"0s\"\n",
    );
    lain.server();
    lain.agent();
    lain.until("agent", "the node has the sinks", || {
        !lain.sink("elastic").is_null()
    });
    let began = Instant::now();
    lain.deploy_fast(u32::try_from(instances).unwrap(), lines);
    let pause = Duration::from_millis(number("LAIN_PROOF_PAUSE_MS", 700));
    let mut controls = 0;
    for round in 0..kills {
        accident(&mut lain, &mut servers, round, pause);
        if controls < control_kills && (round + 1) * control_kills >= (controls + 1) * kills {
            controls += 1;
            lain.kill("server");
            std::thread::sleep(pause);
            lain.server();
        }
    }
    println!(
        "{instances} instances, {lines} lines each; {kills} SIGKILLs of the agent, {controls} of the control host; accidents over after {:.0} s",
        began.elapsed().as_secs_f64()
    );
    let until = Instant::now() + patience;
    loop {
        let behind: Vec<(String, u64)> = ["rsyslog", "kafka", "elastic", "index"]
            .into_iter()
            .map(|name| {
                let sink = lain.sink(name);
                (
                    name.to_owned(),
                    sink["lag_events"].as_u64().unwrap_or(u64::MAX),
                )
            })
            .collect();
        let sent = lain.sink("rsyslog")["sent"].as_u64().unwrap_or_default();
        if behind.iter().all(|(_, lag)| *lag == 0) && sent >= lines * instances {
            break;
        }
        assert!(
            Instant::now() < until,
            "{behind:?}, {sent} sent\n{}",
            lain.log("agent")
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    println!("all sent after {:.0} s", began.elapsed().as_secs_f64());
    let tallies = [
        (
            "rsyslog",
            at_rsyslog(&servers.rsyslog.relp_log(), instances, lines),
        ),
        (
            "kafka",
            at_kafka(&servers.kafka.brokers(), instances, lines),
        ),
        (
            "elasticsearch",
            at_elastic(&servers.elastic, instances, lines),
        ),
        ("index", at_index(&lain, instances, lines)),
    ];
    for (name, tally) in &tallies {
        tally.report(name);
    }
    // A batch at most at each SIGKILL of the agent and each end of a receiver.
    let bound = kills * 2 * BATCH;
    for (name, tally) in tallies {
        assert!(tally.whole(), "{name}: a line is missing");
        assert_eq!(tally.disordered, 0, "{name}: out of order");
        let most = if matches!(name, "elasticsearch" | "index") {
            0
        } else {
            bound
        };
        assert!(tally.twice <= most, "{name}: {} came twice", tally.twice);
    }
}

fn at_rsyslog(log: &Path, instances: u64, lines: u64) -> Tally {
    let mut tally = Tally::new(instances, lines);
    let file = std::io::BufReader::new(std::fs::File::open(log).unwrap());
    for line in file.split(b'\n') {
        tally.text(&String::from_utf8_lossy(&line.unwrap()));
    }
    tally
}

fn at_kafka(brokers: &str, instances: u64, lines: u64) -> Tally {
    let mut tally = Tally::new(instances, lines);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "proof")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let patience = Duration::from_secs(60);
    let metadata = consumer.fetch_metadata(Some(TOPIC), patience).unwrap();
    let (mut list, mut left) = (TopicPartitionList::new(), std::collections::HashMap::new());
    for partition in metadata.topics().iter().flat_map(|t| t.partitions()) {
        let (low, high) = consumer
            .fetch_watermarks(TOPIC, partition.id(), patience)
            .unwrap();
        if high > low {
            list.add_partition_offset(TOPIC, partition.id(), Offset::Beginning)
                .unwrap();
            left.insert(partition.id(), high);
        }
    }
    consumer.assign(&list).unwrap();
    let mut last = Instant::now();
    while !left.is_empty() && last.elapsed() < patience {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(200)) else {
            continue;
        };
        last = Instant::now();
        tally.text(&String::from_utf8_lossy(
            message.payload().unwrap_or_default(),
        ));
        if left.get(&message.partition()) == Some(&(message.offset() + 1)) {
            left.remove(&message.partition());
        }
    }
    tally
}

fn at_elastic(elastic: &Elastic, instances: u64, lines: u64) -> Tally {
    let mut tally = Tally::new(instances, lines);
    elastic.call(reqwest::Method::POST, "/lain-*/_refresh", None);
    let mut after = Value::Null;
    loop {
        let mut body = json!({"size": 10_000, "_source": ["message"],
            "query": {"term": {"app": "proof"}},
            "sort": [{"instance": "asc"}, {"seq": "asc"}, {"event_id": "asc"}]});
        if !after.is_null() {
            body["search_after"] = after;
        }
        let page = elastic.call(reqwest::Method::POST, "/lain-*/_search", Some(body));
        let hits = page["hits"]["hits"].as_array().cloned().unwrap_or_default();
        let Some(end) = hits.last() else {
            return tally;
        };
        after = end["sort"].clone();
        for hit in hits {
            tally.text(hit["_source"]["message"].as_str().unwrap_or_default());
        }
    }
}

/// By the export of the API. Its order is that of time, and lines of one instant are in that of their numbers: what is
/// checked is that the numbers that the pipeline gave count up with the lines.
fn at_index(lain: &Daemons, instances: u64, lines: u64) -> Tally {
    let mut found: Vec<Vec<(u64, u64)>> = vec![Vec::new(); usize::try_from(instances).unwrap() + 1];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let query = "query=app:%20proof%20and%20source_type:%20lain_process&fields=instance,seq,message&format=ndjson&order=asc";
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let asked = client
            .get(format!("{}/api/v1/logs/export?{query}", lain.url()))
            .bearer_auth(lain.token());
        let answer = asked.send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        let (mut body, mut rest) = (answer.bytes_stream(), Vec::new());
        while let Some(piece) = body.next().await {
            rest.extend_from_slice(&piece.unwrap());
            let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else {
                continue;
            };
            for line in rest[..end].split(|byte| *byte == b'\n') {
                let event: Value = serde_json::from_slice(line).unwrap();
                let message = event["message"].as_str().unwrap_or_default();
                let mut words = message.split(' ').skip(1);
                let mut word = || words.next().and_then(|w| w.parse::<u64>().ok());
                if let (Some(no), Some(n)) = (word(), word()) {
                    let seq = event["seq"].as_u64().unwrap();
                    found[usize::try_from(no).unwrap()].push((seq, n));
                }
            }
            rest.drain(..=end);
        }
    });
    let mut tally = Tally::new(instances, lines);
    for (no, mut rows) in found.into_iter().enumerate() {
        rows.sort_unstable();
        rows.into_iter().for_each(|(_, n)| tally.add(no as u64, n));
    }
    tally
}
