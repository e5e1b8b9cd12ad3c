//! JSON texts as `serde_json` writes them, without building values first.

use serde_json::{Map, Value};

/// What stands for each byte below 0x80 that needs an escape: 0 for none, `u` for `\u00XX`.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[b'\t' as usize] = b't';
    table[b'\n' as usize] = b'n';
    table[0x0c] = b'f';
    table[b'\r' as usize] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

/// Appends `text` as a JSON string, quotes included.
pub fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    contents(text, out);
    out.push(b'"');
}

/// Appends `text` as the inside of a JSON string.
pub fn contents(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape = ESCAPES[usize::from(*byte)];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'0', b'0', high, low]);
        }
    }
    out.extend_from_slice(&bytes[from..]);
}

/// Appends a number in decimal.
pub fn number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a value. Maps are sorted by key (`serde_json`'s own are).
pub fn value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => match number.as_u64() {
            // As Vector has it: an integer that a signed one of 64 bits cannot hold becomes text.
            Some(large) if i64::try_from(large).is_err() => string(&large.to_string(), out),
            _ => out.extend_from_slice(number.to_string().as_bytes()),
        },
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                self::value(item, out);
            }
            out.push(b']');
        }
        Value::Object(map) => object(map, out),
    }
}

/// Appends an object with sorted keys.
pub fn object(map: &Map<String, Value>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (n, (key, item)) in map.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        string(key, out);
        out.push(b':');
        value(item, out);
    }
    out.push(b'}');
}

/// The fields of a line that is one JSON object; `None` for any other line.
pub fn fields(message: &[u8]) -> Option<Map<String, Value>> {
    let trimmed = message.trim_ascii();
    if !(trimmed.starts_with(b"{") && trimmed.ends_with(b"}")) {
        return None;
    }
    serde_json::from_slice(trimmed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn strings_are_written_as_serde_json_writes_them(text in any::<String>()) {
            let mut out = Vec::new();
            string(&text, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
        }
    }

    #[test]
    fn every_byte_below_128_is_escaped_as_serde_json_does() {
        let text: String = (0..128_u8).map(char::from).collect();
        let mut out = Vec::new();
        string(&text, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            serde_json::to_string(&text).unwrap()
        );
    }

    #[test]
    fn numbers_and_objects() {
        for n in [0, 7, 10, 18_446_744_073_709_551_615] {
            let mut out = Vec::new();
            number(n, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), n.to_string());
        }
        let found = fields(br#" {"b":[1,null,{"x":true}],"a":18446744073709551615} "#).unwrap();
        let mut out = Vec::new();
        object(&found, &mut out);
        let wanted = r#"{"a":"18446744073709551615","b":[1,null,{"x":true}]}"#;
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
        for no in [
            &b"[1]"[..],
            b"{",
            b"{x}",
            b"",
            b"plain",
            b"{\"a\":1} {\"b\":2}",
        ] {
            assert!(fields(no).is_none());
        }
    }
}
