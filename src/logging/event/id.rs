//! The deterministic event id: what is read twice has one id, so that replays collapse downstream.
//!
//! Made of the hash of container and stream, the instant, and the ordinal within that instant. Ids of one
//! stream share a prefix and rise with time, which costs an index a third of what random ids cost.

use crate::domain::log::{LogSource, Stamp, Stream};
use sha2::{Digest, Sha256};

/// Hex digits of the hash of container and stream.
const PREFIX: usize = 16;

/// The first part of the ids of one stream of one source.
pub fn prefix(source: &LogSource, stream: Stream) -> String {
    let file = source.file.as_deref().unwrap_or_default();
    // A container has one id; what has none is told apart by where it was seen.
    let id = match source.container_id.is_empty() {
        true => format!("{}/{}", source.source_type, source.node),
        false => source.container_id.clone(),
    };
    let digest = Sha256::digest(format!("{id}\0{}\0{file}", stream.as_str()).as_bytes());
    hex::encode(&digest[..PREFIX / 2])
}

/// Appends the rest of an id: 16 hex digits of the instant, a dash, the ordinal.
pub fn rest(at: Stamp, ordinal: u32, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bits = at.0.cast_unsigned();
    for nibble in (0..16).rev() {
        out.push(HEX[(bits >> (nibble * 4) & 15) as usize]);
    }
    out.push(b'-');
    super::json::number(u64::from(ordinal), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(source: &LogSource, stream: Stream, at: i64, ordinal: u32) -> String {
        let mut out = prefix(source, stream).into_bytes();
        rest(Stamp(at), ordinal, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn ids_are_the_same_every_time_and_differ_in_every_part() {
        let source = |container: &str, file: Option<&str>| LogSource {
            container_id: container.to_owned(),
            file: file.map(str::to_owned),
            ..LogSource::default()
        };
        let (one, two) = (source("a", None), source("b", None));
        let all = [
            id(&one, Stream::Stdout, 1, 0),
            id(&one, Stream::Stdout, 1, 1),
            id(&one, Stream::Stdout, 2, 0),
            id(&one, Stream::Stderr, 1, 0),
            id(&two, Stream::Stdout, 1, 0),
            id(&source("a", Some("x.log")), Stream::Stdout, 1, 0),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(all[0], id(&one, Stream::Stdout, 1, 0));
        assert_eq!(all[0].len(), 16 + 16 + 2);
        assert!(all[0] < all[2], "ids of one stream rise with time");
    }
}
