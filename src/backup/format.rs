//! The file format: gzip of JSON lines. A header, a line for each key in ascending order, and an end with their
//! number and the SHA-256 of all lines before it. Values that are text stand as text, so that `zcat` shows
//! what is in a backup; others as hexadecimal digits.

use crate::backup::BackupError;
use crate::ports::store::Entry;
use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};

/// The version of the format that this lain writes, and the newest that it reads.
pub const VERSION: u32 = 1;
/// What the header calls the format.
const FORMAT: &str = "lain-backup";

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Always `lain-backup`.
    format: String,
    /// [`VERSION`].
    version: u32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// The kind of store that it was made from.
    pub store: String,
    /// The version of the lain that made it.
    pub lain: String,
}

impl Header {
    /// The header of a backup that is made now.
    pub fn new(created_at: DateTime<Utc>, store: &str) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            created_at,
            store: store.to_owned(),
            lain: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
}

impl From<Entry> for Item {
    fn from(entry: Entry) -> Self {
        Self {
            key: entry.key,
            value: entry.value,
        }
    }
}

/// A line in the middle.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    hex: Option<String>,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    entries: usize,
    sha256: String,
}

/// What a line may be.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Either {
    Item(Line),
    End(End),
}

/// The bytes of a backup.
///
/// # Errors
/// When they cannot be made, which memory that is used up may cause.
pub fn encode(header: &Header, items: &[Item]) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    line(&mut text, header)?;
    for item in items {
        let as_text = std::str::from_utf8(&item.value).ok();
        line(
            &mut text,
            &Line {
                key: item.key.clone(),
                text: as_text.map(str::to_owned),
                hex: as_text.is_none().then(|| hex::encode(&item.value)),
            },
        )?;
    }
    let end = End {
        entries: items.len(),
        sha256: hex::encode(Sha256::digest(&text)),
    };
    line(&mut text, &end)?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&text)?;
    encoder.finish()
}

fn line(text: &mut Vec<u8>, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *text, value)?;
    text.push(b'\n');
    Ok(())
}

/// Reads a backup as a whole, and checks it.
///
/// # Errors
/// [`BackupError::Format`], [`BackupError::Checksum`], [`BackupError::Newer`].
pub fn decode(bytes: &[u8]) -> Result<(Header, Vec<Item>), BackupError> {
    let wrong = |line: usize, reason: &dyn std::fmt::Display| BackupError::Format {
        line,
        reason: reason.to_string(),
    };
    let mut text = Vec::new();
    let read = MultiGzDecoder::new(bytes).read_to_end(&mut text);
    read.map_err(|e| wrong(1, &format!("it cannot be unpacked: {e}")))?;
    let header = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let header: Header = serde_json::from_slice(header).map_err(|e| wrong(1, &e))?;
    if header.format != FORMAT {
        return Err(wrong(1, &format!("its format is {}", header.format)));
    }
    if header.version > VERSION {
        return Err(BackupError::Newer(header.version));
    }
    let mut items: Vec<Item> = Vec::new();
    let mut start = text
        .iter()
        .position(|b| *b == b'\n')
        .map_or(text.len(), |at| at + 1);
    let mut number = 1;
    while start < text.len() {
        number += 1;
        let rest = &text[start..];
        let length = rest.iter().position(|b| *b == b'\n');
        let length = length.ok_or_else(|| wrong(number, &"it is cut off"))?;
        match serde_json::from_slice(&rest[..length]).map_err(|e| wrong(number, &e))? {
            Either::Item(line) => {
                let item = item(line).ok_or_else(|| wrong(number, &"it has no value"))?;
                if items.last().is_some_and(|last| last.key >= item.key) {
                    return Err(wrong(number, &"its key is out of order"));
                }
                items.push(item);
            }
            Either::End(end) => {
                if hex::encode(Sha256::digest(&text[..start])) != end.sha256 {
                    return Err(BackupError::Checksum);
                }
                if end.entries != items.len() || start + length + 1 != text.len() {
                    return Err(wrong(
                        number,
                        &"it does not match what is before and after it",
                    ));
                }
                return Ok((header, items));
            }
        }
        start += length + 1;
    }
    Err(wrong(number + 1, &"the end is missing"))
}

fn item(line: Line) -> Option<Item> {
    let value = match (line.text, line.hex) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(digits)) => hex::decode(digits).ok()?,
        _ => return None,
    };
    Some(Item {
        key: line.key,
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        Header::new(DateTime::UNIX_EPOCH, "memory")
    }

    fn item(key: &str, value: &[u8]) -> Item {
        Item {
            key: key.to_owned(),
            value: value.to_vec(),
        }
    }

    fn unpack(bytes: &[u8]) -> String {
        let mut text = String::new();
        MultiGzDecoder::new(bytes)
            .read_to_string(&mut text)
            .unwrap();
        text
    }

    fn pack(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_backup_can_be_read_by_people() {
        let items = [item("a", b"{\"n\":1}"), item("b", &[255, 0])];
        let text = unpack(&encode(&header(), &items).unwrap());
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with(r#"{"format":"lain-backup","version":1,"#),
            "{text}"
        );
        assert_eq!(lines[1], r#"{"key":"a","text":"{\"n\":1}"}"#);
        assert_eq!(lines[2], r#"{"key":"b","hex":"ff00"}"#);
        assert!(lines[3].starts_with(r#"{"entries":2,"sha256":""#), "{text}");
    }

    #[test]
    fn whatever_is_changed_in_a_backup_is_noticed() {
        let good = unpack(&encode(&header(), &[item("a", b"1"), item("b", b"2")]).unwrap());
        assert_eq!(decode(&pack(&good)).unwrap().1.len(), 2);
        let lines: Vec<&str> = good.lines().collect();
        let joined = |lines: &[&str]| lines.join("\n") + "\n";
        let table = [
            (
                "a value",
                good.replace(r#""text":"1""#, r#""text":"3""#),
                "checksum",
            ),
            (
                "a line less",
                joined(&[lines[0], lines[1], lines[3]]),
                "checksum",
            ),
            ("no end", joined(&lines[..3]), "the end is missing"),
            ("cut off", good[..good.len() - 9].to_owned(), "cut off"),
            (
                "more after the end",
                good.clone() + lines[1] + "\n",
                "match",
            ),
            (
                "order",
                joined(&[lines[0], lines[2], lines[1], lines[3]]),
                "out of order",
            ),
            ("another file", "{}\n".to_owned(), "line 1"),
            (
                "a later format",
                good.replace(r#""version":1"#, r#""version":2"#),
                "has format 2",
            ),
            ("nothing", String::new(), "line 1"),
        ];
        for (what, text, expected) in table {
            let why = decode(&pack(&text)).unwrap_err().to_string();
            assert!(why.contains(expected), "{what}: {why}");
        }
        let bytes = encode(&header(), &[item("a", b"1")]).unwrap();
        assert!(decode(&bytes[..bytes.len() / 2]).is_err(), "half a file");
        assert!(
            decode(b"no gzip")
                .unwrap_err()
                .to_string()
                .contains("unpacked")
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        #[test]
        fn what_goes_in_comes_out(
            entries in prop::collection::btree_map(".*", prop::collection::vec(any::<u8>(), 0..50), 0..20)
        ) {
            let items: Vec<Item> = entries.into_iter().map(|(key, value)| Item { key, value }).collect();
            let bytes = encode(&header(), &items).unwrap();
            prop_assert_eq!(decode(&bytes).unwrap(), (header(), items));
        }
    }
}
