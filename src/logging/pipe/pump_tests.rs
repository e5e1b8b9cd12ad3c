//! The pump over a real spool and a sink in memory: order, retries, dead letters, settling, commands, and the
//! count that has to come out even.

use super::pipeline::{Host, Pipeline, SinkSpec};
use super::pump::{Command, To};
use super::route;
use super::route::Filter;
use crate::domain::log::{LogBody, LogEvent, Stamp};
use crate::logging::sinks::memory::Memory;
use crate::logging::spool::{Batch, From, Options, Spool};
use crate::ports::clock::SystemClock;
use crate::ports::sink::{Delivery, SinkError};
use std::sync::Arc;
use std::time::Duration;

use super::test_rig::{Rig, pipeline, settings};
fn away() -> Result<Delivery, SinkError> {
    Err(SinkError::retry("away"))
}

#[actix_rt::test]
async fn events_arrive_in_order_while_the_receiver_comes_and_goes() {
    let mut rig = Rig::new(Filter::default());
    rig.add(25);
    rig.memory.answer([
        away(),
        Ok(Delivery::default()),
        away(),
        away(),
        away(),
        away(),
    ]);
    let _task = rig.drive();
    let open = rig.until(|v| v.breaker == "open").await;
    assert_eq!(open.state, "retrying");
    assert_eq!(open.last_error.as_deref(), Some("away"));
    rig.add(5);
    let view = rig.until(|v| v.lag_events == 0).await;
    assert_eq!(rig.got(), (1..=30).collect::<Vec<_>>());
    assert_eq!(
        (view.sent, view.retries, view.breaker.as_str()),
        (30, 5, "closed")
    );
    rig.even();
}

#[actix_rt::test]
async fn parts_of_a_batch_are_repeated_alone_and_dead_letters_are_kept() {
    let mut rig = Rig::new(Filter::default());
    rig.add(10);
    rig.memory.answer([Ok(Delivery {
        retry: vec![(2, "busy".to_owned()), (5, "busy".to_owned())],
        dead: vec![(3, "no such field".to_owned())],
        known: 1,
        bytes: 7,
    })]);
    let _task = rig.drive();
    let view = rig.until(|v| v.lag_events == 0).await;
    assert_eq!(
        (
            view.sent,
            view.discarded,
            view.dead_letters,
            view.duplicates
        ),
        (9, 1, 1, 1)
    );
    assert_eq!(rig.got(), [1, 2, 5, 7, 8, 9, 10, 3, 6]);
    let letters = std::fs::read_to_string(view.dead_letter_file.unwrap()).unwrap();
    let letter: serde_json::Value = serde_json::from_str(letters.trim()).unwrap();
    assert_eq!(
        (&letter["event"]["n"], &letter["reason"]),
        (&4.into(), &"no such field".into())
    );
    rig.even();
}

#[actix_rt::test]
async fn a_batch_that_is_too_large_is_halved_until_the_culprit_is_found() {
    let mut rig = Rig::new(Filter::default());
    rig.add(4);
    let split = || {
        Err(SinkError::Split {
            reason: "too large".to_owned(),
        })
    };
    // 4, then 2, then the first alone is the one.
    rig.memory.answer([split(), split(), split()]);
    let _task = rig.drive();
    let view = rig.until(|v| v.lag_events == 0).await;
    assert_eq!(rig.got(), [2, 3, 4]);
    assert_eq!((view.sent, view.discarded, view.dead_letters), (3, 1, 1));
    rig.even();
}

#[actix_rt::test]
async fn what_a_broken_connection_took_along_is_sent_again() {
    let mut rig = Rig::new(Filter::default());
    rig.memory.settle_after(Duration::from_millis(300));
    rig.add(20);
    let _task = rig.drive();
    while rig.got().len() < 20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(rig.view().sent, 0, "nothing vouches for them yet");
    rig.memory.lose(15);
    rig.until(|v| v.lag_events == 0).await;
    let got = rig.got();
    assert!(got.ends_with(&(1..=20).collect::<Vec<_>>()), "{got:?}");
    rig.even();
}

#[actix_rt::test]
async fn a_killed_pump_goes_on_at_its_cursor() {
    let mut rig = Rig::new(Filter::default());
    rig.add(10);
    let task = rig.drive();
    rig.until(|v| v.sent == 10).await;
    task.abort();
    // Its end gives the commands' receiver back.
    let _ = task.await;
    rig.add(10);
    let _task = rig.drive();
    rig.until(|v| v.sent == 20).await;
    assert_eq!(rig.got(), (1..=20).collect::<Vec<_>>());
    rig.even();
}

