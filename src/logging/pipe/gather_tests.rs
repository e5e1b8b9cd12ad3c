//! What a sink has gathered, and who has it sent.

use super::pump::Command;
use super::route::Filter;
use super::test_rig::Rig;
use crate::domain::log::{LogBody, LogEvent, Stamp};
use crate::logging::spool::Batch;
use crate::ports::freshness::Freshness;
use std::sync::Arc;
use std::time::Duration;

#[actix_rt::test]
async fn what_is_gathered_goes_with_the_next_batch_or_when_somebody_asks() {
    let mut rig = Rig::new(Filter::default());
    let freshness = Arc::new(Freshness::default());
    rig.memory.gather(Duration::from_secs(3600), &freshness);
    let driven = rig.drive();
    rig.add(2);
    rig.until(|view| view.sent == 2).await;
    // The first ones went at once; these wait for more.
    rig.add(3);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.got(), [1, 2]);
    freshness.ask(Duration::from_secs(10)).await;
    assert_eq!(rig.got(), [1, 2, 3, 4, 5]);
    // Whoever asks where nothing waits is answered, too.
    freshness.ask(Duration::from_secs(10)).await;
    // More than a batch waits for nobody.
    let mut large = Batch::new();
    let text = format!("{{\"n\":\"{}\"}}", "x".repeat(1 << 20));
    large.push(&LogEvent {
        source: Arc::clone(&rig.source),
        at: Stamp(6_000_000_000),
        seq: 6,
        ordinal: 0,
        body: LogBody::Object(text.into_bytes().into()),
    });
    rig.pipeline.spool.append(&mut large).unwrap();
    rig.until(|view| view.sent == 6).await;
    rig.even();
    driven.abort();
}

#[actix_rt::test]
async fn whoever_asks_a_paused_sink_is_not_held_up() {
    let rig = Rig::new(Filter::default());
    let freshness = Arc::new(Freshness::default());
    rig.memory.gather(Duration::from_secs(3600), &freshness);
    let driven = rig.drive();
    let sink = rig.pipeline.sink("m").unwrap();
    sink.command(Command::Pause);
    rig.until(|view| view.state == "paused").await;
    let begun = std::time::Instant::now();
    freshness.ask(Duration::from_secs(60)).await;
    assert!(begun.elapsed() < Duration::from_secs(30));
    driven.abort();
}
