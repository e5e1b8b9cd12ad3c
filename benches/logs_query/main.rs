//! The embedded log index beside bare tantivy and, where Java is there, Elasticsearch, on the same events.
//!
//! `cargo bench --bench logs_query`. `LAIN_BENCH_EVENTS`: how many, 1,000,000 unless set.
//! `LAIN_BENCH_ELASTIC=0` leaves Elasticsearch out. Nothing is asserted.

mod bare;
mod corpus;
mod elastic;
mod support;

use corpus::Corpus;
use lain::logging::index::{Index, Options};
use lain::ports::clock::SystemClock;
use lain::ports::log_index::{HistogramRequest, LogFilter, LogIndex, LogSearch, SearchRequest};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Indexed, cpu_of, print_indexed, print_queries, quantiles};

/// Events of one batch: what a sink hands over at a time.
pub const BATCH: usize = 10_000;
/// Queries of each kind.
const ROUNDS: usize = 100;

#[tokio::main]
async fn main() {
    let events = std::env::var("LAIN_BENCH_EVENTS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_000_000);
    let corpus = Corpus::new(events);
    println!(
        "{events} events of {} instances, {:.0} bytes of JSON each",
        corpus::INSTANCES,
        corpus.mean_bytes()
    );

    let folder = tempfile::tempdir().expect("a temporary folder");
    let bare = bare::index(&corpus, folder.path());
    print_indexed("bare tantivy", &bare);
    println!("  queries, one thread:");
    bare::queries(folder.path(), &corpus);
    drop(folder);

    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = Options {
        keep_days: 100_000,
        ..Options::new(folder.path().to_owned())
    };
    let (indexed, index) = lain(&corpus, options).await;
    print_indexed("lain", &indexed);
    queries("lain", &*index, &corpus).await;
    drop(index);
    drop(folder);

    if std::env::var("LAIN_BENCH_ELASTIC").is_ok_and(|v| v == "0") {
        return;
    }
    match elastic::Server::start().await {
        Ok(server) => {
            let indexed = server.index(&corpus).await;
            print_indexed("Elasticsearch", &indexed);
            queries("Elasticsearch", &server.search(), &corpus).await;
        }
        Err(why) => println!("Elasticsearch: not measured: {why}"),
    }
}

async fn lain(corpus: &Corpus, options: Options) -> (Indexed, Arc<Index>) {
    let index = Index::open(options, Arc::new(SystemClock::new())).expect("an index");
    let (begun, cpu) = (Instant::now(), cpu_of("self"));
    // Making the events is not the index's work.
    let mut making = Duration::ZERO;
    for from in (0..corpus.events).step_by(BATCH) {
        let (batch, made) = corpus.batch(from, BATCH);
        making += made;
        index.append(batch).await.expect("indexed");
    }
    let wall = begun.elapsed();
    // Merges go on for a while, and are its work.
    let mut used = cpu_of("self");
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = cpu_of("self");
        if now - used < Duration::from_millis(30) {
            break;
        }
        used = now;
    }
    let cpu = (used - cpu).saturating_sub(making);
    let status = LogIndex::status(&*index);
    assert_eq!(status.events, corpus.events as u64);
    let indexed = Indexed {
        events: corpus.events,
        cpu,
        wall,
        bytes: status.bytes,
    };
    (indexed, index)
}

async fn queries(name: &str, index: &dyn LogSearch, corpus: &Corpus) {
    let filter = |query: String, hours: Option<usize>| LogFilter {
        query,
        from: hours.map(|h| corpus.hour(h)),
        to: hours.map(|h| corpus.hour(h + 1)),
        ..LogFilter::default()
    };
    let mut rows = Vec::new();
    for (label, what) in [
        ("field and time", 0),
        ("phrase", 1),
        ("wildcard", 2),
        ("wildcard in front", 3),
    ] {
        let mut times = Vec::new();
        let mut found = 0;
        for n in 0..ROUNDS {
            let filter = match what {
                0 => filter(format!("app: app{} and level: error", n % 10), Some(n % 23)),
                1 => filter(
                    format!(
                        "message: \"connection to 10.0.{}.\" or message: \"pool {} exhausted\"",
                        n % 4,
                        n % 50
                    ),
                    None,
                ),
                2 => filter(format!("message: timeout{}*", n % 10), None),
                _ => filter(format!("message: *out{n}"), None),
            };
            let request = SearchRequest {
                filter,
                limit: 100,
                count: true,
                ..SearchRequest::default()
            };
            let begun = Instant::now();
            let page = index.search(request).await.expect("an answer");
            times.push(begun.elapsed());
            found += page.total.unwrap_or_default();
        }
        rows.push((label, quantiles(&mut times), found / ROUNDS as u64));
    }
    for (label, query) in [
        ("histogram, all", ""),
        ("histogram, filtered", "level: error"),
    ] {
        let mut times = Vec::new();
        let mut found = 0;
        for n in 0..ROUNDS {
            let filter = LogFilter {
                query: query.to_owned(),
                from: Some(corpus.second(n)),
                to: Some(corpus.hour(24)),
                ..LogFilter::default()
            };
            let request = HistogramRequest {
                filter,
                ..HistogramRequest::default()
            };
            let begun = Instant::now();
            found += index.histogram(request).await.expect("an answer").total;
            times.push(begun.elapsed());
        }
        rows.push((label, quantiles(&mut times), found / ROUNDS as u64));
    }
    print_queries(name, &rows);
}