#[actix_rt::test]
async fn operators_pause_resume_rewind_and_check() {
    let mut rig = Rig::new(Filter::default());
    let sink = rig.pipeline.sink("m").unwrap();
    sink.command(Command::Pause);
    let task = rig.drive();
    rig.add(10);
    rig.until(|v| v.state == "paused").await;
    assert!(rig.got().is_empty());
    let most = Duration::from_secs(5);
    assert_eq!(sink.ask(Command::Check, most).await, Ok(()));
    sink.command(Command::Resume);
    rig.until(|v| v.sent == 10).await;
    let rewind = |to| sink.ask(move |answer| Command::Rewind(to, answer), most);
    rewind(To::At(Stamp(8_000_000_000))).await.unwrap();
    rig.until(|v| v.sent == 13).await;
    assert_eq!(rig.got()[10..], [8, 9, 10]);
    rewind(To::Oldest).await.unwrap();
    rig.until(|v| v.sent == 23).await;
    sink.command(Command::Pause);
    rig.add(5);
    rewind(To::Now).await.unwrap();
    sink.command(Command::Resume);
    rig.add(1);
    rig.until(|v| v.sent == 24).await;
    assert_eq!(rig.got().last(), Some(&16));
    sink.stop().await;
    assert_eq!(task.await.unwrap(), Ok(()));
}

