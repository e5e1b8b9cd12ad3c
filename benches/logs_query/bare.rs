//! tantivy alone, as one would use it at first: a field for each key, the source stored.

use crate::BATCH;
use crate::corpus::Corpus;
use crate::support::{Indexed, cpu_of, print_queries, quantiles};
use serde_json::Value;
use std::ops::Bound;
use std::path::Path;
use std::time::{Duration, Instant};
use tantivy::collector::{Count, TopDocs};
use tantivy::query::{BooleanQuery, Occur, PhraseQuery, Query, RangeQuery, TermQuery};
use tantivy::schema::{
    DateOptions, DateTimePrecision, FAST, Field, INDEXED, IndexRecordOption, STORED, STRING,
    Schema, TEXT,
};
use tantivy::{DateTime, Index, IndexWriter, Order, TantivyDocument, Term};

const KEYS: [&str; 11] = [
    "app",
    "container_id",
    "container_name",
    "event_id",
    "host",
    "image",
    "level",
    "node",
    "proc",
    "source_type",
    "stream",
];

fn schema() -> Schema {
    let mut schema = Schema::builder();
    for key in KEYS {
        schema.add_text_field(key, STRING | FAST);
    }
    schema.add_text_field("message", TEXT);
    schema.add_date_field(
        "timestamp",
        DateOptions::default()
            .set_fast()
            .set_precision(DateTimePrecision::Nanoseconds),
    );
    schema.add_u64_field("instance", INDEXED | FAST);
    schema.add_u64_field("seq", FAST);
    schema.add_json_field("label", STRING | FAST);
    schema.add_text_field("source", STORED);
    schema.build()
}

pub fn index(corpus: &Corpus, folder: &Path) -> Indexed {
    let schema = schema();
    let index = Index::create_in_dir(folder, schema.clone()).expect("an index");
    let mut writer: IndexWriter = index
        .writer_with_num_threads(1, 64 << 20)
        .expect("a writer");
    let field = |name: &str| schema.get_field(name).expect("a field");
    let keys: Vec<(&str, Field)> = KEYS.iter().map(|key| (*key, field(key))).collect();
    let (message, at, instance, seq, label, source) = (
        field("message"),
        field("timestamp"),
        field("instance"),
        field("seq"),
        field("label"),
        field("source"),
    );
    let (begun, cpu, mut making) = (Instant::now(), cpu_of("self"), Duration::ZERO);
    let mut from = 0;
    while from < corpus.events {
        let (batch, made) = corpus.batch(from, BATCH);
        making += made;
        for event in batch {
            let parsed: Value = serde_json::from_slice(&event.json).expect("JSON");
            let mut document = TantivyDocument::new();
            for (name, field) in &keys {
                document.add_text(*field, parsed[name].as_str().unwrap_or_default());
            }
            document.add_text(message, parsed["message"].as_str().unwrap_or_default());
            document.add_date(
                at,
                DateTime::from_timestamp_nanos(event.at.timestamp_nanos_opt().unwrap_or_default()),
            );
            document.add_u64(instance, parsed["instance"].as_u64().unwrap_or_default());
            document.add_u64(seq, parsed["seq"].as_u64().unwrap_or_default());
            let labels = parsed["label"].as_object().into_iter().flatten();
            let labels = labels.map(|(k, v)| {
                (
                    k.clone(),
                    tantivy::schema::OwnedValue::Str(v.as_str().unwrap_or_default().to_owned()),
                )
            });
            document.add_object(label, labels.collect());
            document.add_text(source, std::str::from_utf8(&event.json).expect("UTF-8"));
            writer.add_document(document).expect("added");
        }
        writer.commit().expect("committed");
        from += BATCH;
    }
    let wall = begun.elapsed();
    writer.wait_merging_threads().expect("merged");
    let cpu = (cpu_of("self") - cpu).saturating_sub(making);
    let files = std::fs::read_dir(folder).expect("a folder").flatten();
    Indexed {
        events: corpus.events,
        cpu,
        wall,
        bytes: files
            .filter_map(|f| f.metadata().ok())
            .map(|m| m.len())
            .sum(),
    }
}

pub fn queries(folder: &Path, corpus: &Corpus) {
    let index = Index::open_in_dir(folder).expect("an index");
    let searcher = index.reader().expect("a reader").searcher();
    let schema = index.schema();
    let field = |name: &str| schema.get_field(name).expect("a field");
    let term = |name: &str, text: &str| Term::from_field_text(field(name), text);
    let time = |hour: usize| {
        let at: chrono::DateTime<chrono::Utc> = corpus.hour(hour).parse().expect("a time");
        Term::from_field_date(
            field("timestamp"),
            DateTime::from_timestamp_secs(at.timestamp()),
        )
    };
    let mut rows = Vec::new();
    for (label, what) in [("field and time", 0), ("phrase", 1)] {
        let (mut times, mut found) = (Vec::new(), 0);
        for n in 0..100 {
            let query: Box<dyn Query> = match what {
                0 => Box::new(BooleanQuery::new(vec![
                    (
                        Occur::Must,
                        Box::new(TermQuery::new(
                            term("app", &format!("app{}", n % 10)),
                            IndexRecordOption::Basic,
                        )) as Box<dyn Query>,
                    ),
                    (
                        Occur::Must,
                        Box::new(TermQuery::new(
                            term("level", "error"),
                            IndexRecordOption::Basic,
                        )),
                    ),
                    (
                        Occur::Must,
                        Box::new(RangeQuery::new(
                            Bound::Included(time(n % 23)),
                            Bound::Excluded(time(n % 23 + 1)),
                        )),
                    ),
                ])),
                _ => Box::new(PhraseQuery::new(vec![
                    term("message", "pool"),
                    term("message", &(n % 50).to_string()),
                    term("message", "exhausted"),
                ])),
            };
            let begun = Instant::now();
            let newest =
                TopDocs::with_limit(100).order_by_fast_field::<DateTime>("timestamp", Order::Desc);
            let (_, count) = searcher
                .search(&*query, &(newest, Count))
                .expect("an answer");
            times.push(begun.elapsed());
            found += count as u64;
        }
        rows.push((label, quantiles(&mut times), found / 100));
    }
    print_queries("bare tantivy", &rows);
}
