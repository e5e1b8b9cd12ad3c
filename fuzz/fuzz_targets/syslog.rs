//! The decoder of syslog: no bytes make it panic, hang or keep more than it may; messages do not depend on where
//! reads end; no sender sets a key of lain's.
#![no_main]

#[path = "log_types.rs"]
mod domain;
#[path = "../../src/logging/inputs/framing.rs"]
mod framing;
#[path = "../../src/logging/inputs/syslog.rs"]
mod syslog;

use framing::Framer;
use libfuzzer_sys::fuzz_target;

const MAX: usize = 256;

fn messages(chunks: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
    let (mut framer, mut found) = (Framer::new(MAX), Vec::new());
    let mut visit = |message: &[u8], cut: bool| found.push((message.to_vec(), cut));
    chunks.iter().for_each(|chunk| framer.push(chunk, &mut visit));
    framer.finish(&mut visit);
    found
}

fuzz_target!(|data: &[u8]| {
    // The first byte says where the reads end.
    let Some((step, stream)) = data.split_first() else { return };
    let whole = messages(&[stream]);
    let chunks: Vec<&[u8]> = stream.chunks(usize::from(*step).max(1)).collect();
    assert_eq!(messages(&chunks), whole, "however it is read");
    let kept: usize = whole.iter().map(|(message, _)| message.len()).sum();
    assert!(kept <= stream.len(), "nothing is invented");
    let now = chrono::DateTime::UNIX_EPOCH;
    for (message, _) in whole {
        assert!(!message.is_empty() && message.len() <= MAX);
        let parsed = syslog::parse(&message, now, Some(chrono_tz::Tz::Europe__Berlin));
        assert!(parsed.object["message"].is_string());
        for key in ["app", "proc", "instance", "node", "event_id", "seq", "source_type", "timestamp", "input"] {
            assert!(!parsed.object.contains_key(key), "{key}");
        }
        serde_json::to_vec(&parsed.object).expect("an object is JSON");
    }
    // A whole message, as a datagram has it.
    let _ = syslog::parse(stream, now, None);
});