#[actix_rt::test]
async fn what_is_filtered_is_counted_and_what_is_secret_is_blotted_out() {
    let mut rig = Rig::new(Filter {
        excluding: vec![regex::bytes::Regex::new("3").unwrap()],
        ..Filter::default()
    });
    rig.add(13);
    let _task = rig.drive();
    let view = rig.until(|v| v.lag_events == 0).await;
    assert_eq!((view.sent, view.filtered), (11, 2));
    rig.even();
    let dir = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let redaction = route::Redaction::new(Vec::new(), &["hunter2".to_owned()]);
    rig.pipeline = pipeline(dir.path(), &memory, Filter::default(), redaction);
    let mut batch = Batch::new();
    batch.push(&LogEvent {
        source: Arc::clone(&rig.source),
        at: Stamp(0),
        seq: 1,
        ordinal: 0,
        body: LogBody::Object(br#"{"message":"pw hunter2"}"#.to_vec().into()),
    });
    rig.pipeline.spool.append(&mut batch).unwrap();
    let _task = rig.drive();
    rig.until(|v| v.sent == 1).await;
    let wanted = LogBody::Object(br#"{"message":"pw ***"}"#.to_vec().into());
    assert_eq!(memory.events()[0].body, wanted);
}

#[actix_rt::test]
async fn what_a_refusal_stops_goes_on_when_an_operator_says_so() {
    let mut rig = Rig::new(Filter::default());
    rig.add(3);
    rig.memory.answer([Err(SinkError::Refused {
        reason: "wrong password".to_owned(),
    })]);
    let _task = rig.drive();
    let view = rig.until(|v| v.state == "refused").await;
    assert_eq!(view.last_error.as_deref(), Some("wrong password"));
    rig.pipeline.sink("m").unwrap().command(Command::Resume);
    rig.until(|v| v.sent == 3).await;
}

#[actix_rt::test]
async fn segments_go_once_every_sink_has_them() {
    let mut rig = Rig::new(Filter::default());
    for _ in 0..20 {
        rig.add(10);
    }
    rig.pipeline.trim().unwrap();
    let full = rig.pipeline.figures().size;
    let _task = rig.drive();
    rig.until(|v| v.lag_events == 0).await;
    rig.pipeline.trim().unwrap();
    assert!(rig.pipeline.figures().size < full / 2, "{full}");
    rig.even();
}

fn spec(memory: &Memory, name: &str, mark: &str) -> SinkSpec {
    SinkSpec {
        name: name.to_owned(),
        mark: mark.to_owned(),
        factory: Arc::new(memory.clone()),
        filter: Filter::default(),
        redaction: Arc::default(),
        settings: settings(),
        from: From::Oldest,
    }
}

#[actix_rt::test]
async fn a_pause_outlives_the_pump_and_ends_when_it_is_told_to() {
    let mut rig = Rig::new(Filter::default());
    rig.add(3);
    let sink = rig.pipeline.sink("m").unwrap();
    // Before anybody drives it, as where its settings are wrong.
    sink.pause(&rig.pipeline).unwrap();
    for _ in 0..2 {
        let task = rig.drive();
        rig.until(|v| v.state == "paused" && v.oldest_at.is_some())
            .await;
        assert!(rig.got().is_empty());
        sink.stop().await;
        task.await.unwrap().unwrap();
    }
    let again = pipeline_of(&rig, vec![spec(&rig.memory, "m", "2")]);
    rig.pipeline = again;
    let _task = rig.drive();
    rig.until(|v| v.state == "paused").await;
    let sink = rig.pipeline.sink("m").unwrap();
    sink.resume(&rig.pipeline).unwrap();
    sink.resume(&rig.pipeline).unwrap();
    rig.until(|v| v.sent == 3).await;
}

/// Another pipeline over the same folder, as after a restart.
fn pipeline_of(rig: &Rig, sinks: Vec<SinkSpec>) -> Arc<Pipeline> {
    let (spool, _) = Spool::open(Options::new(rig.dir.path())).unwrap();
    let clock = Arc::new(SystemClock::new());
    Arc::new(Pipeline::new(
        spool,
        Host::default(),
        clock,
        sinks,
        Vec::new(),
    ))
}

#[actix_rt::test]
async fn sending_again_never_skips() {
    let mut rig = Rig::new(Filter::default());
    rig.add(10);
    let task = rig.drive();
    rig.until(|v| v.sent == 10).await;
    let sink = rig.pipeline.sink("m").unwrap();
    let most = Duration::from_secs(5);
    let back = |at| {
        sink.ask(
            move |answer| Command::Rewind(To::BackTo(Stamp(at)), answer),
            most,
        )
    };
    back(9_000_000_000).await.unwrap();
    let view = rig.until(|v| v.sent == 12).await;
    assert_eq!(view.oldest_at, Some(Stamp(1_000_000_000).into()));
    sink.command(Command::Pause);
    rig.add(5);
    // Later than what is sent next: nothing changes.
    back(14_000_000_000).await.unwrap();
    sink.command(Command::Resume);
    rig.until(|v| v.sent == 17).await;
    assert_eq!(rig.got()[10..], [9, 10, 11, 12, 13, 14, 15]);
    sink.stop().await;
    task.await.unwrap().unwrap();
}

#[actix_rt::test]
async fn other_sinks_take_the_place_of_those_that_changed_and_lose_nothing() {
    let mut rig = Rig::new(Filter::default());
    rig.add(10);
    let task = rig.drive();
    rig.until(|v| v.sent == 10).await;
    let (second, third) = (Memory::default(), Memory::default());
    let before = rig.pipeline.sink("m").unwrap();
    let changes = rig.pipeline.change(
        vec![spec(&second, "m", "2"), spec(&third, "n", "1")],
        Vec::new(),
    );
    let names = |entries: &[Arc<super::pipeline::SinkEntry>]| {
        entries
            .iter()
            .map(|e| e.spec.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (names(&changes.added), names(&changes.changed)),
        (vec!["n".to_owned()], vec!["m".to_owned()])
    );
    // Nothing goes while the new ones have not opened their cursors.
    let size = rig.pipeline.figures().size;
    rig.add(10);
    rig.pipeline.trim().unwrap();
    assert!(rig.pipeline.figures().size > size);
    before.stop().await;
    task.await.unwrap().unwrap();
    let _one = rig.drive();
    let pipeline = Arc::clone(&rig.pipeline);
    let _two = actix_rt::spawn(async move { pipeline.sink("n").unwrap().run(&pipeline).await });
    let views = rig.until(|v| v.sent == 20).await;
    assert_eq!(views.lag_events, 0);
    let seqs = |memory: &Memory| memory.events().iter().map(|e| e.seq).collect::<Vec<_>>();
    // What the first one had not got yet, the second one gets.
    let all = [rig.got(), seqs(&second)].concat();
    assert_eq!(all, (1..=20).collect::<Vec<_>>());
    let kept = rig
        .pipeline
        .change(vec![spec(&third, "n", "1")], Vec::new());
    assert_eq!(
        (kept.kept, kept.removed),
        (vec!["n".to_owned()], vec!["m".to_owned()])
    );
    for _ in 0..2000 {
        if seqs(&third).len() == 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(seqs(&third), (1..=20).collect::<Vec<_>>());
}
